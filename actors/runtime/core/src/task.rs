//! One instance: what is known of its container and where it stands.

use crate::checks::Checks;
use crate::halt::Halt;
use crate::restart::Tries;
use crate::{ContainerFacts, plan};
use jaco_kit_core::{Mono, Now, OpId};
use jaco_model::entity::{Desired, Instance, InstanceState, RevisionRecord};
use jaco_model::spec::{Isolation, NetworkMode, ServiceSpec};
use jaco_model::{ErrorCode, Fault, InstanceId, ServiceName, WallMs};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Where an instance stands on its node.
///
/// | phase | reported | goes on when |
/// |---|---|---|
/// | `Unseen` | as before | the engine was observed: adopted, or found missing |
/// | `Idle` | pending | namespace and a place for a pull are there → `Pulling` |
/// | `Pulling` | pulling | image there → `Preparing`; failed or too long → `Waiting` |
/// | `Waiting` | pending | back-off over → `Idle` |
/// | `Preparing` | pulling | networks, volumes and a place for a start are there → `Creating` |
/// | `Creating` | starting | made → `Created`; refused → `Waiting`, for good → `Ended` |
/// | `Created` | starting | a place for a start is there → `Starting` |
/// | `Starting` | starting | started → `Hooking`, `Inspecting`; refused → `Backoff`, `Halting` |
/// | `Hooking` | starting | last `post_start` ended with 0 → `Inspecting`; else → `Halting` |
/// | `Inspecting` | starting | facts are there → `Verifying`; gone → `Idle` |
/// | `Verifying` | starting | checks pass → `Ready`; start limit → `Halting`; exit → `Backoff` |
/// | `Ready` | running | a check fails → `Degraded`; exit → `Backoff` or `Ended` |
/// | `Degraded` | degraded | checks pass → `Ready`; too long → `Halting`; exit → `Backoff` |
/// | `Backoff` | pending | back-off over → `Created`, or `Idle` without a container |
/// | `Ended` | completed, failed | restarted by an operator → `Created` or `Idle` |
/// | `Halting` | pending, draining | stopped → `Created`, `Backoff`, `Ended`, `Idle` or `Gone` |
/// | `Gone` | stopped | never |
///
/// From every phase but `Creating` and `Starting`, whose outcome is awaited, the leader's wish to
/// stop leads to `Halting`, and to `Gone` when there is no container.
#[derive(Clone, Debug)]
pub(crate) enum Phase {
    /// Nothing is known of its container since the engine came up.
    Unseen {
        /// What was reported last.
        last: Box<View>,
        /// Whether this core saw it before the engine went away.
        gap: bool,
    },
    /// It has no container.
    Idle,
    /// Its image is being fetched.
    Pulling { op: OpId, since: Mono },
    /// An attempt to get it a container failed.
    Waiting { until: Mono },
    /// Its networks and volumes are being made.
    Preparing,
    /// Its container is being made.
    Creating { op: OpId },
    /// Its container is to be started.
    Created,
    /// Its container is being started.
    Starting { op: OpId },
    /// A `post_start` hook runs.
    Hooking { op: OpId, index: usize },
    /// It was started; what came of it is being asked.
    Inspecting {
        op: Option<OpId>,
        /// When to ask if nobody is being asked.
        at: Mono,
    },
    /// It runs and has to prove itself.
    Verifying { since: Mono },
    /// It serves.
    Ready { since: Mono },
    /// It runs and fails its checks.
    Degraded {
        since: Mono,
        /// The question for the last words of its healthcheck.
        detail: Option<OpId>,
    },
    /// Its process ended and is to be started again.
    Backoff { until: Mono },
    /// Its process ended and is not started again.
    Ended { completed: bool },
    /// Its container is being stopped on purpose.
    Halting(Halt),
    /// Its container is gone for good.
    Gone,
}

/// What an instance looks like from outside; what is reported when it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) state: InstanceState,
    pub(crate) fault: Option<Fault>,
    pub(crate) container_id: Option<String>,
    pub(crate) addresses: BTreeMap<String, String>,
    pub(crate) restarts: u32,
    pub(crate) exit_code: Option<i64>,
    pub(crate) in_place_done: u64,
}

impl View {
    /// What the replicated state holds.
    pub(crate) fn of(instance: &Instance) -> View {
        let status = &instance.status;
        View {
            state: status.state,
            fault: status.fault.clone(),
            container_id: status.container_id.clone(),
            addresses: status.addresses.clone(),
            restarts: status.restarts,
            exit_code: status.exit_code,
            in_place_done: status.in_place_done,
        }
    }
}

/// The container of an instance.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    /// The engine's id.
    pub(crate) id: String,
    /// Whether its process runs.
    pub(crate) running: bool,
    /// Whether a process of this run was killed for want of memory.
    pub(crate) oom_killed: bool,
    /// Code of an end that was seen before its start was confirmed.
    pub(crate) ended: Option<i64>,
    /// When its process started, by the engine's clock.
    pub(crate) started_at_ms: Option<u64>,
    /// Address by compose key of the network.
    pub(crate) addresses: BTreeMap<String, String>,
}

/// One instance on this node.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) instance: Arc<Instance>,
    pub(crate) record: Arc<RevisionRecord>,
    pub(crate) service: Arc<ServiceSpec>,
    /// Whether the replicated state still has it.
    pub(crate) listed: bool,
    pub(crate) phase: Phase,
    pub(crate) container: Option<Container>,
    /// The container it had last: an observation from before its end may still show it.
    pub(crate) buried: Option<String>,
    /// The addresses of its container, also of one that is being made, could not be made, or has
    /// stopped.
    pub(crate) holds: BTreeSet<Ipv4Addr>,
    /// A network was replaced that its stopped container is bound to.
    pub(crate) stranded: bool,
    /// The run of the container whose namespaces it joined: engine id and start.
    pub(crate) joined: Vec<(String, Option<u64>)>,
    pub(crate) checks: Checks,
    pub(crate) tries: Tries,
    /// Why it is not running, or did not the last time.
    pub(crate) fault: Option<Fault>,
    /// Whether it is being restarted because its checks failed.
    pub(crate) mending: bool,
    pub(crate) restarts: u32,
    pub(crate) exit_code: Option<i64>,
    pub(crate) in_place_done: u64,
    pub(crate) started_at: Option<WallMs>,
    pub(crate) last_health_at: Option<WallMs>,
    /// The count of inputs when something last happened to it: an older observation is stale.
    pub(crate) touched: u64,
}

impl Task {
    /// An instance of which only the replicated state tells. `None` without its revision.
    pub(crate) fn new(
        instance: Arc<Instance>,
        record: Arc<RevisionRecord>,
        tries: Tries,
    ) -> Option<Task> {
        let service = Arc::new(record.spec.services.get(&instance.service)?.clone());
        let status = &instance.status;
        Some(Task {
            phase: Phase::Unseen { last: Box::new(View::of(&instance)), gap: false },
            service,
            listed: true,
            container: None,
            buried: None,
            holds: BTreeSet::new(),
            stranded: false,
            joined: Vec::new(),
            checks: Checks::default(),
            tries,
            fault: status.fault.clone(),
            mending: false,
            restarts: status.restarts,
            exit_code: status.exit_code,
            in_place_done: status.in_place_done,
            started_at: status.started_at,
            last_health_at: status.last_health_at,
            touched: 0,
            record,
            instance,
        })
    }

    /// Its id.
    pub(crate) fn id(&self) -> &InstanceId {
        &self.instance.id
    }

    /// Whether it is to be there and serve.
    pub(crate) fn is_wanted(&self) -> bool {
        self.listed && self.instance.desired == Desired::Run
    }

    /// The container's id while its process runs.
    pub(crate) fn running(&self) -> Option<&Container> {
        self.container.as_ref().filter(|container| container.running)
    }

    /// Forgets its container, which does not exist any more.
    pub(crate) fn bury(&mut self) {
        self.holds.clear();
        self.stranded = false;
        if let Some(container) = self.container.take() {
            self.buried = Some(container.id);
        }
    }

    /// Whether it is on the way to a first container.
    pub(crate) fn is_bare(&self) -> bool {
        matches!(
            self.phase,
            Phase::Idle | Phase::Pulling { .. } | Phase::Waiting { .. } | Phase::Preparing
        )
    }

    /// Whether an operator asked for a restart that has not happened yet.
    pub(crate) fn restart_asked(&self) -> bool {
        self.instance.in_place > self.in_place_done
    }

    /// The engine's names of its networks and volumes.
    pub(crate) fn resource_names(&self) -> Vec<String> {
        let container = &self.service.container;
        let networks = plan::network_names(&self.record.spec, container);
        let mounts = container
            .mounts
            .iter()
            .filter_map(|mount| plan::mounted_volume(&self.instance, &self.record.spec, mount));
        networks.into_values().chain(mounts).collect()
    }

    /// The services whose namespaces it shares: network, IPC, PID.
    pub(crate) fn shares(&self) -> [Option<&ServiceName>; 3] {
        let security = &self.service.container.security;
        let network = match &self.service.container.network_mode {
            NetworkMode::Service(service) => Some(service),
            NetworkMode::Networks | NetworkMode::None | NetworkMode::Host => None,
        };
        [network, service_of(&security.ipc), service_of(&security.pid)]
    }

    /// Takes what the engine says about its container.
    pub(crate) fn learn(&mut self, facts: &ContainerFacts) {
        let container = &self.service.container;
        let names = plan::network_names(&self.record.spec, container);
        let address =
            |(key, name): (String, String)| Some((key, facts.addresses.get(&name)?.clone()));
        self.holds = facts.all_addresses();
        let old = self.container.take();
        let mut addresses: BTreeMap<_, _> = names.into_iter().filter_map(address).collect();
        if !facts.running {
            // A stopped container has none; it keeps those of its last run until the next.
            addresses = old.as_ref().map(|c| c.addresses.clone()).unwrap_or_default();
            if old.is_none() {
                addresses.clone_from(&self.instance.status.addresses);
            }
        }
        self.container = Some(Container {
            id: facts.id.clone(),
            running: facts.running,
            oom_killed: facts.oom_killed,
            ended: None,
            started_at_ms: facts.started_at_ms,
            addresses,
        });
        if facts.running {
            self.started_at = self.started_at.or(facts.started_at_ms.map(WallMs));
        }
        self.checks.hear(facts.health, Some((&facts.health_output, facts.failing_streak)));
    }

    /// What it looks like from outside.
    pub(crate) fn view(&self) -> View {
        if let Phase::Unseen { last, .. } = &self.phase {
            return (**last).clone();
        }
        let mut fault = self.fault.clone();
        match &self.phase {
            Phase::Ready { .. } | Phase::Gone => fault = None,
            Phase::Waiting { .. } | Phase::Backoff { .. } | Phase::Halting(_) => {}
            // The next attempt is under way, or there is none.
            _ => fault.iter_mut().for_each(|fault| _ = fault.details.remove("next_attempt_at")),
        }
        View {
            state: self.state(),
            fault,
            container_id: self.container.as_ref().map(|container| container.id.clone()),
            addresses: self.container.as_ref().map(|c| c.addresses.clone()).unwrap_or_default(),
            restarts: self.restarts,
            exit_code: self.exit_code,
            in_place_done: self.in_place_done,
        }
    }

    fn state(&self) -> InstanceState {
        match &self.phase {
            Phase::Unseen { last, .. } => last.state,
            Phase::Idle | Phase::Waiting { .. } | Phase::Backoff { .. } => InstanceState::Pending,
            Phase::Pulling { .. } | Phase::Preparing => InstanceState::Pulling,
            Phase::Creating { .. }
            | Phase::Created
            | Phase::Starting { .. }
            | Phase::Hooking { .. }
            | Phase::Inspecting { .. }
            | Phase::Verifying { .. } => InstanceState::Starting,
            Phase::Ready { .. } => InstanceState::Running,
            Phase::Degraded { .. } => InstanceState::Degraded,
            Phase::Ended { completed: true } => InstanceState::Completed,
            Phase::Ended { completed: false } => InstanceState::Failed,
            Phase::Halting(halt) if halt.is_final() => InstanceState::Draining,
            Phase::Halting(_) => InstanceState::Pending,
            Phase::Gone => InstanceState::Stopped,
        }
    }

    /// When it wants to be looked at again by itself.
    pub(crate) fn deadline(&self, settings: &crate::Settings) -> Option<Mono> {
        match &self.phase {
            Phase::Pulling { since, .. } => Some(since.plus(settings.pull_limit)),
            Phase::Waiting { until } | Phase::Backoff { until } => Some(*until),
            Phase::Verifying { since } => {
                let limit = since.plus(self.service.start_limit.std());
                let settled = since.plus(settings.settle);
                let unchecked = self.checks.verdict() == crate::checks::Verdict::Unchecked;
                let own = if unchecked { settled } else { limit };
                Some(self.checks.deadline().map_or(own, |probe| probe.min(own)))
            }
            Phase::Ready { .. } => self.checks.deadline(),
            Phase::Degraded { since, .. } => {
                let restart = self.checks.restart_at(&self.service, *since, settings.patience);
                restart.into_iter().chain(self.checks.deadline()).min()
            }
            Phase::Inspecting { op: None, at } => Some(*at),
            Phase::Halting(halt) => halt.deadline(),
            Phase::Unseen { .. }
            | Phase::Idle
            | Phase::Preparing
            | Phase::Creating { .. }
            | Phase::Created
            | Phase::Starting { .. }
            | Phase::Hooking { .. }
            | Phase::Inspecting { op: Some(_), .. }
            | Phase::Ended { .. }
            | Phase::Gone => None,
        }
    }

    /// The engine went away: nothing is known of the container any more.
    pub(crate) fn lose_sight(&mut self) {
        if matches!(self.phase, Phase::Unseen { .. } | Phase::Gone) {
            return;
        }
        self.phase = Phase::Unseen { last: Box::new(self.view()), gap: true };
    }

    /// An instance placed while the engine is known: there is no container of it yet, unless it
    /// was there before under another owner.
    pub(crate) fn begin(&mut self) {
        self.phase = match self.instance.status.state {
            InstanceState::Completed => Phase::Ended { completed: true },
            InstanceState::Failed => Phase::Ended { completed: false },
            _ => Phase::Idle,
        };
    }

    /// Forgets why it had no container or process, once that is overcome.
    pub(crate) fn absolve(&mut self, codes: &[ErrorCode]) {
        if self.fault.as_ref().is_some_and(|fault| codes.contains(&fault.code)) {
            self.fault = None;
        }
    }

    /// Stamps a moment at which it was found well.
    pub(crate) fn found_well(&mut self, now: Now) {
        self.last_health_at = Some(WallMs(now.wall.0));
    }
}

fn service_of(isolation: &Isolation) -> Option<&ServiceName> {
    match isolation {
        Isolation::Service(service) => Some(service),
        Isolation::Default
        | Isolation::Private
        | Isolation::Shareable
        | Isolation::None
        | Isolation::Host => None,
    }
}
