//! A worker's connections to the replicas.

use super::body::Body;
use super::http2::Local;
use super::replica::{Scratch, Wire};
use super::secure::{Knock, Line, Way};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use jaco_ingress_core::Table;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use tokio::task::spawn_local;

const IDLE: usize = 128;
/// Sweeps that a connection may be idle for; there is one every ten seconds.
const IDLE_FOR: u64 = 6;

type Http2 = http2::SendRequest<Body>;

/// A connection that takes a request now.
pub(super) struct Lease<C> {
    pub(super) connection: C,
    pub(super) is_reused: bool,
}

struct Idle {
    wire: Wire,
    /// The sweep before it was put here.
    since: u64,
}

/// Those of one worker.
#[derive(Default)]
pub(super) struct Pool {
    idle: RefCell<BTreeMap<Way, Vec<Idle>>>,
    shared: RefCell<BTreeMap<Way, Http2>>,
    known: RefCell<BTreeSet<IpAddr>>,
    sweeps: Cell<u64>,
    scratch: Scratch,
}

/// Where a connection goes when its request is over.
pub(super) struct Home {
    pool: Rc<Pool>,
    way: Way,
}

impl Home {
    pub(super) fn new(pool: Rc<Pool>, way: Way) -> Home {
        Home { pool, way }
    }

    /// Takes a connection back of which both directions are through.
    pub(super) fn take_back(self, wire: Wire) {
        self.pool.put(self.way, wire);
    }

    /// Memory for one call.
    pub(super) fn scratch(&self) -> &Scratch {
        &self.pool.scratch
    }
}

impl Pool {
    /// An idle connection, or a new one.
    pub(super) async fn http1(&self, way: &Way, knock: Knock<'_>) -> io::Result<Lease<Wire>> {
        let reused = {
            let mut idle = self.idle.borrow_mut();
            let all = idle.get_mut(way);
            all.and_then(|all| std::iter::from_fn(|| all.pop()).find(|idle| idle.wire.is_quiet()))
        };
        if let Some(Idle { wire, .. }) = reused {
            return Ok(Lease { connection: wire, is_reused: true });
        }
        let wire = Wire::new(knock.at(way, false).await?);
        Ok(Lease { connection: wire, is_reused: false })
    }

    /// The one connection that all requests share.
    pub(super) async fn http2(&self, way: &Way, knock: Knock<'_>) -> io::Result<Lease<Http2>> {
        if let Some(sender) = self.shared.borrow().get(way)
            && !sender.is_closed()
        {
            return Ok(Lease { connection: sender.clone(), is_reused: true });
        }
        let sender = http2_over(knock.at(way, true).await?).await?;
        self.shared.borrow_mut().insert(way.clone(), sender.clone());
        Ok(Lease { connection: sender, is_reused: false })
    }

    fn put(&self, way: Way, wire: Wire) {
        if !self.known.borrow().contains(&way.to.ip()) {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        let all = idle.entry(way).or_default();
        if all.len() < IDLE {
            all.push(Idle { wire, since: self.sweeps.get() });
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

    /// Closes what the other end has closed, or what was idle for too long. To be called every ten
    /// seconds.
    pub(super) fn sweep(&self) {
        let now = self.sweeps.get() + 1;
        self.sweeps.set(now);
        self.idle.borrow_mut().retain(|_, all| {
            all.retain(|idle| now - idle.since <= IDLE_FOR && idle.wire.is_quiet());
            !all.is_empty()
        });
        self.shared.borrow_mut().retain(|_, sender| !sender.is_closed());
    }
}

async fn http2_over(line: Line) -> io::Result<Http2> {
    let (sender, connection) = http2::Builder::new(Local)
        .timer(TokioTimer::new())
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .max_header_list_size(64 * 1024)
        .handshake(TokioIo::new(line))
        .await
        .map_err(io::Error::other)?;
    spawn_local(async move {
        let _ = connection.await;
    });
    Ok(sender)
}
