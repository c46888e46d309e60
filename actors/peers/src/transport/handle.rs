//! The handle by which the daemon uses the transport.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use futures_util::Stream;
use jaco_model::NodeId;
use jaco_raft_core::encode_message;
use jaco_raft_core::eraftpb::{Message, MessageType};
use jaco_wire::peer::{FRAME_MAX, Method};
use tokio::runtime::{self, Runtime};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::error::Error;
use crate::tls::{Identity, RosterEntry, peer_server_config};
use crate::transport::accept;
use crate::transport::calls::{self, CallError};
use crate::transport::config::{Config, Handler};
use crate::transport::counters::{Counters, count};
use crate::transport::replies::Replies;
use crate::transport::shared::{Shared, lock};
use crate::transport::snapshot_out;

/// What fits into a frame beside its envelope; the raft core makes messages far smaller than this.
const MESSAGE_MAX: usize = FRAME_MAX - 64;

/// The transport of this member. Copies are cheap; the last one that is dropped ends it.
#[derive(Clone, Debug)]
pub struct Peers {
    shared: Arc<Shared>,
    thread: Arc<Thread>,
    address: SocketAddr,
}

/// The thread on which everything runs.
#[derive(Debug)]
struct Thread {
    stop: Mutex<Option<oneshot::Sender<()>>>,
    running: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Thread {
    fn drop(&mut self) {
        drop(lock(&self.stop).take());
    }
}

/// Ends the task of a call with the future that waits for it.
struct EndTask(AbortHandle);

impl Drop for EndTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Peers {
    /// Opens the peer port and starts the thread.
    ///
    /// # Errors
    /// If the port cannot be opened or the thread not started.
    pub fn start(
        config: Config,
        identity: Identity,
        roster: Vec<RosterEntry>,
        handler: Arc<dyn Handler>,
    ) -> Result<Peers, Error> {
        let listen = config.listen;
        let opened = TcpListener::bind(listen)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
        let listener = opened.map_err(|source| Error::Listen { address: listen, source })?;
        let runtime =
            runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Thread)?;
        let handle = runtime.handle().clone();
        let (listener, address) = {
            let _inside = handle.enter();
            tokio::net::TcpListener::from_std(listener)
                .and_then(|listener| listener.local_addr().map(|address| (listener, address)))
                .map_err(|source| Error::Listen { address: listen, source })?
        };
        let shared = Arc::new(Shared::new(config, identity, handler, handle.clone()));
        let server = peer_server_config(&shared.identity, &shared.roster)?;
        shared.set_roster(roster);
        handle.spawn(accept::run(shared.clone(), listener, server));
        let (stop, stopped) = oneshot::channel();
        let inside = shared.clone();
        let running = thread::Builder::new()
            .name("peers".into())
            .spawn(move || run(runtime, &inside, stopped))
            .map_err(Error::Thread)?;
        let thread = Thread { stop: Mutex::new(Some(stop)), running: Mutex::new(Some(running)) };
        Ok(Peers { shared, thread: Arc::new(thread), address })
    }

    /// Where the peer port is.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Makes these the members. Connections with all others end at once, changed addresses are
    /// used from now on. This node's own entry is ignored.
    pub fn set_roster(&self, roster: Vec<RosterEntry>) {
        self.shared.set_roster(roster);
    }

    /// Sends raft messages to the members in their `to`. Never waits; what cannot be sent is
    /// reported to the handler. Each snapshot is reported exactly once.
    pub fn send(&self, messages: Vec<Message>) {
        for message in messages {
            if message.msg_type == MessageType::MsgSnapshot as i32 {
                snapshot_out::send(&self.shared, message);
                continue;
            }
            let Some(peer) = self.shared.peer_by_raft_id(message.to) else {
                count(&self.shared.tally.dropped_messages);
                continue;
            };
            let bytes = encode_message(&message);
            if bytes.len() > MESSAGE_MAX {
                tracing::error!(raft_id = message.to, size = bytes.len(), "raft message too large");
                count(&self.shared.tally.dropped_messages);
                continue;
            }
            if !peer.queue.push(bytes) {
                count(&self.shared.tally.dropped_messages);
                self.shared.report_unreachable(&peer);
            }
        }
    }

    /// Calls a member. The call begins at once and ends when the future is dropped, which may be
    /// polled anywhere.
    pub fn call(
        &self,
        node: &NodeId,
        method: Method,
        payload: Vec<u8>,
        timeout: Duration,
    ) -> impl Future<Output = Result<Vec<u8>, CallError>> + Send + 'static + use<> {
        let peer = self.shared.peer(node);
        let (answered, answer) = oneshot::channel();
        let task = self.shared.runtime.spawn(async move {
            let result = match peer {
                Some(peer) => calls::call(peer, method, payload, timeout).await,
                None => Err(CallError::Unreachable),
            };
            // A caller that has gone does not need it.
            let _ = answered.send(result);
        });
        let end = EndTask(task.abort_handle());
        async move {
            let _end = end;
            answer.await.unwrap_or(Err(CallError::Closed))
        }
    }

    /// Reads a stream of a member. An item that is an error is the last; dropping the stream ends
    /// it there.
    pub fn stream(
        &self,
        node: &NodeId,
        method: Method,
        payload: Vec<u8>,
    ) -> impl Stream<Item = Result<Vec<u8>, CallError>> + Send + Unpin + 'static + use<> {
        let peer = self.shared.peer(node).ok_or(CallError::Unreachable);
        Replies::new(peer.and_then(|peer| calls::open_stream(peer, method, payload)))
    }

    /// How long ago a member was last heard; `None` if never since the start.
    pub fn silence(&self, node: &NodeId) -> Option<Duration> {
        self.shared.peer(node)?.silence(self.shared.clock.mono())
    }

    /// What happened since the start.
    pub fn counters(&self) -> Counters {
        self.shared.tally.snapshot()
    }

    /// Ends all connections and calls, and the thread. Waits for it, except on the thread itself.
    pub fn shutdown(&self) {
        drop(lock(&self.thread.stop).take());
        let running = lock(&self.thread.running).take();
        if let Some(running) = running
            && running.thread().id() != thread::current().id()
        {
            // A panic there has already ended the process, or is a test's to report.
            let _ = running.join();
        }
    }
}

/// The life of the thread.
fn run(runtime: Runtime, shared: &Shared, stopped: oneshot::Receiver<()>) {
    // Nothing is ever sent: the sender is dropped.
    let _ = runtime.block_on(stopped);
    shared.retire_all();
    // Does not wait for a name that is being looked up.
    runtime.shutdown_background();
}
