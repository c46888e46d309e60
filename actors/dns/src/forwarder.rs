//! Carries questions about other names to upstreams and their answers back.

use crate::counters::{UpstreamView, count};
use crate::exchange;
use crate::shared::Shared;
use crate::upstreams::Upstreams;
use arc_swap::ArcSwap;
use jaco_dns_core::{
    Cache, CacheKey, Chain, FORWARDS_PER_NODE, FORWARDS_PER_SOURCE, Health, InFlight, Query, Reply,
    Request, Transport, Verdict, rcode,
};
use jaco_kit::Seeds;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// A question of a container about a name that is not ours.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) source: Ipv4Addr,
    pub(crate) packet: Vec<u8>,
    /// Whom its service wants asked.
    pub(crate) upstreams: Option<Arc<[SocketAddr]>>,
    pub(crate) transport: Transport,
}

/// Upstreams, what they said, and what is in flight.
pub(crate) struct Forwarder {
    pub(crate) upstreams: Upstreams,
    /// Where this responder listens.
    own: RefCell<BTreeSet<SocketAddr>>,
    cache: RefCell<Cache>,
    health: RefCell<Health>,
    in_flight: RefCell<InFlight>,
    view: Arc<ArcSwap<Vec<UpstreamView>>>,
}

impl Forwarder {
    pub(crate) fn new(upstreams: Upstreams, view: Arc<ArcSwap<Vec<UpstreamView>>>) -> Forwarder {
        Forwarder {
            upstreams,
            own: RefCell::default(),
            cache: RefCell::default(),
            health: RefCell::default(),
            in_flight: RefCell::new(InFlight::new(FORWARDS_PER_SOURCE, FORWARDS_PER_NODE)),
            view,
        }
    }

    /// This responder listens there now, or no more.
    pub(crate) fn listens(&self, address: SocketAddr, does: bool) {
        let mut own = self.own.borrow_mut();
        match does {
            true => own.insert(address),
            false => own.remove(&address),
        };
    }

    fn own(&self) -> Vec<SocketAddr> {
        self.own.borrow().iter().copied().collect()
    }

    /// Whether the upstreams send questions round in a circle; the answer is noticed later.
    pub(crate) async fn test(&self, shared: &Shared) {
        let zones = shared.zones.load_full();
        let own = self.own();
        self.upstreams.test(&zones, &own).await;
        self.show();
    }

    /// Looks whether a message is a question of our own that came back.
    pub(crate) fn notice(&self, packet: &[u8]) {
        self.upstreams.notice(packet);
    }

    /// The answer to a question; always one.
    pub(crate) async fn resolve(&self, shared: &Shared, asked: Asked) -> Vec<u8> {
        let mut out = Vec::new();
        let Some(request) = Request::parse(&asked.packet) else { return out };
        if !request.wants_recursion() {
            request.write_error(rcode::REFUSED, &mut out);
            return out;
        }
        let zones = shared.zones.load_full();
        let list = self.upstreams.usable(asked.upstreams.as_ref(), &zones, &self.own());
        drop(zones);
        let key = CacheKey::new(&request, &list);
        let fresh = self.cache.borrow().fresh(shared.clock.mono(), &key);
        if let Some((reply, age)) = fresh {
            count(&shared.counters.from_cache);
            reply.write(&request, asked.transport, age, false, &mut out);
            return out;
        }
        if !self.in_flight.borrow_mut().begin(asked.source) {
            count(&shared.counters.crowded);
            count(&shared.counters.failed);
            request.write_error(rcode::SERVFAIL, &mut out);
            return out;
        }
        let landing = Landing { forwarder: self, source: asked.source };
        let found = self.search(shared, &request, &list).await;
        drop(landing);
        let now = shared.clock.mono();
        if let Some(reply) = found {
            let reply = Arc::new(reply);
            self.cache.borrow_mut().keep(now, key, reply.clone());
            reply.write(&request, asked.transport, 0, false, &mut out);
        } else if let Some(reply) = self.cache.borrow().stale(now, &key) {
            reply.write(&request, asked.transport, 0, true, &mut out);
        } else {
            count(&shared.counters.failed);
            request.write_error(rcode::SERVFAIL, &mut out);
        }
        out
    }

    /// Asks one upstream after the other.
    async fn search(
        &self,
        shared: &Shared,
        request: &Request<'_>,
        list: &Arc<[SocketAddr]>,
    ) -> Option<Reply> {
        let mut chain = Chain::new(shared.clock.mono(), list, &self.health.borrow());
        loop {
            let (upstream, wait) = chain.ask(shared.clock.mono())?;
            // Without randomness anybody could answer in the upstream's place.
            let random = Seeds.bytes::<18>().ok()?;
            let (id, case) = random.split_first_chunk::<2>()?;
            let case = u128::from_le_bytes(case.try_into().ok()?);
            let query = Query::new(request, u16::from_le_bytes(*id), case);
            match exchange::ask(upstream, &query, wait).await {
                Ok(reply) if reply.verdict() == Verdict::Final => {
                    self.answered(upstream);
                    return Some(reply);
                }
                Ok(_) => self.failed(shared, upstream, "it cannot say"),
                Err(error) => self.failed(shared, upstream, &error.to_string()),
            }
        }
    }

    fn answered(&self, upstream: SocketAddr) {
        if self.health.borrow_mut().answered(upstream) {
            tracing::info!(%upstream, "upstream answers again");
            self.show();
        }
    }

    fn failed(&self, shared: &Shared, upstream: SocketAddr, reason: &str) {
        if self.health.borrow_mut().failed(shared.clock.mono(), upstream) {
            tracing::warn!(%upstream, reason, "upstream failed, asked last for a while");
            self.show();
        }
    }

    /// Shows the upstreams to whoever watches.
    fn show(&self) {
        let failing: BTreeSet<SocketAddr> = self.health.borrow().failing().collect();
        let known = self.upstreams.known().into_iter();
        let view = known.map(|(address, is_loop)| UpstreamView {
            address,
            is_failing: failing.contains(&address),
            is_loop,
        });
        self.view.store(Arc::new(view.collect()));
    }
}

/// A question in flight; counted off when it ends, however it does.
struct Landing<'f> {
    forwarder: &'f Forwarder,
    source: Ipv4Addr,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.forwarder.in_flight.borrow_mut().end(self.source);
    }
}
