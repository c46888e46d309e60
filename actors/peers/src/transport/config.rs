//! What the transport is told at start, and whom it tells what arrives.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use jaco_model::{ClusterId, NodeId};
use jaco_raft_core::eraftpb::Message;
use jaco_wire::peer::{Method, Refusal};

/// Who this member is and where it listens.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address of the peer port; port 0 takes any free one.
    pub listen: SocketAddr,
    /// The cluster.
    pub cluster_id: ClusterId,
    /// How often the cluster was recovered; members of other epochs are refused.
    pub epoch: u64,
    /// This node.
    pub me: NodeId,
    /// The raft id of this node.
    pub raft_id: u64,
    /// Bounds of queues, times and sizes.
    pub limits: Limits,
}

/// Bounds of the transport; the default is what members use.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Raft messages that wait for one peer.
    pub queue_messages: usize,
    /// Bytes of raft messages that wait for one peer.
    pub queue_bytes: usize,
    /// Calls and streams that are open towards one peer, or from one.
    pub calls: usize,
    /// Payload bytes that wait to be sent on one connection for calls, or are being worked on.
    pub call_bytes: u32,
    /// Connections that are not authenticated yet, from one address.
    pub handshakes_per_address: usize,
    /// Connections that are not authenticated yet.
    pub handshakes: usize,
    /// Bytes read from a connection before it is authenticated.
    pub handshake_bytes: usize,
    /// Time for TLS, and then for the exchange of hellos.
    pub handshake_timeout: Duration,
    /// Time for a TCP connection.
    pub connect_timeout: Duration,
    /// The first wait after a failure to connect; it doubles with each.
    pub backoff_first: Duration,
    /// The longest wait after a failure to connect.
    pub backoff_max: Duration,
    /// Bytes of the largest snapshot that is accepted.
    pub snapshot_bytes: u64,
    /// Snapshots that are received at a time.
    pub snapshots: usize,
    /// How long a snapshot may make no progress.
    pub snapshot_patience: Duration,
    /// Unreachable peers are reported at most once in this time.
    pub report_interval: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            queue_messages: 1_024,
            queue_bytes: 8 << 20,
            calls: 1_024,
            call_bytes: 64 << 20,
            handshakes_per_address: 64,
            handshakes: 1_024,
            handshake_bytes: 16 << 10,
            handshake_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(2),
            backoff_first: Duration::from_millis(100),
            backoff_max: Duration::from_secs(2),
            snapshot_bytes: 1 << 30,
            snapshots: 2,
            snapshot_patience: Duration::from_secs(600),
            report_interval: Duration::from_millis(100),
        }
    }
}

/// Takes what peers send. Called on the thread of the transport, so it must not wait.
///
/// Everything comes from a verified member; what it says is checked no further than its sender.
pub trait Handler: Send + Sync + 'static {
    /// A raft message of a kind that peers send, `from` its true sender.
    fn raft_message(&self, message: Message);

    /// A raft message with a whole snapshot; resolves to whether it was installed.
    fn snapshot(&self, message: Message) -> BoxFuture<'static, bool>;

    /// Messages to a member were lost.
    fn unreachable(&self, raft_id: u64);

    /// A snapshot to a member was installed there, or not. Once for each that was sent.
    fn snapshot_reported(&self, raft_id: u64, installed: bool);

    /// A member sent what no correct member sends. It was dropped.
    fn violation(&self, raft_id: u64, what: &'static str);

    /// A call of a member. An error is a refusal with its reason.
    fn call(
        &self,
        from: NodeId,
        method: Method,
        payload: Vec<u8>,
    ) -> BoxFuture<'static, Result<Vec<u8>, String>>;

    /// A stream that a member wants to read. An error ends it.
    fn stream(
        &self,
        from: NodeId,
        method: Method,
        payload: Vec<u8>,
    ) -> BoxStream<'static, Result<Vec<u8>, String>>;

    /// A member refused a connection of this one, and said its own epoch.
    fn refused(&self, node: &NodeId, why: Refusal, epoch: u64) {
        let _ = (node, why, epoch);
    }
}
