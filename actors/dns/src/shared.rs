//! What all sockets of the responder share. It lives on the responder's thread.

use crate::counters::{Counters, count};
use crate::forwarder::{Asked, Forwarder};
use arc_swap::ArcSwap;
use jaco_dns_core::{
    CONNECTIONS_PER_SOURCE, Dice, InFlight, Rates, Response, Transport, Zones, respond,
};
use jaco_kit::Clock;
use std::cell::{Cell, RefCell};
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::Arc;

/// Sockets of one node take part in all of this.
pub(crate) struct Shared {
    pub(crate) zones: Arc<ArcSwap<Zones>>,
    pub(crate) clock: Clock,
    pub(crate) counters: Arc<Counters>,
    pub(crate) forwarder: Forwarder,
    pub(crate) connections: RefCell<InFlight>,
    rates: RefCell<Rates>,
    /// Which tables the rates were last tidied for.
    tidied_for: Cell<usize>,
    dice: RefCell<Dice>,
}

/// What became of a message.
pub(crate) enum Taken {
    /// Nothing is said.
    Silence,
    /// The answer is in the buffer.
    Answered,
    /// Others are to be asked.
    Forward(Asked),
}

impl Shared {
    pub(crate) fn new(
        zones: Arc<ArcSwap<Zones>>,
        clock: Clock,
        counters: Arc<Counters>,
        forwarder: Forwarder,
        seed: u64,
    ) -> Rc<Shared> {
        let connections = InFlight::new(CONNECTIONS_PER_SOURCE, usize::MAX);
        Rc::new(Shared {
            zones,
            clock,
            counters,
            forwarder,
            connections: RefCell::new(connections),
            rates: RefCell::default(),
            tidied_for: Cell::new(0),
            dice: RefCell::new(Dice::new(seed)),
        })
    }

    /// Whether a container of this node has this address.
    pub(crate) fn is_known(&self, source: Ipv4Addr) -> bool {
        self.zones.load().source(source).is_some()
    }

    /// Takes one message; `out` is replaced by the answer.
    pub(crate) fn take(
        &self,
        source: Ipv4Addr,
        packet: &[u8],
        transport: Transport,
        out: &mut Vec<u8>,
    ) -> Taken {
        let zones = self.zones.load();
        self.forwarder.notice(packet);
        if zones.source(source).is_none() {
            count(&self.counters.ignored);
            return Taken::Silence;
        }
        self.tidy(&zones);
        if !self.rates.borrow_mut().admit(self.clock.mono(), source) {
            count(&self.counters.excess);
            return Taken::Silence;
        }
        let mut dice = self.dice.borrow_mut();
        match respond(&zones, source, packet, transport, &mut dice, out) {
            Response::Silence => {
                count(&self.counters.ignored);
                Taken::Silence
            }
            Response::Written => {
                count(&self.counters.answered);
                Taken::Answered
            }
            Response::Forward(asker) => {
                count(&self.counters.forwarded);
                let upstreams = asker.forwarders().cloned();
                Taken::Forward(Asked { source, packet: packet.to_vec(), upstreams, transport })
            }
        }
    }

    /// Forgets the rates of containers that are gone, once for each change of the tables.
    fn tidy(&self, zones: &Arc<Zones>) {
        let tables = Arc::as_ptr(zones).addr();
        if self.tidied_for.replace(tables) != tables {
            self.rates.borrow_mut().retain(zones);
        }
    }
}
