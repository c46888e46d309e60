//! What outcomes and engine events do to an instance.

use crate::advance::{Cx, engine_fault};
use crate::checks::Checks;
use crate::halt::{Halt, Why};
use crate::orders::Subject;
use crate::restart::{Sequel, exit_fault};
use crate::task::{Container, Phase, Task};
use crate::{ContainerFacts, Effect, EngineEvent, EngineFault, ExecOutcome, Health, PullFault};
use jaco_kit_core::{Now, OpId};
use jaco_model::{ErrorCode, Fault};
use std::collections::BTreeMap;
use std::time::Duration;

/// The code taken for a process whose end nobody saw.
const UNSEEN_END: i64 = 137;

impl Task {
    /// Takes the outcome of a pull.
    pub(crate) fn pulled(&mut self, op: OpId, result: Result<(), PullFault>, cx: &mut Cx<'_>) {
        if !matches!(self.phase, Phase::Pulling { op: of, .. } if of == op) {
            return;
        }
        self.phase = match result {
            Ok(()) => {
                self.absolve(&[ErrorCode::ImagePullFailed]);
                Phase::Preparing
            }
            Err(fault) => self.pull_failed(&fault, cx.now),
        };
    }

    /// Takes the outcome of a creation.
    pub(crate) fn created(
        &mut self,
        op: OpId,
        result: Result<(String, Vec<String>), EngineFault>,
        cx: &mut Cx<'_>,
    ) {
        if !matches!(self.phase, Phase::Creating { op: of } if of == op) {
            return;
        }
        self.phase = match result {
            Ok((id, _warnings)) => {
                self.container = Some(Container {
                    id,
                    running: false,
                    oom_killed: false,
                    ended: None,
                    started_at_ms: None,
                    addresses: BTreeMap::new(),
                });
                self.tries.refusals = 0;
                self.absolve(&[
                    ErrorCode::DockerError,
                    ErrorCode::SubnetPoolExhausted,
                    ErrorCode::NetworkBlockFull,
                ]);
                Phase::Created
            }
            Err(fault) if fault.is_address_conflict() => {
                cx.addresses.rest(cx.now.mono, std::mem::take(&mut self.holds).into_iter());
                Phase::Preparing
            }
            Err(fault) => {
                // A network or volume may have been removed by hand.
                cx.resources.doubt(self.resource_names().iter());
                self.make_failed(&fault, cx.now)
            }
        };
    }

    /// Takes the outcome of an order without a result of its own.
    pub(crate) fn finished(&mut self, op: OpId, result: Result<(), EngineFault>, cx: &mut Cx<'_>) {
        match self.phase.clone() {
            Phase::Starting { op: of } if of == op => {
                self.phase = match result {
                    Ok(()) => self.started(cx),
                    Err(fault) => self.start_refused(&fault, cx),
                };
            }
            Phase::Halting(halt) => self.halt_finished(halt, op, result, cx),
            _ => {}
        }
    }

    fn started(&mut self, cx: &mut Cx<'_>) -> Phase {
        self.in_place_done = self.instance.in_place;
        self.tries.makes.reset();
        self.tries.refusals = 0;
        self.absolve(&[ErrorCode::DockerError]);
        self.checks = Checks::start(&self.service, cx.now.mono, None);
        let Some(container) = self.container.as_mut() else { return Phase::Idle };
        container.running = true;
        container.oom_killed = false;
        container.started_at_ms = None;
        if container.ended.is_some() { self.inspect(cx) } else { self.post_start(0, cx) }
    }

    /// The hook at `index`, or the next phase when there is none.
    pub(crate) fn post_start(&mut self, index: usize, cx: &mut Cx<'_>) -> Phase {
        let hook = self.service.container.post_start.get(index).cloned();
        let (Some(hook), Some(container)) = (hook, self.container.as_ref()) else {
            return self.inspect(cx);
        };
        let container = container.id.clone();
        let op = cx.orders.issue(Subject::Task(self.id().clone()), |op| Effect::Exec {
            op,
            container,
            hook,
            timeout: self.service.start_limit,
        });
        Phase::Hooking { op, index }
    }

    fn start_refused(&mut self, fault: &EngineFault, cx: &mut Cx<'_>) -> Phase {
        if fault.is_address_conflict() && !self.holds.is_empty() {
            // Its addresses are part of the container: the next one gets others.
            cx.addresses.rest(cx.now.mono, std::mem::take(&mut self.holds).into_iter());
            return Phase::Halting(Halt::new(Why::Recreate, cx.now.mono));
        }
        self.tries.refusals += 1;
        let told = engine_fault(fault);
        match self.sequel(UNSEEN_END, Duration::ZERO, told, cx.now, cx.settings) {
            Sequel::Again(wait) => Phase::Backoff { until: cx.now.mono.plus(wait) },
            Sequel::Completed | Sequel::Failed | Sequel::Exhausted(_) => {
                Phase::Ended { completed: false }
            }
        }
    }

    /// Takes the outcome of a hook.
    pub(crate) fn executed(
        &mut self,
        op: OpId,
        result: Result<ExecOutcome, EngineFault>,
        cx: &mut Cx<'_>,
    ) {
        match self.phase.clone() {
            Phase::Hooking { op: of, index } if of == op => {
                self.phase = match result {
                    Ok(outcome) if outcome.exit_code == 0 => self.post_start(index + 1, cx),
                    Ok(outcome) => {
                        let fault = Fault::new(ErrorCode::HookFailed, "a post_start hook failed")
                            .with("hook", "post_start")
                            .with("exit_code", outcome.exit_code);
                        self.fail(fault, cx)
                    }
                    Err(error) => {
                        let fault = Fault::new(ErrorCode::HookFailed, error.reason)
                            .with("hook", "post_start");
                        self.fail(fault, cx)
                    }
                };
            }
            Phase::Halting(halt) => self.pre_stop_executed(halt, op, &result, cx),
            _ => {}
        }
    }

    /// Takes what the engine says about the container.
    pub(crate) fn inspected(
        &mut self,
        op: OpId,
        result: Result<Option<ContainerFacts>, EngineFault>,
        cx: &mut Cx<'_>,
    ) {
        match self.phase.clone() {
            Phase::Inspecting { op: Some(of), at } if of == op => match result {
                Ok(Some(facts)) => {
                    self.learn(&facts);
                    self.phase = Phase::Verifying { since: cx.now.mono };
                    if !facts.running {
                        self.exited(facts.exit_code.unwrap_or(UNSEEN_END), cx.now, cx.settings);
                    }
                }
                Ok(None) => self.vanished(cx),
                Err(_) => self.phase = Phase::Inspecting { op: None, at },
            },
            Phase::Degraded { since, detail: Some(of) } if of == op => {
                self.phase = Phase::Degraded { since, detail: None };
                if let Ok(Some(facts)) = result
                    && facts.health == Health::Unhealthy
                {
                    self.checks
                        .hear(facts.health, Some((&facts.health_output, facts.failing_streak)));
                    self.fault = Some(self.checks.fault());
                }
            }
            _ => {}
        }
    }

    /// Takes the outcome of a probe.
    pub(crate) fn probed(&mut self, op: OpId, result: Result<(), String>, now: Now) {
        let well = result.is_ok();
        if self.checks.probed(op, result) && well {
            self.found_well(now);
        }
    }

    /// Takes an event about its container.
    pub(crate) fn happened(&mut self, event: &EngineEvent, cx: &mut Cx<'_>) {
        match event {
            EngineEvent::Died { exit_code } => self.died(*exit_code, cx),
            EngineEvent::OutOfMemory => {
                self.container.iter_mut().for_each(|container| container.oom_killed = true);
            }
            EngineEvent::Health(health) => {
                self.checks.hear(*health, None);
                if *health == Health::Healthy {
                    self.found_well(cx.now);
                }
            }
            EngineEvent::Started => {
                // Somebody was faster than the back-off.
                if matches!(self.phase, Phase::Backoff { .. } | Phase::Ended { .. }) {
                    self.checks = Checks::start(&self.service, cx.now.mono, None);
                    self.phase = self.inspect(cx);
                }
            }
            EngineEvent::Destroyed => self.vanished(cx),
        }
    }

    fn died(&mut self, code: i64, cx: &mut Cx<'_>) {
        match self.phase {
            Phase::Hooking { .. }
            | Phase::Inspecting { .. }
            | Phase::Verifying { .. }
            | Phase::Ready { .. }
            | Phase::Degraded { .. } => self.exited(code, cx.now, cx.settings),
            Phase::Starting { .. } => {
                self.container.iter_mut().for_each(|container| container.ended = Some(code));
            }
            Phase::Halting(_) => {
                self.exit_code = Some(code);
                self.container.iter_mut().for_each(|container| container.running = false);
            }
            Phase::Unseen { .. }
            | Phase::Idle
            | Phase::Pulling { .. }
            | Phase::Waiting { .. }
            | Phase::Preparing
            | Phase::Creating { .. }
            | Phase::Created
            | Phase::Backoff { .. }
            | Phase::Ended { .. }
            | Phase::Gone => {}
        }
    }

    /// The process ended without an order of ours.
    pub(crate) fn exited(&mut self, code: i64, now: Now, settings: &crate::Settings) {
        let ready = match self.phase {
            Phase::Ready { since } => now.mono.since(since),
            _ => Duration::ZERO,
        };
        let oom_killed = self.container.as_ref().is_some_and(|c| c.oom_killed);
        self.container.iter_mut().for_each(|container| container.running = false);
        self.exit_code = Some(code);
        let fault = exit_fault(code, oom_killed, self.restarts);
        self.phase = match self.sequel(code, ready, fault, now, settings) {
            Sequel::Again(wait) => Phase::Backoff { until: now.mono.plus(wait) },
            Sequel::Completed => Phase::Ended { completed: true },
            Sequel::Failed | Sequel::Exhausted(_) => Phase::Ended { completed: false },
        };
    }

    /// The container was removed by somebody.
    pub(crate) fn vanished(&mut self, cx: &mut Cx<'_>) {
        if matches!(self.phase, Phase::Unseen { .. }) {
            return;
        }
        self.bury();
        match self.phase {
            Phase::Created
            | Phase::Starting { .. }
            | Phase::Hooking { .. }
            | Phase::Inspecting { .. }
            | Phase::Verifying { .. }
            | Phase::Ready { .. }
            | Phase::Degraded { .. } => {
                // With a back-off, so that a fight over a container stays a slow one.
                self.exited(self.exit_code.unwrap_or(UNSEEN_END), cx.now, cx.settings);
            }
            Phase::Unseen { .. }
            | Phase::Idle
            | Phase::Pulling { .. }
            | Phase::Waiting { .. }
            | Phase::Preparing
            | Phase::Creating { .. }
            | Phase::Backoff { .. }
            | Phase::Ended { .. }
            | Phase::Halting(_)
            | Phase::Gone => {}
        }
    }
}
