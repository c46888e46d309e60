//! The steps of a rollout: one instance of a slot gives way to the next.
//!
//! Start-first places the new one, waits until it has proved itself and retires the old.
//! Stop-first retires the old, waits until it is gone and fills the empty slot. No step takes a
//! ready replica away below the service's floor; all steps share one budget.

use crate::depends;
use crate::explain;
use crate::judge::Verdict;
use crate::pass::Pass;
use crate::place::Beside;
use crate::rollout::is_on_trial;
use crate::service::Service;
use crate::slots::SlotView;
use jaco_model::entity::{Rollout, RolloutState};
use jaco_model::spec::{UpdateOrder, UpdatePolicy};
use std::cmp::Reverse;

impl<'a> Pass<'a> {
    /// Decides between the old and the new instance of each slot that has both.
    pub(crate) fn resolve_pairs(&mut self, service: &mut Service<'a>) {
        for index in 0..service.slots.len() {
            let slot = &mut service.slots[index];
            if slot.lost || slot.outdated.is_empty() {
                continue;
            }
            let Some(current) = slot.current else {
                self.keep_one(slot);
                continue;
            };
            let old_serves = slot.old_is_ready();
            match &slot.verdict {
                Verdict::Failed(_) if old_serves => {
                    slot.current = None;
                    slot.leaving.push(current);
                    self.retire(current);
                }
                // What does not serve anyway need not wait for its successor.
                Verdict::Waiting { .. } if old_serves => {}
                Verdict::Proven | Verdict::Waiting { .. } | Verdict::Failed(_) => {
                    for old in std::mem::take(&mut slot.outdated) {
                        slot.leaving.push(old);
                        self.retire(old);
                    }
                }
            }
        }
    }

    /// Of several outdated instances, left by a rollout that was overtaken, one is enough.
    fn keep_one(&mut self, slot: &mut SlotView<'a>) {
        let best = slot
            .outdated
            .iter()
            .max_by_key(|old| (old.status.state.is_ready(), Reverse(old.id.generation)));
        let Some(best) = best.copied() else { return };
        for old in std::mem::replace(&mut slot.outdated, vec![best]) {
            if old.id != best.id {
                slot.leaving.push(old);
                self.retire(old);
            }
        }
    }

    /// Ends the rollout if nothing is left to do, else starts the next replacements.
    pub(crate) fn advance(
        &mut self,
        service: &mut Service<'a>,
        rollout: &mut Rollout,
        policy: &UpdatePolicy,
    ) {
        if matches!(rollout.state, RolloutState::Completed | RolloutState::Aborted) {
            return;
        }
        let open = service.slots.iter().filter(|slot| is_open(service, rollout, slot)).count();
        let count = |test: &dyn Fn(&SlotView<'a>) -> bool| {
            let n_slots = service.slots.iter().filter(|slot| test(slot)).count();
            u32::try_from(n_slots).unwrap_or(u32::MAX)
        };
        // Slots may have been added since it began.
        let concerned = |slot: &SlotView<'a>| match slot.current {
            Some(current) => is_on_trial(slot, current, rollout),
            None => !slot.lost,
        };
        let (concerned, undone) = (count(&concerned), count(&|slot| !is_done(slot)));
        rollout.total = rollout.total.max(concerned);
        // What was done stays done: a new leader watches young instances once more, and a node
        // that is away says nothing about what was done there.
        if !service.slots.iter().any(|slot| slot.lost) {
            rollout.done = rollout.done.max(rollout.total.saturating_sub(undone));
        }
        if open == 0 {
            rollout.state = RolloutState::Completed;
            rollout.reason = None;
        } else if rollout.state == RolloutState::InProgress {
            self.unsettled = true;
            self.start_replacements(service, rollout, policy);
        }
    }

    fn start_replacements(
        &mut self,
        service: &mut Service<'a>,
        rollout: &Rollout,
        policy: &UpdatePolicy,
    ) {
        let mut candidates: Vec<usize> = (0..service.slots.len())
            .filter(|index| is_candidate(service, rollout, &service.slots[*index]))
            .collect();
        candidates.sort_by_key(|index| service.slots[*index].old_is_ready());
        for index in &candidates {
            // Whoever has to wait for its turn keeps the reason that its last try gave.
            let slot = &mut service.slots[*index];
            slot.why = slot.known_reason();
        }
        if candidates.is_empty()
            || !depends::level_reached(self, service.deployment, service.record, service.spec)
            || self.pauses(service, rollout, policy)
        {
            return;
        }
        if let Some(unmet) = depends::unmet(self.state, service.deployment, service.spec) {
            for index in candidates {
                service.slots[index].why = Some(unmet.clone());
            }
            return;
        }
        let limit = if policy.parallelism == 0 { usize::MAX } else { policy.parallelism as usize };
        let mut in_flight = service.slots.iter().filter(|slot| is_in_flight(slot)).count();
        for index in candidates {
            if in_flight >= limit {
                return;
            }
            in_flight += usize::from(self.start_replacement(service, index, policy));
        }
    }

    /// Whether the pause between batches is not over yet.
    fn pauses(&mut self, service: &Service<'a>, rollout: &Rollout, policy: &UpdatePolicy) -> bool {
        if policy.delay.0 == 0 || rollout.done == 0 {
            return false;
        }
        let (name, now) = (&service.spec.name, self.now.mono);
        let last = self.timers.last_step(&self.before, name, rollout.done, now);
        let until = last.plus(policy.delay.std());
        if until > now {
            self.look_again(until);
        }
        until > now
    }

    /// Replaces one slot's instance, or says why not yet. Returns whether it began.
    fn start_replacement(
        &mut self,
        service: &mut Service<'a>,
        slot: usize,
        policy: &UpdatePolicy,
    ) -> bool {
        service.slots[slot].why = None;
        if policy.order == UpdateOrder::StartFirst {
            match self.find_node(service, slot, Beside::Present) {
                Ok(node)
                    if policy.order_explicit || !self.leaves_for_itself(service, slot, node) =>
                {
                    self.place(service, slot, node);
                    return true;
                }
                Err(fault) if policy.order_explicit && service.slots[slot].old_is_ready() => {
                    service.slots[slot].why = Some(fault);
                    return false;
                }
                // There is no room for both at once: one after the other, then.
                Ok(_) | Err(_) => {}
            }
        }
        self.stop_first(service, slot, policy)
    }

    /// Whether the new instance would have to go elsewhere only because the old one is there: its
    /// host port or its place. Where clients connect must not move without need.
    fn leaves_for_itself(&mut self, service: &mut Service<'a>, slot: usize, node: usize) -> bool {
        let old = service.slots[slot].outdated.last().map(|old| old.node.clone());
        let old_node = old.and_then(|old| self.board().index_of(&old));
        old_node != Some(node)
            && !service.weight().ports().is_empty()
            && self.find_node(service, slot, Beside::Gone).ok() == old_node
    }

    fn stop_first(
        &mut self,
        service: &mut Service<'a>,
        slot: usize,
        policy: &UpdatePolicy,
    ) -> bool {
        // Nothing is stopped for a replacement that has nowhere to go.
        if let Err(fault) = self.find_node(service, slot, Beside::Gone) {
            service.slots[slot].why = Some(fault);
            return false;
        }
        let unavailable = match policy.parallelism {
            0 if policy.max_unavailable == 0 => service.n_wanted.max(1),
            _ => policy.max_unavailable.max(1),
        };
        let is_ready = service.slots[slot].is_ready();
        if is_ready && !service.take_ready(unavailable) {
            // While others are on their way this is a matter of time and needs no new words.
            let moving = service.slots.iter().any(|slot| is_in_flight(slot) || is_next(slot));
            service.slots[slot].why = match moving {
                true => service.slots[slot].known_reason(),
                false => Some(explain::held(service, unavailable)),
            };
            return false;
        }
        let view = &mut service.slots[slot];
        view.retired = true;
        for old in std::mem::take(&mut view.outdated) {
            view.leaving.push(old);
            self.retire(old);
        }
        true
    }
}

/// Whether the slot runs what it should and that has proved itself.
fn is_done(slot: &SlotView<'_>) -> bool {
    slot.lost
        || (slot.current.is_some() && slot.outdated.is_empty() && slot.verdict == Verdict::Proven)
}

/// Whether the rollout still has to wait for the slot or to work on it.
fn is_open(service: &Service<'_>, rollout: &Rollout, slot: &SlotView<'_>) -> bool {
    let was_tried = slot.was_tried(&service.wanted, rollout.started_at);
    let given_up = rollout.state == RolloutState::InProgress
        && (matches!(slot.verdict, Verdict::Failed(_)) || was_tried);
    // That its node is away now does not heal what paused the rollout.
    let still_failed = rollout.state == RolloutState::Paused && was_tried;
    still_failed || (!is_done(slot) && !given_up)
}

fn is_candidate(service: &Service<'_>, rollout: &Rollout, slot: &SlotView<'_>) -> bool {
    slot.current.is_none()
        && !slot.outdated.is_empty()
        && slot.leaving.is_empty()
        && !slot.lost
        && !slot.was_tried(&service.wanted, rollout.started_at)
}

/// Whether the slot is empty and this pass fills it.
fn is_next(slot: &SlotView<'_>) -> bool {
    slot.is_empty() && slot.replica.is_none_or(|replica| replica.waiting.is_none())
}

fn is_in_flight(slot: &SlotView<'_>) -> bool {
    slot.placed
        || !slot.leaving.is_empty()
        || (slot.current.is_some() && matches!(slot.verdict, Verdict::Waiting { .. }))
}
