//! Raft messages on their way: lost, late, doubled, out of order, cut off.

use super::World;
use crate::event::{Event, HostId, Life};
use crate::queue::{MILLI, Micros, SECOND};
use jaco_raft_core::Input;
use jaco_raft_core::eraftpb::{Message, MessageType};
use jaco_wiring::Delivery;

/// After so long without an installed snapshot the sender takes it for failed.
const SNAPSHOT_PATIENCE: Micros = 4 * SECOND;

impl World {
    /// Whether something sent now arrives.
    pub(crate) fn passes(&mut self, from: HostId, to: HostId) -> bool {
        let loss = self.weather.loss;
        !self.cuts.contains(&(from, to)) && !self.random.chance(loss)
    }

    /// How long something takes that arrives.
    pub(crate) fn delay(&mut self) -> Micros {
        let (low, high) = self.weather.delay;
        if self.random.chance(self.weather.slow) {
            return self.random.between(low, self.weather.slow_delay.max(low));
        }
        self.random.between(low, high)
    }

    /// Sends raft messages to those members that the transport knows.
    pub(crate) fn send(&mut self, from: HostId, messages: Vec<Message>) {
        for message in messages {
            self.check_outgoing(from, &message);
            let Some(process) = self.process_mut(from) else { return };
            let mut peers = process.peers.iter();
            let known = peers.find(|(_, raft_id)| **raft_id == message.to);
            let Some(to) = known.map(|(node, _)| node.clone()).and_then(|node| self.host_of(&node))
            else {
                continue;
            };
            if message.get_msg_type() == MessageType::MsgSnapshot {
                self.send_snapshot(from, to, message);
            } else {
                self.send_message(from, to, message);
            }
        }
    }

    fn send_message(&mut self, from: HostId, to: HostId, message: Message) {
        if !self.passes(from, to) {
            // Sometimes the transport notices.
            if self.random.chance(200) {
                let input = Input::PeerUnreachable { peer: message.to };
                let (delay, life) = (self.delay(), self.host(from).alive());
                self.after(delay, Event::Tell(life, Box::new(Delivery::Raft(input))));
            }
            return;
        }
        let delay = self.delay();
        if self.random.chance(self.weather.twice) {
            let message = Box::new(message.clone());
            let again = delay + self.delay();
            self.after(again, Event::Raft { from, to, message });
        }
        self.after(delay, Event::Raft { from, to, message: Box::new(message) });
    }

    /// A snapshot takes a while, and whoever sent it hears how it ended, sometimes late.
    fn send_snapshot(&mut self, from: HostId, to: HostId, message: Message) {
        let (life, peer) = (self.host(from).alive(), message.to);
        let Some(process) = self.process_mut(from) else { return };
        process.snapshot_serial += 1;
        let serial = process.snapshot_serial;
        process.snapshots_out.insert(peer, serial);
        let transfer = self.random.between(10 * MILLI, 800 * MILLI);
        if self.passes(from, to) {
            self.after(transfer, Event::Raft { from, to, message: Box::new(message) });
        }
        let patience = transfer + self.random.between(SECOND, SNAPSHOT_PATIENCE);
        self.after(patience, Event::SnapshotEnd { life, peer, serial, installed: false });
    }

    pub(crate) fn snapshot_ends(&mut self, life: Life, peer: u64, serial: u64, installed: bool) {
        let Some(process) = self.alive_mut(life) else { return };
        if process.snapshots_out.get(&peer) != Some(&serial) {
            return;
        }
        process.snapshots_out.remove(&peer);
        let input = Input::SnapshotReported { peer, installed };
        self.tell(life.host, Delivery::Raft(input));
    }

    /// A message has arrived: the transport lets through what a member says under its own id.
    pub(crate) fn message_arrives(&mut self, from: HostId, to: HostId, message: Box<Message>) {
        let sender = self.host(from).node.clone();
        let alive = self.host(from).alive();
        let Some(process) = self.process_mut(to) else { return };
        let raft_id = sender.as_ref().and_then(|node| process.peers.get(node));
        if raft_id != Some(&message.from) || message.to != process.raft_id {
            return;
        }
        if message.get_msg_type() == MessageType::MsgSnapshot {
            let index = message.get_snapshot().get_metadata().index;
            process.snapshot_in = Some((alive, process.raft_id, index));
            if process.member.state().applied_index >= index {
                self.snapshot_installed(to, index);
            }
        }
        let Some(process) = self.process_mut(to) else { return };
        let is_buried = process.member.state().tombstones.contains_key(&message.from);
        if is_buried {
            let text = format!("invariant 7: {to} hears the tombstoned raft id {}", message.from);
            return self.violate(text);
        }
        self.tell(to, Delivery::Raft(Input::PeerMessage(message)));
    }

    /// A snapshot is durable and in force: its sender may hear of it.
    pub(crate) fn snapshot_installed(&mut self, host: HostId, index: u64) {
        let Some(process) = self.process_mut(host) else { return };
        let Some((life, peer, of)) = process.snapshot_in.take() else { return };
        if of != index || !self.passes(host, life.host) {
            return;
        }
        let delay = self.delay();
        let Some(sender) = self.alive_mut(life) else { return };
        let Some(serial) = sender.snapshots_out.get(&peer).copied() else { return };
        self.after(delay, Event::SnapshotEnd { life, peer, serial, installed: true });
    }
}
