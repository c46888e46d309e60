//! The promises of `docs/invariants.md`, looked at while things happen (`ledger`, here) and once
//! everything is healed (`end`).

mod end;
mod ledger;
mod overlay;

use crate::event::{HostId, Order};
use crate::world::World;
use jaco_raft_core::eraftpb::{Message, MessageType};
use jaco_raft_core::{Batch, Committed, DurableLog, Effect, Members, Role};
use jaco_runtime_core::Effect as RuntimeEffect;
use jaco_state::State;

pub(crate) use end::table;
pub(crate) use ledger::Ledger;

/// Changes of the state of one daemon between two full looks at it.
const LOOK_EVERY: u64 = 100;

impl World {
    /// Looks at an effect of a raft core before anything follows from it.
    pub(crate) fn before_raft_effect(&mut self, host: HostId, effect: &Effect) {
        let running = self.host(host).running();
        let in_term = running.map_or(0, |process| process.raft.status().term);
        let check = match effect {
            Effect::RoleChanged(status) if status.role == Role::Leader => {
                self.check_leader(host, status.term)
            }
            Effect::Apply(entries) => self.check_apply(entries, in_term),
            Effect::Restore { at, .. } => self.ledger.commit(at.index, at.term, in_term),
            _ => Ok(()),
        };
        self.require(check);
    }

    fn check_leader(&mut self, host: HostId, term: u64) -> Result<(), String> {
        let Some(process) = self.hosts[host.0].process.as_deref() else { return Ok(()) };
        self.ledger.leads(term, process.raft_id)?;
        self.ledger.is_complete(term, process.raft.durable())
    }

    /// Whether promises are looked at that only hold inside. Mistakes around the disk are to be
    /// found by what they lead to: something that was acknowledged and is lost.
    #[cfg(feature = "seeded-bugs")]
    fn looks_inside(&self) -> bool {
        use crate::bug::Bug;
        !matches!(self.plan.bug, Some(Bug::AckBeforeFsync | Bug::MessagesEarly))
    }

    #[cfg(not(feature = "seeded-bugs"))]
    fn looks_inside(&self) -> bool {
        self.plan.bug.is_none()
    }

    /// What is applied is committed, and what is committed is durable on a majority.
    fn check_apply(&mut self, entries: &[Committed], in_term: u64) -> Result<(), String> {
        for entry in entries {
            self.ledger.commit(entry.index, entry.term, in_term)?;
        }
        self.ledger.reconfigure(entries)?;
        let Some(last) = entries.last().filter(|last| last.index > self.ledger.secured()) else {
            return Ok(());
        };
        let is_secure = self.ledger.lists_at(last.index).any(|list| self.is_majority(list, last));
        if !is_secure && self.looks_inside() {
            let (index, term) = (last.index, last.term);
            return Err(format!("invariants 3, 4, 9: ({index}, {term}) is applied too early"));
        }
        self.ledger.secure(last.index);
        Ok(())
    }

    fn is_majority(&self, list: &Members, entry: &Committed) -> bool {
        let holds = |raft_id: &&u64| {
            let log = self.log_of(**raft_id);
            log.is_some_and(|log| {
                log.truncated.index >= entry.index || log.term(entry.index) == Some(entry.term)
            })
        };
        list.voters.iter().filter(holds).count() > list.voters.len() / 2
    }

    /// What is, or was until it was lost, on the disk of a raft id.
    fn log_of(&self, raft_id: u64) -> Option<&DurableLog> {
        let disks = self.hosts.iter().filter_map(|host| host.disk.as_ref());
        let mut disks = disks.filter(|disk| disk.raft_id == raft_id);
        disks.next().map(|disk| &disk.durable).or_else(|| self.ledger.grave(raft_id))
    }

    /// A batch of this host is durable.
    pub(crate) fn became_durable(&mut self, host: HostId, batch: &Batch) {
        let World { hosts, ledger, .. } = self;
        let Some(disk) = &hosts[host.0].disk else { return };
        let check = ledger.written(batch, &disk.durable);
        self.require(check);
    }

    /// Invariant 4: nothing leaves before what it depends on is durable.
    pub(crate) fn check_outgoing(&mut self, host: HostId, message: &Message) {
        let Some(disk) = &self.host(host).disk else { return };
        let (log, state) = (&disk.durable, &disk.durable.hard_state);
        let holds = match message.get_msg_type() {
            // Of an older term than the durable one: it is never given to anybody else.
            _ if message.term < state.term => true,
            MessageType::MsgAppendResponse if !message.reject => message.index <= log.last_index(),
            MessageType::MsgRequestVoteResponse if !message.reject => {
                (state.term, state.vote) == (message.term, message.to)
            }
            _ => true,
        };
        if !holds && self.looks_inside() {
            let words = crate::words::describe_message(message);
            self.violate(format!("invariant 4: {host} sends before it is durable: {words}"));
        }
    }

    /// The state of a daemon moved on.
    pub(crate) fn state_changed(&mut self, host: HostId) {
        let World { hosts, ledger, trace, .. } = self;
        let Some(process) = hosts[host.0].process.as_deref() else { return };
        let state = process.member.state();
        let mut check = ledger.reached(state);
        if state.applied_index % LOOK_EVERY == 0 && check.is_ok() {
            check = state.check().map_err(|violation| format!("{host}: {violation:?}"));
        }
        let hash = state.hash();
        let short = u64::from_le_bytes(std::array::from_fn(|at| hash[at]));
        let index = state.applied_index;
        trace.note(self.now, &[7, host.number(), index, short], || {
            format!("{host}   state {index} {short:x}")
        });
        self.require(check);
    }

    /// A state is shown to readers: nobody sees the past again.
    pub(crate) fn check_publication(&mut self, host: HostId, state: &State) {
        let shown = self.host(host).running().and_then(|process| process.published.as_ref());
        if shown.is_some_and(|shown| shown.applied_index > state.applied_index) {
            let index = state.applied_index;
            self.violate(format!("invariant 107: {host} shows {index} after something newer"));
        }
    }

    /// An answer leaves: what it tells of is committed and can be read here.
    pub(crate) fn check_answer(&mut self, host: HostId, index: u64) {
        let shown = self.host(host).running().and_then(|process| process.published.as_ref());
        let shown = shown.map_or(0, |state| state.applied_index);
        if index > shown {
            self.violate(format!("{host} answers from index {index} and shows {shown}"));
        }
        if index > self.ledger.secured() {
            self.violate(format!("invariant 4: {host} answers from {index}, which can be lost"));
        }
    }

    /// Invariant 17: one container per instance, where the instance is.
    pub(crate) fn check_order(&mut self, order: &Order) {
        let RuntimeEffect::Create { plan, .. } = &order.effect else { return };
        let id = &plan.instance;
        let elsewhere = self
            .hosts
            .iter()
            .find(|host| host.id != order.life.host && host.engine.by_instance(id).is_some());
        if let Some(host) = elsewhere {
            let what = format!("invariant 17: {id} is made on {} and {}", order.life.host, host.id);
            self.violate(what);
        }
    }

    /// Invariant 7: a raft id belongs to one data directory.
    pub(crate) fn check_identity(&self, host: HostId, raft_id: u64) -> Result<(), String> {
        let other = self.hosts.iter().find(|other| {
            other.id != host && other.disk.as_ref().is_some_and(|disk| disk.raft_id == raft_id)
        });
        if other.is_some() || self.ledger.grave(raft_id).is_some() {
            return Err(format!("invariant 7: raft id {raft_id:x} has two data directories"));
        }
        Ok(())
    }
}
