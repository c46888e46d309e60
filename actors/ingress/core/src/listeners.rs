//! The sockets of this node: wanted, ordered, open.
//!
//! | from | what happens | to |
//! |---|---|---|
//! | - | wanted | ordered |
//! | ordered | opened | open |
//! | ordered | not opened | waiting |
//! | waiting | the wait is over | ordered |
//! | any | not wanted any more | -, and closed |

use crate::effect::Effect;
use jaco_kit_core::{Mono, OpId, OpIds};
use jaco_model::NodeId;
use jaco_model::spec::Protocol;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

/// One listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListenKey {
    /// For what.
    pub kind: ListenKind,
    /// Where.
    pub address: SocketAddr,
}

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ListenKind {
    /// HTTP: redirects, plain routes, ACME challenges.
    Http,
    /// HTTPS.
    Https,
    /// A published port.
    Port(Protocol),
}

/// What this node is told about its front door.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This node.
    pub me: NodeId,
    /// Where HTTP is served; empty, as `https`, for a node without ingress. Published ports are
    /// opened all the same.
    pub http: Vec<SocketAddr>,
    /// Where HTTPS is served.
    pub https: Vec<SocketAddr>,
    /// Wait before a socket that could not be opened is tried again.
    pub retry: Duration,
}

impl Settings {
    /// The sockets that do not depend on the state.
    pub(crate) fn fixed(&self) -> impl Iterator<Item = ListenKey> {
        let http = self.http.iter().map(|at| ListenKey { kind: ListenKind::Http, address: *at });
        let https = self.https.iter().map(|at| ListenKey { kind: ListenKind::Https, address: *at });
        http.chain(https)
    }
}

/// All wanted sockets.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    by_key: BTreeMap<ListenKey, Listener>,
}

#[derive(Debug)]
struct Listener {
    phase: Phase,
    /// Why it was not opened the last time.
    fault: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    Ordered(OpId),
    Waiting { until: Mono },
    Open,
}

impl Listeners {
    /// Listens there and nowhere else; returns what to close.
    pub(crate) fn want(&mut self, now: Mono, wanted: &BTreeSet<ListenKey>) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.by_key.retain(|key, _| {
            let stays = wanted.contains(key);
            if !stays {
                effects.push(Effect::Unlisten { key: *key });
            }
            stays
        });
        for key in wanted {
            let phase = Phase::Waiting { until: now };
            self.by_key.entry(*key).or_insert(Listener { phase, fault: None });
        }
        effects
    }

    /// An order came back.
    pub(crate) fn heard(
        &mut self,
        now: Mono,
        op: OpId,
        result: Result<(), String>,
        retry: Duration,
    ) {
        // The order of a socket that is not wanted any more is answered too.
        let mut all = self.by_key.values_mut();
        let Some(listener) = all.find(|own| own.phase == Phase::Ordered(op)) else { return };
        listener.fault = result.err();
        listener.phase = match listener.fault {
            None => Phase::Open,
            Some(_) => Phase::Waiting { until: now.plus(retry) },
        };
    }

    /// Orders what is due.
    pub(crate) fn order_due(&mut self, now: Mono, ops: &mut OpIds) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (key, listener) in &mut self.by_key {
            if matches!(listener.phase, Phase::Waiting { until } if until <= now) {
                let op = ops.next_id();
                listener.phase = Phase::Ordered(op);
                effects.push(Effect::Listen { op, key: *key });
            }
        }
        effects
    }

    /// When something is due next.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        let due = |listener: &Listener| match listener.phase {
            Phase::Waiting { until } => Some(until),
            Phase::Ordered(_) | Phase::Open => None,
        };
        self.by_key.values().filter_map(due).min()
    }

    /// Sockets that are not open, and why if it was tried.
    pub(crate) fn closed(&self) -> impl Iterator<Item = (ListenKey, Option<&str>)> {
        let closed = self.by_key.iter().filter(|(_, listener)| listener.phase != Phase::Open);
        closed.map(|(key, listener)| (*key, listener.fault.as_deref()))
    }
}
