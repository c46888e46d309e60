//! One pair of sockets for each bridge of this node: wanted, ordered, open.
//!
//! | from | what happens | to |
//! |---|---|---|
//! | - | a block of this node | ordered |
//! | ordered | opened | open |
//! | ordered | not opened | waiting |
//! | waiting | the wait is over | ordered |
//! | open | time to look, or links changed | ordered |
//! | any | no block any more, or another bridge | -, and closed |

use crate::effect::Effect;
use crate::settings::Settings;
use jaco_kit_core::{Backoff, Mono, OpId, OpIds};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// All bridges by gateway address.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    by_gateway: BTreeMap<Ipv4Addr, Listener>,
}

#[derive(Debug)]
struct Listener {
    bridge: String,
    phase: Phase,
    /// Whether the last order was carried out.
    is_open: bool,
    backoff: Backoff,
    fault: Option<String>,
}

#[derive(Debug)]
enum Phase {
    Ordered(OpId),
    Waiting { until: Mono },
    Open { look_at: Mono },
}

impl Listeners {
    /// Listens on these and no others; returns what to close.
    pub(crate) fn want(
        &mut self,
        now: Mono,
        wanted: &BTreeMap<Ipv4Addr, String>,
        settings: &Settings,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.by_gateway.retain(|gateway, listener| {
            let stays = wanted.get(gateway) == Some(&listener.bridge);
            if !stays {
                effects.push(Effect::Unlisten { gateway: *gateway });
            }
            stays
        });
        for (gateway, bridge) in wanted {
            self.by_gateway.entry(*gateway).or_insert_with(|| Listener {
                bridge: bridge.clone(),
                phase: Phase::Waiting { until: now },
                is_open: false,
                backoff: Backoff::new(
                    settings.retry_first,
                    settings.retry_limit,
                    u64::from(u32::from(*gateway)),
                ),
                fault: None,
            });
        }
        effects
    }

    /// Interfaces changed: look at all of them now.
    pub(crate) fn look(&mut self, now: Mono) {
        for listener in self.by_gateway.values_mut() {
            if !matches!(listener.phase, Phase::Ordered(_)) {
                listener.phase = Phase::Waiting { until: now };
                listener.backoff.reset();
            }
        }
    }

    /// An order came back.
    pub(crate) fn heard(
        &mut self,
        now: Mono,
        op: OpId,
        result: Result<(), String>,
        settings: &Settings,
    ) {
        let ordered =
            |listener: &&mut Listener| matches!(listener.phase, Phase::Ordered(own) if own == op);
        // The order of a bridge that is not wanted any more is answered too.
        let Some(listener) = self.by_gateway.values_mut().find(ordered) else { return };
        listener.is_open = result.is_ok();
        listener.fault = result.err();
        listener.phase = if listener.is_open {
            listener.backoff.reset();
            Phase::Open { look_at: now.plus(settings.look_every) }
        } else {
            Phase::Waiting { until: now.plus(listener.backoff.next_delay()) }
        };
    }

    /// Orders what is due.
    pub(crate) fn order_due(&mut self, now: Mono, ops: &mut OpIds) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (gateway, listener) in &mut self.by_gateway {
            if listener.phase.due().is_some_and(|at| at <= now) {
                let op = ops.next_id();
                listener.phase = Phase::Ordered(op);
                let bridge = listener.bridge.clone();
                effects.push(Effect::Listen { op, bridge, gateway: *gateway });
            }
        }
        effects
    }

    /// When something is due next.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.by_gateway.values().filter_map(|listener| listener.phase.due()).min()
    }

    /// Gateways where nobody answers now, and why.
    pub(crate) fn closed(&self) -> impl Iterator<Item = (Ipv4Addr, &str, Option<&str>)> {
        let closed = self.by_gateway.iter().filter(|(_, listener)| !listener.is_open);
        closed.map(|(gateway, l)| (*gateway, l.bridge.as_str(), l.fault.as_deref()))
    }
}

impl Phase {
    fn due(&self) -> Option<Mono> {
        match self {
            Phase::Ordered(_) => None,
            Phase::Waiting { until } => Some(*until),
            Phase::Open { look_at } => Some(*look_at),
        }
    }
}
