//! How nodes become members, stay known and leave.
//!
//! ```text
//!  token ──JoinNode──▶ joining ──ReportNode──▶ ready ──RemoveNode──▶ leaving ──ForgetNode──▶ gone
//!                                  ▲    │
//!                     SetLiveness up    SetLiveness down
//!                                  │    ▼
//!                                  down
//! ```

use super::node::{invalid, unknown_node};
use super::report::end_instance;
use super::{Tx, address, restart};
use jaco_model::command::{JoinNode, Reply};
use jaco_model::entity::{
    Instance, InstanceState, JoinToken, JoinTokenUse, Leaving, Node, NodeStatus, Slot, Tombstone,
    Trust,
};
use jaco_model::event::Event;
use jaco_model::spec::MountKind;
use jaco_model::{ErrorCode, Fault, Millis, NodeId, NodeName, WallMs};

/// How long a joiner whose answer was lost may ask again.
const RETRY_WINDOW: Millis = Millis::secs(15 * 60);

/// Hex digits of a SHA-256.
const DIGEST_DIGITS: usize = 64;

/// Tokens that may be open at once: an operator with a loop cannot fill the state.
const TOKENS_MAX: usize = 1_000;

pub(super) fn issue_join_token(
    tx: &mut Tx<'_>,
    secret_hash: &str,
    expires_at: WallMs,
) -> Result<Reply, Fault> {
    prune_tokens(tx);
    let is_digest = secret_hash.len() == DIGEST_DIGITS
        && secret_hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if !is_digest {
        return Err(invalid(
            "the hash of the secret must be 64 hex digits",
            "secret_hash",
            "format",
        ));
    }
    if expires_at <= tx.now {
        return Err(invalid("the token would have expired already", "expires_at", "range"));
    }
    if tx.state.join_tokens.contains_key(secret_hash) {
        let message = "a token with this secret exists already";
        return Err(Fault::new(ErrorCode::AlreadyExists, message).with("kind", "token"));
    }
    if tx.state.join_tokens.len() >= TOKENS_MAX {
        let message = "too many join tokens are open; wait until some expire";
        return Err(Fault::new(ErrorCode::LimitExceeded, message).with("limit", TOKENS_MAX));
    }
    let (issued_at, issuer) = (tx.now, tx.identity.clone());
    let secret_hash = secret_hash.to_owned();
    tx.state.put(JoinToken { secret_hash, issued_at, expires_at, issuer, used: None });
    tx.audit("token_issue", &[("kind", "join".to_owned())]);
    Ok(Reply::Done)
}

/// Forgets tokens that nobody can use or ask about any more.
fn prune_tokens(tx: &mut Tx<'_>) {
    let is_over = |token: &JoinToken| match &token.used {
        Some(used) => used.at.0.saturating_add(RETRY_WINDOW.0) < tx.now.0,
        None => token.expires_at < tx.now,
    };
    let over: Vec<String> = tx
        .state
        .join_tokens
        .values()
        .filter(|token| is_over(token))
        .map(|token| token.secret_hash.clone())
        .collect();
    for hash in over {
        tx.state.take::<JoinToken>(&hash);
    }
}

pub(super) fn join(tx: &mut Tx<'_>, join: &JoinNode) -> Result<Reply, Fault> {
    let Some(token) = tx.state.join_tokens.get(&join.secret_hash).cloned() else {
        return Err(token_invalid("unknown", "this join token is not known; issue a new one"));
    };
    if let Some(used) = token.used.as_ref().filter(|_| !forgets_use()) {
        return repeated(tx, used, join);
    }
    if token.expires_at < tx.now {
        return Err(token_invalid("expired", "this join token has expired; issue a new one"));
    }
    let node = &join.node;
    check_newcomer(tx, node)?;
    address::check_mesh_key(tx.state, &node.id, node.facts.mesh.as_ref())?;
    let mesh_address = address::free_mesh_address(tx)?;
    let member = Node {
        status: NodeStatus::Joining,
        schedulable: true,
        voter: false,
        joined_at: tx.now,
        serials: Vec::new(),
        liveness_epoch: 0,
        leaving: None,
        mesh_address,
        ..node.clone()
    };
    let (key_digest, id) = (join.key_digest.clone(), node.id.clone());
    let used = Some(JoinTokenUse { at: tx.now, key_digest, node: id.clone() });
    tx.state.put(JoinToken { used, ..token.as_ref().clone() });
    tx.state.put(member);
    tx.events.push(Event::NodeChanged(id.clone()));
    let facts = [("host", node.name.to_string()), ("address", node.facts.address.clone())];
    tx.audit("node_join", &facts);
    Ok(Reply::Joined { node: id, raft_id: node.raft_id })
}

/// Whether the simulator wants a token to work twice.
#[cfg(feature = "seeded-bugs")]
fn forgets_use() -> bool {
    crate::seeded::is_seeded(crate::SeededBug::TokenTwice)
}

#[cfg(not(feature = "seeded-bugs"))]
const fn forgets_use() -> bool {
    false
}

/// A second use of a token: the same joiner gets the same answer, anybody else nothing.
fn repeated(tx: &Tx<'_>, used: &JoinTokenUse, join: &JoinNode) -> Result<Reply, Fault> {
    let is_recent = used.at.0.saturating_add(RETRY_WINDOW.0) >= tx.now.0;
    let member = tx.state.nodes.get(&used.node);
    match member.filter(|_| is_recent && used.key_digest == join.key_digest) {
        Some(member) => Ok(Reply::Joined { node: member.id.clone(), raft_id: member.raft_id }),
        None => Err(token_invalid("consumed", "this join token was used; issue a new one")),
    }
}

fn check_newcomer(tx: &Tx<'_>, node: &Node) -> Result<(), Fault> {
    if let Some(member) = tx.state.nodes.values().find(|member| member.name == node.name) {
        let message = format!("a node called \"{}\" is a member already", node.name);
        return Err(Fault::new(ErrorCode::NodeAlreadyMember, message)
            .with("host", &node.name)
            .with("hint", format!("jaco node remove --force {}, if it is gone", member.name)));
    }
    let is_taken = tx.state.nodes.contains_key(&node.id)
        || tx.state.tombstones.values().any(|tombstone| tombstone.node == node.id);
    if is_taken || !raft_id_is_free(tx, node.raft_id) {
        let message = "the ids drawn for the new member are in use; try again";
        return Err(Fault::new(ErrorCode::Conflict, message).with("operation", "join"));
    }
    Ok(())
}

fn raft_id_is_free(tx: &Tx<'_>, raft_id: u64) -> bool {
    raft_id != 0
        && !tx.state.tombstones.contains_key(&raft_id)
        && tx.state.nodes.values().all(|member| member.raft_id != raft_id)
}

fn token_invalid(reason: &str, message: &str) -> Fault {
    Fault::new(ErrorCode::TokenInvalid, message).with("kind", "join").with("reason", reason)
}

pub(super) fn rejoin(
    tx: &mut Tx<'_>,
    id: &NodeId,
    old_raft_id: u64,
    raft_id: u64,
) -> Result<Reply, Fault> {
    let Some(member) = tx.state.nodes.get(id).cloned() else { return Err(unknown_node(id)) };
    if member.leaving.is_some() {
        let message = format!("node {} is being removed", member.name);
        return Err(Fault::new(ErrorCode::Conflict, message).with("operation", "remove"));
    }
    if member.raft_id != old_raft_id {
        return rejoined_already(tx, &member, old_raft_id);
    }
    if !raft_id_is_free(tx, raft_id) {
        let message = "the id drawn for the member is in use; try again";
        return Err(Fault::new(ErrorCode::Conflict, message).with("operation", "rejoin"));
    }
    bury(tx, &member, true);
    let status = match member.status {
        NodeStatus::Down => NodeStatus::Down,
        NodeStatus::Joining | NodeStatus::Ready => NodeStatus::Joining,
    };
    tx.state.put(Node { raft_id, status, voter: false, ..member.as_ref().clone() });
    tx.events.push(Event::NodeChanged(id.clone()));
    tx.audit("node_rejoined", &[("host", member.name.to_string())]);
    Ok(Reply::Joined { node: id.clone(), raft_id })
}

/// The answer was lost, and this is the same wish again: soon after, and while nobody can have used
/// the id. Otherwise it comes from an old copy of the disk, and an id is never used by two logs.
fn rejoined_already(tx: &Tx<'_>, member: &Node, old_raft_id: u64) -> Result<Reply, Fault> {
    let grave = tx.state.tombstones.get(&old_raft_id);
    let is_recent = grave.is_some_and(|grave| {
        let until = grave.removed_at.0.saturating_add(RETRY_WINDOW.0);
        grave.node == member.id && grave.rejoined && until >= tx.now.0
    });
    if is_recent && !member.voter && member.status != NodeStatus::Ready {
        return Ok(Reply::Joined { node: member.id.clone(), raft_id: member.raft_id });
    }
    let message = format!("{} goes on under another raft id already", member.name);
    Err(Fault::new(ErrorCode::Conflict, message).with("operation", "rejoin").with(
        "hint",
        format!("jaco node remove --force {}, then join with a new token", member.name),
    ))
}

fn bury(tx: &mut Tx<'_>, member: &Node, rejoined: bool) {
    tx.state.put(Tombstone {
        raft_id: member.raft_id,
        node: member.id.clone(),
        name: member.name.clone(),
        removed_at: tx.now,
        rejoined,
        mesh_address: member.mesh_address.filter(|_| !rejoined),
    });
}

pub(super) fn remove(tx: &mut Tx<'_>, id: &NodeId, leaving: Leaving) -> Result<Reply, Fault> {
    let Some(member) = tx.state.nodes.get(id).cloned() else { return Err(unknown_node(id)) };
    let is_last = tx.state.nodes.values().all(|other| other.id == *id || other.leaving.is_some());
    if is_last {
        let message = format!("{} is the last member that stays", member.name);
        return Err(Fault::new(ErrorCode::WouldLoseQuorum, message).with("voters", 1));
    }
    if member.leaving == Some(Leaving::Force) || member.leaving == Some(leaving) {
        return Ok(Reply::Done);
    }
    check_quorum_without(tx, &member)?;
    if leaving == Leaving::Drain {
        check_not_pinned(tx, &member)?;
    }
    if leaving == Leaving::Drain && member.status != NodeStatus::Down {
        restart::replace_on(tx, id);
    }
    tx.state.put(Node { leaving: Some(leaving), schedulable: false, ..member.as_ref().clone() });
    tx.events.push(Event::NodeChanged(id.clone()));
    let facts =
        [("host", member.name.to_string()), ("force", (leaving == Leaving::Force).to_string())];
    tx.audit("node_drain", &facts);
    Ok(Reply::Done)
}

/// Refuses what would leave too few voters that are up, or nobody to take the only vote.
fn check_quorum_without(tx: &Tx<'_>, member: &Node) -> Result<(), Fault> {
    let stays = |node: &&std::sync::Arc<Node>| node.id != member.id && node.leaving.is_none();
    let is_up = |node: &&std::sync::Arc<Node>| node.status != NodeStatus::Down;
    let others = || tx.state.nodes.values().filter(stays);
    let voters = others().filter(|node| node.voter).count();
    let up = others().filter(|node| node.voter).filter(is_up).count();
    let heirs = others().filter(is_up).count();
    let suffices = if voters == 0 { heirs > 0 } else { up > voters / 2 };
    if suffices || !member.voter {
        return Ok(());
    }
    let name = &member.name;
    let message = format!("without {name} only {up} of {voters} voters would be up, no majority");
    Err(Fault::new(ErrorCode::WouldLoseQuorum, message)
        .with("voters", voters)
        .with("healthy", up)
        .with("hint", "bring the nodes that are down back first"))
}

/// Refuses to move replicas away from volumes that only this node holds.
fn check_not_pinned(tx: &Tx<'_>, member: &Node) -> Result<(), Fault> {
    let mounts_local = |instance: &Instance| {
        let Some(spec) = tx.state.spec_of(instance) else { return false };
        let mut volumes =
            tx.state.volumes.values().filter(|volume| {
                volume.node == member.id && volume.deployment == instance.deployment
            });
        volumes.any(|volume| {
            spec.container.mounts.iter().any(|mount| {
                matches!(&mount.kind, MountKind::Volume { volume: key, .. } if *key == volume.key)
            })
        })
    };
    let is_indexed = |instance: &Instance| matches!(instance.slot, Slot::Index(_));
    let pinned: Vec<String> = tx
        .state
        .instances_on(&member.id)
        .filter(|instance| is_indexed(instance) && mounts_local(instance))
        .map(|instance| instance.id.replica.to_string())
        .collect();
    if pinned.is_empty() {
        return Ok(());
    }
    let list = pinned.join(", ");
    let message = format!("node hosts pinned replicas: [{list}]");
    Err(Fault::new(ErrorCode::InUse, message)
        .with("kind", "node")
        .with("name", &member.name)
        .with("by", list)
        .with("hint", "--force removes the node all the same; what its volumes hold stays there"))
}

pub(super) fn forget(tx: &mut Tx<'_>, id: &NodeId) -> Result<Reply, Fault> {
    let Some(member) = tx.state.nodes.get(id).cloned() else { return Ok(Reply::Done) };
    if member.leaving.is_none() || member.voter {
        let message = format!("node {} is not leaving, or still votes", member.name);
        return Err(Fault::new(ErrorCode::Conflict, message).with("operation", "forget"));
    }
    let left: Vec<Instance> =
        tx.state.instances_on(id).map(|instance| instance.as_ref().clone()).collect();
    for mut instance in left {
        let from = instance.status.state;
        instance.status.state = InstanceState::Lost;
        instance.status.fault = Some(
            Fault::new(ErrorCode::NodeLost, format!("node {} was removed", member.name))
                .with("host", &member.name),
        );
        end_instance(tx, instance, from);
    }
    let volumes = tx.state.volumes.values().filter(|volume| volume.node == *id);
    let keys: Vec<_> = volumes.map(|volume| (volume.name.clone(), volume.node.clone())).collect();
    for key in keys {
        tx.state.take::<jaco_model::entity::Volume>(&key);
    }
    address::release_node(tx, id);
    bury(tx, &member, false);
    tx.state.take::<Node>(id);
    tx.events.push(Event::NodeChanged(id.clone()));
    tx.audit("node_remove", &[("host", member.name.to_string())]);
    Ok(Reply::Done)
}

pub(super) fn record_certificate(
    tx: &mut Tx<'_>,
    id: &NodeId,
    serial: &str,
) -> Result<Reply, Fault> {
    let Some(member) = tx.state.nodes.get(id) else { return Err(unknown_node(id)) };
    let mut member = member.as_ref().clone();
    if member.serials.iter().any(|known| known == serial) {
        return Ok(Reply::Done);
    }
    let is_renewal = !member.serials.is_empty();
    member.serials.push(serial.to_owned());
    let n_surplus = member.serials.len().saturating_sub(Node::SERIALS_KEPT);
    member.serials.drain(..n_surplus);
    let name = member.name.to_string();
    tx.state.put(member);
    tx.events.push(Event::NodeChanged(id.clone()));
    if is_renewal {
        tx.audit("node_cert_rotated", &[("host", name), ("serial", serial.to_owned())]);
    }
    Ok(Reply::Done)
}

pub(super) fn establish_trust(tx: &mut Tx<'_>, trust: &Trust) -> Result<Reply, Fault> {
    let Some(cluster) = tx.state.cluster.clone() else {
        return Err(Fault::new(ErrorCode::ClusterUninitialized, "there is no cluster yet"));
    };
    if cluster.trust.is_none() {
        let mut cluster = cluster.as_ref().clone();
        cluster.trust = Some(trust.clone());
        tx.state.put_cluster(cluster);
        tx.events.push(Event::ClusterChanged);
    }
    Ok(Reply::Done)
}

pub(super) fn set_liveness(
    tx: &mut Tx<'_>,
    id: &NodeId,
    up: bool,
    epoch: u64,
    evidence: &[NodeName],
) -> Result<Reply, Fault> {
    let Some(member) = tx.state.nodes.get(id) else { return Err(unknown_node(id)) };
    let mut member = member.as_ref().clone();
    if member.liveness_epoch.saturating_add(1) != epoch {
        let message = format!("what is known of {} has changed meanwhile", member.name);
        return Err(Fault::new(ErrorCode::Conflict, message).with("operation", "liveness"));
    }
    let is_down = member.status == NodeStatus::Down;
    if is_down != up {
        return Ok(Reply::Done);
    }
    member.liveness_epoch = epoch;
    // A node that is back says by itself when it is ready again.
    member.status = if up { NodeStatus::Joining } else { NodeStatus::Down };
    // Nobody replaces what a node that is down holds; now it can be drained.
    if up && member.leaving == Some(Leaving::Drain) {
        restart::replace_on(tx, id);
    }
    let name = member.name.to_string();
    tx.state.put(member);
    tx.events.push(Event::NodeChanged(id.clone()));
    let seen_by: Vec<&str> = evidence.iter().map(NodeName::as_str).collect();
    let kind = if up { "node_returned" } else { "node_down" };
    tx.audit(kind, &[("host", name), ("seen_by", seen_by.join(","))]);
    Ok(Reply::Done)
}
