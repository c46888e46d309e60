//! Meeting containers that are there already: after a start of the daemon, after the engine was
//! away, and at each look at everything it has.

use crate::advance::Cx;
use crate::checks::{Checks, Verdict};
use crate::halt::{Halt, Why};
use crate::restart::exit_fault;
use crate::task::{Phase, Task};
use crate::{ContainerFacts, Health};
use jaco_model::entity::InstanceState;
use jaco_model::spec::RestartCondition;
use jaco_model::{ErrorCode, InstanceId};

impl Task {
    /// Whether a container is the one this instance should have.
    pub(crate) fn owns(&self, facts: &ContainerFacts) -> bool {
        facts.instance.as_ref() == Some::<&InstanceId>(self.id())
            && facts.spec_hash == self.instance.spec_hash
    }

    /// Compares what is believed with what the engine has.
    pub(crate) fn observed(&mut self, facts: Option<&ContainerFacts>, cx: &mut Cx<'_>) {
        match (self.phase.clone(), facts) {
            (Phase::Unseen { last, gap }, facts) => self.adopt(facts, last.state, gap, cx),
            (Phase::Ended { .. } | Phase::Backoff { .. }, Some(facts)) if facts.running => {
                self.take_up(facts, None, cx);
            }
            (
                Phase::Verifying { .. } | Phase::Ready { .. } | Phase::Degraded { .. },
                Some(facts),
            ) => {
                self.learn(facts);
                if !facts.running {
                    let code = facts.exit_code.unwrap_or_default();
                    self.exited(code, cx.now, cx.settings);
                }
            }
            // An attempt whose answer got lost may have left a container behind.
            (_, Some(facts)) if self.is_bare() => {
                if let Phase::Pulling { op, .. } = self.phase {
                    cx.orders.forget(op);
                }
                self.adopt(Some(facts), InstanceState::Pending, false, cx);
            }
            (_, Some(_)) => {}
            (Phase::Ended { .. } | Phase::Backoff { .. } | Phase::Halting(_), None) => self.bury(),
            (_, None) => self.vanished(cx),
        }
    }

    /// Takes over a container, or finds that there is none. `before` is what was reported last;
    /// `gap` says that this core knew the container before the engine went away.
    fn adopt(
        &mut self,
        facts: Option<&ContainerFacts>,
        before: InstanceState,
        gap: bool,
        cx: &mut Cx<'_>,
    ) {
        let Some(facts) = facts else {
            self.bury();
            self.phase = match before {
                InstanceState::Completed => Phase::Ended { completed: true },
                InstanceState::Failed => Phase::Ended { completed: false },
                _ => Phase::Idle,
            };
            return;
        };
        if before == InstanceState::Draining || !self.is_wanted() {
            self.learn(facts);
            let resumed = before == InstanceState::Draining;
            let halt = if resumed { Halt::resumed } else { Halt::new };
            self.phase = Phase::Halting(halt(Why::Retire, cx.now.mono));
        } else if facts.running {
            self.take_up(facts, Some(before), cx);
        } else if facts.never_started {
            self.learn(facts);
            self.phase = Phase::Created;
        } else {
            self.learn(facts);
            self.take_up_dead(facts, before, gap, cx);
        }
    }

    /// Takes over a running container without touching it.
    fn take_up(&mut self, facts: &ContainerFacts, before: Option<InstanceState>, cx: &mut Cx<'_>) {
        let now = cx.now.mono;
        let known = match before {
            Some(InstanceState::Running) => Some(true),
            Some(InstanceState::Degraded) => Some(false),
            _ => None,
        };
        self.checks = Checks::start(&self.service, now, known);
        self.learn(facts);
        if self.joined.is_empty()
            && let Ok((_, runs)) = cx.peers.hosts(self)
        {
            // A host that started later than its guest has left it behind.
            let mine = facts.started_at_ms;
            self.joined = runs.into_iter().map(|(id, at)| (id, at.min(mine.or(at)))).collect();
        }
        let verdict = self.checks.verdict();
        let sick = verdict == Verdict::Sick;
        self.phase = match before {
            Some(InstanceState::Running) if sick => {
                self.fault = Some(self.checks.fault());
                Phase::Degraded { since: now, detail: None }
            }
            Some(InstanceState::Running) if facts.health != Health::Starting => {
                self.fault = None;
                Phase::Ready { since: now }
            }
            Some(InstanceState::Degraded) if sick => Phase::Degraded { since: now, detail: None },
            Some(InstanceState::Degraded) if verdict != Verdict::Undecided => {
                self.becomes_ready(cx.now)
            }
            // Whether its hooks ran is not known; they run at least once.
            Some(InstanceState::Starting) if !self.service.container.post_start.is_empty() => {
                self.post_start(0, cx)
            }
            _ => Phase::Verifying { since: now },
        };
    }

    /// Takes over a container whose process ended while nobody looked.
    fn take_up_dead(
        &mut self,
        facts: &ContainerFacts,
        before: InstanceState,
        gap: bool,
        cx: &mut Cx<'_>,
    ) {
        let code = facts.exit_code.unwrap_or_default();
        match before {
            InstanceState::Completed => self.phase = Phase::Ended { completed: true },
            InstanceState::Failed => self.phase = Phase::Ended { completed: false },
            _ if self.loops() && !gap => self.exited(code, cx.now, cx.settings),
            _ if self.restarts_after(code) => {
                // It ended with the engine or the host, not by its own fault.
                self.exit_code = Some(code);
                self.fault = Some(exit_fault(code, facts.oom_killed, self.restarts));
                self.phase = self.again();
            }
            _ => self.exited(code, cx.now, cx.settings),
        }
    }

    fn loops(&self) -> bool {
        self.fault.as_ref().is_some_and(|fault| fault.code == ErrorCode::ContainerExited)
    }

    fn restarts_after(&self, code: i64) -> bool {
        match self.service.restart.condition {
            RestartCondition::Any => true,
            RestartCondition::OnFailure => code != 0,
            RestartCondition::None => false,
        }
    }
}
