//! [`FirewallCore`]: when the filter is written, read and repaired.
//!
//! | it has | and then |
//! |---|---|
//! | just started | looks what an earlier life left, writes everything, looks again |
//! | another policy | writes elements, or everything if rules differ |
//! | written everything | looks: that is the self-test |
//! | looked, and all is well | looks again after 30 s or when somebody changed something |
//! | looked, and something differs | writes everything at once |
//! | failed | tries again after 1 s, doubling to 30 s |

use crate::chains::ruleset;
use crate::conntrack::{FlowFilter, ended_flows};
use crate::diff::{Change, diff};
use crate::effect::{Effect, Report};
use crate::flows::Flows;
use crate::input::{Fault, FaultKind, Found, Input, Written};
use crate::isolation::{Isolation, Reason};
use crate::pending::Pending;
use crate::policy::Policy;
use crate::repair::{Damage, Repairs, difference};
use crate::ruleset::Ruleset;
use crate::settings::{Options, Settings};
use crate::source::Source;
use jaco_kit_core::{Backoff, Core, Mono, Now, OpId, OpIds};
use jaco_model::NodeId;
use std::sync::Arc;

/// Keeps the packet filter of one node what it should be.
#[derive(Debug)]
pub struct FirewallCore {
    settings: Settings,
    source: Source,
    pending: Pending,
    /// What the policy wants; `None` before there is a pool.
    wanted: Option<(Arc<Policy>, Arc<Ruleset>)>,
    /// What the kernel has, as far as known; `None` without a table.
    installed: Option<Arc<Ruleset>>,
    generation: u32,
    job: Option<(OpId, Job)>,
    look: Option<Look>,
    rewrite: bool,
    /// The filter may have let through what it should not; connections are checked after a write.
    had_hole: bool,
    damage: Option<Damage>,
    repairs: Repairs,
    flows: Flows,
    isolation: Isolation,
    absent_since: Option<Mono>,
    failing_since: Option<Mono>,
    failures_at_once: u32,
    not_before: Mono,
    read_due: Option<Mono>,
    backoff: Backoff,
    ops: OpIds,
}

/// The order under way.
#[derive(Debug)]
enum Job {
    Look(Look),
    Everything(Arc<Ruleset>),
    Elements(Arc<Ruleset>),
}

/// Why the table is read.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Look {
    /// To know what an earlier life left.
    Start,
    /// To see whether a full write arrived.
    SelfTest,
    /// Somebody may have changed it.
    Suspicion { since: Mono, by: Option<String> },
}

impl FirewallCore {
    /// A core for one node that knows no policy yet. `seed` spreads the waits after failures.
    pub fn new(me: NodeId, options: Options, settings: Settings, seed: u64) -> FirewallCore {
        let backoff = Backoff::new(settings.retry_first, settings.retry_limit, seed);
        FirewallCore {
            settings,
            source: Source::new(me, options),
            pending: Pending::default(),
            wanted: None,
            installed: None,
            generation: 0,
            job: None,
            look: Some(Look::Start),
            rewrite: true,
            had_hole: true,
            damage: None,
            repairs: Repairs::default(),
            flows: Flows::default(),
            isolation: Isolation::Unavailable { reason: Reason::Starting, exposed: false },
            absent_since: None,
            failing_since: None,
            failures_at_once: 0,
            not_before: Mono(0),
            read_due: None,
            backoff,
            ops: OpIds::default(),
        }
    }

    /// Whether containers may start, as of the last step.
    pub fn isolation(&self) -> &Isolation {
        &self.isolation
    }

    /// What the filter enforces, as of the last step.
    pub fn policy(&self) -> Option<&Arc<Policy>> {
        self.wanted.as_ref().map(|(policy, _)| policy)
    }

    /// Whether the filter is what the latest policy wants, and was read back since it was written
    /// in full.
    pub fn is_settled(&self) -> bool {
        self.isolation.is_available() && self.job.is_none() && self.next_due().is_none()
    }

    fn take(&mut self, now: Mono, input: Input) -> Vec<Effect> {
        match input {
            Input::StateChanged(state) => {
                self.source.state(state);
                self.pending.note(now);
            }
            Input::PolicyChanged(policy) => {
                self.source.policy(policy);
                self.pending.note(now);
            }
            Input::Fenced(addresses) => {
                self.source.fence(addresses);
                self.pending.note(now);
            }
            Input::Drifted { by } => self.suspect(now, by),
            Input::Written { op, result } => {
                if let Some(job) = self.settle(op) {
                    self.written(now, job, result);
                }
            }
            Input::ReadBack { op, result } => {
                if let Some(Job::Look(look)) = self.settle(op) {
                    return self.looked(now, look, result);
                }
            }
            Input::FlowsEnded { op, result } => {
                self.flows.settle(now, op, result.is_ok(), self.settings.retry_first);
            }
        }
        Vec::new()
    }

    fn settle(&mut self, op: OpId) -> Option<Job> {
        self.job.take_if(|(under_way, _)| *under_way == op).map(|(_, job)| job)
    }

    /// A start or a self-test under way sees the same; nothing else is as urgent.
    fn suspect(&mut self, now: Mono, by: Option<String>) {
        if self.look.is_none() {
            self.look = Some(Look::Suspicion { since: now, by });
        }
    }

    fn written(&mut self, now: Mono, job: Job, result: Result<Written, Fault>) {
        let (is_full, target) = match job {
            Job::Everything(target) => (true, target),
            Job::Elements(target) => (false, target),
            Job::Look(_) => return,
        };
        let written = match result {
            Ok(written) => written,
            Err(fault) => return self.failed_to_write(now, is_full, fault),
        };
        self.generation = written.generation;
        self.absent_since = None;
        let before = self.installed.replace(target.clone());
        if let Some((policy, _)) = &self.wanted {
            if let Some(before) = before {
                self.flows.add(ended_flows(&before, &target, policy));
            }
            if std::mem::take(&mut self.had_hole) {
                self.flows.add(vec![FlowFilter::Unlawful(policy.clone())]);
            }
        }
        if is_full {
            self.rewrite = false;
            self.look = Some(Look::SelfTest);
            self.not_before = now.plus(self.settings.repair_gap);
        } else {
            // It was looked at before elements alone were changed.
            self.recovered();
            self.isolation = Isolation::Available;
        }
    }

    fn failed_to_write(&mut self, now: Mono, is_full: bool, fault: Fault) {
        let since = *self.failing_since.get_or_insert(now);
        // What is there has to be known again before the next attempt.
        self.suspect(now, None);
        if !is_full && now.since(since) >= self.settings.rewrite_after {
            self.rewrite = true;
        } else if fault.kind != FaultKind::Overtaken || !self.may_try_at_once() {
            self.fail(now, Reason::Refused(fault.message));
        }
    }

    fn looked(&mut self, now: Mono, look: Look, result: Result<Found, Fault>) -> Vec<Effect> {
        let found = match result {
            Ok(found) => found,
            Err(fault) => {
                self.look = Some(look);
                if fault.kind != FaultKind::Overtaken || !self.may_try_at_once() {
                    self.fail(now, Reason::Unreadable(fault.message));
                }
                return Vec::new();
            }
        };
        let is_newer = found.generation != self.generation;
        self.generation = found.generation;
        self.read_due = Some(now.plus(self.settings.read_every));
        if found.ruleset.is_none() {
            self.absent_since.get_or_insert(now);
        }
        let is_same = found.ruleset.as_ref() == self.installed.as_deref();
        let before = self.installed.clone();
        if !is_same {
            self.installed = found.ruleset.map(Arc::new);
        }
        match look {
            Look::Start => {}
            _ if is_same && !self.rewrite => self.passed(now),
            _ if is_same => {}
            Look::SelfTest if !is_newer => return self.failed_self_test(now, before.as_deref()),
            Look::SelfTest => self.damaged(now, None, before.as_deref()),
            Look::Suspicion { since, by } => self.damaged(since, by, before.as_deref()),
        }
        Vec::new()
    }

    /// What was written is there. Changes that the kernel refused are not, and go on failing.
    fn passed(&mut self, now: Mono) {
        if self.failing_since.is_none() || !self.is_behind() {
            self.recovered();
            self.isolation = Isolation::Available;
        }
        if let Some(damage) = self.damage.take() {
            self.repairs.done(now, damage);
        }
    }

    fn failed_self_test(&mut self, now: Mono, before: Option<&Ruleset>) -> Vec<Effect> {
        let difference = self.difference(before);
        self.rewrite = true;
        self.had_hole = true;
        self.fail(now, Reason::SelfTest(difference.clone()));
        vec![Effect::Report(Report::SelfTestFailed { difference })]
    }

    fn damaged(&mut self, since: Mono, by: Option<String>, before: Option<&Ruleset>) {
        let difference = self.difference(before);
        self.damage.get_or_insert(Damage { since, difference, by });
        self.rewrite = true;
        self.had_hole = true;
        if self.isolation.is_available() {
            self.isolation = Isolation::Unavailable { reason: Reason::Changed, exposed: false };
        }
    }

    fn difference(&self, before: Option<&Ruleset>) -> String {
        let nothing = Ruleset::default();
        difference(before.unwrap_or(&nothing), self.installed.as_deref())
    }

    /// Whether something else is wanted than what was written.
    fn is_behind(&self) -> bool {
        let wanted = self.wanted.as_ref().map(|(_, wanted)| wanted.as_ref());
        wanted.is_some() && wanted != self.installed.as_deref()
    }

    fn recovered(&mut self) {
        self.backoff.reset();
        self.failing_since = None;
        self.failures_at_once = 0;
    }

    /// Whether the failure is one that a second try is likely to cure.
    fn may_try_at_once(&mut self) -> bool {
        self.failures_at_once += 1;
        self.failures_at_once <= self.settings.tries_at_once
    }

    fn fail(&mut self, now: Mono, reason: Reason) {
        self.failing_since.get_or_insert(now);
        self.failures_at_once = 0;
        self.not_before = now.plus(self.backoff.next_delay());
        self.isolation = Isolation::Unavailable { reason, exposed: false };
    }

    /// Takes a policy that has waited long enough.
    fn refresh(&mut self, now: Mono) {
        let Settings { debounce, debounce_max, .. } = self.settings;
        let is_first = self.wanted.is_none();
        let is_due = self.pending.due(debounce, debounce_max).is_some_and(|due| due <= now);
        if is_due || is_first {
            self.pending.clear();
            let Some(policy) = self.source.current() else { return };
            if self.wanted.as_ref().is_none_or(|(known, _)| *known != policy) {
                let ruleset = Arc::new(ruleset(&policy));
                self.wanted = Some((policy, ruleset));
            }
        }
    }

    /// Gives the next order, if nothing is under way and none has to wait.
    fn order(&mut self, now: Mono) -> Option<Effect> {
        let (_, wanted) = self.wanted.as_ref()?;
        if self.job.is_some() || now < self.not_before && !self.is_self_test_due() {
            return None;
        }
        if self.look.is_none() && self.read_due.is_some_and(|due| due <= now) {
            self.look = Some(Look::Suspicion { since: now, by: None });
        }
        if let Some(look) = self.look.take() {
            let op = self.ops.next_id();
            self.job = Some((op, Job::Look(look)));
            return Some(Effect::ReadBack { op });
        }
        let wanted = wanted.clone();
        let change = match &self.installed {
            Some(installed) if !self.rewrite => diff(installed, &wanted),
            _ => Change::Everything,
        };
        let (job, effect) = match change {
            Change::Nothing => return None,
            Change::Elements(delta) => {
                let (op, generation) = (self.ops.next_id(), self.generation);
                ((op, Job::Elements(wanted)), Effect::WriteElements { op, delta, generation })
            }
            Change::Everything => {
                let op = self.ops.next_id();
                let job = (op, Job::Everything(wanted.clone()));
                (job, Effect::Write { op, ruleset: wanted })
            }
        };
        self.job = Some(job);
        Some(effect)
    }

    /// The self-test follows the write at once; only after a failure it waits.
    fn is_self_test_due(&self) -> bool {
        self.look == Some(Look::SelfTest) && self.backoff.failures() == 0
    }

    fn end(&mut self, now: Mono, told: &Isolation, mut effects: Vec<Effect>) -> Vec<Effect> {
        self.refresh(now);
        effects.extend(self.order(now));
        effects.extend(self.flows.order(now, &mut self.ops));
        let is_exposed = self.exposed_at().is_some_and(|at| at <= now);
        if let Isolation::Unavailable { exposed, .. } = &mut self.isolation {
            *exposed = is_exposed;
        }
        if self.isolation != *told {
            effects.push(Effect::Report(Report::Isolation(self.isolation.clone())));
        }
        let report = self.repairs.report(now, self.settings.report_every);
        effects.extend(report.map(Effect::Report));
        effects
    }

    fn exposed_at(&self) -> Option<Mono> {
        Some(self.absent_since?.plus(self.settings.exposed_after))
    }

    /// When the next order can be given; `None` when none is wanted before the next look.
    fn next_due(&self) -> Option<Mono> {
        let Settings { debounce, debounce_max, .. } = self.settings;
        self.wanted.as_ref()?;
        let is_due = self.look.is_some() || self.rewrite || self.is_behind();
        let at_once = is_due.then_some(self.not_before);
        [at_once, self.pending.due(debounce, debounce_max)].into_iter().flatten().min()
    }
}

impl Core for FirewallCore {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, now: Now, input: Input) -> Vec<Effect> {
        let told = self.isolation.clone();
        let effects = self.take(now.mono, input);
        self.end(now.mono, &told, effects)
    }

    fn wake(&mut self, now: Now) -> Vec<Effect> {
        let told = self.isolation.clone();
        self.end(now.mono, &told, Vec::new())
    }

    fn deadline(&self) -> Option<Mono> {
        let is_flagged = matches!(self.isolation, Isolation::Unavailable { exposed: true, .. });
        let exposed = self.exposed_at().filter(|_| !is_flagged);
        let look = self.read_due.map(|due| due.max(self.not_before));
        let order = self.next_due().into_iter().chain(look).min();
        let order = order.filter(|_| self.job.is_none() && self.wanted.is_some());
        let report = self.repairs.due(self.settings.report_every);
        [exposed, order, report, self.flows.due()].into_iter().flatten().min()
    }

    fn check_invariants(&self) {
        let has_table = self.installed.is_some();
        debug_assert!(!self.isolation.is_available() || has_table, "available without a table");
        debug_assert!(!self.isolation.is_available() || !self.rewrite, "available and damaged");
    }
}
