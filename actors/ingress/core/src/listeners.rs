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
use std::fmt;
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

impl fmt::Display for ListenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ListenKind::Http => "http",
            ListenKind::Https => "https",
            ListenKind::Port(Protocol::Tcp) => "tcp",
            ListenKind::Port(Protocol::Udp) => "udp",
        };
        write!(f, "{kind} {}", self.address)
    }
}

/// Why a socket could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketFault {
    /// Whether something else has the address.
    pub is_taken: bool,
    /// For people.
    pub why: String,
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
    /// Sockets that were last shown as closed.
    shown: Option<BTreeMap<ListenKey, SocketFault>>,
}

#[derive(Debug)]
struct Listener {
    phase: Phase,
    /// Why it was not opened the last time.
    fault: Option<SocketFault>,
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
        result: Result<(), SocketFault>,
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

    /// What to show, if it is not what was shown last: sockets that could not be opened.
    pub(crate) fn news(&mut self) -> Option<Effect> {
        let closed = self.by_key.iter();
        let closed: BTreeMap<_, _> =
            closed.filter_map(|(key, one)| Some((*key, one.fault.clone()?))).collect();
        if self.shown.as_ref() == Some(&closed) {
            return None;
        }
        self.shown = Some(closed.clone());
        Some(Effect::ShowClosed(closed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: Duration = Duration::from_secs(5);

    fn key(port: u16) -> ListenKey {
        ListenKey { kind: ListenKind::Http, address: SocketAddr::from(([0, 0, 0, 0], port)) }
    }

    fn ordered(effects: &[Effect]) -> OpId {
        match effects {
            [Effect::Listen { op, .. }] => *op,
            other => panic!("not one order: {other:?}"),
        }
    }

    #[test]
    fn a_taken_address_is_shown_once_tried_again_and_forgotten_when_it_opens() {
        let (mut listeners, mut ops) = (Listeners::default(), OpIds::default());
        assert!(listeners.want(Mono(0), &[key(80)].into()).is_empty());
        assert!(matches!(listeners.news(), Some(Effect::ShowClosed(all)) if all.is_empty()));
        let op = ordered(&listeners.order_due(Mono(0), &mut ops));
        let fault = SocketFault { is_taken: true, why: "in use".to_owned() };
        listeners.heard(Mono(0), op, Err(fault.clone()), RETRY);
        let Some(Effect::ShowClosed(shown)) = listeners.news() else { panic!("nothing shown") };
        assert_eq!(shown, [(key(80), fault.clone())].into());
        assert!(listeners.order_due(Mono(0), &mut ops).is_empty(), "not before the wait is over");
        let later = Mono(0).plus(RETRY);
        let op = ordered(&listeners.order_due(later, &mut ops));
        assert!(listeners.news().is_none(), "nothing new while it is tried");
        listeners.heard(later, op, Err(fault), RETRY);
        assert!(listeners.news().is_none(), "the same again");
        let latest = later.plus(RETRY);
        let op = ordered(&listeners.order_due(latest, &mut ops));
        listeners.heard(latest, op, Ok(()), RETRY);
        assert!(matches!(listeners.news(), Some(Effect::ShowClosed(all)) if all.is_empty()));
        assert!(listeners.news().is_none());
    }
}
