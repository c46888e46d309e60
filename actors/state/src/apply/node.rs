//! The cluster's beginning, and what nodes say about themselves.

use super::{Tx, address};
use jaco_model::command::{InitCluster, Reply, Sight};
use jaco_model::entity::{ClusterMeta, Node, NodeFacts, NodeStatus};
use jaco_model::event::Event;
use jaco_model::{ErrorCode, Fault, NodeId};
use std::collections::BTreeMap;

/// Hex digits of the key of the spec hashes.
const HASH_KEY_DIGITS: usize = 64;

pub(super) fn init_cluster(tx: &mut Tx<'_>, init: &InitCluster) -> Result<Reply, Fault> {
    if let Some(cluster) = &tx.state.cluster {
        let message = format!("this node already belongs to cluster \"{}\"", cluster.name);
        return Err(Fault::new(ErrorCode::ClusterAlreadyInitialized, message)
            .with("cluster_id", &cluster.cluster_id));
    }
    let hex = init.hash_key.bytes().all(|digit| digit.is_ascii_hexdigit());
    if !hex || init.hash_key.len() != HASH_KEY_DIGITS {
        let message = format!("the hash key must be {HASH_KEY_DIGITS} hex digits");
        return Err(invalid(message, "hash_key", "format"));
    }
    if !(1..=50).contains(&init.history_limit) {
        let message = "the number of kept revisions must be between 1 and 50";
        return Err(invalid(message, "history_limit", "range"));
    }
    init.ipam.map_or(Ok(()), |ipam| ipam.check())?;
    address::check_mesh_key(tx.state, &init.node.id, init.node.facts.mesh.as_ref())?;
    tx.state.put_cluster(ClusterMeta {
        cluster_id: init.cluster_id.clone(),
        name: init.name.clone(),
        epoch: 1,
        created_at: tx.now,
        feature_level: 1,
        hash_key: init.hash_key.clone(),
        cluster_time: tx.now,
        history_limit: init.history_limit,
        trust: init.trust.clone(),
        ipam: init.ipam,
    });
    let mesh_address = address::free_mesh_address(tx)?;
    tx.state.put(Node { mesh_address, ..init.node.clone() });
    tx.events.push(Event::ClusterChanged);
    tx.events.push(Event::NodeChanged(init.node.id.clone()));
    let facts = [
        ("cluster_id", init.cluster_id.to_string()),
        ("name", init.name.clone()),
        ("host", init.node.name.to_string()),
    ];
    tx.audit("cluster_init", &facts);
    Ok(Reply::Done)
}

pub(super) fn report_node(
    tx: &mut Tx<'_>,
    id: &NodeId,
    status: NodeStatus,
    facts: &NodeFacts,
) -> Result<Reply, Fault> {
    let Some(node) = tx.state.nodes.get(id) else {
        tx.drop_part(unknown_node(id));
        return Ok(Reply::Done);
    };
    address::check_mesh_key(tx.state, id, facts.mesh.as_ref())?;
    let mut node = node.as_ref().clone();
    // Whether a node is down is the leader's word; one that cannot be heard cannot deny it.
    if node.status != NodeStatus::Down && status != NodeStatus::Down {
        node.status = status;
    }
    node.facts = facts.clone();
    if tx.state.put(node) {
        tx.events.push(Event::NodeChanged(id.clone()));
    }
    Ok(Reply::Done)
}

/// A line of the audit log; what it says of the host is the node's word.
pub(super) fn witness(
    tx: &mut Tx<'_>,
    id: &NodeId,
    sight: Sight,
    facts: &BTreeMap<String, String>,
) -> Result<Reply, Fault> {
    let Some(node) = tx.state.nodes.get(id) else { return Err(unknown_node(id)) };
    let host = ("host", node.name.to_string());
    let facts = facts.iter().map(|(key, value)| (key.as_str(), value.clone()));
    let facts: Vec<_> = std::iter::once(host).chain(facts).collect();
    tx.audit(sight.as_str(), &facts);
    Ok(Reply::Done)
}

pub(super) fn unknown_node(id: &NodeId) -> Fault {
    let message = format!("node {id} is not a member");
    Fault::new(ErrorCode::NotFound, message).with("kind", "node").with("name", id)
}

/// A command that no proper client sends.
pub(super) fn invalid(message: impl Into<String>, field: &str, reason: &str) -> Fault {
    Fault::new(ErrorCode::ValidationFailed, message).with("field", field).with("reason", reason)
}
