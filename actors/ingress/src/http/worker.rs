//! One thread of the proxy: accepts, and keeps what its connections share.

use super::connection;
use super::counters::{count, uncount};
use super::driver::{Phase, Shared};
use super::loads::Routes;
use super::pool::Pool;
use jaco_ingress_core::{ListenKey, ListenKind};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet, LocalSet, spawn_local};

/// What the handle tells a worker.
#[derive(Debug)]
pub(super) enum Order {
    Listen(ListenKey, TcpListener),
    Unlisten(ListenKey),
    /// There is a new table.
    Swapped,
}

/// Connections that are taken from the kernel's queue before a socket closes: how long they may
/// come one after the other, and in all.
const QUEUED: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(200));

pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) pool: Rc<Pool>,
    pub(super) tls: Arc<rustls::ServerConfig>,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) routes: Routes,
    random: Cell<u64>,
}

impl Worker {
    /// A number nobody need keep secret (xorshift).
    pub(super) fn random(&self) -> u64 {
        let mut x = self.random.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random.set(x);
        x.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}

/// Starts one worker.
pub(super) fn start(
    shared: Arc<Shared>,
    inbox: mpsc::UnboundedReceiver<Order>,
    phase: watch::Receiver<Phase>,
    seed: u64,
) -> Result<(), super::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tls = shared.certificates.server(&shared.tickets)?;
    std::thread::Builder::new().name("ingress".to_owned()).spawn(move || {
        let set = LocalSet::new();
        set.block_on(&runtime, async move {
            let pool = Rc::new(Pool::default());
            let random = Cell::new(seed | 1);
            run(
                Rc::new(Worker { shared, pool, tls, phase, routes: Routes::default(), random }),
                inbox,
            )
            .await;
        });
    })?;
    Ok(())
}

async fn run(worker: Rc<Worker>, mut inbox: mpsc::UnboundedReceiver<Order>) {
    let mut open: BTreeMap<ListenKey, AbortHandle> = BTreeMap::new();
    let mut accepting = JoinSet::new();
    let mut stopping = pin!(Phase::stopping(worker.phase.clone()));
    let mut sweep = tokio::time::interval(Duration::from_secs(10));
    loop {
        tokio::select! {
            // Sockets that it was given before the end are among those it empties.
            biased;
            order = inbox.recv() => match order {
                None => return,
                Some(Order::Listen(key, listener)) => {
                    let accept = accept(worker.clone(), key.kind, listener);
                    open.insert(key, accepting.spawn_local(accept));
                }
                Some(Order::Unlisten(key)) => if let Some(task) = open.remove(&key) { task.abort() },
                Some(Order::Swapped) => {
                    let table = worker.shared.table.load();
                    worker.pool.keep(&table);
                    worker.routes.keep(&table);
                }
            },
            _ = sweep.tick() => worker.pool.sweep(),
            () = stopping.as_mut() => break,
            Some(_) = accepting.join_next(), if !accepting.is_empty() => {}
        }
    }
    let within = match *worker.phase.borrow() {
        Phase::Stopping(within) => within,
        Phase::Serving | Phase::Draining => Duration::ZERO,
    };
    // Connections see the same signal and end by themselves.
    let _ = tokio::time::timeout(within, async {
        while accepting.join_next().await.is_some() {}
        while !worker.shared.crowd.is_gone() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

async fn accept(worker: Rc<Worker>, kind: ListenKind, listener: TcpListener) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "cannot wait for connections"),
    };
    let forever = async {
        loop {
            accept_one(&worker, kind, &listener).await;
        }
    };
    tokio::select! {
        () = forever => {}
        () = Phase::stopping(worker.phase.clone()) => {}
    }
    // Those in its queue the kernel has accepted in our name.
    let queued = async {
        while tokio::time::timeout(QUEUED.0, accept_one(&worker, kind, &listener)).await.is_ok() {}
    };
    let _ = tokio::time::timeout(QUEUED.1, queued).await;
}

async fn accept_one(worker: &Rc<Worker>, kind: ListenKind, listener: &tokio::net::TcpListener) {
    let crowd = &worker.shared.crowd;
    crowd.room().await;
    match listener.accept().await {
        Ok((stream, peer)) => {
            // Nothing is waited for from here: who is accepted must not be lost.
            let place = crowd.place();
            let _ = prepare(&stream, worker.shared.config.stalled);
            let worker = worker.clone();
            count(&worker.shared.counters.open);
            spawn_local(async move {
                connection::serve(worker.clone(), stream, peer, kind, place).await;
                uncount(&worker.shared.counters.open);
            });
        }
        Err(error) => {
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Who takes nothing of what we sent for so long is gone, or means to keep a replica busy.
fn prepare(stream: &tokio::net::TcpStream, stalled: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    socket2::SockRef::from(stream).set_tcp_user_timeout(Some(stalled))?;
    let keepalive = socket2::TcpKeepalive::new().with_time(Duration::from_secs(60));
    socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive)
}
