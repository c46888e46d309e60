//! [`RuntimeCore`]: takes inputs apart, lets every instance take its steps, and reports.

use crate::address::Addresses;
use crate::advance::Cx;
use crate::bridge::Terms;
use crate::node::Engine;
use crate::orders::{Orders, Subject};
use crate::orphans::Orphans;
use crate::peers::Peers;
use crate::report::Reporter;
use crate::resources::Resources;
use crate::restart::Tries;
use crate::task::{Phase, Task};
use crate::{
    ContainerFacts, Effect, EngineEvent, Host, Input, Observation, Settings, brake, sweep,
};
use jaco_kit_core::{Core, Mono, Now, OpId};
use jaco_model::command::VolumeReport;
use jaco_model::{ErrorCode, Fault, InstanceId, NodeId};
use jaco_state::State;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Rounds in which tasks may wait for each other within one step; the rest follows in the next.
const ROUNDS: usize = 16;

/// Largest packet of bridges, in bytes, until something else is said: what is left of Ethernet's
/// 1500 in a tunnel.
const MTU: u16 = 1420;

/// Decides what the engine of one node must do so that its containers match the state.
///
/// It compares three things after every input: what the replicated state wants of this node, what
/// the engine was last seen to have, and what was already ordered. It keeps nothing that cannot be
/// derived again from the first two, so a restart of the daemon or of the engine costs no
/// container. The first [`Input::StateChanged`] must hold every entry of the local log: a
/// container that an older state does not know would be taken for an orphan. Where that cannot be
/// had, [`Input::Doubted`] says so.
#[derive(Debug)]
pub struct RuntimeCore {
    host: Host,
    settings: Settings,
    seed: u64,
    state: Option<Arc<State>>,
    engine: Engine,
    tasks: BTreeMap<InstanceId, Task>,
    orphans: Orphans,
    resources: Resources,
    reporter: Reporter,
    orders: Orders,
    /// Inputs so far.
    count: u64,
    /// Up to when every timer was served.
    served: Option<Mono>,
    /// Whether networks and volumes may have become useless.
    sweep: bool,
    /// The state may be old.
    is_doubted: bool,
    addresses: Addresses,
    /// Whether the packet filter stands; `None` before anything was heard of it.
    isolation: Option<Result<(), Fault>>,
    mtu: u16,
    /// Volumes that the state does not show as they are.
    volumes: BTreeMap<String, VolumeReport>,
    /// The addresses of containers that were told last.
    seats: BTreeMap<InstanceId, BTreeMap<String, String>>,
}

impl RuntimeCore {
    /// A core that knows nothing yet of the state or the engine. Equal seeds wait equally.
    pub fn new(host: Host, settings: Settings, seed: u64) -> RuntimeCore {
        RuntimeCore {
            engine: Engine::new(seed),
            reporter: Reporter::new(seed),
            host,
            settings,
            seed,
            state: None,
            tasks: BTreeMap::new(),
            orphans: Orphans::default(),
            resources: Resources::default(),
            orders: Orders::default(),
            count: 0,
            served: None,
            sweep: false,
            is_doubted: false,
            addresses: Addresses::default(),
            isolation: None,
            mtu: MTU,
            volumes: BTreeMap::new(),
            seats: BTreeMap::new(),
        }
    }

    fn take(&mut self, now: Now, input: Input) {
        match input {
            Input::StateChanged(state) => self.state_changed(now, state),
            Input::Doubted(is_doubted) => self.is_doubted = is_doubted,
            Input::Isolation(result) => {
                self.engine.set_unisolated(result.is_err());
                self.isolation = Some(result);
            }
            Input::Mesh(mesh) => self.engine.meshed(mesh),
            Input::PoolConflict(is_so) => self.engine.set_conflicting(is_so),
            Input::PortInUse(is_so) => self.engine.set_port_in_use(is_so),
            Input::Mtu(mtu) => self.mtu = mtu,
            Input::EngineUp(facts) => {
                self.lose_engine();
                self.engine.up(now.mono, facts);
            }
            Input::EngineDown { reason: _ } => {
                self.lose_engine();
                self.engine.down(now.mono);
            }
            Input::Event { container, event } => self.happened(now, &container, &event),
            Input::Proposed { op, result: _ } => match self.orders.settle(op) {
                Some(Subject::Report) => self.reporter.proposed(now.mono, op),
                Some(Subject::NodeReport) => self.engine.reported(now.mono, op),
                _ => {}
            },
            Input::Observed { op, result } => {
                let worked = result.is_ok();
                self.orders.settle(op);
                let asked = self.engine.observed(now.mono, op, worked, &self.settings);
                if let (Some(asked), Ok(observation)) = (asked, result) {
                    self.observed(now, asked, &observation);
                }
            }
            Input::Pulled { op, result } => self.settle(now, op, |t, cx| t.pulled(op, result, cx)),
            Input::Created { op, result } => {
                self.settle(now, op, |task, cx| task.created(op, result, cx));
            }
            Input::Inspected { op, result } => {
                self.settle(now, op, |task, cx| task.inspected(op, result, cx));
            }
            Input::Executed { op, result } => {
                self.settle(now, op, |task, cx| task.executed(op, result, cx));
            }
            Input::Probed { op, result } => {
                self.settle(now, op, |task, cx| task.probed(op, result, cx.now));
            }
            Input::Counted { op, result } => {
                self.settle(now, op, |task, cx| task.counted(op, &result, cx));
            }
            Input::Finished { op, result } => match self.orders.settle(op) {
                Some(Subject::Network(name)) => {
                    self.resources.network_finished(&name, op, result);
                }
                Some(Subject::Volume(name)) => self.resources.volume_finished(&name, op, result),
                Some(Subject::Orphan(id)) => {
                    self.sweep |= self.orphans.finished(now.mono, &id, op, &result);
                }
                Some(subject) => self.deliver(now, &subject, |t, cx| t.finished(op, result, cx)),
                None => {}
            },
        }
    }

    /// Brings the outcome of an order to the instance it was for.
    fn settle(&mut self, now: Now, op: OpId, take: impl FnOnce(&mut Task, &mut Cx<'_>)) {
        if let Some(subject) = self.orders.settle(op) {
            self.deliver(now, &subject, take);
        }
    }

    fn deliver(&mut self, now: Now, subject: &Subject, take: impl FnOnce(&mut Task, &mut Cx<'_>)) {
        let (Subject::Pull(id) | Subject::Launch(id) | Subject::Task(id)) = subject else { return };
        let id = id.clone();
        self.with_task(now, &id, take);
    }

    fn with_task(&mut self, now: Now, id: &InstanceId, take: impl FnOnce(&mut Task, &mut Cx<'_>)) {
        let Some(state) = self.state.clone() else { return };
        let peers = Peers::of(&self.tasks);
        let (terms, closed) = (self.terms(), self.closed());
        let Some(task) = self.tasks.get_mut(id) else { return };
        task.touched = self.count;
        let mut cx = Cx {
            now,
            host: &self.host,
            settings: &self.settings,
            state: &state,
            peers: &peers,
            orders: &mut self.orders,
            resources: &mut self.resources,
            addresses: &mut self.addresses,
            terms: &terms,
            attached: &BTreeSet::new(),
            closed: closed.as_ref(),
            taken: &BTreeSet::new(),
            brakes: &mut BTreeMap::new(),
        };
        take(task, &mut cx);
    }

    fn happened(&mut self, now: Now, container: &str, event: &EngineEvent) {
        let has = |task: &&Task| task.container.as_ref().is_some_and(|c| c.id == container);
        let Some(id) = self.tasks.values().find(has).map(|task| task.id().clone()) else { return };
        self.with_task(now, &id, |task, cx| task.happened(event, cx));
    }

    /// The engine's answers are void, and nothing is known of its containers.
    fn lose_engine(&mut self) {
        self.orders.forget_engine();
        self.resources.forget();
        self.orphans.forget();
        for task in self.tasks.values_mut() {
            task.lose_sight();
        }
    }

    /// Takes over what the state wants of this node.
    fn state_changed(&mut self, now: Now, state: Arc<State>) {
        if self.state.is_none() {
            self.addresses.rest(now.mono, reported_addresses(&state, &self.host.node));
        }
        for task in self.tasks.values_mut() {
            task.listed = false;
        }
        for instance in state.instances_on(&self.host.node) {
            if let Some(task) = self.tasks.get_mut(&instance.id) {
                task.listed = true;
                task.instance = instance.clone();
                continue;
            }
            let record = state.revision(&instance.deployment, instance.revision);
            let Some(record) = record.cloned() else { continue };
            let Some(service) = record.spec.services.get(&instance.service) else { continue };
            let tries = Tries::new(
                &instance.id,
                &service.restart,
                &instance.status,
                &self.settings,
                self.seed,
            );
            let known = self.engine.is_known();
            if let Some(mut task) = Task::new(instance.clone(), record.clone(), tries) {
                // The last observation found no container of it that could be adopted.
                if known {
                    task.begin();
                }
                task.touched = self.count;
                self.tasks.insert(instance.id.clone(), task);
            }
        }
        self.sweep = true;
        self.state = Some(state);
    }

    /// Compares everything the engine has with what should be there.
    fn observed(&mut self, now: Now, asked: u64, seen: &Observation) {
        let Some(state) = self.state.clone().filter(|_| self.is_member()) else { return };
        self.resources.observe(&seen.networks, &seen.volumes);
        let owner = |facts: &ContainerFacts| {
            let task = self.tasks.get(facts.instance.as_ref()?)?;
            task.owns(facts).then(|| task.id().clone())
        };
        let mut owned: BTreeMap<InstanceId, &ContainerFacts> = BTreeMap::new();
        let mut strays = Vec::new();
        for facts in seen.containers.iter().filter(|facts| facts.instance.is_some()) {
            match owner(facts) {
                Some(id) if !owned.contains_key(&id) => _ = owned.insert(id, facts),
                Some(_) | None => strays.push(facts),
            }
        }
        let strays_hold = strays.iter().flat_map(|facts| facts.all_addresses());
        self.addresses.observe(strays_hold.collect());
        // Only what nobody touched since the question was asked can be compared with the answer.
        // For one that is unseen nothing was ordered yet, and a container that is there need not
        // be made.
        let comparable = |task: &&Task| {
            let found = owned.get(task.id());
            let news = found.is_some_and(|facts| task.buried.as_ref() != Some(&facts.id));
            let still = task.touched <= asked && !self.orders.concerns(task.id());
            let unseen = matches!(task.phase, Phase::Unseen { .. });
            unseen || still || (task.is_bare() && news)
        };
        let fresh: Vec<InstanceId> =
            self.tasks.values().filter(comparable).map(|task| task.id().clone()).collect();
        for id in fresh {
            self.with_task(now, &id, |task, cx| task.observed(owned.get(&id).copied(), cx));
        }
        let listed = |facts: &&&ContainerFacts| {
            let id = facts.instance.as_ref();
            let instance = id.and_then(|id| state.instances.get(id));
            // An instance without a task has lost its revision; its container is not touched.
            instance.is_none_or(|of| of.node != self.host.node || self.tasks.contains_key(&of.id))
        };
        if self.is_doubted {
            return;
        }
        let strays = strays.iter().filter(listed).copied();
        self.orphans.found(strays, &self.settings, self.seed);
        self.sweep = true;
    }

    /// Whether the state is that of our cluster and knows this node: an empty one, before the log
    /// was replayed or the cluster made, says nothing about anybody's containers.
    fn is_member(&self) -> bool {
        self.state.as_ref().is_some_and(|state| {
            let ours = state.cluster.as_ref().is_some_and(|c| c.cluster_id == self.host.cluster);
            ours && state.nodes.contains_key(&self.host.node)
        })
    }

    /// Lets everything take the steps that are possible now.
    fn pump(&mut self, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.engine.begin(now.mono);
        let held = self.tasks.values().flat_map(|task| task.holds.iter().copied());
        self.addresses.settle(now.mono, held.collect());
        if let Some(state) = self.state.clone().filter(|_| self.is_member()) {
            self.engine.observe(now.mono, self.count, &mut self.orders);
            if self.engine.is_known() {
                self.orphans.advance(now.mono, &mut self.orders);
                for _ in 0..ROUNDS {
                    if !self.advance_all(now, &state) {
                        break;
                    }
                }
                self.sweep(&state);
            }
            let gone = |task: &Task| !task.listed && matches!(task.phase, Phase::Gone);
            self.tasks.retain(|_, task| !gone(task));
            self.report(now, &state);
            effects.extend(self.seat(&state));
        }
        self.served = Some(now.mono);
        effects.append(&mut self.orders.take());
        effects
    }

    /// Tells the addresses of containers, when they have changed.
    fn seat(&mut self, state: &State) -> Option<Effect> {
        let seats = |task: &Task| {
            Some((task.id().clone(), task.seats(state))).filter(|(_, seats)| !seats.is_empty())
        };
        let seats: BTreeMap<_, _> = self.tasks.values().filter_map(seats).collect();
        if self.seats == seats {
            return None;
        }
        self.seats.clone_from(&seats);
        Some(Effect::Seated(seats))
    }

    fn advance_all(&mut self, now: Now, state: &State) -> bool {
        let peers = Peers::of(&self.tasks);
        let mut brakes = brake::allowances(&self.tasks, state, &self.host.node);
        let taken = self.orphans.names();
        let (terms, closed) = (self.terms(), self.closed());
        // In which networks a container without an owner is, nobody noted.
        let has_strays = !self.orphans.is_empty();
        let attached = self.tasks.values().filter(|task| has_strays || task.is_attached());
        let attached = attached.flat_map(Task::resource_names).collect();
        let mut moved = false;
        for task in self.tasks.values_mut() {
            let mut cx = Cx {
                now,
                host: &self.host,
                settings: &self.settings,
                state,
                peers: &peers,
                orders: &mut self.orders,
                resources: &mut self.resources,
                addresses: &mut self.addresses,
                terms: &terms,
                attached: &attached,
                closed: closed.as_ref(),
                taken: &taken,
                brakes: &mut brakes,
            };
            if task.advance(&mut cx) {
                task.touched = self.count;
                self.sweep |= matches!(task.phase, Phase::Gone);
                moved = true;
            }
        }
        sweep::strand(&mut self.tasks, &self.resources.take_replaced());
        moved
    }

    /// What networks made now have in common.
    fn terms(&self) -> Terms {
        Terms {
            engine: self.engine.version().to_owned(),
            mtu: self.mtu,
            filtered: self.settings.needs_isolation,
        }
    }

    /// Why no container may be made or started.
    fn closed(&self) -> Option<Fault> {
        let told = match &self.isolation {
            None if self.settings.needs_isolation => None,
            None | Some(Ok(())) => return None,
            Some(Err(fault)) => Some(fault),
        };
        let message = "the packet filter of this node is not in place";
        let fault = Fault::new(ErrorCode::IsolationUnavailable, message);
        Some(match told {
            None => fault,
            Some(told) if told.code == ErrorCode::IsolationUnavailable => told.clone(),
            Some(told) => fault.with("reason", &told.message),
        })
    }

    /// Removes networks and volumes that nobody needs any more.
    fn sweep(&mut self, state: &State) {
        if self.is_doubted || !std::mem::take(&mut self.sweep) || !self.orphans.is_empty() {
            return;
        }
        let needed = sweep::needed_networks(
            &self.tasks,
            state,
            &self.host.node,
            &self.resources.planned_networks(),
        );
        self.resources.drop_networks(&needed, &mut self.orders);
        for name in sweep::unwanted_volumes(&self.tasks, state, &self.host.node) {
            self.resources.drop_volume(&name, &mut self.orders);
        }
    }

    fn report(&mut self, now: Now, state: &State) {
        self.reporter.notice(now, self.tasks.values());
        if self.engine.is_known() {
            self.volumes =
                sweep::unreported_volumes(&self.tasks, state, &self.host.node, &self.resources);
        }
        self.reporter.notice_volumes(now, &self.volumes);
        self.reporter.flush(
            now,
            &self.host.node,
            &self.tasks,
            &self.volumes,
            &self.settings,
            &mut self.orders,
        );
        if let Some(node) = state.nodes.get(&self.host.node) {
            self.engine.report(now.mono, node, &self.host, &self.settings, &mut self.orders);
        }
    }
}

/// The addresses that instances of a node were last said to have.
fn reported_addresses(state: &State, node: &NodeId) -> impl Iterator<Item = Ipv4Addr> {
    let all = state.instances_on(node).flat_map(|instance| instance.status.addresses.values());
    let all: Vec<Ipv4Addr> = all.filter_map(|address| address.parse().ok()).collect();
    all.into_iter()
}

impl Core for RuntimeCore {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, now: Now, input: Input) -> Vec<Effect> {
        self.count += 1;
        self.take(now, input);
        self.pump(now)
    }

    fn wake(&mut self, now: Now) -> Vec<Effect> {
        self.pump(now)
    }

    /// Timers that have passed already were served, and wait for something else since.
    fn deadline(&self) -> Option<Mono> {
        if !self.is_member() {
            return None;
        }
        let tasks = self.tasks.values().filter(|_| self.engine.is_known());
        let tasks = tasks.filter_map(|task| task.deadline(&self.settings));
        let orphans = self.orphans.deadline().filter(|_| self.engine.is_known());
        self.engine
            .deadlines(&self.settings)
            .chain(tasks)
            .chain(orphans)
            .chain(self.reporter.deadline(&self.settings))
            .filter(|at| self.served.is_none_or(|served| *at > served))
            .min()
    }

    fn check_invariants(&self) {
        let mut owners: BTreeMap<&str, &InstanceId> = BTreeMap::new();
        for (id, task) in &self.tasks {
            debug_assert_eq!(id, task.id(), "a task stands under its own id");
            let Some(container) = &task.container else { continue };
            let other = owners.insert(&container.id, id);
            debug_assert!(other.is_none(), "{} belongs to {id} and {other:?}", container.id);
        }
        if !self.engine.is_known() {
            let unseen = |task: &Task| matches!(task.phase, Phase::Unseen { .. } | Phase::Gone);
            debug_assert!(self.tasks.values().all(unseen), "no belief about an unseen engine");
        }
    }
}
