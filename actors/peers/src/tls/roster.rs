//! The members that this node knows, and which of their certificates count.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use jaco_model::{ClusterId, NodeId};

use crate::pki::PeerId;

/// One member as the replicated state describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterEntry {
    /// The node.
    pub node: NodeId,
    /// Its raft id.
    pub raft_id: u64,
    /// Where its peer port is: `host:port`.
    pub address: String,
    /// Serial numbers, 32 lowercase hex digits each, of its certificates that are in use. `None` while
    /// this node's own view is old: the member may have a new one, and any of the cluster counts.
    pub serials: Option<Vec<String>>,
}

/// Why a certificate that leads to the cluster's root is refused all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// Its names are not those of a node.
    #[error("the certificate is not one of a node: {reason}")]
    Profile {
        /// What is wrong.
        reason: String,
    },
    /// It is of another cluster.
    #[error("the certificate is one of cluster {found}")]
    Cluster {
        /// The other cluster.
        found: ClusterId,
    },
    /// Its node is not a member, or no longer.
    #[error("node {node} is not a member")]
    Member {
        /// The node.
        node: NodeId,
    },
    /// Its node has other certificates now.
    #[error("the certificate {serial} of node {node} is not in use")]
    Serial {
        /// The node.
        node: NodeId,
        /// The serial number.
        serial: String,
    },
    /// It is of another node than the one that was dialled.
    #[error("dialled node {dialled}, found node {found}")]
    OtherNode {
        /// The node wanted.
        dialled: NodeId,
        /// The node that answered.
        found: NodeId,
    },
    /// It is of this very node.
    #[error("the certificate is this node's own")]
    Itself,
}

/// The current members, shared by all who check certificates; copies show the same members.
#[derive(Clone, Debug, Default)]
pub struct Roster(Arc<RwLock<Arc<BTreeMap<NodeId, RosterEntry>>>>);

impl Roster {
    /// A roster of these members.
    pub fn new(entries: Vec<RosterEntry>) -> Roster {
        let roster = Roster::default();
        roster.replace(entries);
        roster
    }

    /// Makes these the members from now on.
    pub fn replace(&self, entries: Vec<RosterEntry>) {
        let entries = entries.into_iter().map(|entry| (entry.node.clone(), entry)).collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(entries);
    }

    /// The members now.
    pub fn members(&self) -> Arc<BTreeMap<NodeId, RosterEntry>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The raft id of the member with this certificate.
    ///
    /// # Errors
    /// If its node is no member, or the certificate not in use. The cluster is checked by the
    /// caller.
    pub fn admit(&self, peer: &PeerId) -> Result<u64, NotAdmitted> {
        let members = self.members();
        let node = || peer.node_id.clone();
        let entry =
            members.get(&peer.node_id).ok_or_else(|| NotAdmitted::Member { node: node() })?;
        let is_in_use = |serials: &Vec<String>| serials.contains(&peer.serial);
        if !entry.serials.as_ref().is_none_or(is_in_use) {
            return Err(NotAdmitted::Serial { node: node(), serial: peer.serial.clone() });
        }
        Ok(entry.raft_id)
    }
}
