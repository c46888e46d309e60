//! Clusters on loopback for the tests of the transport.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use jaco_kit::Clock;
use jaco_model::{ClusterId, NodeId, WallMs};
use jaco_peers::pki::{Authority, NODE_LIFETIME, NodeKey};
use jaco_peers::tls::{Identity, RosterEntry};
use jaco_peers::transport::{Config, Handler, Limits, Peers};
use jaco_raft_core::eraftpb::{Message, MessageType, Snapshot};
use jaco_wire::peer::{Method, Refusal};

/// Far longer than anything here takes, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn cluster_id() -> ClusterId {
    ClusterId::from("3f2b8a52-8c0e-4f27-9d0c-1f2e3d4c5b6a")
}

pub(crate) fn node_id(number: u64) -> NodeId {
    NodeId::new(format!("{number:032x}"))
}

/// Waits until `check` gives something.
pub(crate) async fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let clock = Clock::new();
    while clock.mono().0 < u64::try_from(PATIENCE.as_millis()).unwrap() {
        if let Some(found) = check() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not happen");
}

/// What a node has in its files.
#[derive(Clone)]
pub(crate) struct Files {
    pub(crate) root: String,
    pub(crate) certificate: String,
    pub(crate) key: String,
    pub(crate) serial: String,
}

impl Files {
    pub(crate) fn identity(&self) -> Identity {
        Identity::from_pem(&self.root, &self.certificate, &self.key).unwrap()
    }
}

/// A root and what it signs.
pub(crate) struct Ca(pub(crate) Authority);

impl Ca {
    pub(crate) fn new() -> Ca {
        Ca(Authority::create(&cluster_id(), Clock::new().wall().into_ms()).unwrap())
    }

    pub(crate) fn issue(&self, number: u64) -> Files {
        self.issue_at(number, Clock::new().wall().into_ms())
    }

    /// A certificate as it would have been issued at another time.
    pub(crate) fn issue_at(&self, number: u64, now: WallMs) -> Files {
        self.issue_for(&cluster_id(), number, now)
    }

    pub(crate) fn issue_for(&self, cluster: &ClusterId, number: u64, now: WallMs) -> Files {
        let key = NodeKey::create().unwrap();
        let node = node_id(number);
        let signed = self.0.sign_node(&key.csr_der, cluster, &node, now, NODE_LIFETIME).unwrap();
        Files {
            root: self.0.cert_pem.clone(),
            certificate: signed.cert_pem,
            key: key.key_pem,
            serial: signed.serial,
        }
    }
}

trait IntoMs {
    fn into_ms(self) -> WallMs;
}

impl IntoMs for jaco_kit_core::Wall {
    fn into_ms(self) -> WallMs {
        WallMs(self.0)
    }
}

/// Notes everything and answers calls.
#[derive(Default)]
pub(crate) struct Notes {
    pub(crate) messages: Mutex<Vec<Message>>,
    pub(crate) snapshots: Mutex<Vec<Message>>,
    pub(crate) unreachable: Mutex<BTreeMap<u64, usize>>,
    pub(crate) reports: Mutex<Vec<(u64, bool)>>,
    pub(crate) violations: Mutex<Vec<(u64, &'static str)>>,
    pub(crate) refusals: Mutex<Vec<(Refusal, u64)>>,
    pub(crate) calls: Mutex<Vec<(NodeId, Method)>>,
    /// Items of streams that were asked for.
    pub(crate) produced: Arc<Mutex<u64>>,
    /// Streams and calls that were dropped before their end.
    pub(crate) dropped: Arc<Mutex<u64>>,
    pub(crate) installs: Mutex<bool>,
}

struct OnDrop(Arc<Mutex<u64>>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        *self.0.lock().unwrap() += 1;
    }
}

impl Handler for Notes {
    fn raft_message(&self, message: Message) {
        self.messages.lock().unwrap().push(message);
    }

    fn snapshot(&self, message: Message) -> BoxFuture<'static, bool> {
        self.snapshots.lock().unwrap().push(message);
        let installs = *self.installs.lock().unwrap();
        async move { installs }.boxed()
    }

    fn unreachable(&self, raft_id: u64) {
        *self.unreachable.lock().unwrap().entry(raft_id).or_default() += 1;
    }

    fn snapshot_reported(&self, raft_id: u64, installed: bool) {
        self.reports.lock().unwrap().push((raft_id, installed));
    }

    fn violation(&self, raft_id: u64, what: &'static str) {
        self.violations.lock().unwrap().push((raft_id, what));
    }

    fn refused(&self, _: &NodeId, why: Refusal, epoch: u64) {
        self.refusals.lock().unwrap().push((why, epoch));
    }

    /// `Ping` echoes, `Status` never answers, everything else is refused.
    fn call(
        &self,
        from: NodeId,
        method: Method,
        payload: Vec<u8>,
    ) -> BoxFuture<'static, Result<Vec<u8>, String>> {
        self.calls.lock().unwrap().push((from, method));
        match method {
            Method::Ping => async move { Ok(payload) }.boxed(),
            Method::Status => {
                let dropped = OnDrop(self.dropped.clone());
                async move {
                    let _dropped = dropped;
                    std::future::pending().await
                }
                .boxed()
            }
            _ => async { Err("not here".to_owned()) }.boxed(),
        }
    }

    /// As many items as the payload says in text, endless for `Status`, then an error for `Pull`.
    fn stream(
        &self,
        _: NodeId,
        method: Method,
        payload: Vec<u8>,
    ) -> BoxStream<'static, Result<Vec<u8>, String>> {
        let count: u64 = String::from_utf8(payload).unwrap().parse().unwrap_or(u64::MAX);
        let produced = self.produced.clone();
        let dropped = OnDrop(self.dropped.clone());
        let items = stream::iter(0..count).map(move |number| {
            let _ = &dropped;
            *produced.lock().unwrap() += 1;
            Ok(number.to_string().into_bytes())
        });
        match method {
            Method::Status => items.chain(stream::pending()).boxed(),
            Method::Pull => items.chain(stream::iter([Err("enough".to_owned())])).boxed(),
            _ => items.boxed(),
        }
    }
}

/// One running transport.
pub(crate) struct Node {
    pub(crate) number: u64,
    pub(crate) files: Files,
    pub(crate) identity: Identity,
    pub(crate) notes: Arc<Notes>,
    pub(crate) peers: Peers,
}

impl Node {
    pub(crate) fn start(number: u64, files: Files) -> Node {
        Node::start_with(number, files, |_| ())
    }

    pub(crate) fn start_with(number: u64, files: Files, change: impl FnOnce(&mut Config)) -> Node {
        let mut config = Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            cluster_id: cluster_id(),
            epoch: 1,
            me: node_id(number),
            raft_id: number,
            limits: Limits::default(),
        };
        change(&mut config);
        let notes = Arc::new(Notes { installs: Mutex::new(true), ..Notes::default() });
        let identity = files.identity();
        let peers = Peers::start(config, identity.clone(), Vec::new(), notes.clone()).unwrap();
        Node { number, files, identity, notes, peers }
    }

    pub(crate) fn entry(&self) -> RosterEntry {
        RosterEntry {
            node: node_id(self.number),
            raft_id: self.number,
            address: self.peers.local_addr().to_string(),
            serials: Some(vec![self.files.serial.clone()]),
        }
    }

    pub(crate) async fn ping(
        &self,
        other: u64,
    ) -> Result<Vec<u8>, jaco_peers::transport::CallError> {
        self.peers.call(&node_id(other), Method::Ping, b"hello".to_vec(), PATIENCE).await
    }

    /// Pings until it works, for whoever was started after the first attempt.
    pub(crate) async fn ping_until_answered(&self, other: u64) {
        let clock = Clock::new();
        while clock.mono().0 < u64::try_from(PATIENCE.as_millis()).unwrap() {
            if self.ping(other).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{other} does not answer {}", self.number);
    }
}

/// `count` nodes that know each other, numbered from 1.
pub(crate) fn cluster(count: u64) -> (Ca, Vec<Node>) {
    let ca = Ca::new();
    let nodes: Vec<Node> =
        (1..=count).map(|number| Node::start(number, ca.issue(number))).collect();
    introduce(&nodes);
    (ca, nodes)
}

/// Makes all nodes members of each other's rosters.
pub(crate) fn introduce(nodes: &[Node]) {
    let roster: Vec<RosterEntry> = nodes.iter().map(Node::entry).collect();
    for node in nodes {
        node.peers.set_roster(roster.clone());
    }
}

pub(crate) fn message(kind: MessageType, from: u64, to: u64, index: u64) -> Message {
    Message { msg_type: kind as i32, from, to, term: 3, index, ..Message::default() }
}

pub(crate) fn snapshot(from: u64, to: u64, data: Vec<u8>) -> Message {
    let snapshot = Some(Snapshot { data, ..Snapshot::default() });
    Message { snapshot, ..message(MessageType::MsgSnapshot, from, to, 0) }
}
