//! A certificate authority that speaks ACME: Pebble, with a name server of its own.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use crate::debian::Program;
use crate::host::Host;
use crate::names::{Names, spawn};
use crate::run::output;
use crate::wait::until;

/// Port of the ACME directory.
const DIRECTORY: u16 = 14_000;

/// Port of Pebble's own management, which gives its root certificate.
const MANAGEMENT: u16 = 15_000;

/// Longest time until it answers.
const LIMIT: Duration = Duration::from_secs(30);

/// How Pebble makes life hard.
#[derive(Debug, Clone)]
pub struct PebbleOptions {
    /// Requests in a hundred that are refused with `badNonce`.
    pub bad_nonces: u8,
    /// Longest wait before it validates, in seconds; none when zero.
    pub sleep: u8,
    /// Seconds that certificates are valid; `None` is Pebble's own choice.
    pub validity: Option<u64>,
    /// Where it looks for answers to HTTP-01.
    pub http_port: u16,
    /// The name server that it asks instead of its own.
    pub names: Option<SocketAddr>,
    /// The key (base64url) of every account that it lets in, by its id; none lets everybody in.
    pub bindings: BTreeMap<String, String>,
}

impl Default for PebbleOptions {
    fn default() -> Self {
        Self {
            bad_nonces: 5,
            sleep: 0,
            validity: None,
            http_port: 80,
            names: None,
            bindings: BTreeMap::new(),
        }
    }
}

/// A running Pebble. Dropping it ends it.
#[derive(Debug)]
pub struct Pebble {
    address: Ipv4Addr,
    dir: PathBuf,
    names: Names,
    child: Child,
}

impl Pebble {
    /// Starts the machine's Pebble on a host, which may be one that has something to prove; its
    /// name server knows no name yet.
    ///
    /// # Errors
    /// When one of the programs is missing or does not answer.
    pub fn start(host: &Host, options: &PebbleOptions) -> Result<Self> {
        let (address, dir) = (host.address(), host.data_dir().join("pebble"));
        fs::create_dir_all(&dir)?;
        // In the host's namespace, so that they go with the lab whatever becomes of this process.
        let names = host.command("pebble-challtestsrv");
        let names = Names::start(names, address, None, &dir.join("challtestsrv.log"))?;
        Self::launch(host.command("pebble"), names, address, dir, options)
    }

    /// Starts a recent Pebble in the namespace of this process, on an address of the loopback
    /// interface that is its own. All names lead to that address.
    ///
    /// # Errors
    /// As [`Pebble::start`].
    pub fn start_here(address: Ipv4Addr, dir: &Path, options: &PebbleOptions) -> Result<Self> {
        let names = Names::start_here(address, Some(address), &dir.join("challtestsrv.log"))?;
        let authority = Program::pebble()?.command();
        Self::launch(authority, names, address, dir.to_owned(), options)
    }

    fn launch(
        mut authority: Command,
        names: Names,
        address: Ipv4Addr,
        dir: PathBuf,
        options: &PebbleOptions,
    ) -> Result<Self> {
        make_certificate(&dir, address)?;
        let mut config = json!({ "pebble": {
            "listenAddress": format!("{address}:{DIRECTORY}"),
            "managementListenAddress": format!("{address}:{MANAGEMENT}"),
            "certificate": dir.join("tls.crt"),
            "privateKey": dir.join("tls.key"),
            "httpPort": options.http_port,
            "tlsPort": 443,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": !options.bindings.is_empty(),
            "externalAccountMACKeys": options.bindings,
        } });
        if let Some(validity) = options.validity {
            // Pebble before 2.7 has one validity, later ones have one in each profile.
            config["pebble"]["certificateValidityPeriod"] = json!(validity);
            let profile = json!({ "description": "the only one", "validityPeriod": validity });
            config["pebble"]["profiles"] = json!({ "default": profile });
        }
        let path = dir.join("pebble.json");
        fs::write(&path, config.to_string())?;
        authority.args(["-strict", "-config", &path.display().to_string()]);
        authority.args(["-dnsserver", &options.names.unwrap_or(names.server()).to_string()]);
        authority.env("PEBBLE_WFE_NONCEREJECT", options.bad_nonces.to_string());
        authority.env("PEBBLE_AUTHZREUSE", "0");
        authority.env("PEBBLE_VA_NOSLEEP", if options.sleep == 0 { "1" } else { "0" });
        authority.env("PEBBLE_VA_SLEEPTIME", options.sleep.to_string());
        let child = spawn(&mut authority, &dir.join("pebble.log"))?;
        let pebble = Self { address, dir, names, child };
        for port in [DIRECTORY, MANAGEMENT] {
            until("Pebble", LIMIT, || {
                Ok(TcpStream::connect((address, port)).is_ok().then_some(()))
            })?;
        }
        Ok(pebble)
    }

    /// The ACME directory.
    #[must_use]
    pub fn directory(&self) -> String {
        format!("https://{}:{DIRECTORY}/dir", self.address)
    }

    /// Variables with which a daemon orders its certificates here.
    #[must_use]
    pub fn env(&self) -> Vec<(String, String)> {
        let root = self.server_root().display().to_string();
        let names = self.names.server().to_string();
        [
            ("JACO_ACME_CA", self.directory()),
            ("JACO_ACME_CA_ROOT", root),
            // A daemon looks whether a domain leads somewhere before it orders.
            ("JACO_DNS_FORWARDERS", names),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }

    /// The root of the certificate that Pebble's own server shows, to be trusted by its clients.
    #[must_use]
    pub fn server_root(&self) -> PathBuf {
        self.dir.join("root.crt")
    }

    /// The root of the certificates it issues, as PEM.
    ///
    /// # Errors
    /// When Pebble does not answer.
    pub fn issuing_root(&self) -> Result<String> {
        let url = format!("https://{}:{MANAGEMENT}/roots/0", self.address);
        output(
            Command::new("curl")
                .args(["--silent", "--show-error", "--fail", "--cacert"])
                .arg(self.server_root())
                .arg(&url),
        )
    }

    /// The window (RFC 3339) in which it wants a certificate renewed from now on (RFC 9773).
    ///
    /// # Errors
    /// When Pebble does not take it; Debian 12's cannot.
    pub fn advise(&self, certificate: &str, start: &str, end: &str) -> Result<()> {
        let url = format!("https://{}:{MANAGEMENT}/set-renewal-info/", self.address);
        let window = json!({ "suggestedWindow": { "start": start, "end": end } });
        let body = json!({ "certificate": certificate, "ariResponse": window.to_string() });
        let mut post = Command::new("curl");
        post.args(["--silent", "--show-error", "--fail-with-body", "--cacert"]);
        post.arg(self.server_root()).args(["--json", &body.to_string(), &url]);
        output(&mut post).map(|_| ())
    }

    /// Its name server.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// What Pebble has said.
    ///
    /// # Errors
    /// When its log cannot be read.
    pub fn log(&self) -> Result<String> {
        fs::read_to_string(self.dir.join("pebble.log")).context("no log of Pebble")
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A root, and a certificate of it for the address.
fn make_certificate(dir: &Path, address: Ipv4Addr) -> Result<()> {
    fs::write(dir.join("names"), format!("subjectAltName=IP:{address}\n"))?;
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let openssl = |args: &[&[&str]]| {
        let mut command = Command::new("openssl");
        command.current_dir(dir).args(args.concat());
        output(&mut command).map(|_| ())
    };
    let root = ["-subj", "/CN=pebble root", "-keyout", "root.key", "-out", "root.crt"];
    openssl(&[&["req", "-x509", "-days", "30"], &curve, &root])?;
    let wish = ["-subj", "/CN=pebble", "-keyout", "tls.key", "-out", "tls.csr"];
    openssl(&[&["req", "-new"], &curve, &wish])?;
    let signer = ["-CA", "root.crt", "-CAkey", "root.key", "-CAcreateserial"];
    let leaf = ["x509", "-req", "-in", "tls.csr", "-days", "30", "-extfile", "names"];
    openssl(&[&leaf, &signer, &["-out", "tls.crt"]])
}
