//! A certificate authority that speaks ACME: Pebble, with a name server of its own.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::host::Host;
use crate::run::output;
use crate::wait::until;

/// Port of the ACME directory.
const DIRECTORY: u16 = 14_000;

/// Port of Pebble's own management, which gives its root certificate.
const MANAGEMENT: u16 = 15_000;

/// Port of the name server.
const DNS: u16 = 8_053;

/// Port of the name server's management.
const DNS_MANAGEMENT: u16 = 8_055;

/// Longest time until both answer.
const LIMIT: Duration = Duration::from_secs(30);

/// How Pebble makes life hard.
#[derive(Debug, Clone)]
pub struct PebbleOptions {
    /// Requests in a hundred that are refused with `badNonce`.
    pub bad_nonces: u8,
    /// Whether it waits up to 15 s before it validates.
    pub sleeps: bool,
    /// Seconds that certificates are valid; `None` is Pebble's choice of five years.
    pub validity: Option<u64>,
}

impl Default for PebbleOptions {
    fn default() -> Self {
        Self { bad_nonces: 5, sleeps: false, validity: None }
    }
}

/// A running Pebble. Dropping it ends it.
#[derive(Debug)]
pub struct Pebble {
    address: Ipv4Addr,
    dir: PathBuf,
    children: Vec<Child>,
}

impl Pebble {
    /// Starts Pebble on a host, which may be one that has something to prove; its name server
    /// knows no name yet.
    ///
    /// # Errors
    /// When one of the programs is missing or does not answer.
    pub fn start(host: &Host, options: &PebbleOptions) -> Result<Self> {
        let (address, dir) = (host.address(), host.data_dir().join("pebble"));
        fs::create_dir_all(&dir)?;
        let mut pebble = Self { address, dir, children: Vec::new() };
        pebble.make_certificate()?;
        let mut config = json!({ "pebble": {
            "listenAddress": format!("{address}:{DIRECTORY}"),
            "managementListenAddress": format!("{address}:{MANAGEMENT}"),
            "certificate": pebble.dir.join("tls.crt"),
            "privateKey": pebble.dir.join("tls.key"),
            "httpPort": 80,
            "tlsPort": 443,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
        } });
        if let Some(validity) = options.validity {
            config["pebble"]["certificateValidityPeriod"] = json!(validity);
        }
        let path = pebble.dir.join("pebble.json");
        fs::write(&path, config.to_string())?;
        // In the host's namespace, so that they go with the lab whatever becomes of this process.
        let mut names = host.command("pebble-challtestsrv");
        names.args(["-dns01", &format!("{address}:{DNS}")]);
        names.args(["-management", &format!("{address}:{DNS_MANAGEMENT}")]);
        names.args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", ""]);
        pebble.spawn(&mut names, "challtestsrv.log")?;
        let mut authority = host.command("pebble");
        authority.args(["-config", &path.display().to_string()]);
        authority.args(["-dnsserver", &format!("{address}:{DNS}")]);
        authority.env("PEBBLE_WFE_NONCEREJECT", options.bad_nonces.to_string());
        authority.env("PEBBLE_AUTHZREUSE", "0");
        authority.env("PEBBLE_VA_NOSLEEP", if options.sleeps { "0" } else { "1" });
        pebble.spawn(&mut authority, "pebble.log")?;
        for port in [DIRECTORY, MANAGEMENT, DNS_MANAGEMENT] {
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
        [("JACO_ACME_CA", self.directory()), ("JACO_ACME_CA_ROOT", root)]
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

    /// Where a name leads from now on.
    ///
    /// # Errors
    /// When the name server does not take it.
    pub fn resolve(&self, name: &str, to: &[Ipv4Addr]) -> Result<()> {
        let body = json!({ "host": format!("{name}."), "addresses": to }).to_string();
        let mut stream = TcpStream::connect((self.address, DNS_MANAGEMENT))?;
        write!(
            stream,
            "POST /add-a HTTP/1.1\r\nHost: pebble\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        Ok(())
    }

    /// What Pebble has said.
    ///
    /// # Errors
    /// When its log cannot be read.
    pub fn log(&self) -> Result<String> {
        fs::read_to_string(self.dir.join("pebble.log")).context("no log of Pebble")
    }

    /// A root, and a certificate of it for the address.
    fn make_certificate(&self) -> Result<()> {
        let names = self.dir.join("names");
        fs::write(&names, format!("subjectAltName=IP:{}\n", self.address))?;
        let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        let openssl = |args: &[&[&str]]| {
            let mut command = Command::new("openssl");
            command.current_dir(&self.dir).args(args.concat());
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

    fn spawn(&mut self, command: &mut Command, log: &str) -> Result<()> {
        let log = File::create(self.dir.join(log))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let name = command.get_program().to_string_lossy().into_owned();
        self.children.push(command.spawn().with_context(|| format!("cannot start {name}"))?);
        Ok(())
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        for child in &mut self.children {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
