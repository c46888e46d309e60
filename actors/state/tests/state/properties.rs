//! Random commands, sensible and not: the state stays whole, and history alone decides it.

use crate::fixture::{self, START};
use jaco_model::command::{Command, Envelope, RestartTarget, Rollback, Step, VolumeReport};
use jaco_model::entity::{
    InstanceState, NodeFacts, NodeStatus, RevisionStatus, Rollout, RolloutState, Slot,
};
use jaco_model::spec::{ServiceMode, VolumeSpec};
use jaco_model::{
    DeploymentName, ErrorCode, Fault, Generation, InstanceId, NodeId, NodeName, ReplicaId,
    Revision, ServiceName, WallMs, name,
};
use jaco_state::State;
use proptest::prelude::*;

/// Raw choices from which a command is made: what kind, then what it is about.
#[derive(Clone, Copy, Debug)]
struct Choice {
    kind: u8,
    a: u8,
    b: u8,
    c: u8,
    /// Take what fits the state where there is a choice, instead of anything.
    fits: bool,
}

fn choices() -> impl Strategy<Value = Vec<Choice>> {
    let choice = (0..24_u8, any::<u8>(), any::<u8>(), any::<u8>(), prop::bool::weighted(0.85));
    let choice = choice.prop_map(|(kind, a, b, c, fits)| Choice { kind, a, b, c, fits });
    prop::collection::vec(choice, 1..160)
}

fn pick<T>(from: &[T], by: u8) -> &T {
    &from[usize::from(by) % from.len()]
}

const DEPLOYMENTS: [&str; 4] = ["shop", "a", "a-b", "bad name"];
const SERVICES: [&str; 4] = ["web", "db", "b-c", "c"];
const STATES: [InstanceState; 11] = [
    InstanceState::Pending,
    InstanceState::Pulling,
    InstanceState::Starting,
    InstanceState::Running,
    InstanceState::Degraded,
    InstanceState::Updating,
    InstanceState::Draining,
    InstanceState::Completed,
    InstanceState::Failed,
    InstanceState::Lost,
    InstanceState::Stopped,
];

impl Choice {
    fn deployment(self) -> DeploymentName {
        DeploymentName::from(*pick(&DEPLOYMENTS, self.a))
    }

    fn service(self) -> ServiceName {
        ServiceName::from(*pick(&SERVICES, self.b))
    }

    /// A deployment and one of its services, or any.
    fn subject(self, state: &State) -> (DeploymentName, ServiceName) {
        let live = state.deployments.values().filter(|d| d.deleting.is_none() || self.c < 32);
        let live: Vec<_> = live.map(|deployment| &deployment.name).collect();
        if !self.fits || live.is_empty() {
            return (self.deployment(), self.service());
        }
        let deployment = (*pick(&live, self.a)).clone();
        let record = state.current(&deployment).expect("every deployment has a current revision");
        let services: Vec<_> = record.spec.services.keys().collect();
        (deployment, (*pick(&services, self.b)).clone())
    }

    fn revision(self, state: &State) -> Revision {
        let current = state.deployments.get(&self.subject(state).0).map(|d| d.revision.0);
        match (self.fits, current) {
            (true, Some(current)) => Revision(current.saturating_sub(u64::from(self.c % 3))),
            _ => Revision(u64::from(self.c % 8)),
        }
    }

    fn replica(self, state: &State) -> ReplicaId {
        let ids: Vec<&ReplicaId> = state.replicas.keys().collect();
        if self.fits && !ids.is_empty() {
            return (*pick(&ids, self.a)).clone();
        }
        name::replica_id(&self.deployment(), &self.service(), u32::from(self.c % 4))
    }

    fn instance(self, state: &State) -> InstanceId {
        let ids: Vec<&InstanceId> = state.instances.keys().collect();
        if self.fits && !ids.is_empty() {
            return (*pick(&ids, self.a)).clone();
        }
        name::instance_id(&self.replica(state), Generation(u64::from(self.b % 5)))
    }

    fn node(self) -> NodeId {
        NodeId::from(if self.fits { "n1" } else { "n2" })
    }

    fn command(self, state: &State) -> Command {
        match self.kind {
            0 => fixture::init(u32::from(self.c % 6)),
            1..=3 => self.apply(),
            4 => Command::Rollback(Rollback {
                deployment: self.subject(state).0,
                to: (self.c.is_multiple_of(2)).then(|| self.revision(state)),
                cause: (self.b.is_multiple_of(2)).then(|| Fault::new(ErrorCode::Unhealthy, "bad")),
                expected_revision: (self.b.is_multiple_of(5)).then_some(Revision(2)),
            }),
            5 if self.fits && !self.c.is_multiple_of(4) => self.apply(),
            5 => {
                Command::Delete { deployment: self.deployment(), volumes: self.b.is_multiple_of(2) }
            }
            6 => {
                let (deployment, service) = self.subject(state);
                Command::Scale { deployment, services: [(service, u32::from(self.c % 5))].into() }
            }
            7 => {
                Command::Restart { target: self.target(state), in_place: self.c.is_multiple_of(2) }
            }
            8 => Command::ReportNode {
                node: self.node(),
                status: if self.c < 24 { NodeStatus::Down } else { NodeStatus::Ready },
                facts: Box::new(NodeFacts { address: self.c.to_string(), ..NodeFacts::default() }),
            },
            9..=14 => self.report(state),
            _ => fixture::schedule(vec![self.step(state)]),
        }
    }

    fn apply(self) -> Command {
        let mut services = vec![fixture::service("web", u32::from(self.b % 4))];
        let mut second = fixture::service(SERVICES[usize::from(self.c) % 4], 1);
        if self.b.is_multiple_of(3) {
            second.mode = ServiceMode::Global;
        }
        second.container.image = format!("img:{}", self.c % 4);
        services.push(second);
        let mut wish = fixture::wish(self.deployment().as_str(), services);
        let name = name::volume_name(&wish.spec.name, "data");
        let volume = VolumeSpec { name, driver: "local".to_owned(), ..VolumeSpec::default() };
        wish.spec.volumes.insert("data".to_owned(), volume);
        wish.spec.history = self.c.is_multiple_of(2).then_some(2);
        Command::Apply(Box::new(wish))
    }

    fn target(self, state: &State) -> RestartTarget {
        let (deployment, service) = self.subject(state);
        match self.b % 3 {
            0 => RestartTarget::Deployment { deployment },
            1 => RestartTarget::Service { deployment, service },
            _ => RestartTarget::Replica { replica: self.replica(state) },
        }
    }

    fn report(self, state: &State) -> Command {
        let at = WallMs(START + u64::from(self.c));
        let instance = fixture::instance_report(self.instance(state), *pick(&STATES, self.b), at);
        let volume = VolumeReport {
            name: name::volume_name(&self.deployment(), "data"),
            deployment: self.deployment(),
            key: "data".to_owned(),
            driver: "local".to_owned(),
            present: self.b.is_multiple_of(2),
        };
        let volumes = if self.c.is_multiple_of(4) { vec![volume] } else { Vec::new() };
        Command::Report { node: self.node(), instances: vec![instance], volumes }
    }

    fn step(self, state: &State) -> Step {
        let (deployment, service) = self.subject(state);
        let global = state
            .current(&deployment)
            .and_then(|record| record.spec.services.get(&service))
            .is_some_and(|spec| spec.mode == ServiceMode::Global);
        match self.kind {
            15..=17 if global == self.fits => {
                let host = NodeName::from(if self.fits { "alpha" } else { "beta" });
                let replica = name::global_replica_id(&deployment, &service, &host);
                Step::AddReplica { replica, deployment, service, slot: Slot::Node(host) }
            }
            15..=17 => {
                let next = state.counters.get(&(deployment.clone(), service.clone()));
                let index = if self.fits { next.copied().unwrap_or(0) } else { u32::from(self.c) };
                let replica = name::replica_id(&deployment, &service, index);
                Step::AddReplica { replica, deployment, service, slot: Slot::Index(index) }
            }
            18 | 19 => {
                let replica = self.replica(state);
                let slot = state.replicas.get(&replica);
                let next = slot.map_or(1, |slot| slot.generation.0 + 1);
                let current = slot.and_then(|slot| state.deployments.get(&slot.deployment));
                let revision = match (self.fits, current) {
                    (true, Some(deployment)) => deployment.revision,
                    _ => self.revision(state),
                };
                let generation = Generation(if self.fits { next } else { u64::from(self.c) });
                Step::Place { replica, generation, node: self.node(), revision }
            }
            20 => Step::Retire { instance: self.instance(state) },
            21 => Step::RemoveReplica { replica: self.replica(state) },
            22 => self.rollout_step(state),
            _ => Step::Purge { deployment },
        }
    }

    fn rollout_step(self, state: &State) -> Step {
        let (deployment, service) = self.subject(state);
        let revision = self.revision(state);
        if self.c.is_multiple_of(4) {
            let all = [RevisionStatus::Failed, RevisionStatus::Active, RevisionStatus::RolledBack];
            return Step::SettleRevision { deployment, revision, status: *pick(&all, self.a) };
        }
        let all = [RolloutState::InProgress, RolloutState::Paused, RolloutState::Completed];
        Step::SetRollout {
            rollout: Rollout {
                deployment,
                service,
                from: None,
                to: revision,
                state: *pick(&all, self.a),
                is_rollback: false,
                total: 1,
                done: 0,
                failures: 0,
                started_at: WallMs(START),
                reason: None,
            },
        }
    }
}

/// What a refused command must leave alone: everything but the clock and the table of answers.
fn entities(state: &State) -> Vec<jaco_state::Section> {
    let mut sections = state.to_sections();
    sections.retain(|section| !["state", "cluster", "requests"].contains(&section.name.as_str()));
    sections
}

/// Plays the choices on a fresh cluster and gives the log with the state it led to.
fn play(choices: &[Choice]) -> Result<(Vec<Envelope>, State), TestCaseError> {
    let mut state = State::default();
    let mut log = Vec::new();
    for (i, choice) in choices.iter().enumerate() {
        let index = i as u64 + 1;
        let command = if index == 1 { fixture::init(3) } else { choice.command(&state) };
        let mut envelope = fixture::envelope(index, u64::from(choice.b) * 1_000, command);
        // Now and then a client sends an id that it used before.
        if choice.kind == 7 && choice.b.is_multiple_of(4) {
            envelope.request_id = jaco_model::RequestId(1 + u128::from(choice.a % 8));
        }
        let before = state.clone();
        let applied = jaco_state::apply(&mut state, index, &envelope);
        state.check().map_err(|e| TestCaseError::fail(format!("{e} after {envelope:?}")))?;
        if applied.result.is_err() {
            prop_assert_eq!(entities(&before), entities(&state), "refused {:?}", &envelope);
        }
        let once = state.clone();
        jaco_state::apply(&mut state, index, &envelope);
        prop_assert_eq!(&once, &state, "twice {:?}", &envelope);
        log.push(envelope);
    }
    Ok((log, state))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_keeps_the_state_whole_and_replays(choices in choices()) {
        let (log, state) = play(&choices)?;
        let mut replayed = State::default();
        for (i, envelope) in log.iter().enumerate() {
            jaco_state::apply(&mut replayed, i as u64 + 1, envelope);
        }
        prop_assert_eq!(state.hash(), replayed.hash());
        prop_assert_eq!(&state, &replayed);
    }

    #[test]
    fn a_snapshot_of_any_state_gives_it_back(choices in choices()) {
        let (_, state) = play(&choices)?;
        let sections = state.to_sections();
        let restored = State::from_sections(&sections);
        let restored = restored.map_err(|e| TestCaseError::fail(e.to_string()))?;
        restored.check().map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(state.hash(), restored.hash());
        prop_assert_eq!(&state, &restored);
        prop_assert_eq!(sections, restored.to_sections());
    }
}

/// The generator is worth nothing if its commands are all refused.
#[test]
fn random_histories_reach_every_entity() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = [0_usize; 6];
    for _ in 0..16 {
        let choices = choices().new_tree(&mut runner).unwrap().current();
        let (_, state) = play(&choices).unwrap();
        let past = state.replicas.values().filter(|replica| !replica.past.is_empty()).count();
        let sizes = [
            state.deployments.len(),
            state.instances.len(),
            state.rollouts.len(),
            state.volumes.len(),
            state.floors.len(),
            past,
        ];
        for (seen, size) in seen.iter_mut().zip(sizes) {
            *seen += size;
        }
    }
    assert!(seen.iter().all(|n| *n > 0), "{seen:?}");
}
