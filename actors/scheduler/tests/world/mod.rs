//! A cluster of one scheduler and nodes that do as they are told, for stories and properties.
//!
//! Everything goes through the real state machine. Time stands still until a test moves it.

#![expect(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod specs;

use jaco_kit_core::{Core, Mono, Now, Wall};
use jaco_model::command::{
    ApplyDeployment, Command, Envelope, InitCluster, InstanceReport, Reply, Step, VolumeReport,
};
use jaco_model::entity::{
    Capacity, Desired, Documents, ImagePin, Instance, InstanceState, Ipam, Leaving, Node,
    NodeFacts, NodeStatus, Origin, Platform,
};
use jaco_model::spec::{DeploymentSpec, MountKind};
use jaco_model::{
    ClusterId, DeploymentName, ErrorCode, Fault, Identity, InstanceId, NodeId, NodeName, RequestId,
    WallMs, name,
};
use jaco_scheduler::{Dirty, Effect, Input, Scheduler};
use jaco_state::State;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The cluster.
pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) scheduler: Scheduler,
    pub(crate) now: u64,
    /// Every command the scheduler proposed.
    pub(crate) commands: Vec<Command>,
    requests: u128,
}

impl World {
    /// Nodes `a`, `b`, … with room for everything, and a scheduler that leads.
    pub(crate) fn new(n_nodes: usize) -> World {
        World::with_plan(n_nodes, Some(Ipam::default()))
    }

    /// The same with other addresses, or with none yet.
    pub(crate) fn with_plan(n_nodes: usize, ipam: Option<Ipam>) -> World {
        let mut world = World {
            state: State::default(),
            scheduler: Scheduler::new(1),
            now: 1_000,
            commands: Vec::new(),
            requests: 0,
        };
        world
            .send(Command::InitCluster(Box::new(InitCluster {
                cluster_id: ClusterId::new("00000000-0000-0000-0000-000000000001"),
                name: "test".to_owned(),
                hash_key: "11".repeat(32),
                history_limit: 10,
                trust: None,
                ipam,
                node: node(0),
            })))
            .unwrap();
        for index in 1..n_nodes {
            world.put_node(node(index));
        }
        let effects = world.scheduler.step(world.moment(), Input::Leadership(true));
        assert!(effects.is_empty());
        world
    }

    pub(crate) fn moment(&self) -> Now {
        Now { mono: Mono(self.now), wall: Wall(1_700_000_000_000 + self.now) }
    }

    /// Changes a member without a command.
    pub(crate) fn put_node(&mut self, node: Node) {
        self.state.nodes.insert(node.id.clone(), Arc::new(node));
    }

    pub(crate) fn change_node(&mut self, name: &str, change: impl FnOnce(&mut Node)) {
        let id = self.node_id(name);
        let mut node = Node::clone(&self.state.nodes[&id]);
        change(&mut node);
        self.put_node(node);
    }

    /// Takes a member out at once, with what runs there.
    pub(crate) fn remove_node(&mut self, name: &str) {
        self.change_node(name, |node| {
            node.leaving = Some(Leaving::Force);
            node.voter = false;
        });
        let node = self.node_id(name);
        self.send(Command::ForgetNode { node }).unwrap();
    }

    pub(crate) fn node_id(&self, name: &str) -> NodeId {
        let node = self.state.nodes.values().find(|node| node.name.as_str() == name);
        node.unwrap_or_else(|| panic!("no node {name}")).id.clone()
    }

    pub(crate) fn node_name(&self, id: &NodeId) -> String {
        self.state.nodes.get(id).map_or_else(|| id.to_string(), |node| node.name.to_string())
    }

    /// Applies a command at the present moment.
    pub(crate) fn send(&mut self, command: Command) -> Result<Reply, Fault> {
        self.requests += 1;
        let envelope = Envelope {
            request_id: RequestId(self.requests),
            at: WallMs(self.moment().wall.0),
            identity: Identity::new("local"),
            os_user: None,
            command,
        };
        let index = self.state.applied_index + 1;
        jaco_state::apply(&mut self.state, index, &envelope).result
    }

    pub(crate) fn apply(&mut self, spec: DeploymentSpec) -> Result<Reply, Fault> {
        self.send(Command::Apply(Box::new(wish(spec))))
    }

    /// One pass on the present state; its commands are applied at once. Returns them.
    pub(crate) fn pass(&mut self) -> Vec<Command> {
        let state = Arc::new(self.state.clone());
        let input = Input::StateChanged { state, dirty: Dirty::All };
        let mut effects = self.scheduler.step(self.moment(), input);
        if effects.is_empty() {
            self.now += 50;
            effects = self.scheduler.wake(self.moment());
        }
        self.run(effects)
    }

    /// Applies proposals and answers them.
    pub(crate) fn run(&mut self, effects: Vec<Effect>) -> Vec<Command> {
        let mut commands = Vec::new();
        for Effect::Propose { op, command } in effects {
            let result = self.send(command.clone()).map(|_| ());
            let more = self.scheduler.step(self.moment(), Input::Proposed { op, result });
            assert!(more.is_empty(), "a pass must wait for the state");
            commands.push(command);
        }
        self.commands.extend(commands.iter().cloned());
        commands
    }

    pub(crate) fn advance(&mut self, time: Duration) {
        self.now += u64::try_from(time.as_millis()).unwrap();
    }

    /// Every node does what the state wants of it, without any failure.
    pub(crate) fn obey(&mut self) -> bool {
        let instances: Vec<Arc<Instance>> = self.state.instances.values().cloned().collect();
        let mut moved = false;
        for instance in instances {
            let state = instance.status.state;
            let alive = self
                .state
                .nodes
                .get(&instance.node)
                .is_some_and(|node| node.status == NodeStatus::Ready);
            let next = match instance.desired {
                Desired::Stop => InstanceState::Stopped,
                Desired::Run => InstanceState::Running,
            };
            let stays = matches!(state, InstanceState::Completed | InstanceState::Failed)
                && instance.desired == Desired::Run;
            if alive && state != next && !stays {
                self.report(&instance.id, next, None, 0);
                moved = true;
            }
        }
        moved
    }

    /// What the instance's node says about it.
    pub(crate) fn report(
        &mut self,
        id: &InstanceId,
        state: InstanceState,
        fault: Option<Fault>,
        more_restarts: u32,
    ) {
        let instance = self.state.instances.get(id).unwrap_or_else(|| panic!("no {id}")).clone();
        let volumes = self.volumes_of(&instance);
        let report = InstanceReport {
            id: id.clone(),
            state,
            fault,
            container_id: None,
            addresses: BTreeMap::new(),
            restarts: instance.status.restarts + more_restarts,
            exit_code: (state == InstanceState::Completed).then_some(0),
            in_place_done: 0,
            at: WallMs(self.moment().wall.0),
            started_at: None,
            last_health_at: None,
        };
        let node = instance.node.clone();
        self.send(Command::Report { node, instances: vec![report], volumes }).unwrap();
    }

    fn volumes_of(&self, instance: &Instance) -> Vec<VolumeReport> {
        let Some(record) = self.state.revision(&instance.deployment, instance.revision) else {
            return Vec::new();
        };
        let mounts = &record.spec.services[&instance.service].container.mounts;
        let keys = mounts.iter().filter_map(|mount| match &mount.kind {
            MountKind::Volume { volume, .. } => Some(volume),
            _ => None,
        });
        keys.map(|key| VolumeReport {
            name: name::volume_name(&instance.deployment, key),
            deployment: instance.deployment.clone(),
            key: key.clone(),
            driver: "local".to_owned(),
            present: true,
        })
        .collect()
    }

    /// Passes, obedient nodes and time until nothing happens any more. Returns the passes used.
    pub(crate) fn converge(&mut self) -> usize {
        for round in 0..2_000 {
            let decided = !self.pass().is_empty();
            let moved = self.obey();
            if !decided && !moved {
                match self.scheduler.deadline() {
                    None => return round,
                    Some(at) if at.0 > self.now + 20_000 => return round,
                    Some(at) => self.now = self.now.max(at.0),
                }
            }
        }
        panic!("does not converge: {:#?}", self.commands.last());
    }

    /// Instances that are meant to stay, as `replica.gN@node`.
    pub(crate) fn placed(&self) -> Vec<String> {
        let staying = self.state.instances.values().filter(|i| i.desired == Desired::Run);
        staying.map(|i| format!("{}@{}", i.id, self.node_name(&i.node))).collect()
    }
}

/// A member with 4 cores and 4 GiB.
pub(crate) fn node(index: usize) -> Node {
    let name = char::from(b'a' + u8::try_from(index % 26).unwrap());
    let name = if index < 26 { name.to_string() } else { format!("{name}{}", index / 26) };
    Node {
        id: NodeId::new(format!("{:032x}", index + 1)),
        name: NodeName::new(name),
        raft_id: index as u64 + 1,
        status: NodeStatus::Ready,
        schedulable: true,
        voter: true,
        labels: BTreeMap::new(),
        facts: NodeFacts {
            platform: Platform { os: "linux".to_owned(), arch: "amd64".to_owned() },
            capacity: Capacity { cpu_milli: 4_000, memory: 4 << 30, generic: BTreeMap::new() },
            ..NodeFacts::default()
        },
        joined_at: WallMs(0),
        serials: Vec::new(),
        liveness_epoch: 0,
        leaving: None,
        mesh_address: None,
    }
}

/// A wish whose images have the reference as their digest.
pub(crate) fn wish(spec: DeploymentSpec) -> ApplyDeployment {
    let pin = |reference: &String| ImagePin {
        reference: reference.clone(),
        digest: format!("sha256:{reference}"),
        local: false,
    };
    let images = spec.services.iter().map(|(name, s)| (name.clone(), pin(&s.container.image)));
    ApplyDeployment {
        images: images.collect(),
        spec,
        documents: Documents::default(),
        expected_revision: None,
        origin: Origin::default(),
        privileged: BTreeMap::new(),
    }
}

/// One line per decision, for people.
pub(crate) fn describe(world: &World, commands: &[Command]) -> String {
    let mut lines = String::new();
    for command in commands {
        match command {
            Command::Schedule { steps, .. } => {
                for step in steps {
                    lines += &format!("{}\n", describe_step(world, step));
                }
            }
            Command::Rollback(back) => {
                let to = back.to.map_or(0, |to| to.0);
                let cause = back.cause.as_ref().map(ToString::to_string).unwrap_or_default();
                lines += &format!("roll back {} to {to}: {cause}\n", back.deployment);
            }
            other => lines += &format!("{}\n", other.name()),
        }
    }
    lines
}

fn describe_step(world: &World, step: &Step) -> String {
    match step {
        Step::AddReplica { replica, .. } => format!("add {replica}"),
        Step::Place { replica, generation, node, revision } => {
            let node = world.node_name(node);
            format!("place {replica}.g{} on {node}, revision {revision}", generation.0)
        }
        Step::Retire { instance } => format!("retire {instance}"),
        Step::RemoveReplica { replica } => format!("remove {replica}"),
        Step::Explain { replica, waiting: Some(fault) } => {
            let details: Vec<_> = fault.details.iter().map(|(k, v)| format!("{k}={v}")).collect();
            format!("explain {replica}: {fault} [{}]", details.join("; "))
        }
        Step::Explain { replica, waiting: None } => format!("explain {replica}: waits no more"),
        Step::SetRollout { rollout } => {
            let from = rollout.from.map_or("none".to_owned(), |from| from.to_string());
            let reason = rollout.reason.as_ref().map(|r| format!(", {r}")).unwrap_or_default();
            let back = if rollout.is_rollback { ", a rollback" } else { "" };
            format!(
                "rollout {} {from} -> {}: {} {}/{}{back}, {} failed{reason}",
                rollout.service,
                rollout.to,
                rollout.state.as_str(),
                rollout.done,
                rollout.total,
                rollout.failures
            )
        }
        Step::SettleRevision { deployment, revision, status } => {
            format!("settle {deployment} revision {revision} as {}", status.as_str())
        }
        Step::Purge { deployment } => format!("purge {deployment}"),
        Step::ReleaseBlock { scope, node } => format!("release {scope} on {node}"),
    }
}

/// A fault by the text of its code, as a node would report it.
pub(crate) fn fault(code: &str, reason: Option<&str>) -> Fault {
    let code = ErrorCode::ALL.iter().copied().find(|known| known.as_str() == code);
    let fault = Fault::new(code.unwrap_or_else(|| panic!("no such code")), "as reported");
    match reason {
        Some(reason) => fault.with("reason", reason),
        None => fault,
    }
}

/// The deployment that most tests use.
pub(crate) fn shop() -> DeploymentName {
    DeploymentName::new("shop")
}
