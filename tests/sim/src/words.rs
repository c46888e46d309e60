//! Inputs and effects in few words, for traces.

use crate::event::HostId;
use jaco_raft_core::eraftpb::Message;
use jaco_raft_core::{Batch, Effect, Input};
use jaco_wiring::Delivery;
use std::fmt;

/// Longest text of one input.
const WIDTH: usize = 400;

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host-{}", self.0)
    }
}

/// What goes into the hash of a trace for one input.
pub(crate) struct Words {
    pub(crate) number: u64,
}

/// The numbers of an input.
pub(crate) fn delivery(delivery: &Delivery) -> Words {
    let number = match delivery {
        Delivery::Raft(Input::PeerMessage(message)) => message_number(message),
        Delivery::Raft(Input::Persisted { seq, result }) => seq << 8 | u64::from(result.is_ok()),
        Delivery::Raft(Input::Propose { op, data }) => op.0 << 20 | data.len() as u64,
        Delivery::Raft(_) => 1,
        Delivery::Scheduler(_) => 2,
        Delivery::Runtime(_) => 3,
        Delivery::Liveness(_) => 4,
        Delivery::Firewall(_) => 5,
        Delivery::Dns(_) => 6,
        Delivery::Netmesh(_) => 7,
        Delivery::Ingress(_) => 8,
        Delivery::Acme(_) => 9,
    };
    Words { number }
}

fn message_number(message: &Message) -> u64 {
    let kind = u64::from(message.msg_type.unsigned_abs());
    let place = message.from ^ message.term << 32 ^ message.index << 16 ^ message.commit << 8;
    place ^ kind << 56 ^ message.entries.len() as u64
}

/// An input as text.
pub(crate) fn describe(delivery: &Delivery) -> String {
    match delivery {
        Delivery::Raft(Input::PeerMessage(message)) => {
            format!("raft ← {}", describe_message(message))
        }
        Delivery::Raft(Input::Propose { op, data }) => {
            let what = jaco_wiring::decode(data).map(|envelope| {
                let id = envelope.request_id;
                clip(format!("{:?} by {} as {id}", envelope.command, envelope.identity))
            });
            format!("raft ← propose {} {}", op.0, what.unwrap_or_else(|error| error.to_string()))
        }
        Delivery::Raft(Input::SnapshotTaken { at, data }) => {
            format!("raft ← snapshot taken at {at:?}, {} bytes", data.len())
        }
        Delivery::Raft(Input::SnapshotLoaded { at, data }) => {
            format!("raft ← snapshot loaded at {at:?}, {}", data.is_some())
        }
        Delivery::Raft(input) => clip(format!("raft ← {input:?}")),
        Delivery::Scheduler(jaco_scheduler::Input::StateChanged { state, .. }) => {
            format!("scheduler ← state {}", state.applied_index)
        }
        Delivery::Scheduler(input) => clip(format!("scheduler ← {input:?}")),
        Delivery::Runtime(jaco_runtime_core::Input::StateChanged(state)) => {
            format!("runtime ← state {}", state.applied_index)
        }
        Delivery::Runtime(input) => clip(format!("runtime ← {input:?}")),
        Delivery::Liveness(input) => clip(format!("liveness ← {input:?}")),
        Delivery::Firewall(jaco_firewall_core::Input::StateChanged(state)) => {
            format!("firewall ← state {}", state.applied_index)
        }
        Delivery::Firewall(input) => clip(format!("firewall ← {input:?}")),
        Delivery::Dns(jaco_dns_core::Input::StateChanged(state)) => {
            format!("dns ← state {}", state.applied_index)
        }
        Delivery::Dns(input) => clip(format!("dns ← {input:?}")),
        Delivery::Ingress(jaco_ingress_core::Input::StateChanged(state)) => {
            format!("ingress ← state {}", state.applied_index)
        }
        Delivery::Ingress(input) => clip(format!("ingress ← {input:?}")),
        Delivery::Acme(jaco_ingress_core::acme::Input::StateChanged(state)) => {
            format!("acme ← state {}", state.applied_index)
        }
        Delivery::Acme(input) => clip(format!("acme ← {input:?}")),
        Delivery::Netmesh(jaco_netmesh_core::Input::StateChanged(state)) => {
            format!("netmesh ← state {}", state.applied_index)
        }
        Delivery::Netmesh(input) => clip(format!("netmesh ← {input:?}")),
    }
}

/// A message as text.
pub(crate) fn describe_message(message: &Message) -> String {
    format!(
        "{:?} {:x}→{:x} term {} log ({}, {}) commit {} entries {} reject {} hint {}{}",
        message.get_msg_type(),
        message.from,
        message.to,
        message.term,
        message.index,
        message.log_term,
        message.commit,
        message.entries.len(),
        message.reject,
        message.reject_hint,
        message.snapshot.as_ref().map_or(String::new(), |snapshot| {
            let at = snapshot.get_metadata();
            format!(" snapshot ({}, {})", at.index, at.term)
        }),
    )
}

/// The number of an effect of the raft core.
pub(crate) fn effect_number(effect: &Effect) -> u64 {
    match effect {
        Effect::Persist(batch) => 1 << 56 | batch.seq << 16 | batch.entries.len() as u64,
        Effect::Send(messages) => {
            2 << 56 ^ messages.iter().fold(0, |sum, m| sum ^ message_number(m))
        }
        Effect::Restore { at, .. } => 3 << 56 | at.index,
        Effect::Apply(entries) => 4 << 56 | entries.last().map_or(0, |entry| entry.index),
        Effect::TakeSnapshot { at, .. } => 5 << 56 | at.index,
        Effect::LoadSnapshot(at) => 6 << 56 | at.index,
        Effect::Failed { op, .. } => 7 << 56 | op.0,
        Effect::ReadReady { op, index } => 8 << 56 | op.0 << 24 | index,
        Effect::RoleChanged(status) => 9 << 56 | status.term,
        Effect::PeerViolation { from, .. } => 10 << 56 | from >> 8,
        Effect::Fatal(_) => 11 << 56,
    }
}

/// An effect of the raft core as text.
pub(crate) fn effect(effect: &Effect) -> String {
    match effect {
        Effect::Persist(batch) => format!("persist {}", describe_batch(batch)),
        Effect::Send(messages) => {
            let messages: Vec<String> = messages.iter().map(describe_message).collect();
            format!("send {}", messages.join("; "))
        }
        Effect::Restore { at, members, .. } => format!("restore {at:?} {members:x?}"),
        Effect::Apply(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|entry| format!("({}, {}, {:?})", entry.index, entry.term, entry.op))
                .collect();
            format!("apply {}", entries.join(" "))
        }
        other => clip(format!("{other:x?}")),
    }
}

fn describe_batch(batch: &Batch) -> String {
    let entries: Vec<String> = batch
        .entries
        .iter()
        .map(|entry| {
            let kind = if entry.entry_type == 0 { "" } else { " conf" };
            format!("({}, {}{kind})", entry.index, entry.term)
        })
        .collect();
    let state = &batch.hard_state;
    format!(
        "{} term {} vote {:x} commit {} trim {:?} snapshot {:?} members {:x?} entries {}",
        batch.seq,
        state.term,
        state.vote,
        state.commit,
        batch.trim,
        batch.snapshot.as_ref().map(|file| file.meta.at),
        batch.members,
        entries.join(" ")
    )
}

fn clip(mut text: String) -> String {
    if text.len() > WIDTH {
        text.truncate(text.floor_char_boundary(WIDTH));
        text.push('…');
    }
    text
}
