//! The slots of one service as a pass sees them, with their instances told apart.

use crate::judge::Verdict;
use jaco_model::entity::{Desired, Instance, InstanceState, NodeStatus, Replica, Slot};
use jaco_model::{Fault, Generation, NodeId, ReplicaId, WallMs};
use jaco_state::State;

/// What an instance must be so that it need not be replaced.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted<'a> {
    /// Hash of the current revision's container.
    pub(crate) hash: &'a str,
    /// Instances placed before that time are replaced as well, because something they are tied
    /// to was.
    pub(crate) placed_after: Option<WallMs>,
}

/// One slot and its instances.
#[derive(Debug)]
pub(crate) struct SlotView<'a> {
    pub(crate) id: ReplicaId,
    pub(crate) slot: Slot,
    pub(crate) generation: Generation,
    /// The slot in the state; `None` for one that this pass adds.
    pub(crate) replica: Option<&'a Replica>,
    /// The newest instance that is as wanted and meant to stay.
    pub(crate) current: Option<&'a Instance>,
    /// Others that are meant to stay, oldest first.
    pub(crate) outdated: Vec<&'a Instance>,
    /// Those that are being drained and stopped.
    pub(crate) leaving: Vec<&'a Instance>,
    /// What the current instance has shown, while that matters.
    pub(crate) verdict: Verdict,
    /// This pass gave it a new instance.
    pub(crate) placed: bool,
    /// This pass retired its instances.
    pub(crate) retired: bool,
    /// Why it has no instance it should have.
    pub(crate) why: Option<Fault>,
    /// The reports of one of its instances are stale: its node is down.
    pub(crate) lost: bool,
}

impl<'a> SlotView<'a> {
    pub(crate) fn look(
        state: &'a State,
        replica: &'a Replica,
        wanted: &Wanted<'_>,
    ) -> SlotView<'a> {
        let mut view = SlotView::new(replica.id.clone(), replica.slot.clone(), replica.generation);
        view.replica = Some(replica);
        for instance in state.instances_of(&replica.id).map(|instance| &**instance) {
            let alive = is_alive(state, &instance.node);
            match instance.desired {
                Desired::Stop if alive => view.leaving.push(instance),
                // Nothing can be learnt about it; waiting for it would hold the slot for ever.
                Desired::Stop => {}
                Desired::Run => {
                    view.lost |= !alive;
                    view.sort_in(instance, replica, wanted);
                }
            }
        }
        view
    }

    /// A slot without any instance.
    pub(crate) fn new(id: ReplicaId, slot: Slot, generation: Generation) -> SlotView<'a> {
        SlotView {
            id,
            slot,
            generation,
            replica: None,
            current: None,
            outdated: Vec::new(),
            leaving: Vec::new(),
            verdict: Verdict::Proven,
            placed: false,
            retired: false,
            why: None,
            lost: false,
        }
    }

    fn sort_in(&mut self, instance: &'a Instance, replica: &Replica, wanted: &Wanted<'_>) {
        let in_time = wanted.placed_after.is_none_or(|after| instance.created_at > after);
        let as_wanted = instance.spec_hash == wanted.hash
            && instance.restart_nonce >= replica.restart_nonce
            && in_time;
        if as_wanted {
            self.outdated.extend(self.current.replace(instance));
        } else {
            self.outdated.push(instance);
        }
    }

    /// Instances that are meant to stay.
    pub(crate) fn staying(&self) -> impl Iterator<Item = &'a Instance> + use<'a, '_> {
        self.outdated.iter().copied().chain(self.current)
    }

    /// The reason for its waiting that is in the state.
    pub(crate) fn known_reason(&self) -> Option<Fault> {
        self.replica.and_then(|replica| replica.waiting.clone())
    }

    /// Whether nothing is or will be running in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.current.is_none() && self.outdated.is_empty() && !self.placed
    }

    /// Whether it serves now.
    pub(crate) fn is_ready(&self) -> bool {
        !self.lost && self.staying().any(|instance| instance.status.state.is_ready())
    }

    /// Whether one of the instances to be replaced serves.
    pub(crate) fn old_is_ready(&self) -> bool {
        self.outdated.iter().any(|instance| instance.status.state.is_ready())
    }

    /// Whether what should run in it has stopped doing so.
    pub(crate) fn is_failing(&self) -> bool {
        self.staying().any(|instance| {
            let status = &instance.status;
            let ended = matches!(
                status.state,
                InstanceState::Failed | InstanceState::Degraded | InstanceState::Lost
            );
            ended || (!status.state.is_ready() && (status.restarts > 0 || status.fault.is_some()))
        })
    }

    /// The newest instance that ended or is leaving.
    pub(crate) fn last_ended(&self) -> Option<&'a Instance> {
        let past = self.replica.and_then(|replica| replica.past.last());
        past.into_iter().chain(self.leaving.last().copied()).max_by_key(|i| i.id.generation)
    }

    /// Whether a replacement was tried since `since` and taken back, so that the slot keeps what
    /// it has until the user changes something. One that was only lost with its node is not: it
    /// proved nothing.
    pub(crate) fn was_tried(&self, wanted: &Wanted<'_>, since: WallMs) -> bool {
        if self.current.is_some() || self.outdated.is_empty() {
            return false;
        }
        let Some(last) = self.last_ended() else { return false };
        let nonce = self.replica.map_or(0, |replica| replica.restart_nonce);
        let was_lost = last.status.state == InstanceState::Lost && last.desired == Desired::Run;
        !was_lost
            && last.spec_hash == wanted.hash
            && last.restart_nonce >= nonce
            && last.created_at >= since
            && self.outdated.iter().all(|old| old.id.generation < last.id.generation)
    }
}

/// Whether a node's reports can be trusted.
pub(crate) fn is_alive(state: &State, node: &NodeId) -> bool {
    state.nodes.get(node).is_some_and(|node| node.status != NodeStatus::Down)
}
