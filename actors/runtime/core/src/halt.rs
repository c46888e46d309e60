//! Stopping a container on purpose: hooks, signal, grace, and what comes after.

use crate::advance::Cx;
use crate::orders::Subject;
use crate::plan;
use crate::task::{Phase, Task};
use crate::{Effect, EngineFault, ExecOutcome};
use jaco_kit_core::{Mono, OpId};
use jaco_model::Millis;
use jaco_model::spec::{PortMode, PortSpec, Protocol};
use std::time::Duration;

/// Between two looks at the connections of a container that is given up.
const RECOUNT: Duration = Duration::from_millis(500);

/// How long the event of an end that we caused is awaited before the next start. One that came
/// later would be taken for the end of the new process.
const ECHO: Duration = Duration::from_millis(500);

/// A container being stopped.
#[derive(Clone, Debug)]
pub(crate) struct Halt {
    why: Why,
    step: Step,
    /// When the grace period began.
    began: Mono,
}

/// What follows the stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The same container starts again after this long.
    Restart(Duration),
    /// The container is replaced by a new one of the same generation.
    Recreate,
    /// Nothing: it failed for good, and the container stays for inspection.
    End,
    /// The container is removed for good.
    Retire,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Not begun, or to be begun again.
    Begin,
    /// The front doors of all nodes turn away from it; what they sent is being answered.
    Drain { until: Mono, limit: Mono },
    /// Their connections are being counted.
    Count { op: OpId, limit: Mono },
    /// They have none.
    Drained,
    /// A `pre_stop` hook runs.
    Hook { op: OpId, index: usize },
    /// The signal was sent.
    Stop { op: OpId },
    /// The process ended; the event that says so may still be on its way.
    Echo { until: Mono },
    /// No process runs any more.
    Stopped,
    /// The container is being removed.
    Remove { op: OpId },
    /// The engine refused; the next attempt skips the hooks.
    Retry { until: Mono },
    /// The next attempt is due.
    Again,
}

impl Halt {
    /// A halt that begins now.
    pub(crate) fn new(why: Why, now: Mono) -> Halt {
        Halt { why, step: Step::Begin, began: now }
    }

    /// A halt whose hooks ran before the engine or this daemon went away.
    pub(crate) fn resumed(why: Why, now: Mono) -> Halt {
        Halt { why, step: Step::Again, began: now }
    }

    /// The same halt for another end.
    pub(crate) fn towards(self, why: Why) -> Halt {
        Halt { why, ..self }
    }

    /// Whether the instance does not come back.
    pub(crate) fn is_final(&self) -> bool {
        self.why == Why::Retire
    }

    /// The grace period that follows is the process's own.
    fn drained(self, now: Mono) -> Halt {
        Halt { step: Step::Drained, began: now, ..self }
    }

    /// When it wants to be looked at again.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        match self.step {
            Step::Retry { until } | Step::Echo { until } | Step::Drain { until, .. } => Some(until),
            Step::Begin
            | Step::Count { .. }
            | Step::Drained
            | Step::Hook { .. }
            | Step::Stop { .. }
            | Step::Stopped
            | Step::Remove { .. }
            | Step::Again => None,
        }
    }
}

impl Task {
    /// Takes the next step of a halt.
    pub(crate) fn advance_halt(&mut self, halt: Halt, cx: &mut Cx<'_>) -> Option<Phase> {
        let Some(container) = self.container.clone() else {
            return Some(self.after_halt(halt, cx));
        };
        let step = match halt.step {
            Step::Begin if cx.peers.has_leaving_guests(&container.id) => return None,
            Step::Begin if !container.running => Step::Stopped,
            Step::Begin if halt.is_final() && self.is_led_to() => {
                let limit = cx.now.mono.plus(self.service.drain_timeout.std());
                Step::Drain { until: cx.now.mono.plus(cx.settings.drain).min(limit), limit }
            }
            Step::Drain { .. } | Step::Count { .. } | Step::Drained if !container.running => {
                Step::Stopped
            }
            Step::Drain { until, .. } if cx.now.mono < until => return None,
            Step::Drain { limit, .. } if cx.now.mono < limit => {
                self.count_connections(limit, &container.id, cx)
            }
            Step::Drain { .. } => return Some(Phase::Halting(halt.drained(cx.now.mono))),
            Step::Begin | Step::Drained => self.pre_stop(&halt, 0, &container.id, cx),
            Step::Again if !container.running => Step::Stopped,
            Step::Again => self.order_stop(&halt, &container.id, cx),
            Step::Echo { until } if container.running && cx.now.mono < until => return None,
            Step::Echo { .. } => {
                self.container.iter_mut().for_each(|container| container.running = false);
                Step::Stopped
            }
            Step::Stopped if matches!(halt.why, Why::Restart(_) | Why::End) => {
                return Some(self.after_halt(halt, cx));
            }
            Step::Stopped => Step::Remove {
                op: cx.orders.issue(Subject::Task(self.id().clone()), |op| Effect::Remove {
                    op,
                    container: container.id.clone(),
                }),
            },
            Step::Retry { until } if cx.now.mono >= until => Step::Again,
            Step::Count { .. }
            | Step::Hook { .. }
            | Step::Stop { .. }
            | Step::Remove { .. }
            | Step::Retry { .. } => return None,
        };
        Some(Phase::Halting(Halt { step, ..halt }))
    }

    /// Whether requests come to it from outside its networks: by a route or a published port.
    fn is_led_to(&self) -> bool {
        self.routed_ports().next().is_some() || self.published_ports().next().is_some()
    }

    fn routed_ports(&self) -> impl Iterator<Item = u16> {
        let targets = self.record.spec.routes.iter().filter_map(|route| route.target.as_ref());
        targets.filter(|target| target.service == self.service.name).map(|target| target.port)
    }

    fn published_ports(&self) -> impl Iterator<Item = &PortSpec> {
        let is_open = |port: &&PortSpec| port.published.is_some() && port.mode == PortMode::Ingress;
        self.service.ports.iter().filter(is_open)
    }

    fn count_connections(&self, limit: Mono, container: &str, cx: &mut Cx<'_>) -> Step {
        let published = self.published_ports().filter(|port| port.protocol == Protocol::Tcp);
        let ports = self.routed_ports().chain(published.map(|port| port.target)).collect();
        let gateways = plan::attached(&self.service.container).filter_map(|key| {
            let scope = self.record.spec.scope_of(key);
            Some(cx.state.block(&scope, &cx.host.node)?.gateway())
        });
        let nodes = cx.state.nodes.values().filter_map(|node| node.mesh_address);
        let from = gateways.chain(nodes).collect();
        let op = cx.orders.issue(Subject::Task(self.id().clone()), |op| Effect::CountConnections {
            op,
            container: container.to_owned(),
            ports,
            from,
        });
        Step::Count { op, limit }
    }

    /// Takes the number of connections that are left. What cannot be counted is not waited for.
    pub(crate) fn counted(&mut self, op: OpId, result: &Result<u32, EngineFault>, cx: &mut Cx<'_>) {
        let Phase::Halting(halt) = self.phase.clone() else { return };
        let Step::Count { op: of, limit } = halt.step else { return };
        if of != op {
            return;
        }
        let now = cx.now.mono;
        self.phase = Phase::Halting(match result {
            Ok(0) | Err(_) => halt.drained(now),
            Ok(_) => {
                Halt { step: Step::Drain { until: now.plus(RECOUNT).min(limit), limit }, ..halt }
            }
        });
    }

    /// The hook at `index`, or the stop when there is no such hook or no time left for it.
    fn pre_stop(&self, halt: &Halt, index: usize, container: &str, cx: &mut Cx<'_>) -> Step {
        let left = self.grace_left(halt, cx.now.mono);
        let hook = self.service.container.pre_stop.get(index).filter(|_| left.0 > 0);
        let Some(hook) = hook else { return self.order_stop(halt, container, cx) };
        let op = cx.orders.issue(Subject::Task(self.id().clone()), |op| Effect::Exec {
            op,
            container: container.to_owned(),
            hook: hook.clone(),
            timeout: left,
        });
        Step::Hook { op, index }
    }

    fn order_stop(&self, halt: &Halt, container: &str, cx: &mut Cx<'_>) -> Step {
        let grace = self.grace_left(halt, cx.now.mono);
        let op = cx.orders.issue(Subject::Task(self.id().clone()), |op| Effect::Stop {
            op,
            container: container.to_owned(),
            grace,
        });
        Step::Stop { op }
    }

    /// Hooks and the wait for the process share one grace period.
    fn grace_left(&self, halt: &Halt, now: Mono) -> Millis {
        let grace = self.service.container.stop_grace_period.std();
        let left = grace.saturating_sub(now.since(halt.began));
        Millis(u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
    }

    /// Takes the outcome of a `pre_stop` hook. One that fails does not keep the container.
    pub(crate) fn pre_stop_executed(
        &mut self,
        halt: Halt,
        op: OpId,
        _result: &Result<ExecOutcome, EngineFault>,
        cx: &mut Cx<'_>,
    ) {
        let Step::Hook { op: of, index } = halt.step else { return };
        if of != op {
            return;
        }
        let step = match &self.container {
            Some(container) if container.running => {
                let id = container.id.clone();
                self.pre_stop(&halt, index + 1, &id, cx)
            }
            _ => Step::Stopped,
        };
        self.phase = Phase::Halting(Halt { step, ..halt });
    }

    /// Takes the outcome of a stop or a removal.
    pub(crate) fn halt_finished(
        &mut self,
        halt: Halt,
        op: OpId,
        result: Result<(), EngineFault>,
        cx: &mut Cx<'_>,
    ) {
        let step = match (halt.step, result) {
            (Step::Stop { op: of }, Ok(())) if of == op => {
                self.tries.makes.reset();
                match halt.why {
                    Why::Restart(_) => Step::Echo { until: cx.now.mono.plus(ECHO) },
                    Why::Recreate | Why::End | Why::Retire => {
                        self.container.iter_mut().for_each(|container| container.running = false);
                        Step::Stopped
                    }
                }
            }
            (Step::Remove { op: of }, Ok(())) if of == op => {
                self.bury();
                self.tries.makes.reset();
                Step::Stopped
            }
            (Step::Stop { op: of } | Step::Remove { op: of }, Err(_)) if of == op => {
                // A refused removal may mean that the process runs after all.
                if matches!(halt.step, Step::Remove { .. }) {
                    self.container.iter_mut().for_each(|container| container.running = true);
                }
                Step::Retry { until: self.tries.retry_at(cx.now.mono, None) }
            }
            _ => return,
        };
        self.phase = Phase::Halting(Halt { step, ..halt });
    }

    /// Where a finished halt leads.
    fn after_halt(&mut self, halt: Halt, cx: &mut Cx<'_>) -> Phase {
        match halt.why {
            Why::Retire => Phase::Gone,
            Why::End => Phase::Ended { completed: false },
            Why::Recreate => Phase::Idle,
            Why::Restart(wait) if wait.is_zero() => self.again(),
            Why::Restart(wait) => {
                let until = halt.began.plus(wait);
                if until <= cx.now.mono { self.again() } else { Phase::Backoff { until } }
            }
        }
    }
}
