//! Published ports: TCP connections and UDP sessions to ready replicas anywhere.

mod copy;
mod counters;
mod header;
mod listener;
mod tcp;
mod udp;

use counters::Counters;
pub use counters::PortCounts;
use jaco_ingress_core::{ListenKey, ListenKind, Table};
use jaco_kit::Seeds;
use jaco_model::spec::Protocol;
use listener::Listener;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, LocalSet};

/// Why the balancer of ports could not start.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the balancer of ports")]
pub struct L4Error(#[from] io::Error);

/// The balancer of ports, on a thread of its own. Cloning shares it; when the last clone goes its
/// sockets close and its connections end.
#[derive(Clone)]
pub struct L4 {
    orders: mpsc::UnboundedSender<Order>,
    counters: Shown,
}

/// Reads what the open listeners of a balancer count.
#[derive(Clone, Debug)]
pub struct PortMeters(Shown);

impl PortMeters {
    /// Reads them.
    pub fn read(&self) -> BTreeMap<ListenKey, PortCounts> {
        let shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shown.iter().map(|(key, counters)| (*key, counters.counts())).collect()
    }
}

type Shown = Arc<Mutex<BTreeMap<ListenKey, Arc<Counters>>>>;
type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

enum Order {
    Open(ListenKey, Done),
    Close(ListenKey),
    Serve(Arc<Table>),
    Stop(Duration, oneshot::Sender<()>),
}

impl L4 {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives no thread, event loop or randomness.
    pub fn start() -> Result<L4, L4Error> {
        let (orders, inbox) = mpsc::unbounded_channel();
        let counters = Shown::default();
        let seed = Seeds.seed()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shown = counters.clone();
        std::thread::Builder::new().name("ingress-l4".to_owned()).spawn(move || {
            let hands = Hands { seed, shown, ..Hands::default() };
            LocalSet::new().block_on(&runtime, hands.run(inbox));
        })?;
        Ok(L4 { orders, counters })
    }

    /// Opens a socket; one that is open stays. `done` hears the outcome on the balancer's thread
    /// and must not block.
    pub fn open(&self, key: ListenKey, done: impl FnOnce(io::Result<()>) + Send + 'static) {
        self.order(Order::Open(key, Box::new(done)));
    }

    /// Accepts nothing there any more. TCP connections go on for the service's `drain_timeout`.
    pub fn close(&self, key: ListenKey) {
        self.order(Order::Close(key));
    }

    /// Chooses replicas from this table from now on. Connections to a replica that is not in it
    /// go on for the service's `drain_timeout`; UDP sessions move with their next datagram.
    pub fn serve(&self, table: Arc<Table>) {
        self.order(Order::Serve(table));
    }

    /// Accepts nothing more, lets open connections end for so long, and returns when its thread is
    /// done.
    pub async fn stop(&self, within: Duration) {
        let (done, over) = oneshot::channel();
        self.order(Order::Stop(within, done));
        // A thread that is gone has stopped.
        let _ = over.await;
    }

    /// What the open listeners did so far.
    pub fn counts(&self) -> BTreeMap<ListenKey, PortCounts> {
        self.meters().read()
    }

    /// What reads the counters. It does not keep the balancer alive.
    pub fn meters(&self) -> PortMeters {
        PortMeters(self.counters.clone())
    }

    fn order(&self, order: Order) {
        // The thread lives as long as a handle does.
        let _ = self.orders.send(order);
    }
}

impl fmt::Debug for L4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("L4").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Hands {
    seed: u64,
    shown: Shown,
    table: Arc<Table>,
    open: BTreeMap<ListenKey, (Rc<Listener>, JoinHandle<()>)>,
    /// Closed, but with connections.
    closed: Vec<Rc<Listener>>,
}

impl Hands {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Order>) {
        while let Some(order) = inbox.recv().await {
            self.closed.retain(|listener| listener.active() > 0);
            match order {
                Order::Open(key, done) => done(self.open(key)),
                Order::Close(key) => self.close(key).await,
                Order::Stop(within, done) => {
                    self.stop(within).await;
                    let _ = done.send(());
                    return;
                }
                Order::Serve(table) => {
                    for (listener, _) in self.open.values() {
                        listener.serve(table.clone());
                    }
                    self.table = table;
                }
            }
        }
    }

    fn open(&mut self, key: ListenKey) -> io::Result<()> {
        if self.open.contains_key(&key) {
            return Ok(());
        }
        let listener = Rc::new(Listener::new(key, self.table.clone(), self.seed));
        let task = match key.kind {
            ListenKind::Port(Protocol::Tcp) => {
                tokio::task::spawn_local(tcp::serve(listener.clone(), tcp::open(key.address)?))
            }
            ListenKind::Port(Protocol::Udp) => {
                tokio::task::spawn_local(udp::serve(listener.clone(), udp::open(key.address)?))
            }
            ListenKind::Http | ListenKind::Https => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a published port"));
            }
        };
        self.show(key, Some(listener.counters.clone()));
        self.open.insert(key, (listener, task));
        Ok(())
    }

    /// Returns when the socket is closed, so that it can be opened again.
    async fn close(&mut self, key: ListenKey) {
        let Some((listener, task)) = self.open.remove(&key) else { return };
        task.abort();
        // It ends as aborted, which is what was asked for.
        let _ = task.await;
        self.show(key, None);
        listener.close();
        self.closed.push(listener);
    }

    async fn stop(&mut self, within: Duration) {
        let keys: Vec<ListenKey> = self.open.keys().copied().collect();
        for key in keys {
            self.close(key).await;
        }
        let _ = tokio::time::timeout(within, async {
            while self.closed.iter().any(|listener| listener.active() > 0) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }

    fn show(&self, key: ListenKey, counters: Option<Arc<Counters>>) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        match counters {
            Some(counters) => shown.insert(key, counters),
            None => shown.remove(&key),
        };
    }
}
