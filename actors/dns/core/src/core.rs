//! The core: from the state and the suspects to tables and sockets.

use crate::describe::Description;
use crate::desired::{Extra, bridges, describe};
use crate::effect::Effect;
use crate::input::Input;
use crate::listeners::Listeners;
use crate::settings::Settings;
use crate::zones::Zones;
use jaco_kit_core::{Core, Mono, Now, OpIds};
use jaco_model::NodeId;
use jaco_state::State;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Decides what this node answers, and where.
#[derive(Debug)]
pub struct DnsCore {
    me: NodeId,
    settings: Settings,
    state: Arc<State>,
    extra: Extra,
    /// What the tables in use were made of.
    served: Option<Description>,
    /// For SOA records; grows with each change.
    serial: u32,
    listeners: Listeners,
    ops: OpIds,
    now: Mono,
}

impl DnsCore {
    /// The core of a node that has seen no state yet.
    pub fn new(me: NodeId, settings: Settings) -> DnsCore {
        DnsCore {
            me,
            settings,
            state: Arc::new(State::default()),
            extra: Extra::default(),
            served: None,
            serial: 0,
            listeners: Listeners::default(),
            ops: OpIds::default(),
            now: Mono::default(),
        }
    }

    /// Gateways where nobody answers now: address, bridge, and why.
    pub fn closed(&self) -> impl Iterator<Item = (Ipv4Addr, &str, Option<&str>)> {
        self.listeners.closed()
    }

    fn take(&mut self, input: Input) -> Vec<Effect> {
        match input {
            Input::StateChanged(state) => {
                self.state = state;
                let mut effects = self.refresh();
                let wanted = bridges(&self.state, &self.me);
                effects.extend(self.listeners.want(self.now, &wanted, &self.settings));
                effects
            }
            Input::Suspects(suspects) => {
                self.extra.suspects = suspects;
                self.refresh()
            }
            Input::Seated(seated) => {
                self.extra.seated = seated;
                self.refresh()
            }
            Input::LinksChanged => {
                self.listeners.look(self.now);
                Vec::new()
            }
            Input::Listening { op, result } => {
                self.listeners.heard(self.now, op, result, &self.settings);
                Vec::new()
            }
        }
    }

    /// New tables, if they would differ.
    fn refresh(&mut self) -> Vec<Effect> {
        let description = describe(&self.state, &self.me, &self.extra, self.settings.ttl);
        if self.served.as_ref() == Some(&description) {
            return Vec::new();
        }
        self.serial = self.serial.wrapping_add(1).max(self.state.applied_index as u32);
        let zones = Zones::build(&description, self.serial);
        self.served = Some(description);
        vec![Effect::Serve(Arc::new(zones))]
    }
}

impl Core for DnsCore {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, now: Now, input: Input) -> Vec<Effect> {
        self.now = now.mono;
        let mut effects = self.take(input);
        effects.extend(self.listeners.order_due(self.now, &mut self.ops));
        effects
    }

    fn wake(&mut self, now: Now) -> Vec<Effect> {
        self.now = now.mono;
        self.listeners.order_due(self.now, &mut self.ops)
    }

    fn deadline(&self) -> Option<Mono> {
        self.listeners.deadline()
    }

    fn check_invariants(&self) {
        debug_assert!(self.deadline().is_none_or(|at| at > self.now), "a timer in the past");
    }
}
