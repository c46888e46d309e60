//! What an apply would do, found by doing it to a copy of the state.
//!
//! The copy runs the same passes under a clock of its own, with nodes that do at once whatever is
//! asked of them, so that a plan can never disagree with what the scheduler then does.

use crate::board::index_of_slot;
use crate::difference;
use crate::memory::Memory;
use crate::need;
use crate::pass::plan;
use jaco_kit_core::{Mono, Now, Wall};
use jaco_model::command::{ApplyDeployment, Command, Envelope, InstanceReport, Step, VolumeReport};
use jaco_model::entity::{Desired, Instance, InstanceState, Node, NodeStatus};
use jaco_model::spec::{Condition, RestartCondition};
use jaco_model::view::{ChangeView, PlanView, UnplacedView};
use jaco_model::{
    DeploymentName, ErrorCode, Fault, Identity, InstanceId, NodeName, ReplicaId, RequestId,
    Revision, ServiceName, WallMs,
};
use jaco_state::State;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// More passes than any plan needs; ends one that would go round in circles.
const PASSES_MAX: usize = 20_000;

/// What to look ahead at.
#[derive(Clone, Debug)]
pub struct Preview {
    /// The apply in question.
    pub wish: ApplyDeployment,
    /// Members that count as down meanwhile.
    pub without_nodes: BTreeSet<NodeName>,
}

/// What `wish` would do to the replicas of its deployment, in order of execution.
///
/// # Errors
///
/// The fault with which the apply itself would be refused.
pub fn preview(state: &State, preview: &Preview) -> Result<PlanView, Fault> {
    let name = preview.wish.spec.name.clone();
    let before = state.deployments.get(&name).map_or(Revision(0), |deployment| deployment.revision);
    let mut future = Future::of(state, &name);
    future.lose(&preview.without_nodes);
    future.send(Command::Apply(Box::new(preview.wish.clone())))?;
    future.run();
    Ok(future.report(state, before))
}

/// A copy of the state on its way to where the scheduler would bring it.
struct Future {
    state: State,
    name: DeploymentName,
    now: u64,
    n_passes: u32,
    /// What was decided, in order.
    decided: Vec<(u32, Step)>,
    /// Services whose replicas are meant to end, as something waits for that.
    ending: BTreeSet<ServiceName>,
}

impl Future {
    fn of(state: &State, name: &DeploymentName) -> Future {
        Future {
            state: state.clone(),
            name: name.clone(),
            now: 0,
            n_passes: 0,
            decided: Vec::new(),
            ending: BTreeSet::new(),
        }
    }

    fn lose(&mut self, names: &BTreeSet<NodeName>) {
        let lost: Vec<_> =
            self.state.nodes.values().filter(|node| names.contains(&node.name)).cloned().collect();
        for node in lost {
            let node = Node { status: NodeStatus::Down, ..node.as_ref().clone() };
            self.state.nodes.insert(node.id.clone(), Arc::new(node));
        }
    }

    fn send(&mut self, command: Command) -> Result<(), Fault> {
        let stamp = self.state.cluster.as_ref().map_or(0, |cluster| cluster.cluster_time.0);
        let index = self.state.applied_index.saturating_add(1);
        let envelope = Envelope {
            request_id: RequestId(u128::MAX - u128::from(index)),
            at: WallMs(stamp.saturating_add(1)),
            identity: Identity::new("system"),
            os_user: None,
            command,
        };
        jaco_state::apply(&mut self.state, index, &envelope).result.map(|_| ())
    }

    fn run(&mut self) {
        self.ending = self.ending_services();
        let mut memory = Memory::default();
        let names = BTreeSet::from([self.name.clone()]);
        for _ in 0..PASSES_MAX {
            let now = Now { mono: Mono(self.now), wall: Wall(self.now) };
            let plan = plan(&self.state, &mut memory, now, &names);
            let wake = plan.unsettled.values().flatten().min().copied();
            let decided = !plan.steps.is_empty();
            if decided {
                self.n_passes += 1;
                self.decided.extend(plan.steps.iter().map(|step| (self.n_passes, step.clone())));
                let based_on = self.state.applied_index;
                let sent = self.send(Command::Schedule { based_on, steps: plan.steps });
                debug_assert!(sent.is_ok(), "passes are never refused as a whole");
            }
            let obeyed = self.obey();
            match wake {
                _ if decided || obeyed => {}
                Some(at) if at.0 > self.now => self.now = at.0,
                Some(_) | None => return,
            }
        }
    }

    fn ending_services(&self) -> BTreeSet<ServiceName> {
        let Some(record) = self.state.current(&self.name) else { return BTreeSet::new() };
        let dependencies = record.spec.services.values().flat_map(|spec| &spec.depends_on);
        let awaited = dependencies
            .filter(|d| d.condition == Condition::ServiceCompletedSuccessfully)
            .map(|d| &d.service);
        let ends = |name: &&ServiceName| {
            let spec = record.spec.services.get(*name);
            spec.is_some_and(|spec| spec.restart.condition != RestartCondition::Any)
        };
        awaited.filter(ends).cloned().collect()
    }

    /// Every node does what is asked of it. Returns whether anything moved.
    fn obey(&mut self) -> bool {
        let mut reports: BTreeMap<_, (Vec<_>, Vec<_>)> = BTreeMap::new();
        for instance in self.state.instances.values() {
            let next = self.next_state(instance);
            let is_down = self
                .state
                .nodes
                .get(&instance.node)
                .is_none_or(|node| node.status == NodeStatus::Down);
            if instance.deployment != self.name || instance.status.state == next || is_down {
                continue;
            }
            let (instances, volumes) = reports.entry(instance.node.clone()).or_default();
            instances.push(report(instance, next));
            volumes.extend(self.volumes(instance));
        }
        let moved = !reports.is_empty();
        for (node, (instances, volumes)) in reports {
            let sent = self.send(Command::Report { node, instances, volumes });
            debug_assert!(sent.is_ok(), "reports are never refused as a whole");
        }
        moved
    }

    fn next_state(&self, instance: &Instance) -> InstanceState {
        match (instance.desired, instance.status.state) {
            (Desired::Stop, _) => InstanceState::Stopped,
            (Desired::Run, end @ (InstanceState::Completed | InstanceState::Failed)) => end,
            (Desired::Run, _) if self.ending.contains(&instance.service) => {
                InstanceState::Completed
            }
            (Desired::Run, _) => InstanceState::Running,
        }
    }

    fn volumes(&self, instance: &Instance) -> Vec<VolumeReport> {
        let record = self.state.revision(&instance.deployment, instance.revision);
        let Some((record, spec)) = record.zip(self.state.spec_of(instance)) else {
            return Vec::new();
        };
        let mounted =
            need::mounted_volumes(spec).filter_map(|key| record.spec.volumes.get_key_value(key));
        mounted
            .filter(|(_, volume)| !volume.external)
            .map(|(key, volume)| VolumeReport {
                name: need::volume_name(volume, index_of_slot(&instance.slot)),
                deployment: instance.deployment.clone(),
                key: key.clone(),
                driver: volume.driver.clone(),
                present: true,
            })
            .collect()
    }

    fn report(&self, before: &State, from: Revision) -> PlanView {
        let mut changes = self.changes(before);
        changes.sort_by(|a, b| {
            (a.step, &a.service, &a.replica).cmp(&(b.step, &b.service, &b.replica))
        });
        let to = self.state.deployments.get(&self.name).map_or(from, |d| d.revision);
        let unknown = changes.iter().any(|change| change.expected_downtime_seconds.is_none());
        PlanView {
            deployment: self.name.to_string(),
            from_revision: from.0,
            to_revision: to.0,
            changes,
            volumes: self.new_volumes(before),
            unplaced: self.unplaced(),
            warnings: Vec::new(),
            expected_downtime_seconds: (!unknown).then_some(0.0),
        }
    }

    /// One line for every replica that is or will be.
    fn changes(&self, before: &State) -> Vec<ChangeView> {
        let mut lines: BTreeMap<ReplicaId, Line> = BTreeMap::new();
        for instance in before.instances.values().filter(|i| i.deployment == self.name) {
            if instance.desired == Desired::Run {
                let line = lines.entry(instance.id.replica.clone()).or_default();
                line.service = instance.service.to_string();
                line.was = Some(instance.clone());
            }
        }
        for (step, decided) in &self.decided {
            match decided {
                Step::AddReplica { replica, service, .. } => {
                    lines.entry(replica.clone()).or_default().service = service.to_string();
                }
                Step::Place { replica, node, .. } => {
                    let line = lines.entry(replica.clone()).or_default();
                    line.step = *step;
                    line.to = self.state.nodes.get(node).map(|node| node.name.to_string());
                }
                Step::Retire { instance } => {
                    let line = lines.entry(instance.replica.clone()).or_default();
                    line.step = line.step.max(*step);
                    line.retired_first |= line.to.is_none();
                }
                Step::RemoveReplica { replica } => {
                    lines.entry(replica.clone()).or_default().removed = true;
                }
                Step::Explain { .. }
                | Step::SetRollout { .. }
                | Step::SettleRevision { .. }
                | Step::Purge { .. }
                | Step::ReleaseBlock { .. } => {}
            }
        }
        let lines = lines.into_iter().filter(|(_, line)| line.was.is_some() || line.to.is_some());
        lines.map(|(replica, line)| self.change(before, &replica, line)).collect()
    }

    fn change(&self, before: &State, replica: &ReplicaId, line: Line) -> ChangeView {
        let host = line.was.as_ref().and_then(|was| before.nodes.get(&was.node));
        let host = host.map(|node| node.name.to_string());
        let replaced = line.was.is_some() && line.to.is_some();
        let action = match (&line.was, &line.to) {
            _ if line.removed => "remove",
            (None, _) => "create",
            (Some(_), None) => "keep",
            (Some(_), Some(_)) if line.to == host => "recreate",
            (Some(_), Some(_)) => "move",
        };
        let order = if line.retired_first { "stop-first" } else { "start-first" };
        let known = !(replaced && line.retired_first);
        ChangeView {
            service: line.service.clone(),
            replica: replica.to_string(),
            action: action.to_owned(),
            host: if line.was.is_some() { host } else { line.to.clone() },
            to_host: line.to.clone().filter(|_| action == "move"),
            order: replaced.then(|| order.to_owned()),
            step: line.step,
            reasons: if replaced { self.reasons(before, &line) } else { Vec::new() },
            expected_downtime_seconds: known.then_some(0.0),
        }
    }

    fn reasons(&self, before: &State, line: &Line) -> Vec<String> {
        let (Some(was), Some(record)) = (&line.was, self.state.current(&self.name)) else {
            return Vec::new();
        };
        let ran = before.revision(&self.name, was.revision).map(|record| &**record);
        difference::of_instance(ran, record, &was.service, was.revision)
    }

    fn new_volumes(&self, before: &State) -> Vec<String> {
        let made = self.state.volumes.iter().filter(|(key, _)| !before.volumes.contains_key(*key));
        let made: BTreeSet<String> = made.map(|((name, _), _)| name.clone()).collect();
        made.into_iter().collect()
    }

    /// Slots that still look for a node when everything else is done.
    fn unplaced(&self) -> Vec<UnplacedView> {
        let waiting = self.state.replicas.values().filter(|slot| slot.deployment == self.name);
        let no_node = |fault: &&Fault| fault.code != ErrorCode::DependsOnUnmet;
        let names: BTreeSet<&str> =
            self.state.nodes.values().map(|node| node.name.as_str()).collect();
        let by_node = |(name, _): &(&String, &String)| names.contains(name.as_str());
        let view = |replica: &ReplicaId, fault: &Fault| UnplacedView {
            replica: replica.to_string(),
            nodes: fault
                .details
                .iter()
                .filter(by_node)
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
        };
        waiting
            .filter_map(|slot| Some(view(&slot.id, slot.waiting.as_ref().filter(no_node)?)))
            .collect()
    }
}

/// What becomes of one replica.
#[derive(Debug, Default)]
struct Line {
    service: String,
    was: Option<Arc<Instance>>,
    to: Option<String>,
    step: u32,
    retired_first: bool,
    removed: bool,
}

fn report(instance: &Instance, state: InstanceState) -> InstanceReport {
    let id = InstanceId { ..instance.id.clone() };
    InstanceReport {
        id,
        state,
        fault: None,
        container_id: None,
        addresses: BTreeMap::new(),
        restarts: 0,
        exit_code: (state == InstanceState::Completed).then_some(0),
        in_place_done: instance.in_place,
        at: instance.created_at,
        started_at: None,
        last_health_at: None,
    }
}
