//! Pebble with names that all lead to the loopback interface; ended with its guard.

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

const TRIES: u32 = 300;
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

pub(crate) struct Pebble {
    children: Vec<Child>,
    port: u16,
    management: u16,
    pub(crate) http_port: u16,
    roots: Arc<RootCertStore>,
    dir: tempfile::TempDir,
}

impl Pebble {
    pub(crate) fn start() -> Pebble {
        let dir = tempfile::tempdir().unwrap();
        let roots = write_certificates(dir.path());
        let [port, management, http_port, names_management] = [(); 4].map(|()| free_port());
        let names = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            r#"{{"pebble":{{"listenAddress":"127.0.0.1:{port}",
            "managementListenAddress":"127.0.0.1:{management}",
            "certificate":"{dir}/leaf.pem","privateKey":"{dir}/leaf.key",
            "httpPort":{http_port},"tlsPort":{port},"ocspResponderURL":"",
            "externalAccountBindingRequired":false}}}}"#,
            dir = dir.path().display()
        );
        std::fs::write(dir.path().join("pebble.json"), config).unwrap();
        let names_server = Command::new("pebble-challtestsrv")
            .args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-http01", ""])
            .args(["-https01", "", "-tlsalpn01", "", "-dns01", &format!("127.0.0.1:{names}")])
            .args(["-management", &format!("127.0.0.1:{names_management}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let authority = Command::new("pebble")
            .args(["-strict", "-dnsserver", &format!("127.0.0.1:{names}"), "-config"])
            .arg(dir.path().join("pebble.json"))
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_WFE_NONCEREJECT", "40")
            .env("PEBBLE_AUTHZREUSE", "0")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let children = vec![names_server, authority];
        let pebble = Pebble { children, port, management, http_port, roots, dir };
        for port in [port, management, names_management] {
            wait_for(port);
        }
        pebble
    }

    pub(crate) fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.port)
    }

    /// What the authority's own HTTPS chains to.
    pub(crate) fn roots(&self) -> PathBuf {
        self.dir.path().join("root.pem")
    }

    /// Checks a chain against the root that this Pebble made for what it issues.
    pub(crate) fn verify(&self, chain: &str, domain: &str) {
        let answer = self.get("/roots/0");
        let pem = answer.split_once("\r\n\r\n").unwrap().1;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
        let chain: Vec<CertificateDer<'_>> =
            CertificateDer::pem_slice_iter(chain.as_bytes()).map(Result::unwrap).collect();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .unwrap()
            .verify_server_cert(
                &chain[0],
                &chain[1..],
                &ServerName::try_from(domain.to_owned()).unwrap(),
                &[],
                UnixTime::now(),
            )
            .unwrap();
    }

    fn get(&self, path: &str) -> String {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let socket = TcpStream::connect(("127.0.0.1", self.management)).unwrap();
        let mut stream = StreamOwned::new(connection, socket);
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        // The authority may close without a TLS goodbye.
        drop(stream.read_to_end(&mut answer));
        String::from_utf8(answer).unwrap()
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        for child in &mut self.children {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn wait_for(port: u16) {
    for _ in 0..TRIES {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return;
        }
        crate::world::pause(BETWEEN_TRIES);
    }
    panic!("nothing listens on port {port}");
}

/// A root and a certificate of `localhost` beneath it.
fn write_certificates(dir: &Path) -> Arc<RootCertStore> {
    let root_key = KeyPair::generate().unwrap();
    let mut root = CertificateParams::new(Vec::new()).unwrap();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root_certificate = root.self_signed(&root_key).unwrap();
    let issuer = rcgen::Issuer::new(root, root_key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    std::fs::write(dir.join("root.pem"), root_certificate.pem()).unwrap();
    std::fs::write(dir.join("leaf.pem"), leaf.pem()).unwrap();
    std::fs::write(dir.join("leaf.key"), key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(root_certificate.der().clone()).unwrap();
    Arc::new(roots)
}
