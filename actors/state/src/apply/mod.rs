//! [`apply`]: the one way the replicated state changes.
//!
//! Applying is total and deterministic: every time, random value and id is in the command. A
//! command either takes effect as a whole or is refused with a fault and leaves all entities as
//! they were; only the parts of scheduler passes and node reports are judged one by one, and what
//! no longer fits is left out with [`Event::Dropped`].

mod acme;
mod address;
mod audit;
mod claims;
mod deploy;
mod domains;
mod member;
mod node;
mod report;
mod requests;
mod restart;
mod revise;
mod scale;
mod schedule;
mod sharing;
mod spec_hash;

pub(crate) use acme::UNUSED_KEPT;

use crate::State;
use jaco_model::command::{Command, Envelope, Reply};
use jaco_model::entity::{Deployment, Instance, InstanceState, Node};
use jaco_model::event::Event;
use jaco_model::{
    DeploymentName, ErrorCode, Fault, Generation, Identity, InstanceId, WallMs, name, suggest,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a command answered and what it changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The answer for whoever sent the command.
    pub result: Result<Reply, Fault>,
    /// For watchers; empty when nothing changed.
    pub events: Vec<Event>,
}

/// Applies one committed entry. The same entries in the same order give the same state and answers
/// on every member.
pub fn apply(state: &mut State, index: u64, envelope: &Envelope) -> Applied {
    let mut tx = Tx::begin(state, index, envelope);
    let result = match requests::recall(&mut tx, envelope) {
        requests::Recall::Untracked => run(&mut tx, &envelope.command),
        requests::Recall::Answered(result) => result,
        requests::Recall::New { digest } => {
            let result = run(&mut tx, &envelope.command);
            requests::remember(&mut tx, envelope.request_id, digest, &result);
            result
        }
    };
    Applied { result, events: tx.into_events() }
}

/// Applies a committed change of the raft configuration: who votes. The caller names the voters by
/// raft id.
pub fn apply_members(state: &mut State, index: u64, voters: &[u64]) -> Vec<Event> {
    state.applied_index = state.applied_index.max(index);
    let changed: Vec<_> = state
        .nodes
        .values()
        .filter(|node| node.voter != voters.contains(&node.raft_id))
        .cloned()
        .collect();
    let mut events = Vec::new();
    for node in changed {
        let id = node.id.clone();
        state.put(Node { voter: !node.voter, ..node.as_ref().clone() });
        events.push(Event::NodeChanged(id));
    }
    events
}

fn run(tx: &mut Tx<'_>, command: &Command) -> Result<Reply, Fault> {
    match command {
        Command::InitCluster(init) => node::init_cluster(tx, init),
        Command::Apply(wish) => deploy::apply(tx, wish),
        Command::Rollback(rollback) => deploy::roll_back(tx, rollback),
        Command::Delete { deployment, volumes } => deploy::delete(tx, deployment, *volumes),
        Command::Scale { deployment, services } => scale::scale(tx, deployment, services),
        Command::Restart { target, in_place } => restart::restart(tx, target, *in_place),
        Command::IssueJoinToken { secret_hash, expires_at } => {
            member::issue_join_token(tx, secret_hash, *expires_at)
        }
        Command::RemoveNode { node, leaving } => member::remove(tx, node, *leaving),
        Command::JoinNode(join) => member::join(tx, join),
        Command::RejoinNode { node, old_raft_id, raft_id } => {
            member::rejoin(tx, node, *old_raft_id, *raft_id)
        }
        Command::RecordCertificate { node, serial } => member::record_certificate(tx, node, serial),
        Command::EstablishTrust(trust) => member::establish_trust(tx, trust),
        Command::EstablishAddresses(ipam) => address::establish(tx, *ipam),
        Command::ForgetNode { node } => member::forget(tx, node),
        Command::SetLiveness { node, up, epoch, evidence } => {
            member::set_liveness(tx, node, *up, *epoch, evidence)
        }
        Command::Schedule { based_on: _, steps } => Ok(schedule::schedule(tx, steps)),
        Command::Acme(step) => acme::step(tx, step),
        Command::Witness { node, sight, facts } => node::witness(tx, node, *sight, facts),
        Command::ReportNode { node, status, facts } => node::report_node(tx, node, *status, facts),
        Command::Report { node, instances, volumes } => {
            Ok(report::report(tx, node, instances, volumes))
        }
    }
}

/// One command at work: the state, who asked and when, and the events so far.
struct Tx<'a> {
    state: &'a mut State,
    index: u64,
    now: WallMs,
    identity: &'a Identity,
    os_user: Option<&'a str>,
    events: Vec<Event>,
    changed: BTreeSet<DeploymentName>,
}

impl<'a> Tx<'a> {
    /// Moves the state's index and clock on. Neither goes back, whatever the entry says.
    fn begin(state: &'a mut State, index: u64, envelope: &'a Envelope) -> Tx<'a> {
        state.applied_index = state.applied_index.max(index);
        let mut now = envelope.at;
        if let Some(cluster) = state.cluster.clone() {
            now = now.max(cluster.cluster_time);
            if now > cluster.cluster_time {
                let mut cluster = cluster.as_ref().clone();
                cluster.cluster_time = now;
                state.put_cluster(cluster);
            }
        }
        Tx {
            state,
            index,
            now,
            identity: &envelope.identity,
            os_user: envelope.os_user.as_deref(),
            events: Vec::new(),
            changed: BTreeSet::new(),
        }
    }

    /// The events, those of deployments last and once each.
    fn into_events(self) -> Vec<Event> {
        let mut events = self.events;
        events.extend(self.changed.into_iter().map(Event::DeploymentChanged));
        events
    }

    fn touch(&mut self, deployment: &DeploymentName) {
        if !self.changed.contains(deployment) {
            self.changed.insert(deployment.clone());
        }
    }

    fn drop_part(&mut self, fault: Fault) {
        self.events.push(Event::Dropped { fault });
    }

    /// Writes an instance and says so. `from` is its state before, `None` for a new one.
    fn put_instance(&mut self, instance: Instance, from: Option<InstanceState>) -> bool {
        let (id, to) = (instance.id.clone(), instance.status.state);
        let changed = self.state.put(instance);
        if changed {
            self.events.push(Event::InstanceChanged { id, from, to });
        }
        changed
    }

    /// A deployment that a user may change now.
    fn live_deployment(&self, name: &DeploymentName) -> Result<Arc<Deployment>, Fault> {
        let Some(deployment) = self.state.deployments.get(name) else {
            return Err(self.unknown_deployment(name));
        };
        if deployment.deleting.is_some() {
            return Err(being_deleted(name));
        }
        Ok(deployment.clone())
    }

    fn unknown_deployment(&self, name: &DeploymentName) -> Fault {
        let message = format!("there is no deployment \"{name}\"");
        let fault =
            Fault::new(ErrorCode::DeploymentNotFound, message).with("deployment", name.as_str());
        let known = self.state.deployments.keys().map(DeploymentName::as_str);
        with_suggestion(fault, name.as_str(), known)
    }
}

fn being_deleted(name: &DeploymentName) -> Fault {
    let message = format!("deployment \"{name}\" is being deleted; try again when it is gone");
    Fault::new(ErrorCode::Conflict, message).with("operation", "delete")
}

fn with_suggestion<'a>(
    fault: Fault,
    text: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Fault {
    match suggest::closest(text, candidates) {
        Some(suggestion) => fault.with("suggestion", suggestion),
        None => fault,
    }
}

/// The id of the next life of a slot, or `None` when generations have run out.
fn next_generation(generation: Generation) -> Option<Generation> {
    generation.0.checked_add(1).map(Generation)
}

/// The id of an instance in a message, made from its parts.
fn instance_id(replica: &jaco_model::ReplicaId, generation: Generation) -> InstanceId {
    name::instance_id(replica, generation)
}
