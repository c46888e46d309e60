//! How a node learns that it was removed while it could not be reached.
//!
//! The peer port of every member refuses it, so it asks at the door, where only the members prove
//! who they are. It believes that it is out once more than half of those whom it knew say so.

use super::Hub;
use jaco_model::{Fault, NodeId};
use jaco_peers::join_call;
use jaco_peers::pki::{JoinToken, spki_digest};
use serde::{Deserialize, Serialize};

/// Rounds of asking the members in vain before the door is asked.
pub(super) const ROUNDS: u32 = 3;

/// The call at the door.
const PATH: &str = "/v1/cluster/standing";

/// Who asks.
#[derive(Debug, Serialize, Deserialize)]
struct Question {
    node: NodeId,
}

/// How a member sees a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Standing {
    Member,
    Removed,
    Unknown,
}

impl Hub {
    /// Answers a node at the door.
    pub(crate) fn standing_of(&self, payload: &[u8]) -> Result<Vec<u8>, Fault> {
        use crate::daemon::cluster::internal;
        let Question { node } = serde_json::from_slice(payload).map_err(internal)?;
        let inner = self.inner.borrow();
        let state = inner.member.state();
        let is_buried = state
            .tombstones
            .values()
            .any(|tombstone| tombstone.node == node && !tombstone.rejoined);
        let standing = if state.nodes.contains_key(&node) {
            Standing::Member
        } else if is_buried && inner.member.has_caught_up() && inner.leader.is_some() {
            Standing::Removed
        } else {
            Standing::Unknown
        };
        serde_json::to_vec(&standing).map_err(internal)
    }

    /// Asks at the doors of those whom this node knows; says so on the board when it is out.
    pub(super) async fn ask_at_doors(&self) {
        let state = self.state();
        let me = self.inner.borrow().me.clone();
        let Some(trust) = state.cluster.as_ref().and_then(|cluster| cluster.trust.as_ref()) else {
            return;
        };
        let Ok(digest) = spki_digest(&trust.certificate) else { return };
        let Ok(body) = serde_json::to_vec(&Question { node: me.clone() }) else { return };
        // Only the digest of a token matters to who is believed; there is no secret to send.
        let token = JoinToken { digest, secret: [0; 16] };
        let others: Vec<String> = state
            .nodes
            .values()
            .filter(|node| node.id != me)
            .map(|node| node.facts.api_address.clone())
            .collect();
        let asked = others.iter().map(|door| join_call(door, &token, PATH, body.clone()));
        let answers = futures_util::future::join_all(asked).await;
        let says_removed = |(status, bytes): &(u16, Vec<u8>)| {
            *status == 200
                && serde_json::from_slice(bytes)
                    .is_ok_and(|said: Standing| said == Standing::Removed)
        };
        let n_removed = answers.into_iter().flatten().filter(says_removed).count();
        if n_removed > others.len() / 2 {
            tracing::warn!(n_removed, "other members say that this node was removed");
            self.inner.borrow().boards.removed.send_replace(true);
        }
    }
}
