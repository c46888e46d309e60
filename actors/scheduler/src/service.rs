//! One service during one visit: its slots, its budget, and where its replicas may go.

use crate::board::NodeIndex;
use crate::choose::Site;
use crate::depends;
use crate::need::Weight;
use crate::pass::Pass;
use crate::slots::{SlotView, Wanted};
use jaco_model::command::Step;
use jaco_model::entity::{Deployment, Instance, RevisionRecord};
use jaco_model::spec::ServiceSpec;
use jaco_model::{Fault, InstanceId, name};
use jaco_state::ServiceKey;
use std::sync::Arc;

/// One service of a deployment's current revision.
#[derive(Debug)]
pub(crate) struct Service<'a> {
    pub(crate) key: ServiceKey,
    pub(crate) deployment: &'a Deployment,
    pub(crate) record: &'a RevisionRecord,
    pub(crate) spec: &'a ServiceSpec,
    pub(crate) wanted: Wanted<'a>,
    /// Slots in order, without those that are being removed.
    pub(crate) slots: Vec<SlotView<'a>>,
    /// Slots that go as soon as the floor lets them; they still fill their nodes.
    pub(crate) surplus: Vec<SlotView<'a>>,
    /// How many slots there should be.
    pub(crate) n_wanted: u32,
    /// Ready slots beyond the wanted number; what operations may take away is this plus what
    /// their policy lets be unavailable.
    pub(crate) spare: i64,
    /// Filled when the first node is chosen.
    pub(crate) site: Option<Site<'a>>,
}

impl<'a> Service<'a> {
    pub(crate) fn look(
        pass: &Pass<'a>,
        deployment: &'a Deployment,
        record: &'a RevisionRecord,
        spec: &'a ServiceSpec,
    ) -> Service<'a> {
        let key = (deployment.name.clone(), spec.name.clone());
        let hash = record.hashes.get(&spec.name).map_or("", String::as_str);
        let replaced = depends::restarting_dependency(pass, deployment, record, spec);
        let mut slots: Vec<SlotView<'a>> = Vec::new();
        for replica in pass.state.replicas_of(&key) {
            let joined = depends::joined_since(pass.state, deployment, spec, &replica.slot);
            let wanted = Wanted { hash, placed_after: replaced.max(joined) };
            slots.push(SlotView::look(pass.state, replica, &wanted));
        }
        slots.sort_by(|a, b| a.slot.cmp(&b.slot));
        let n_slots = u32::try_from(slots.len()).unwrap_or(u32::MAX);
        let n_wanted = pass.state.wanted_replicas(deployment, spec).unwrap_or(n_slots);
        let ready = slots.iter().filter(|slot| slot.is_ready()).count();
        let spare = i64::try_from(ready).unwrap_or(i64::MAX) - i64::from(n_wanted);
        let wanted = Wanted { hash, placed_after: replaced };
        let surplus = Vec::new();
        Service {
            key,
            deployment,
            record,
            spec,
            wanted,
            slots,
            surplus,
            n_wanted,
            spare,
            site: None,
        }
    }

    /// Takes one ready slot away if at least the wanted number without `unavailable` stay.
    pub(crate) fn take_ready(&mut self, unavailable: u32) -> bool {
        let allowed = self.spare.saturating_add(i64::from(unavailable)) > 0;
        self.spare -= i64::from(allowed);
        allowed
    }

    /// What each of its new instances asks of a node.
    pub(crate) fn weight(&self) -> Weight<'a> {
        let (deployment, spec) = (self.deployment, self.spec);
        Weight { deployment, plan: &self.record.spec, spec }
    }

    /// The site and the board it was made for; both are built on first use.
    pub(crate) fn site<'s>(&'s mut self, pass: &mut Pass<'a>) -> &'s mut Site<'a> {
        let weight = self.weight();
        let board = pass.board();
        let (slots, surplus) = (&self.slots, &self.surplus);
        self.site.get_or_insert_with(|| {
            let mut site = Site::new(board, weight);
            for slot in slots.iter().chain(surplus) {
                for instance in slot.staying().filter(|_| !slot.retired) {
                    if let Some(node) = board.index_of(&instance.node) {
                        site.count(&slot.slot, node);
                    }
                }
                let last = slot.last_ended().and_then(|last| board.index_of(&last.node));
                if let Some(node) = last {
                    site.remember(&slot.slot, node);
                }
            }
            site
        })
    }
}

impl<'a> Pass<'a> {
    /// One service of the current revision, from its number of slots to their explanations.
    pub(crate) fn visit_service(
        &mut self,
        deployment: &'a Deployment,
        record: &'a RevisionRecord,
        spec: &'a ServiceSpec,
    ) {
        let mut service = Service::look(self, deployment, record, spec);
        self.fit_counts(&mut service);
        self.roll(&mut service);
        self.fill_slots(&mut service);
        self.explain(&service);
    }

    /// Gives a slot its next generation on a node.
    pub(crate) fn place(&mut self, service: &mut Service<'a>, slot: usize, node: NodeIndex) {
        let (weight, revision) = (service.weight(), service.record.number);
        let view = &mut service.slots[slot];
        view.placed = true;
        let generation = jaco_model::Generation(view.generation.0.saturating_add(1));
        let board = self.board();
        board.place(node, &weight, &view.id, &view.slot);
        let id = board.rooms()[node].node.id.clone();
        let step = Step::Place { replica: view.id.clone(), generation, node: id, revision };
        if let Some(site) = &mut service.site {
            site.count(&view.slot, node);
        }
        self.push(step);
    }

    /// Wants an instance gone.
    pub(crate) fn retire(&mut self, instance: &Instance) {
        let InstanceId { replica, generation } = &instance.id;
        self.push(Step::Retire { instance: name::instance_id(replica, *generation) });
    }

    /// Writes the reasons that changed.
    fn explain(&mut self, service: &Service<'a>) {
        for slot in &service.slots {
            let known: Option<&Fault> = slot.replica.and_then(|replica| replica.waiting.as_ref());
            self.unsettled |= slot.why.is_some();
            // A placement clears the reason by itself.
            if known != slot.why.as_ref() && !(slot.placed && slot.why.is_none()) {
                let waiting = slot.why.clone();
                self.push(Step::Explain { replica: slot.id.clone(), waiting });
            }
        }
    }
}

/// A record that lives as long as the state, out of its shared pointer.
pub(crate) fn shared<T>(value: &Arc<T>) -> &T {
    value
}
