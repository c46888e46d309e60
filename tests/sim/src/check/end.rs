//! What must hold once all faults are over: everybody agrees, everything that was promised is
//! there, and nothing is left to do.

use super::overlay;
use crate::event::HostId;
use crate::host::{Host, Process, Standing};
use crate::world::World;
use jaco_model::DeploymentName;
use jaco_model::entity::{AuditEvent, Node, NodeStatus};
use jaco_raft_core::Role;
use jaco_state::{DeploymentStatus, State, StatusOfDeployment, deployment_status};
use std::collections::BTreeSet;

/// Voters for so many members.
pub(crate) fn table(members: usize) -> usize {
    match members {
        0 => 0,
        1 | 2 => 1,
        3 | 4 => 3,
        5 | 6 => 5,
        _ => 7,
    }
}

impl World {
    /// Whether the cluster has come to rest; else what is missing.
    pub(crate) fn settled(&self) -> Result<(), String> {
        let members: Vec<&Host> =
            self.hosts.iter().filter(|host| host.standing == Standing::Member).collect();
        let running: Vec<(&Host, &Process)> =
            members.iter().filter_map(|host| Some((*host, host.running()?))).collect();
        if running.len() < members.len() {
            return Err("a daemon does not run".to_owned());
        }
        let state = &self.ledger.newest;
        check_agreement(&running, state)?;
        check_leader(&running)?;
        self.check_voters()?;
        let known: BTreeSet<_> = state.nodes.keys().collect();
        let there: BTreeSet<_> = members.iter().filter_map(|host| host.node.as_ref()).collect();
        if known != there {
            return Err(format!("the state has nodes {known:?}, the hosts are {there:?}"));
        }
        if let Some(node) = state.nodes.values().find(|node| !is_at_rest(state, node)) {
            return Err(format!("{} is {:?}, leaving {:?}", node.name, node.status, node.leaving));
        }
        check_deployments(state)?;
        self.check_certificates(state)?;
        members.iter().try_for_each(|host| check_containers(host, state))?;
        running.iter().try_for_each(|(host, process)| overlay::check(host, process, state))
    }

    /// Invariant 8: the number of voters is that of the table.
    pub(crate) fn check_voters(&self) -> Result<(), String> {
        let voters = self.ledger.members().voters.len();
        let members = self.ledger.newest.nodes.len();
        if voters == table(members) {
            return Ok(());
        }
        Err(format!("{voters} of {members} members vote"))
    }

    /// Everything that was acknowledged is there, once.
    pub(crate) fn check_promises(&self) -> Result<(), String> {
        self.clients.history.check()?;
        let state = &self.ledger.newest;
        state.check().map_err(|violation| format!("{violation:?}"))?;
        for (name, revision, value) in self.clients.history.written() {
            let number = revision.to_string();
            let tells = |event: &&AuditEvent| {
                let says = |key, what: &str| event.payload.get(key).is_some_and(|v| v == what);
                event.kind == "apply"
                    && says("deployment", name.as_str())
                    && says("revision", &number)
            };
            let lines = state.audit().filter(tells).count();
            if lines != 1 {
                return Err(format!(
                    "invariants 3, 11, 23: {name} {revision} was acknowledged, with {lines} audit lines"
                ));
            }
            let kept = state.revision(name, jaco_model::Revision(revision));
            if kept.is_some_and(|kept| crate::client::value_of(&kept.documents) != value) {
                return Err(format!("invariant 3: {name} {revision} is not what was acknowledged"));
            }
        }
        Ok(())
    }
}

fn check_agreement(running: &[(&Host, &Process)], newest: &State) -> Result<(), String> {
    for (host, process) in running {
        let state = process.member.state();
        let shown = process.published.as_ref().map(|shown| shown.applied_index);
        if state.applied_index != newest.applied_index || shown != Some(newest.applied_index) {
            return Err(format!(
                "{} is at {}, shows {shown:?}, and the newest state is {}",
                host.id, state.applied_index, newest.applied_index
            ));
        }
        if state.hash() != newest.hash() {
            return Err(format!("{} has another state", host.id));
        }
    }
    Ok(())
}

fn check_leader(running: &[(&Host, &Process)]) -> Result<(), String> {
    let leads = |process: &&Process| process.raft.status().role == Role::Leader;
    let leaders: Vec<u64> =
        running.iter().map(|(_, p)| *p).filter(leads).map(|p| p.raft_id).collect();
    let [leader] = leaders[..] else {
        return Err(format!("{} members lead", leaders.len()));
    };
    let follows = |process: &Process| process.raft.status().leader == Some(leader);
    match running.iter().find(|(_, process)| !follows(process)) {
        Some((host, _)) => Err(format!("{} does not follow the leader", host.id)),
        None => Ok(()),
    }
}

/// A node is ready and stays, or waits for an operator who must first see to a failed rollout.
fn is_at_rest(state: &State, node: &Node) -> bool {
    let is_paused = |name: &DeploymentName| {
        let deployment = state.deployments.get(name);
        deployment.is_some_and(|d| deployment_status(state, d).status == DeploymentStatus::Paused)
    };
    let is_held = || state.instances_on(&node.id).any(|of| is_paused(&of.deployment));
    node.status == NodeStatus::Ready && (node.leaving.is_none() || is_held())
}

/// Every deployment is as wanted or says why not.
fn check_deployments(state: &State) -> Result<(), String> {
    for deployment in state.deployments.values() {
        let StatusOfDeployment { status, details, .. } = deployment_status(state, deployment);
        let is_explained = match status {
            DeploymentStatus::Active => true,
            DeploymentStatus::Paused => !details.is_empty(),
            DeploymentStatus::Pending
            | DeploymentStatus::Degraded
            | DeploymentStatus::Updating
            | DeploymentStatus::Deleting => false,
        };
        if !is_explained {
            return Err(format!("{} is {status:?}: {details:?}", deployment.name));
        }
    }
    Ok(())
}

/// The containers of a host are those that the state wants there.
fn check_containers(host: &Host, state: &State) -> Result<(), String> {
    let Some(node) = &host.node else { return Ok(()) };
    for facts in host.engine.containers() {
        let instance = facts.instance.as_ref().and_then(|id| state.instances.get(id));
        if instance.is_none_or(|instance| instance.node != *node) {
            return Err(format!("{} has an orphan: {:?}", host.id, facts.instance));
        }
    }
    let missing = state.instances_on(node).find(|instance| {
        instance.status.state.is_ready()
            && !host.engine.by_instance(&instance.id).is_some_and(|facts| facts.running)
    });
    match missing {
        Some(instance) => Err(format!("{} of {} does not run", instance.id, host.id)),
        None => Ok(()),
    }
}

impl World {
    /// Hosts that believe to be members and are none: an operator ends them.
    pub(crate) fn strangers(&self) -> Vec<HostId> {
        let known = &self.ledger.newest.nodes;
        self.hosts
            .iter()
            .filter(|host| host.standing == Standing::Member)
            .filter(|host| host.node.as_ref().is_some_and(|node| !known.contains_key(node)))
            .map(|host| host.id)
            .collect()
    }
}
