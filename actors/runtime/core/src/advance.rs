//! What an instance does next by itself: one small function for each phase.

use crate::address::Addresses;
use crate::bridge::Terms;
use crate::checks::Verdict;
use crate::halt::{Halt, Why};
use crate::orders::{Orders, Subject};
use crate::peers::{Lodging, Peers};
use crate::resources::Resources;
use crate::restart::Sequel;
use crate::task::{Phase, Task};
use crate::{Effect, EngineFault, Host, PullFault, PullReason, Settings};
use jaco_kit_core::{Mono, Now, OpId};
use jaco_model::spec::{NetworkMode, RestartCondition};
use jaco_model::{ErrorCode, Fault, InstanceId, WallMs};
use jaco_state::{ServiceKey, State};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Wait before a container is asked about again after the engine refused.
const INSPECT_AGAIN: Duration = Duration::from_secs(1);

/// What a task may see and use while it takes a step.
#[derive(Debug)]
pub(crate) struct Cx<'a> {
    pub(crate) now: Now,
    pub(crate) host: &'a Host,
    pub(crate) settings: &'a Settings,
    pub(crate) state: &'a State,
    pub(crate) peers: &'a Peers,
    pub(crate) orders: &'a mut Orders,
    pub(crate) resources: &'a mut Resources,
    pub(crate) addresses: &'a mut Addresses,
    /// What new networks have in common.
    pub(crate) terms: &'a Terms,
    /// Engine names of networks in which processes run, or may.
    pub(crate) attached: &'a BTreeSet<String>,
    /// Why no container may be made or started.
    pub(crate) closed: Option<&'a Fault>,
    /// Names that containers without an owner still hold.
    pub(crate) taken: &'a BTreeSet<InstanceId>,
    /// How many replicas of a service may still be restarted for bad health; no entry, no limit.
    pub(crate) brakes: &'a mut BTreeMap<ServiceKey, usize>,
}

impl Task {
    /// Takes at most one step. `true` when it is in another phase now.
    pub(crate) fn advance(&mut self, cx: &mut Cx<'_>) -> bool {
        let next = if self.is_wanted() { self.pursue(cx) } else { self.withdraw(cx) };
        match next {
            Some(phase) => {
                self.phase = phase;
                true
            }
            None => false,
        }
    }

    /// The next step of an instance that is to run.
    fn pursue(&mut self, cx: &mut Cx<'_>) -> Option<Phase> {
        match self.phase.clone() {
            Phase::Idle => self.while_idle(cx),
            Phase::Pulling { op, since } => self.while_pulling(op, since, cx),
            Phase::Waiting { until } => (cx.now.mono >= until).then_some(Phase::Idle),
            Phase::Preparing => self.while_preparing(cx),
            Phase::Created => self.while_created(cx),
            Phase::Inspecting { op: None, at } if cx.now.mono >= at => Some(self.inspect(cx)),
            Phase::Verifying { since } => self.while_verifying(since, cx),
            Phase::Ready { .. } => self.while_ready(cx),
            Phase::Degraded { since, .. } => self.while_degraded(since, cx),
            Phase::Backoff { until } => self.while_backoff(until, cx),
            Phase::Ended { .. } => self.restart_asked().then(|| self.restart_at_once(cx)),
            Phase::Halting(halt) => self.advance_halt(halt, cx),
            Phase::Unseen { .. }
            | Phase::Creating { .. }
            | Phase::Starting { .. }
            | Phase::Hooking { .. }
            | Phase::Inspecting { .. }
            | Phase::Gone => None,
        }
    }

    /// The next step of an instance that is to go.
    fn withdraw(&mut self, cx: &mut Cx<'_>) -> Option<Phase> {
        match self.phase.clone() {
            // What is under way at the engine is awaited: it decides what there is to remove.
            Phase::Unseen { .. } | Phase::Creating { .. } | Phase::Starting { .. } => None,
            Phase::Gone => None,
            Phase::Halting(halt) if halt.is_final() => self.advance_halt(halt, cx),
            Phase::Halting(halt) => Some(Phase::Halting(halt.towards(Why::Retire))),
            Phase::Idle
            | Phase::Pulling { .. }
            | Phase::Waiting { .. }
            | Phase::Preparing
            | Phase::Created
            | Phase::Hooking { .. }
            | Phase::Inspecting { .. }
            | Phase::Verifying { .. }
            | Phase::Ready { .. }
            | Phase::Degraded { .. }
            | Phase::Backoff { .. }
            | Phase::Ended { .. } => Some(match self.container {
                Some(_) => Phase::Halting(Halt::new(Why::Retire, cx.now.mono)),
                None => Phase::Gone,
            }),
        }
    }

    fn while_idle(&mut self, cx: &mut Cx<'_>) -> Option<Phase> {
        if cx.taken.contains(self.id()) {
            return None;
        }
        if let Err(host) = cx.peers.hosts(self) {
            self.fault = Some(
                Fault::new(
                    ErrorCode::DependsOnUnmet,
                    "the service it shares a namespace with is not running here",
                )
                .with("depends_on", host),
            );
            return None;
        }
        self.absolve(&[ErrorCode::DependsOnUnmet]);
        if cx.orders.pulls() >= cx.settings.pulls {
            return None;
        }
        let container = &self.service.container;
        let op = cx.orders.issue(Subject::Pull(self.id().clone()), |op| Effect::Pull {
            op,
            instance: self.id().clone(),
            image: self.instance.image.clone(),
            policy: container.pull_policy,
            platform: container.platform.clone(),
        });
        Some(Phase::Pulling { op, since: cx.now.mono })
    }

    fn while_pulling(&mut self, op: OpId, since: Mono, cx: &mut Cx<'_>) -> Option<Phase> {
        if cx.now.mono < since.plus(cx.settings.pull_limit) {
            return None;
        }
        cx.orders.forget(op);
        let message = "the registry did not deliver in time".to_owned();
        let fault = PullFault { reason: PullReason::Network, message, retry_after_ms: None };
        Some(self.pull_failed(&fault, cx.now))
    }

    /// Asks what came of a start.
    pub(crate) fn inspect(&mut self, cx: &mut Cx<'_>) -> Phase {
        let Some(container) = self.container.as_ref().map(|c| c.id.clone()) else {
            return Phase::Idle;
        };
        let op = cx
            .orders
            .issue(Subject::Task(self.id().clone()), |op| Effect::Inspect { op, container });
        Phase::Inspecting { op: Some(op), at: cx.now.mono.plus(INSPECT_AGAIN) }
    }

    fn while_verifying(&mut self, since: Mono, cx: &mut Cx<'_>) -> Option<Phase> {
        if let Some(phase) = self.disturbed(cx) {
            return Some(phase);
        }
        self.drive_checks(false, cx);
        let settled = cx.now.mono >= since.plus(cx.settings.settle);
        match self.checks.verdict() {
            Verdict::Unchecked if settled => Some(self.becomes_ready(cx.now)),
            Verdict::Well => Some(self.becomes_ready(cx.now)),
            _ if cx.now.mono >= since.plus(self.service.start_limit.std()) => {
                let fault = Fault::new(ErrorCode::StartTimeout, "not ready within the start limit")
                    .with("limit", self.service.start_limit)
                    .with("output", self.checks.output());
                Some(self.fail(fault, cx))
            }
            _ => None,
        }
    }

    fn while_ready(&mut self, cx: &mut Cx<'_>) -> Option<Phase> {
        if let Some(phase) = self.disturbed(cx) {
            return Some(phase);
        }
        self.drive_checks(true, cx);
        if self.checks.verdict() != Verdict::Sick {
            return None;
        }
        let container = self.container.as_ref()?.id.clone();
        let detail = self.checks.is_dockers().then(|| {
            cx.orders
                .issue(Subject::Task(self.id().clone()), |op| Effect::Inspect { op, container })
        });
        // Taken once: words and counts that change with every check are no transitions.
        self.fault = Some(self.checks.fault());
        Some(Phase::Degraded { since: cx.now.mono, detail })
    }

    fn while_degraded(&mut self, since: Mono, cx: &mut Cx<'_>) -> Option<Phase> {
        if let Some(phase) = self.disturbed(cx) {
            return Some(phase);
        }
        self.drive_checks(true, cx);
        if self.checks.verdict() != Verdict::Sick {
            return Some(self.becomes_ready(cx.now));
        }
        let due = self.checks.restart_at(&self.service, since, cx.settings.patience)?;
        let forbidden = self.service.restart.condition == RestartCondition::None;
        if forbidden || cx.now.mono < due {
            return None;
        }
        let key = (self.instance.deployment.clone(), self.instance.service.clone());
        if let Some(left) = cx.brakes.get_mut(&key) {
            *left = left.checked_sub(1)?;
        }
        self.mending = true;
        let fault = self.checks.fault();
        Some(self.fail(fault, cx))
    }

    fn while_backoff(&mut self, until: Mono, cx: &mut Cx<'_>) -> Option<Phase> {
        if self.restart_asked() {
            return Some(self.restart_at_once(cx));
        }
        if cx.now.mono < until {
            return None;
        }
        // A container that the engine refuses to start twice is made anew: what it was made with
        // may be gone.
        if self.tries.refusals >= 2 && self.container.is_some() {
            self.restarts += 1;
            return Some(Phase::Halting(Halt::new(Why::Recreate, cx.now.mono)));
        }
        Some(self.again())
    }

    /// What an operator or the host of its namespaces did to a running container.
    fn disturbed(&mut self, cx: &mut Cx<'_>) -> Option<Phase> {
        if self.restart_asked() {
            return Some(self.restart_at_once(cx));
        }
        let why = match cx.peers.lodging(self) {
            Lodging::Settled => return None,
            Lodging::HostRestarted => Why::Restart(Duration::ZERO),
            Lodging::HostReplaced => Why::Recreate,
        };
        self.fault = None;
        Some(Phase::Halting(Halt::new(why, cx.now.mono)))
    }

    fn restart_at_once(&mut self, cx: &mut Cx<'_>) -> Phase {
        // Taken up once: should the start fail, the usual back-off follows.
        self.in_place_done = self.instance.in_place;
        self.tries.forgive();
        self.fault = None;
        self.mending = false;
        match self.running() {
            Some(_) => Phase::Halting(Halt::new(Why::Restart(Duration::ZERO), cx.now.mono)),
            None => self.again(),
        }
    }

    /// Starts the container again, or makes one.
    pub(crate) fn again(&mut self) -> Phase {
        self.restarts = self.restarts.saturating_add(1);
        if self.container.is_some() { Phase::Created } else { Phase::Idle }
    }

    pub(crate) fn becomes_ready(&mut self, now: Now) -> Phase {
        self.fault = None;
        self.mending = false;
        self.found_well(now);
        Phase::Ready { since: now.mono }
    }

    fn drive_checks(&mut self, ready: bool, cx: &mut Cx<'_>) {
        let Some(container) = self.container.as_ref() else { return };
        let address = self.probe_address(container);
        let at = (&self.instance.id, container.id.as_str(), address.as_str());
        self.checks.drive(cx.now.mono, ready, cx.orders, at);
    }

    fn probe_address(&self, container: &crate::task::Container) -> String {
        let spec = &self.service.container;
        let own = match spec.network_mode {
            NetworkMode::Networks => {
                let attached = spec.networks.iter();
                attached.filter_map(|a| container.addresses.get(&a.network)).next()
            }
            NetworkMode::Host | NetworkMode::None | NetworkMode::Service(_) => None,
        };
        own.cloned().unwrap_or_else(|| "127.0.0.1".to_owned())
    }

    /// Stops a container that runs but is no good; the restart policy says what comes then.
    pub(crate) fn fail(&mut self, fault: Fault, cx: &mut Cx<'_>) -> Phase {
        let why = match self.sequel(1, Duration::ZERO, fault, cx.now, cx.settings) {
            Sequel::Again(wait) => Why::Restart(wait),
            Sequel::Completed | Sequel::Failed | Sequel::Exhausted(_) => Why::End,
        };
        Phase::Halting(Halt::new(why, cx.now.mono))
    }

    /// Asks the restart policy, and says why in `self.fault`.
    pub(crate) fn sequel(
        &mut self,
        code: i64,
        ready: Duration,
        fault: Fault,
        now: Now,
        settings: &Settings,
    ) -> Sequel {
        let sequel = self.tries.after_exit(&self.service.restart, code, ready, settings);
        self.fault = match sequel {
            Sequel::Again(wait) => Some(fault.with("next_attempt_at", moment(now, wait))),
            Sequel::Completed => None,
            Sequel::Failed => Some(fault),
            Sequel::Exhausted(most) => {
                let message = format!("gave up after {most} restarts: {}", fault.message);
                Some(
                    Fault { code: ErrorCode::RestartExhausted, message, ..fault }
                        .with("max_attempts", most),
                )
            }
        };
        sequel
    }

    /// Waits after a failed pull.
    pub(crate) fn pull_failed(&mut self, fault: &PullFault, now: Now) -> Phase {
        let until = self.tries.retry_at(now.mono, fault.retry_after_ms);
        let message = format!("cannot pull: {}", fault.message);
        self.fault = Some(
            Fault::new(ErrorCode::ImagePullFailed, message)
                .with("image", &self.instance.image.reference)
                .with("reason", fault.reason.as_str())
                .with("attempt", self.tries.makes.failures())
                .with("next_attempt_at", moment(now, until.since(now.mono))),
        );
        Phase::Waiting { until }
    }

    /// Waits after a refusal on the way to a container, or gives up when it is for good.
    pub(crate) fn make_failed(&mut self, fault: &EngineFault, now: Now) -> Phase {
        let told = engine_fault(fault);
        if !fault.retry {
            self.fault = Some(told);
            return Phase::Ended { completed: false };
        }
        let until = self.tries.retry_at(now.mono, None);
        self.fault = Some(told.with("next_attempt_at", moment(now, until.since(now.mono))));
        Phase::Waiting { until }
    }
}

/// What the engine refused, in the words of the closed table.
pub(crate) fn engine_fault(fault: &EngineFault) -> Fault {
    let code = if fault.reason.contains("address pool") {
        ErrorCode::SubnetPoolExhausted
    } else {
        ErrorCode::DockerError
    };
    Fault::new(code, format!("{} failed: {}", fault.op, fault.reason))
        .with("op", fault.op)
        .with("reason", &fault.reason)
}

/// A moment to come, as people read it.
fn moment(now: Now, wait: Duration) -> WallMs {
    let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    WallMs(now.wall.0.saturating_add(wait))
}
