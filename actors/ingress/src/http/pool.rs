//! A worker's connections to the replicas.

use super::body::Body;
use super::connection::Local;
use super::secure::{Knock, Line, Way};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use jaco_ingress_core::Table;
use jaco_kit_core::Mono;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::spawn_local;

/// Most bytes that wait in either direction, and most of an answer's header. A client's connection
/// has buffers of its own.
const BUFFER: usize = 64 * 1024;
const IDLE: usize = 128;
const IDLE_FOR: Duration = Duration::from_secs(60);
/// An answer is over, but its connection is not free yet.
const SETTLES: Duration = Duration::from_secs(5);

type Http1 = http1::SendRequest<Body>;
type Http2 = http2::SendRequest<Body>;

/// A connection that takes a request now.
pub(super) enum Lease {
    Http1 { sender: Http1, is_reused: bool },
    Http2 { sender: Http2, is_reused: bool },
}

impl Lease {
    pub(super) fn is_reused(&self) -> bool {
        let (Lease::Http1 { is_reused, .. } | Lease::Http2 { is_reused, .. }) = self;
        *is_reused
    }
}

struct Idle {
    sender: Http1,
    since: Mono,
}

/// Those of one worker.
#[derive(Default)]
pub(super) struct Pool {
    idle: RefCell<BTreeMap<Way, Vec<Idle>>>,
    shared: RefCell<BTreeMap<Way, Http2>>,
    known: RefCell<BTreeSet<IpAddr>>,
}

impl Pool {
    /// An idle connection, or a new one.
    pub(super) async fn http1(&self, way: &Way, knock: Knock<'_>) -> io::Result<Lease> {
        let reused = {
            let mut idle = self.idle.borrow_mut();
            idle.get_mut(way).and_then(|all| {
                std::iter::from_fn(|| all.pop()).find(|idle| idle.sender.is_ready())
            })
        };
        if let Some(Idle { sender, .. }) = reused {
            return Ok(Lease::Http1 { sender, is_reused: true });
        }
        let sender = match knock.at(way, false).await? {
            Line::Plain(stream) => http1_over(stream).await?,
            Line::Secure(stream) => http1_over(stream).await?,
        };
        Ok(Lease::Http1 { sender, is_reused: false })
    }

    /// The one connection that all requests share.
    pub(super) async fn http2(&self, way: &Way, knock: Knock<'_>) -> io::Result<Lease> {
        if let Some(sender) = self.shared.borrow().get(way)
            && !sender.is_closed()
        {
            return Ok(Lease::Http2 { sender: sender.clone(), is_reused: true });
        }
        let sender = match knock.at(way, true).await? {
            Line::Plain(stream) => http2_over(stream).await?,
            Line::Secure(stream) => http2_over(stream).await?,
        };
        self.shared.borrow_mut().insert(way.clone(), sender.clone());
        Ok(Lease::Http2 { sender, is_reused: false })
    }

    /// Takes a connection back as soon as both of its directions are through.
    pub(super) fn give_back(self: Rc<Self>, way: Way, mut sender: Http1, now: Mono) {
        if sender.is_ready() {
            return self.put(way, sender, now);
        }
        if sender.is_closed() {
            return;
        }
        spawn_local(async move {
            if let Ok(Ok(())) = tokio::time::timeout(SETTLES, sender.ready()).await {
                self.put(way, sender, now);
            }
        });
    }

    fn put(&self, way: Way, sender: Http1, since: Mono) {
        if !self.known.borrow().contains(&way.to.ip()) {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        let all = idle.entry(way).or_default();
        if all.len() < IDLE {
            all.push(Idle { sender, since });
        }
    }

    /// Closes idle connections to replicas that are in the table no more.
    pub(super) fn keep(&self, table: &Table) {
        let endpoints = table.services.values().flat_map(|service| &service.endpoints);
        let known: BTreeSet<IpAddr> = endpoints.map(|endpoint| endpoint.address.into()).collect();
        self.idle.borrow_mut().retain(|way, _| known.contains(&way.to.ip()));
        self.shared.borrow_mut().retain(|way, _| known.contains(&way.to.ip()));
        self.known.replace(known);
    }

    /// Closes what was idle for too long.
    pub(super) fn sweep(&self, now: Mono) {
        self.idle.borrow_mut().retain(|_, all| {
            all.retain(|idle| !idle.sender.is_closed() && now.since(idle.since) < IDLE_FOR);
            !all.is_empty()
        });
        self.shared.borrow_mut().retain(|_, sender| !sender.is_closed());
    }
}

async fn http1_over<S>(stream: S) -> io::Result<Http1>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(stream);
    let mut builder = http1::Builder::new();
    builder.max_buf_size(BUFFER);
    let (sender, connection) = builder.handshake(io).await.map_err(io::Error::other)?;
    spawn_local(async move {
        // Who waits for an answer hears of it too.
        let _ = connection.with_upgrades().await;
    });
    Ok(sender)
}

async fn http2_over<S>(stream: S) -> io::Result<Http2>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (sender, connection) = http2::Builder::new(Local)
        .timer(TokioTimer::new())
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .max_header_list_size(64 * 1024)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    spawn_local(async move {
        let _ = connection.await;
    });
    Ok(sender)
}
