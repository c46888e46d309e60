//! The call by which a new node joins: HTTP over TLS, trusting only what its token names.

use std::io;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, OtherError};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::pki::JoinToken;
use crate::tls::{DigestMismatch, pinned_client_config};

/// Time for the connection, and then for the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of the largest answer.
const ANSWER_MAX: usize = 4 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The member cannot be reached. Nothing was sent.
    #[error("cannot connect to {address}")]
    Connect {
        /// The address.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The server's root is not the one of the token. The secret was not sent.
    #[error("{0}")]
    CaDigestMismatch(DigestMismatch),
    /// The server's certificate is not valid by the root of the token. The secret was not sent.
    #[error("the server at {address} cannot prove that it is a member")]
    Handshake {
        /// The address.
        address: String,
        /// What TLS said.
        #[source]
        source: io::Error,
    },
    /// No answer in time. If the request was sent, whether it took effect is not known.
    #[error("{address} did not answer in time")]
    Timeout {
        /// The address.
        address: String,
    },
    /// The request cannot be made.
    #[error("cannot make a request from the path {path:?}")]
    Path {
        /// The path.
        path: String,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Setup(#[source] crate::Error),
    /// The answer is not HTTP, too large, or ended early. Whether the request took effect is not
    /// known.
    #[error("{address} did not answer as a member does")]
    Answer {
        /// The address.
        address: String,
        /// What is wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Sends a POST with a JSON body to the API port at `address` (`host:port`), once the server has
/// proved to be a member of the token's cluster. Returns the status and the body.
///
/// # Errors
/// [`JoinError::CaDigestMismatch`] and [`JoinError::Handshake`] before any byte of the body was
/// sent; otherwise as each variant says.
pub async fn join_call(
    address: &str,
    token: &JoinToken,
    path: &str,
    body: Vec<u8>,
) -> Result<(u16, Vec<u8>), JoinError> {
    let late = || JoinError::Timeout { address: address.into() };
    let request = Request::post(path)
        .header(HOST, address)
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|_| JoinError::Path { path: path.into() })?;
    let stream = timeout(PATIENCE, connect(address, token)).await.map_err(|_| late())??;
    let answer = exchange(stream, request);
    let answer = timeout(PATIENCE, answer).await.map_err(|_| late())?;
    answer.map_err(|source| JoinError::Answer { address: address.into(), source })
}

/// A connection whose other side is verified.
async fn connect(address: &str, token: &JoinToken) -> Result<TlsStream<TcpStream>, JoinError> {
    let config = pinned_client_config(token.digest).map_err(JoinError::Setup)?;
    let connected = TcpStream::connect(address).await;
    let socket =
        connected.map_err(|source| JoinError::Connect { address: address.into(), source })?;
    TlsConnector::from(config).connect(server_name(address), socket).await.map_err(|source| {
        match mismatch(&source) {
            Some(mismatch) => JoinError::CaDigestMismatch(mismatch),
            None => JoinError::Handshake { address: address.into(), source },
        }
    })
}

/// What to call the server in the handshake; it is verified by another name (see `tls::pin`).
fn server_name(address: &str) -> ServerName<'static> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(host.to_owned())
        .unwrap_or(ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into()))
}

/// The reason of the verifier inside the error of the connection.
fn mismatch(error: &io::Error) -> Option<DigestMismatch> {
    let tls = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(reason))) = tls else {
        return None;
    };
    reason.downcast_ref::<DigestMismatch>().cloned()
}

async fn exchange(
    stream: TlsStream<TcpStream>,
    request: Request<Full<Bytes>>,
) -> Result<(u16, Vec<u8>), Box<dyn std::error::Error + Send + Sync>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await?;
        Ok((status, body.to_bytes().to_vec()))
    };
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        done = &mut answer => done,
        // The connection may end with the last byte, which is not yet read.
        ended = connection => match ended {
            Ok(()) => answer.await,
            Err(error) => Err(error.into()),
        },
    }
}
