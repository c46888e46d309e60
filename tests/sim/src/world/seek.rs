//! How a member that hears no leader finds out who the members are by now, as the daemon does it:
//! it asks those whom it knows, and believes the newest answer until its own log is as new.

use super::World;
use crate::event::{Call, Event, HostId, Life};
use crate::host::{Hearsay, Process};
use crate::queue::{Micros, SECOND};
use jaco_kit_core::OpId;
use jaco_model::NodeId;
use jaco_wiring::Peer;
use std::collections::BTreeMap;

/// Pause between two rounds of questions.
const PAUSE: Micros = 3 * SECOND;

impl World {
    /// The wiring says who the members are by the own log.
    pub(crate) fn set_roster(&mut self, host: HostId, roster: Vec<Peer>) {
        // While the log is still read, the file may know more than it.
        let is_current = roster.iter().all(|peer| peer.serials.is_some());
        let this = self.host_mut(host);
        if is_current {
            this.known_peers = roster.iter().map(|p| (p.node.clone(), p.raft_id)).collect();
        }
        if let Some(process) = this.process.as_deref_mut() {
            process.roster = roster;
            process.show_transport();
        }
    }

    /// A daemon begins with what it knew when it last ran.
    pub(crate) fn introduce(&mut self, host: HostId) {
        let known = self.host(host).known_peers.clone();
        let life = self.host(host).alive();
        if let Some(process) = self.process_mut(host) {
            process.hearsay = Hearsay { applied_index: 0, peers: known };
            process.show_transport();
        }
        let delay = self.random.between(SECOND, PAUSE);
        self.after(delay, Event::Seek(life));
    }

    /// Asks everybody, if there is no leader or nothing may be shown yet.
    pub(crate) fn seek(&mut self, life: Life) {
        self.after(PAUSE, Event::Seek(life));
        let Some(process) = self.process_mut(life.host) else { return };
        if process.leader.is_some() && process.member.has_caught_up() {
            return;
        }
        let others: Vec<NodeId> =
            process.peers.keys().filter(|node| **node != process.me).cloned().collect();
        for node in others {
            self.call(life, OpId(0), &node, Call::Members);
        }
    }

    /// Another member says who the members are.
    pub(crate) fn hear_of(&mut self, host: HostId, heard: Hearsay) {
        let Some(process) = self.process_mut(host) else { return };
        let applied = process.member.state().applied_index;
        if heard.applied_index > process.hearsay.applied_index.max(applied) {
            process.hearsay = heard;
            process.show_transport();
        }
    }
}

impl Process {
    /// The members as this one shows them.
    pub(crate) fn tell_members(&self) -> Hearsay {
        let Some(state) = &self.published else { return Hearsay::default() };
        let peers = state.nodes.values().map(|node| (node.id.clone(), node.raft_id)).collect();
        Hearsay { applied_index: state.applied_index, peers }
    }

    /// The own log is as new as what others said.
    pub(crate) fn forget_hearsay(&mut self) {
        let is_known = self.hearsay.applied_index <= self.member.state().applied_index;
        if is_known && !self.hearsay.peers.is_empty() {
            self.hearsay = Hearsay::default();
            self.show_transport();
        }
    }

    /// Whom the transport lets in: the members by the own log, and what others say while they know
    /// more.
    fn show_transport(&mut self) {
        let own = self.roster.iter().map(|peer| (peer.node.clone(), peer.raft_id));
        let mut entries: BTreeMap<NodeId, u64> = own.collect();
        let is_old = self.roster.iter().all(|peer| peer.serials.is_none());
        let is_newer = self.hearsay.applied_index > self.member.state().applied_index;
        let state = self.member.state();
        let others = self.hearsay.peers.iter();
        for (node, raft_id) in others.filter(|(_, id)| !state.tombstones.contains_key(id)) {
            if is_newer || (is_old && !entries.contains_key(node)) {
                entries.insert(node.clone(), *raft_id);
            }
        }
        if !entries.is_empty() {
            self.peers = entries;
        }
    }
}
