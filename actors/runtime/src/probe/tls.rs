//! TLS for probes, without a check of the certificate.
//!
//! A probe asks whether the replica answers. Its certificate is made for the name that clients use,
//! not for the container's address, and nothing secret is sent.

use rustls::pki_types::ServerName;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Opens a TLS session; `host` goes into the server name indication when it is a DNS name.
pub(super) async fn unverified(
    stream: TcpStream,
    host: &str,
) -> Result<TlsStream<TcpStream>, String> {
    let config = jaco_kit::unverified_tls().map_err(|error| format!("tls: {error}"))?;
    let host = host.rsplit_once(':').map_or(host, |(name, _port)| name);
    let address = |error| format!("tls: {error}");
    let peer = stream.peer_addr().map_err(address)?.ip();
    let name = ServerName::try_from(host.to_owned()).unwrap_or_else(|_| ServerName::from(peer));
    let session = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    session.map_err(|error| format!("tls: {error}"))
}
