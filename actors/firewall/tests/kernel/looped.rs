//! The core and the driver together, as a shell runs them.

use crate::namespace::PATIENCE;
use jaco_firewall::{Driver, DriverHandle};
use jaco_firewall_core::{
    Effect, FirewallCore, Input, Options, Policy, Report, Ruleset, Settings, ruleset,
};
use jaco_kit::Clock;
use jaco_kit_core::Core;
use jaco_model::NodeId;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

pub(crate) struct Loop {
    pub(crate) core: FirewallCore,
    pub(crate) reports: Vec<Report>,
    /// Full writes and changes of elements.
    pub(crate) writes: (usize, usize),
    driver: DriverHandle,
    inputs: Receiver<Input>,
    clock: Clock,
}

impl Loop {
    /// A core in the namespace of this thread that has installed the policy.
    pub(crate) fn start(policy: &Policy) -> Loop {
        let (tell, inputs) = channel();
        let driver = Driver::spawn(move |input| _ = tell.send(input)).unwrap();
        let settings = Settings { report_every: Duration::ZERO, ..Settings::default() };
        let core = FirewallCore::new(NodeId::new("n-1"), Options::default(), settings, 1);
        let clock = Clock::new();
        let mut this = Loop { core, reports: Vec::new(), writes: (0, 0), driver, inputs, clock };
        this.enforce(policy);
        this
    }

    /// Enforces another policy, and waits until that is so.
    pub(crate) fn enforce(&mut self, policy: &Policy) {
        self.step(Input::PolicyChanged(Arc::new(policy.clone())));
        let wanted = policy.clone();
        self.until(|this| {
            this.core.is_settled() && this.core.policy().is_some_and(|known| **known == wanted)
        });
    }

    /// Lets it work until something is so.
    pub(crate) fn until(&mut self, is_so: impl Fn(&Loop) -> bool) {
        let end = self.clock.mono().plus(PATIENCE);
        while !is_so(self) {
            let now = self.clock.mono();
            assert!(now < end, "it never came: {:?}, {:?}", self.core.isolation(), self.reports);
            let due = self.core.deadline().unwrap_or(end).min(end);
            match self.inputs.recv_timeout(due.since(now).max(Duration::from_millis(1))) {
                Ok(input) => self.step(input),
                Err(RecvTimeoutError::Timeout) => {
                    let effects = self.core.wake(self.clock.now());
                    self.perform(effects);
                }
                Err(RecvTimeoutError::Disconnected) => panic!("the driver has ended"),
            }
        }
    }

    /// Waits for the report that a repair was made; what was changed, by whom, and how long it
    /// took.
    pub(crate) fn repaired(&mut self) -> (String, Option<String>, Duration) {
        let is_repair = |report: &Report| matches!(report, Report::Reconciled { .. });
        self.until(|this| this.core.is_settled() && this.reports.iter().any(is_repair));
        let place = self.reports.iter().position(is_repair).unwrap();
        let Report::Reconciled { difference, by, took, .. } = self.reports.remove(place) else {
            unreachable!("it was found as one");
        };
        self.reports.clear();
        (difference, by, took)
    }

    /// The table that should be there.
    pub(crate) fn wanted(&self) -> Ruleset {
        ruleset(self.core.policy().unwrap())
    }

    fn step(&mut self, input: Input) {
        let effects = self.core.step(self.clock.now(), input);
        self.perform(effects);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        self.core.check_invariants();
        for effect in effects {
            match &effect {
                Effect::Report(report) => self.reports.push(report.clone()),
                Effect::Write { .. } => self.writes.0 += 1,
                Effect::WriteElements { .. } => self.writes.1 += 1,
                Effect::ReadBack { .. } | Effect::EndFlows { .. } => {}
            }
            self.driver.run(effect);
        }
    }
}
