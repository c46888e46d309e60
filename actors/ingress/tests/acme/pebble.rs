//! Pebble on the loopback interface, and what its certificates are checked with.

use jaco_lab::{PebbleOptions, loopback};
use jaco_model::WallMs;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

/// Where answers to HTTP-01 are looked for.
const HTTP_PORT: u16 = 5_002;
/// Requests in a hundred that are refused for their nonce.
const BAD_NONCES: u8 = 40;

pub(crate) struct Pebble {
    inner: jaco_lab::Pebble,
    address: Ipv4Addr,
    _dir: tempfile::TempDir,
}

impl Pebble {
    /// Many requests are refused for their nonce, and validations take their time.
    pub(crate) fn start() -> Pebble {
        let options =
            PebbleOptions { bad_nonces: BAD_NONCES, sleep: 2, ..PebbleOptions::default() };
        Pebble::start_with(options)
    }

    pub(crate) fn start_with(options: PebbleOptions) -> Pebble {
        let (address, dir) = (loopback(), tempfile::tempdir().unwrap());
        let options = PebbleOptions { http_port: HTTP_PORT, ..options };
        let inner = jaco_lab::Pebble::start_here(address, dir.path(), &options).unwrap();
        Pebble { inner, address, _dir: dir }
    }

    pub(crate) fn directory(&self) -> String {
        self.inner.directory()
    }

    /// The window in which Pebble wants a certificate renewed, in milliseconds since 1970.
    pub(crate) fn advise(&self, chain: &str, start: WallMs, end: WallMs) {
        self.inner.advise(chain, &start.to_string(), &end.to_string()).unwrap();
    }

    /// What it has said.
    pub(crate) fn log(&self) -> String {
        self.inner.log().unwrap()
    }

    /// The name server that came with it.
    pub(crate) fn names(&self) -> &jaco_lab::Names {
        self.inner.names()
    }

    /// Where a node answers HTTP-01.
    pub(crate) fn http(&self) -> SocketAddr {
        (self.address, HTTP_PORT).into()
    }

    /// What the authority's own HTTPS chains to.
    pub(crate) fn roots(&self) -> PathBuf {
        self.inner.server_root()
    }

    /// Checks a chain against the root that this Pebble made for what it issues.
    pub(crate) fn verify(&self, chain: &str, domain: &str) {
        let pem = self.inner.issuing_root().unwrap();
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
}
