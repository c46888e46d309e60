//! Filling the slots that have no instance, and the choice of a node for one slot.

use crate::board::NodeIndex;
use crate::choose::Seeker;
use crate::depends;
use crate::explain;
use crate::filter::Freed;
use crate::need::{self, Amounts};
use crate::pass::Pass;
use crate::service::Service;
use crate::slots::SlotView;
use jaco_model::entity::{RolloutState, Slot};
use jaco_model::{ErrorCode, Fault, ServiceName};
use std::time::Duration;

/// What happens to a slot's present instances when the next one starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beside {
    /// They stay until it is ready, and keep their room.
    Present,
    /// They are gone by then.
    Gone,
}

impl<'a> Pass<'a> {
    /// Places what has no instance. A slot that is being emptied waits until it is.
    pub(crate) fn fill_slots(&mut self, service: &mut Service<'a>) {
        let rollout = self.rollout(&service.key);
        let rolls_back = rollout.is_some_and(|rollout| {
            rollout.to == service.record.number && rollout.state == RolloutState::Aborted
        });
        let mut held_back = None;
        for index in 0..service.slots.len() {
            let slot = &service.slots[index];
            if !slot.leaving.is_empty() || slot.retired {
                self.unsettled = true;
                continue;
            }
            if !slot.is_empty() || rolls_back {
                continue;
            }
            if is_gated(service, slot) {
                let state = self.state;
                let unmet = held_back
                    .get_or_insert_with(|| depends::unmet(state, service.deployment, service.spec));
                if let Some(unmet) = unmet {
                    service.slots[index].why = Some(unmet.clone());
                    continue;
                }
            }
            match self.find_node(service, index, Beside::Gone) {
                Ok(node) => self.place(service, index, node),
                Err(fault) => service.slots[index].why = Some(fault),
            }
        }
    }

    /// The node for the next instance of a slot, or why there is none.
    pub(crate) fn find_node(
        &mut self,
        service: &mut Service<'a>,
        slot: usize,
        beside: Beside,
    ) -> Result<NodeIndex, Fault> {
        service.site(self);
        let only = self.only_node(service, &service.slots[slot])?;
        let at = self.cluster_time();
        let view = &service.slots[slot];
        let board = self.board();
        let own: Vec<_> =
            view.staying().filter_map(|instance| board.index_of(&instance.node)).collect();
        let last = view.outdated.last().copied().or_else(|| view.last_ended());
        let prefer = last.and_then(|instance| board.index_of(&instance.node));
        let freed = match beside {
            Beside::Present => Freed::default(),
            Beside::Gone => freed_by(view, prefer, self.state),
        };
        let past = view.replica.map_or(&[][..], |replica| &replica.past);
        let seeker = Seeker { slot: &view.slot, own, freed, prefer, only, past, at };
        let board = self.board();
        let Some(site) = &service.site else {
            return Err(Fault::new(ErrorCode::Internal, "no site was prepared"));
        };
        let chosen = site.choose(board, &seeker);
        let fault = match chosen {
            Ok(node) => return Ok(node),
            Err(refusals) => explain::unplaced(service.spec, board, &refusals),
        };
        if fault.code == ErrorCode::SubnetPoolExhausted {
            self.await_addresses();
        }
        Err(fault)
    }

    /// Looks again when the next addresses that were given back can be used.
    fn await_addresses(&mut self) {
        let at = self.stamp();
        if let Some(free) = self.state.next_free_at(at) {
            let wait = Duration::from_millis(free.0.saturating_sub(at.0));
            self.look_again(self.now.mono.plus(wait));
        }
    }

    /// The one node for slots that have no choice: those of a node, and those that join another
    /// service's namespaces.
    fn only_node(
        &mut self,
        service: &Service<'a>,
        slot: &SlotView<'a>,
    ) -> Result<Option<NodeIndex>, Fault> {
        let mut beside = None;
        for host in need::joined(service.spec) {
            let known = depends::beside(self.state, service.deployment, host, &slot.slot);
            let node = known.and_then(|instance| self.board().index_of(&instance.node));
            let (Some(node), Some(before)) = (node, beside.or(node)) else {
                return Err(without_host(host, "absent"));
            };
            if node != before {
                return Err(without_host(host, "on another node"));
            }
            beside = Some(node);
        }
        if beside.is_some() {
            return Ok(beside);
        }
        let Slot::Node(name) = &slot.slot else { return Ok(None) };
        let node = self.state.nodes.values().find(|node| node.name == *name);
        Ok(node.and_then(|node| self.board().index_of(&node.id)))
    }
}

fn without_host(host: &ServiceName, state: &str) -> Fault {
    let message = format!("waits for {host}, whose namespace it joins");
    Fault::new(ErrorCode::DependsOnUnmet, message).with("depends_on", host).with("state", state)
}

/// What the slot's present instances give back on the node they would be replaced on.
fn freed_by<'v>(
    view: &'v SlotView<'_>,
    node: Option<NodeIndex>,
    state: &jaco_state::State,
) -> Freed<'v> {
    let mut amounts = Amounts::default();
    let last = view.outdated.last();
    let here = view.staying().filter(|i| last.is_some_and(|last| last.node == i.node));
    for spec in here.filter_map(|instance| state.spec_of(instance)) {
        amounts.add(&Amounts::of(spec));
    }
    Freed { node, amounts, replica: Some(&view.id) }
}

/// Whether the slot's next instance was asked for by a user, and so waits for dependencies.
/// Replacements of what ended by itself do not wait: a crash must not cascade.
pub(crate) fn is_gated(service: &Service<'_>, slot: &SlotView<'_>) -> bool {
    let nonce = slot.replica.map_or(0, |replica| replica.restart_nonce);
    slot.last_ended()
        .is_none_or(|last| last.spec_hash != service.wanted.hash || last.restart_nonce < nonce)
}
