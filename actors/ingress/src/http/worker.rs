//! One thread of the proxy: accepts, and keeps what its connections share.

use super::connection;
use super::driver::Shared;
use super::loads::Routes;
use super::pool::Pool;
use jaco_ingress_core::{ListenKey, ListenKind};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
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

/// Set to the time that running requests still have.
pub(super) type Stopping = watch::Receiver<Option<Duration>>;

pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) pool: Rc<Pool>,
    pub(super) tls: Arc<rustls::ServerConfig>,
    pub(super) stopping: Stopping,
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
    stopping: Stopping,
    seed: u64,
) -> Result<(), super::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tls = shared.certificates.server()?;
    std::thread::Builder::new().name("ingress".to_owned()).spawn(move || {
        let set = LocalSet::new();
        set.block_on(&runtime, async move {
            let pool = Rc::new(Pool::default());
            let random = Cell::new(seed | 1);
            run(
                Rc::new(Worker { shared, pool, tls, stopping, routes: Routes::default(), random }),
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
    let connections = Rc::new(Cell::new(0));
    let mut stopping = worker.stopping.clone();
    let mut sweep = tokio::time::interval(Duration::from_secs(10));
    loop {
        tokio::select! {
            order = inbox.recv() => match order {
                None => return,
                Some(Order::Listen(key, listener)) => {
                    let accept = accept(worker.clone(), key.kind, listener, connections.clone());
                    open.insert(key, accepting.spawn_local(accept));
                }
                Some(Order::Unlisten(key)) => if let Some(task) = open.remove(&key) { task.abort() },
                Some(Order::Swapped) => {
                    let table = worker.shared.table.load();
                    worker.pool.keep(&table);
                    worker.routes.keep(&table);
                }
            },
            _ = sweep.tick() => worker.pool.sweep(worker.shared.config.clock.mono()),
            _ = stopping.wait_for(Option::is_some) => break,
            Some(_) = accepting.join_next(), if !accepting.is_empty() => {}
        }
    }
    let within = stopping.borrow().unwrap_or_default();
    accepting.shutdown().await;
    // Connections see the same signal and end by themselves.
    let _ = tokio::time::timeout(within, async {
        while connections.get() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

async fn accept(
    worker: Rc<Worker>,
    kind: ListenKind,
    listener: TcpListener,
    connections: Rc<Cell<u64>>,
) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "cannot wait for connections"),
    };
    let crowd = worker.shared.crowd.clone();
    loop {
        crowd.room().await;
        match listener.accept().await {
            Ok((stream, peer)) => {
                let place = crowd.place().await;
                let _ = prepare(&stream);
                let (worker, connections) = (worker.clone(), connections.clone());
                connections.set(connections.get() + 1);
                spawn_local(async move {
                    connection::serve(worker, stream, peer, kind, place).await;
                    connections.set(connections.get() - 1);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn prepare(stream: &tokio::net::TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new().with_time(Duration::from_secs(60));
    socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive)
}
