//! One client's connection, from its first byte to its last.

use super::body::Body;
use super::counters::count;
use super::crowd::{Place, Seat, Young};
use super::driver::{Health, Phase};
use super::headers::{self, Told};
use super::http1;
use super::http2;
use super::pipeline;
use super::proxied;
use super::pulse::Pulse;
use super::worker::Worker;
use hyper::body::Incoming;
use hyper::header::CONNECTION;
use hyper::{Request, Response, StatusCode, Version};
use jaco_ingress_core::{ListenKind, ProxyEnds};
use rustls::server::Acceptor;
use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

/// A fatal alert as a record of TLS (RFC 8446, 5.1 and 6).
const UNRECOGNIZED_NAME: &[u8] = &[21, 3, 3, 0, 2, 2, 112];
/// Of TLS, and of an end that both sides agree on.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long those are waited for at the end who are about to ask for something, or seem so.
const SILENT: Duration = Duration::from_secs(1);

/// What all requests of a connection have in common.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) client: SocketAddr,
    pub(super) local: SocketAddr,
    /// The name of the TLS handshake; `None` without TLS.
    pub(super) name: Option<String>,
    pub(super) tls: Option<Tls>,
    pub(super) pulse: Arc<Pulse>,
    /// What services were told last.
    pub(super) told: RefCell<Option<Told>>,
}

impl Peer {
    fn new(client: SocketAddr, local: SocketAddr, name: Option<String>, pulse: Arc<Pulse>) -> Peer {
        Peer { client, local, name, tls: None, pulse, told: RefCell::default() }
    }
}

/// What client and proxy agreed on in the TLS handshake, for the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tls {
    pub(super) version: &'static str,
    pub(super) suite: Option<&'static str>,
}

impl Tls {
    fn of(session: &rustls::ServerConnection) -> Tls {
        let version = match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "1.3",
            _ => "1.2",
        };
        let suite = session.negotiated_cipher_suite();
        Tls { version, suite: suite.and_then(|suite| suite.suite().as_str()) }
    }
}

/// A connection that may ask. What is large is in boxes, so that one on which nothing happens
/// holds no room for what it did at its beginning.
enum Ready {
    Http1(TcpStream, Peer),
    Https(Box<TlsStream<TcpStream>>, Peer),
}

/// Serves a connection until it ends.
pub(super) async fn serve(
    worker: Rc<Worker>,
    stream: TcpStream,
    from: SocketAddr,
    kind: ListenKind,
    place: Place,
) {
    match Box::pin(welcome(&worker, stream, from, kind, place)).await {
        None => {}
        Some(Ready::Http1(stream, peer)) => Box::pin(http1::serve(worker, stream, peer)).await,
        Some(Ready::Https(stream, peer)) => {
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                Box::pin(http2::serve(worker, stream, peer)).await;
            } else {
                Box::pin(http1::serve(worker, stream, peer)).await;
            }
        }
    }
}

/// From the first byte to the first request. `None` when there is none to be had.
async fn welcome(
    worker: &Worker,
    mut stream: TcpStream,
    from: SocketAddr,
    kind: ListenKind,
    place: Place,
) -> Option<Ready> {
    let (counters, config) = (&worker.shared.counters, &worker.shared.config);
    count(&counters.connections);
    let Ok(ProxyEnds { client, local }) = ends(worker, &mut stream, from).await else {
        count(&counters.unproxied);
        return None;
    };
    let address = client.ip().to_canonical();
    let mut seat = None;
    if !pipeline::contains(&config.trusted_proxies, address) {
        seat = worker.shared.crowd.seat(address);
        if seat.is_none() {
            count(&counters.crowded);
            reset(&stream);
            return None;
        }
    }
    let turn = in_time(worker, config.header_timeout, turn(seat.as_ref()));
    let Some(young) = turn.await else {
        count(&counters.crowded);
        reset(&stream);
        return None;
    };
    if kind == ListenKind::Http {
        let pulse = Arc::new(Pulse::new(place, seat, young));
        return Some(Ready::Http1(stream, Peer::new(client, local, None, pulse)));
    }
    let handshake = in_time(worker, HANDSHAKE, handshake(worker, stream));
    let Some(Ok(stream)) = handshake.await else {
        count(&counters.handshakes_failed);
        return None;
    };
    drop(young);
    let session = stream.get_ref().1;
    let name = session.server_name().map(str::to_ascii_lowercase);
    let tls = Some(Tls::of(session));
    let pulse = Arc::new(Pulse::new(place, seat, None));
    let peer = Peer { tls, ..Peer::new(client, local, name, pulse) };
    Some(Ready::Https(Box::new(stream), peer))
}

/// What comes within so long, and not much after the end has begun.
async fn in_time<T>(
    worker: &Worker,
    longest: Duration,
    wanted: impl Future<Output = T>,
) -> Option<T> {
    let end = async {
        Phase::stopping(worker.phase.clone()).await;
        tokio::time::sleep(SILENT).await;
    };
    tokio::select! {
        wanted = tokio::time::timeout(longest, wanted) => wanted.ok(),
        () = end => None,
    }
}

/// Returns at the end unless a request runs.
pub(super) async fn silence(pulse: &Pulse) {
    tokio::time::sleep(SILENT).await;
    if pulse.running() > 0 {
        std::future::pending().await
    }
}

async fn turn(seat: Option<&Seat>) -> Option<Young> {
    Some(seat?.young().await)
}

/// The connection ends with a reset when it is dropped, and leaves nothing behind.
fn reset(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Who talks to whom: a load balancer in front must say it, nobody else can.
async fn ends(worker: &Worker, stream: &mut TcpStream, from: SocketAddr) -> io::Result<ProxyEnds> {
    let config = &worker.shared.config;
    let own = ProxyEnds { client: from, local: stream.local_addr()? };
    if !pipeline::contains(&config.proxy_protocol, from.ip().to_canonical()) {
        return Ok(own);
    }
    let told = in_time(worker, config.header_timeout, proxied::take(stream)).await;
    Ok(told.ok_or(io::ErrorKind::TimedOut)??.unwrap_or(own))
}

/// A name we have no certificate for is told so by an alert: no other one would be right.
async fn handshake(worker: &Worker, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let known = start
        .client_hello()
        .server_name()
        .is_some_and(|name| worker.shared.certificates.find(name).is_some());
    if !known {
        let mut stream = start.io;
        stream.write_all(UNRECOGNIZED_NAME).await?;
        stream.shutdown().await?;
        return Err(io::ErrorKind::NotFound.into());
    }
    start.into_stream(worker.tls.clone()).await
}

/// Answers one request, and says which one is the last.
pub(super) async fn answer(
    worker: Rc<Worker>,
    peer: Rc<Peer>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let most = worker.shared.config.requests_per_connection;
    let is_http1 = request.version() < Version::HTTP_2;
    let mut response = pipeline::answer(worker.clone(), peer.clone(), request).await;
    let shared = &worker.shared;
    let is_last = peer.pulse.begun() >= most
        || shared.health() == Health::Draining
        // Others wait for the place.
        || shared.crowd.is_full();
    if is_last && is_http1 && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        headers::set(response.headers_mut(), CONNECTION, "close");
    } else if is_last {
        peer.pulse.end();
    }
    if !is_http1 && let Some(id) = response.headers_mut().get_mut(headers::X_REQUEST_ID) {
        // In the table of header compression, ids would drive out what comes again, and each new
        // one would be compared with all of them.
        id.set_sensitive(true);
    }
    Ok(response)
}
