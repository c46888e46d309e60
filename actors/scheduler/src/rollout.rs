//! The change of one service from what ran before to the current revision.
//!
//! ```text
//!            begin                 all slots proved themselves
//!  (none) ─────────▶ in_progress ──────────────────────────────▶ completed
//!                        │  too many failures                        ▲
//!                        ├──────────────────▶ paused ────────────────┘
//!                        └──────────────────▶ aborted ──▶ Rollback makes the next revision
//! ```
//!
//! The record in the state says where the service stands; which slots are done, tried or under way
//! is read from their instances, so that another leader goes on where this one stopped.

use crate::judge::{Limits, Verdict, judge};
use crate::pass::Pass;
use crate::service::Service;
use crate::slots::SlotView;
use jaco_model::command::Rollback;
use jaco_model::entity::{Instance, RevisionStatus, Rollout, RolloutState};
use jaco_model::spec::{FailureAction, UpdatePolicy};
use jaco_model::{ErrorCode, Fault, Revision};

impl<'a> Pass<'a> {
    /// Begins, advances and ends the service's rollout.
    pub(crate) fn roll(&mut self, service: &mut Service<'a>) {
        let known = self.rollout(&service.key).cloned();
        let mut rollout = match known {
            Some(rollout) if !must_begin(service, &rollout) => rollout,
            before => self.begin(service, before),
        };
        let place = self.n_steps();
        if rollout.state == RolloutState::Aborted {
            self.ask_for_rollback(service, &mut rollout);
            self.set_rollout(place, rollout);
            return;
        }
        self.judge_slots(service, &rollout);
        let policy = policy(service, &rollout);
        let failed = self.count_failures(service, &mut rollout);
        if let Some(fault) = failed.filter(|_| rollout.state == RolloutState::InProgress)
            && too_many(&rollout, policy)
        {
            self.fail(service, &mut rollout, policy, fault);
        }
        if rollout.state == RolloutState::Aborted {
            self.set_rollout(place, rollout);
            return;
        }
        self.resolve_pairs(service);
        self.advance(service, &mut rollout, policy);
        self.set_rollout(place, rollout);
    }

    fn begin(&mut self, service: &Service<'a>, before: Option<Rollout>) -> Rollout {
        let ran = before.and_then(|before| match before.state {
            RolloutState::Completed => Some(before.to),
            RolloutState::InProgress | RolloutState::Paused | RolloutState::Aborted => before.from,
        });
        let total = service.slots.iter().filter(|slot| !slot.lost && slot.current.is_none());
        let total = u32::try_from(total.count()).unwrap_or(u32::MAX);
        Rollout {
            deployment: service.deployment.name.clone(),
            service: service.spec.name.clone(),
            from: ran,
            to: service.record.number,
            state: RolloutState::InProgress,
            is_rollback: service.record.restored_from.is_some(),
            total,
            done: 0,
            failures: 0,
            started_at: self.cluster_time(),
            reason: None,
        }
    }

    /// Judges the instances that still have to prove themselves.
    fn judge_slots(&mut self, service: &mut Service<'a>, rollout: &Rollout) {
        if rollout.state == RolloutState::Completed {
            return;
        }
        let (monitor, start_limit) = (policy(service, rollout).monitor, service.spec.start_limit);
        let forgiving = rollout.state == RolloutState::Paused;
        for slot in &mut service.slots {
            let Some(instance) = slot.current.filter(|i| is_on_trial(slot, i, rollout)) else {
                continue;
            };
            if slot.lost {
                slot.verdict = Verdict::Waiting { until: None };
                continue;
            }
            let watch = self.timers.watch(&self.before, instance, self.now.mono);
            let takes_over = slot.old_is_ready();
            let limits = Limits { monitor, start_limit, takes_over, forgiving };
            slot.verdict = judge(instance, watch, limits, self.now.mono);
            if let Verdict::Waiting { until: Some(until) } = slot.verdict {
                self.look_again(until);
            }
        }
    }

    /// Counts the slots whose replacement failed; returns the first reason.
    fn count_failures(&self, service: &Service<'a>, rollout: &mut Rollout) -> Option<Fault> {
        let mut first = None;
        let mut failures = 0;
        for slot in &service.slots {
            let fault = match &slot.verdict {
                Verdict::Failed(fault) => Some(fault.clone()),
                Verdict::Proven | Verdict::Waiting { .. } => {
                    let tried = slot.was_tried(&service.wanted, rollout.started_at);
                    tried.then(|| ended_with(slot.last_ended()))
                }
            };
            let Some(fault) = fault else { continue };
            failures += 1;
            first.get_or_insert_with(|| {
                fault.with("service", &service.spec.name).with("replica", &slot.id)
            });
        }
        if rollout.state != RolloutState::Completed {
            rollout.failures = failures;
        }
        first
    }

    /// Stops the rollout, and has the revision before restored if that is wanted and possible.
    fn fail(
        &mut self,
        service: &Service<'a>,
        rollout: &mut Rollout,
        policy: &UpdatePolicy,
        fault: Fault,
    ) {
        let wants_back = policy.failure_action == FailureAction::Rollback && !rollout.is_rollback;
        rollout.reason = Some(fault);
        if wants_back && self.rollback_target(service, rollout).is_some() {
            rollout.state = RolloutState::Aborted;
        } else {
            self.pause(service, rollout);
        }
    }

    fn pause(&mut self, service: &Service<'a>, rollout: &mut Rollout) {
        rollout.state = RolloutState::Paused;
        self.settle_revision(service.record, service.deployment, RevisionStatus::Failed);
    }

    /// The newest kept revision that is known to have worked.
    fn rollback_target(&self, service: &Service<'a>, rollout: &Rollout) -> Option<Revision> {
        let name = &service.deployment.name;
        let ran = |from: Option<Revision>| {
            from.filter(|from| *from < rollout.to && self.state.revision(name, *from).is_some())
        };
        let others = service.record.spec.services.keys().filter_map(|other| {
            ran(self.rollout(&(name.clone(), other.clone())).and_then(|rollout| rollout.from))
        });
        if rollout.from == Some(rollout.to) {
            return None;
        }
        ran(rollout.from).or_else(|| others.max())
    }

    /// The decision to go back is in the state already; this asks for it until it is done.
    fn ask_for_rollback(&mut self, service: &Service<'a>, rollout: &mut Rollout) {
        self.unsettled = true;
        let name = &service.deployment.name;
        let refusal = self.memory.refusal(name, rollout.to).cloned();
        let to = self.rollback_target(service, rollout).filter(|_| refusal.is_none());
        if to.is_none() {
            self.pause(service, rollout);
        } else if !self.rollbacks.iter().any(|rollback| rollback.deployment == *name) {
            self.rollbacks.push(Rollback {
                deployment: name.clone(),
                to,
                cause: rollout.reason.clone(),
                expected_revision: Some(rollout.to),
            });
        }
    }
}

/// The knobs that apply to a rollout.
pub(crate) fn policy<'a>(service: &Service<'a>, rollout: &Rollout) -> &'a UpdatePolicy {
    if rollout.is_rollback { &service.spec.rollback } else { &service.spec.update }
}

/// Whether a new rollout replaces the known one: there is a new revision, or users asked for new
/// instances of the same.
fn must_begin(service: &Service<'_>, known: &Rollout) -> bool {
    if known.to != service.record.number {
        return true;
    }
    let slots = || service.slots.iter().filter(|slot| !slot.lost);
    match known.state {
        RolloutState::InProgress | RolloutState::Aborted => false,
        RolloutState::Completed => slots().any(|slot| {
            !slot.outdated.is_empty()
                && slot.current.is_none()
                && !slot.was_tried(&service.wanted, known.started_at)
        }),
        // Only a restart after the pause; the first slot it replaced says that it was heard.
        RolloutState::Paused => {
            let newest_nonce = |slot: &SlotView<'_>| {
                let instances = slot.staying().chain(slot.last_ended());
                instances.max_by_key(|i| i.id.generation).map(|i| i.restart_nonce)
            };
            let asked = |slot: &SlotView<'_>| slot.replica.map_or(0, |r| r.restart_nonce);
            let unheard = |slot: &SlotView<'_>| newest_nonce(slot).is_some_and(|n| n < asked(slot));
            let heard =
                |slot: &SlotView<'_>| asked(slot) > 0 && newest_nonce(slot) == Some(asked(slot));
            slots().any(unheard) && !slots().any(heard)
        }
    }
}

/// Whether an instance still has to prove itself: this rollout made it, it never served, or it is
/// to take over from another one. What served before and is merely kept is not judged.
pub(crate) fn is_on_trial(slot: &SlotView<'_>, current: &Instance, rollout: &Rollout) -> bool {
    let status = &current.status;
    let never_served = !status.state.is_ready()
        && status.last_health_at.is_none()
        && !status.history.iter().any(|step| step.to.is_ready());
    let newest = slot.outdated.iter().all(|old| old.id.generation < current.id.generation);
    let takes_over = !slot.outdated.is_empty() && (newest || !status.state.is_ready());
    current.created_at >= rollout.started_at || never_served || takes_over
}

fn too_many(rollout: &Rollout, policy: &UpdatePolicy) -> bool {
    let tolerated = u64::from(policy.max_failure_ppm) * u64::from(rollout.total.max(1));
    policy.failure_action != FailureAction::Continue
        && u64::from(rollout.failures) * 1_000_000 > tolerated
}

fn ended_with(instance: Option<&Instance>) -> Fault {
    let fault = instance.and_then(|instance| {
        let status = &instance.status;
        let history = status.history.iter().rev().find_map(|step| step.fault.clone());
        status.fault.clone().or(history)
    });
    fault.unwrap_or_else(|| Fault::new(ErrorCode::StartTimeout, "it did not become ready in time"))
}
