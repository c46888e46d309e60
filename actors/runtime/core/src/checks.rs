//! Whether a running container is ready and well: Docker's healthcheck and native probes.

use crate::orders::{Orders, Subject};
use crate::{Effect, Health};
use jaco_kit_core::{Mono, OpId};
use jaco_model::spec::{HealthcheckTest, Probe, ServiceSpec};
use jaco_model::{ErrorCode, Fault, InstanceId, Millis};
use std::time::Duration;

/// Docker's own values where a healthcheck does not say.
const DOCKER_INTERVAL: Millis = Millis::secs(30);
const DOCKER_RETRIES: u32 = 3;

/// The checks of one run of a container's process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Checks {
    health: Health,
    output: String,
    streak: u32,
    probes: Vec<Run>,
}

/// What all checks say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// There is no check; time tells.
    Unchecked,
    /// Some check has not decided yet.
    Undecided,
    /// All pass.
    Well,
    /// At least one fails.
    Sick,
}

/// One probe under way.
#[derive(Clone, Debug)]
struct Run {
    probe: Probe,
    restarts: bool,
    op: Option<OpId>,
    next_at: Mono,
    passes: u32,
    failures: u32,
    verdict: Option<bool>,
    said: String,
}

impl Checks {
    /// The checks of a process that started at `started`. `known` is what is known of it from
    /// before: the probes then only look for a change.
    pub(crate) fn start(service: &ServiceSpec, started: Mono, known: Option<bool>) -> Checks {
        let run = |probe: &Probe, restarts| Run {
            probe: probe.clone(),
            restarts,
            op: None,
            next_at: started.plus(probe.start_interval.std()),
            passes: 0,
            failures: if known == Some(false) { probe.failure_threshold } else { 0 },
            verdict: known,
            said: String::new(),
        };
        let mut probes = Vec::new();
        if let Some(spec) = &service.probe {
            let same = spec.readiness == spec.liveness;
            probes.extend(spec.readiness.iter().map(|probe| run(probe, same)));
            probes.extend(spec.liveness.iter().filter(|_| !same).map(|probe| run(probe, true)));
        }
        Checks { probes, ..Checks::default() }
    }

    /// Takes what Docker's healthcheck says, with its last words if they are known.
    pub(crate) fn hear(&mut self, health: Health, words: Option<(&str, u32)>) {
        self.health = health;
        if let Some((output, streak)) = words {
            self.output = output.to_owned();
            self.streak = streak;
        }
    }

    /// What all checks say together.
    pub(crate) fn verdict(&self) -> Verdict {
        if self.health == Health::Unhealthy || self.probes.iter().any(|p| p.verdict == Some(false))
        {
            return Verdict::Sick;
        }
        if self.health == Health::None && self.probes.is_empty() {
            return Verdict::Unchecked;
        }
        let decided = self.probes.iter().all(|p| p.verdict == Some(true));
        if decided && self.health != Health::Starting { Verdict::Well } else { Verdict::Undecided }
    }

    /// When a replica that is sick since `since` is to be restarted, as far as can be said now:
    /// after `patience`, and not before as many further failures as made it sick. `None` while
    /// only readiness fails, which closes the door but restarts nothing.
    pub(crate) fn restart_at(
        &self,
        service: &ServiceSpec,
        since: Mono,
        patience: Duration,
    ) -> Option<Mono> {
        if self.health == Health::Unhealthy {
            return Some(since.plus(patience.max(docker_span(service))));
        }
        let failing = |run: &&Run| run.restarts && run.verdict == Some(false);
        let run = self.probes.iter().find(failing)?;
        let enough = run.failures >= run.probe.failure_threshold.saturating_mul(2);
        enough.then(|| since.plus(patience))
    }

    /// Asks every probe that is due.
    pub(crate) fn drive(
        &mut self,
        now: Mono,
        ready: bool,
        orders: &mut Orders,
        at: (&InstanceId, &str, &str),
    ) {
        let (id, container, address) = at;
        for run in &mut self.probes {
            if run.op.is_some() || now < run.next_at {
                continue;
            }
            let wait = if ready { run.probe.interval } else { run.probe.start_interval };
            run.next_at = now.plus(wait.std().max(Duration::from_millis(100)));
            run.op = Some(orders.issue(Subject::Task(id.clone()), |op| Effect::Probe {
                op,
                address: address.to_owned(),
                check: run.probe.check.clone(),
                timeout: run.probe.timeout,
                container: container.to_owned(),
            }));
        }
    }

    /// When the next probe is due.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.probes.iter().filter(|run| run.op.is_none()).map(|run| run.next_at).min()
    }

    /// Takes the outcome of a probe. `false` when it belongs to none of these.
    pub(crate) fn probed(&mut self, op: OpId, result: Result<(), String>) -> bool {
        let Some(run) = self.probes.iter_mut().find(|run| run.op == Some(op)) else {
            return false;
        };
        run.op = None;
        match result {
            Ok(()) => {
                run.failures = 0;
                run.passes = run.passes.saturating_add(1);
                if run.passes >= run.probe.success_threshold {
                    run.verdict = Some(true);
                }
            }
            Err(said) => {
                run.said = said;
                run.passes = 0;
                // Before the first success only the start limit ends the wait.
                run.failures = run.failures.saturating_add(1);
                if run.verdict.is_some() && run.failures >= run.probe.failure_threshold {
                    run.verdict = Some(false);
                }
            }
        }
        true
    }

    /// Whether it is Docker's own healthcheck that fails.
    pub(crate) fn is_dockers(&self) -> bool {
        self.health == Health::Unhealthy
    }

    /// The last words of a check that does not pass.
    pub(crate) fn output(&self) -> &str {
        let failing = self.probes.iter().find(|run| run.verdict != Some(true));
        match failing {
            Some(run) if self.health != Health::Unhealthy => &run.said,
            _ => &self.output,
        }
    }

    /// Why a replica is degraded. The count is that of the moment, so that a replica which goes
    /// on failing is not reported again and again.
    pub(crate) fn fault(&self) -> Fault {
        let failing = self.probes.iter().find(|run| run.verdict == Some(false));
        let streak = match failing {
            Some(run) if self.health != Health::Unhealthy => run.probe.failure_threshold,
            _ => self.streak,
        };
        Fault::new(ErrorCode::Unhealthy, "health check fails")
            .with("output", self.output())
            .with("failing_streak", streak)
    }
}

/// How long Docker's healthcheck takes to fail as often as made it unhealthy.
fn docker_span(service: &ServiceSpec) -> Duration {
    let check = service.container.healthcheck.as_ref();
    let check = check.filter(|check| check.test != HealthcheckTest::Disabled);
    let interval = check.and_then(|check| check.interval).unwrap_or(DOCKER_INTERVAL);
    let retries = check.and_then(|check| check.retries).unwrap_or(DOCKER_RETRIES).max(1);
    interval.std().saturating_mul(retries)
}
