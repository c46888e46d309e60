//! New connections to replicas, in clear or by TLS.

use hyper_rustls::ConfigBuilderExt;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Where a connection leads. Two requests share one only if theirs are equal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Way {
    pub(super) to: SocketAddr,
    /// `None` for a connection in clear.
    pub(super) tls: Option<Arc<Tls>>,
}

/// What is asked of the other end.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tls {
    /// The name in the handshake, and in the certificate if that is checked.
    pub(super) name: String,
    pub(super) is_checked: bool,
}

/// A connection, with nothing said yet.
pub(super) enum Line {
    Plain(TcpStream),
    Secure(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Line::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Line::Secure(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Line::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Line::Secure(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Line::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Line::Secure(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Line::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Line::Secure(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Line::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Line::Secure(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

/// How TLS is spoken to replicas: for HTTP/1.1 and for HTTP/2.
#[derive(Debug)]
pub(super) struct Secure {
    unchecked: [Arc<ClientConfig>; 2],
    /// `None` when the host's trusted roots cannot be read.
    checked: Option<[Arc<ClientConfig>; 2]>,
}

impl Secure {
    pub(super) fn new(roots: Option<RootCertStore>) -> Result<Secure, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = || {
            ClientConfig::builder_with_provider(provider.clone())
                .with_safe_default_protocol_versions()
        };
        // A replica on the cluster's own network may have made its certificate itself.
        let unchecked = jaco_kit::unverified_tls()?;
        let checked = match roots {
            Some(roots) => Some(builder()?.with_root_certificates(roots)),
            None => match builder()?.try_with_platform_verifier() {
                Ok(builder) => Some(builder),
                Err(error) => {
                    tracing::warn!(%error, "the host's trusted roots cannot be read");
                    None
                }
            },
        };
        let checked = checked.map(|builder| both(builder.with_no_client_auth()));
        Ok(Secure { unchecked: both(unchecked), checked })
    }

    fn config(&self, tls: &Tls, is_http2: bool) -> io::Result<Arc<ClientConfig>> {
        let missing = || io::Error::other("the host's trusted roots cannot be read");
        let configs = match tls.is_checked {
            true => self.checked.as_ref().ok_or_else(missing)?,
            false => &self.unchecked,
        };
        Ok(configs[usize::from(is_http2)].clone())
    }
}

fn both(config: ClientConfig) -> [Arc<ClientConfig>; 2] {
    [&b"http/1.1"[..], &b"h2"[..]].map(|protocol| {
        let mut config = config.clone();
        config.alpn_protocols = vec![protocol.to_vec()];
        Arc::new(config)
    })
}

/// How to connect.
#[derive(Clone, Copy)]
pub(super) struct Knock<'a> {
    pub(super) secure: &'a Secure,
    /// Longest wait until the connection stands, TLS and all; zero is for ever.
    pub(super) within: Duration,
}

impl Knock<'_> {
    pub(super) async fn at(self, way: &Way, is_http2: bool) -> io::Result<Line> {
        let connecting = self.connect(way, is_http2);
        if self.within.is_zero() {
            return connecting.await;
        }
        tokio::time::timeout(self.within, connecting).await.map_err(|_| io::ErrorKind::TimedOut)?
    }

    async fn connect(self, way: &Way, is_http2: bool) -> io::Result<Line> {
        let stream = TcpStream::connect(way.to).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &way.tls else { return Ok(Line::Plain(stream)) };
        let name = match ServerName::try_from(tls.name.clone()) {
            Ok(name) => name,
            Err(error) if tls.is_checked => return Err(io::Error::other(error)),
            Err(_) => ServerName::from(way.to.ip()),
        };
        let connector = TlsConnector::from(self.secure.config(tls, is_http2)?);
        let stream = connector.connect(name, stream).await?;
        if is_http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(io::Error::other("the replica does not speak HTTP/2"));
        }
        Ok(Line::Secure(Box::new(stream)))
    }
}
