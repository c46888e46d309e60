//! What the hub asks of other members, and what they ask of it.

use super::{Hub, Inner, Written, push_to};
use crate::daemon::network::decode_fault;
use jaco_kit_core::OpId;
use jaco_liveness_core::Word;
use jaco_model::command::Reply;
use jaco_model::{ErrorCode, Fault, NodeId};
use jaco_peers::tls::RosterEntry;
use jaco_peers::transport::CallError;
use jaco_wire::peer::Method;
use jaco_wiring::Peer;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::sync::oneshot;

impl Hub {
    /// A command that another member hands over.
    pub(crate) fn forwarded(&self, from: &NodeId, data: &[u8], answer: oneshot::Sender<Written>) {
        let now = self.now();
        let steps = {
            let mut inner = self.inner.borrow_mut();
            let ticket = inner.ticket();
            inner.waiting.insert(ticket, answer);
            inner.member.forwarded(now, from, ticket, data)
        };
        self.run(steps);
    }

    /// A probe of another member; gives what this one has to say.
    pub(crate) fn heard(&self, from: NodeId, word: Word) -> Word {
        self.compare(&from, &word);
        let inner = self.inner.borrow();
        let input = jaco_liveness_core::Input::Heard { from, word };
        push_to(inner.links.liveness.as_ref(), input);
        let applied_index = inner.member.state().applied_index;
        inner.member.with_checkpoint(Word { applied_index, ..inner.word.clone() })
    }

    /// Holds the state of another member against this one's.
    fn compare(&self, from: &NodeId, word: &Word) {
        let steps = self.inner.borrow_mut().member.heard(from, word);
        self.run(steps);
    }

    /// Takes a snapshot of the leader in; `installed` is told once it is durable and shown.
    pub(crate) fn install(
        &self,
        message: Box<jaco_raft_core::eraftpb::Message>,
        installed: oneshot::Sender<bool>,
    ) {
        let index = message.get_snapshot().get_metadata().index;
        let is_intact = jaco_wire::verify_snapshot(&message.get_snapshot().data).is_ok();
        let mut inner = self.inner.borrow_mut();
        if !is_intact {
            tracing::warn!(index, "snapshot of a peer is damaged");
            // The sender of a snapshot that is not installed tries again.
            let _ = installed.send(false);
            return;
        }
        let is_known = inner.member.state().applied_index >= index;
        if is_known {
            let _ = installed.send(true);
        } else {
            inner.installing.push((index, installed));
        }
        push_to(inner.links.raft.as_ref(), jaco_raft_core::Input::PeerMessage(message));
    }

    /// Whether it may be true that this node was removed: its own log says that it leaves, or its
    /// leader says so. Nobody else takes down what runs here.
    pub(crate) fn believes_removal(&self, from: &NodeId) -> bool {
        let inner = self.inner.borrow();
        let own = inner.member.state().nodes.get(&inner.me);
        own.is_some_and(|own| own.leaving.is_some()) || inner.leader.as_ref() == Some(from)
    }

    /// Calls another member.
    pub(crate) async fn call(
        &self,
        node: &NodeId,
        method: Method,
        payload: Vec<u8>,
        limit: Duration,
    ) -> Result<Vec<u8>, Fault> {
        let host = || {
            let inner = self.inner.borrow();
            let known = inner.member.state().nodes.get(node);
            known.map_or_else(|| node.to_string(), |node| node.name.to_string())
        };
        let unreachable = |reason: &str| unreachable(&host(), reason);
        let Some(peers) = self.peers() else { return Err(unreachable("no network")) };
        peers.call(node, method, payload, limit).await.map_err(|error| match error {
            CallError::Refused(text) => decode_fault(&text),
            CallError::Unreachable | CallError::TooMany => unreachable(&error.to_string()),
            // What it was asked may have happened.
            CallError::Timeout | CallError::Closed => {
                unreachable(&error.to_string()).with("outcome", "unknown")
            }
        })
    }

    /// Hands a command to the leader.
    pub(super) fn forward(&self, op: OpId, to: NodeId, data: Vec<u8>) {
        let hub = self.clone();
        actix::spawn(async move {
            let answered = hub.call(&to, Method::Forward, data, FORWARD_LIMIT).await;
            let outcome = answered.and_then(|bytes| {
                let answer: ForwardReply = serde_json::from_slice(&bytes).map_err(unclear)?;
                Ok((answer.index, answer.result))
            });
            let steps = hub.inner.borrow_mut().member.forward_answered(op, outcome);
            hub.run(steps);
        });
    }

    pub(super) fn ask_read(&self, op: OpId, to: NodeId) {
        let hub = self.clone();
        actix::spawn(async move {
            let answered = hub.call(&to, Method::ReadIndex, Vec::new(), READ_LIMIT).await;
            let result = answered.and_then(|bytes| serde_json::from_slice(&bytes).map_err(unclear));
            let now = hub.now();
            let steps = hub.inner.borrow_mut().member.read_answered(now, op, result);
            hub.run(steps);
        });
    }

    pub(super) fn probe(&self, op: OpId, to: NodeId, word: Word) {
        let hub = self.clone();
        self.inner.borrow_mut().word = word.clone();
        actix::spawn(async move {
            let answered = hub.call(&to, Method::Ping, word.encode(), PROBE_LIMIT).await;
            let answered = answered.ok().and_then(|bytes| Word::decode(&bytes).ok());
            if let Some(word) = &answered {
                hub.compare(&to, word);
            }
            let input = match answered {
                Some(word) => jaco_liveness_core::Input::Answered { op, word },
                None => jaco_liveness_core::Input::Failed { op },
            };
            push_to(hub.inner.borrow().links.liveness.as_ref(), input);
        });
    }

    pub(super) fn tell_removed(&self, node: NodeId) {
        let hub = self.clone();
        actix::spawn(async move {
            if let Err(fault) = hub.call(&node, Method::Removed, Vec::new(), READ_LIMIT).await {
                tracing::info!(%node, %fault, "removed node does not know it");
            }
            let now = hub.now();
            let steps = hub.inner.borrow_mut().member.told_removed(now, node);
            hub.run(steps);
        });
    }
}

impl Inner {
    /// Tells the leader's transport that its snapshot is in use here.
    pub(super) fn installed(&mut self, index: u64) {
        let waiting = std::mem::take(&mut self.installing);
        for (at, installed) in waiting {
            if at <= index {
                // The connection may have gone; raft finds out by itself.
                let _ = installed.send(true);
            } else {
                self.installing.push((at, installed));
            }
        }
    }
}

pub(super) fn entry(peer: &Peer) -> RosterEntry {
    RosterEntry {
        node: peer.node.clone(),
        raft_id: peer.raft_id,
        address: peer.address.clone(),
        serials: peer.serials.clone(),
    }
}

/// How long the leader may take with a command.
const FORWARD_LIMIT: Duration = Duration::from_secs(10);
/// How long the leader may take to say how far its log is.
const READ_LIMIT: Duration = Duration::from_secs(3);
/// The liveness core waits no longer than this for an answer.
const PROBE_LIMIT: Duration = Duration::from_millis(400);

/// How the leader answers a command that was handed to it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ForwardReply {
    pub(crate) index: u64,
    pub(crate) result: Result<Reply, Fault>,
}

fn unclear(error: serde_json::Error) -> Fault {
    Fault::new(
        ErrorCode::VersionSkew,
        format!("the answer of the leader is not understood: {error}"),
    )
}

/// Another member cannot be asked.
fn unreachable(host: &str, reason: &str) -> Fault {
    Fault::new(ErrorCode::NodeUnreachable, format!("{host}: {reason}")).with("host", host)
}
