//! Which replica takes a request.

use super::load::Load;
use crate::table::Endpoint;
use jaco_kit_core::Mono;
use jaco_kit_core::mix::draw;
use jaco_model::spec::{LbPolicy, LoadBalancing};
use std::borrow::Borrow;

/// What the choice hangs on besides the replicas.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// The route's.
    pub lb: &'a LoadBalancing,
    /// Most requests at once per replica.
    pub most: Option<u32>,
    /// A hash of what keeps a client at its replica; only for policies that hash.
    pub affinity: u64,
    /// The replica that the client's cookie names.
    pub wanted: Option<usize>,
    /// Replicas that were tried with this request. They are taken again when there is no other.
    pub tried: &'a [usize],
    /// Now.
    pub now: Mono,
    /// Any number, another one each time.
    pub random: u64,
    /// Counts the requests of the route.
    pub turn: u64,
}

/// Why no replica takes a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoReplica {
    /// There is none.
    Missing,
    /// All have as many requests as they may.
    Busy,
}

/// Chooses one of the endpoints by its index. `loads` has the load of each at the same index.
///
/// At most half of them are left out because they rest, and never the last one.
///
/// # Errors
/// When none may take a request.
pub fn choose<L: Borrow<Load>>(
    endpoints: &[Endpoint],
    loads: &[L],
    choice: &Choice<'_>,
) -> Result<usize, NoReplica> {
    // Who is new is spared only when there are others.
    let hashes = matches!(choice.lb.policy, LbPolicy::IpHash | LbPolicy::HeaderHash(_));
    let has_warm = !hashes && loads.iter().any(|load| load.borrow().is_warm(choice.now));
    let among = Among { endpoints, loads, choice, has_warm };
    if let Some(wanted) = choice.wanted.filter(|at| !choice.tried.contains(at))
        && among.all().any(|at| at == wanted)
    {
        return Ok(wanted);
    }
    let (mut best, mut count) = (u8::MAX, 0_u64);
    for at in among.all() {
        let tier = among.tier(at);
        if tier < best {
            (best, count) = (tier, 0);
        }
        count += u64::from(tier == best);
    }
    let of_tier = || among.all().filter(|at| among.tier(*at) == best);
    let nth = |number: u64| of_tier().nth(usize::try_from(number).unwrap_or_default());
    let mut random = choice.random;
    let chosen = match (&choice.lb.policy, count) {
        (_, 0) => None,
        (LbPolicy::Random, _) => nth(draw(&mut random) % count),
        (LbPolicy::RoundRobin, _) => nth(choice.turn % count),
        (LbPolicy::LeastRequests, 1) => nth(0),
        (LbPolicy::LeastRequests, _) => {
            let one = draw(&mut random) % count;
            let other = (one + 1 + draw(&mut random) % (count - 1)) % count;
            let pair = nth(one).into_iter().chain(nth(other));
            pair.min_by_key(|at| among.load(*at).running())
        }
        (LbPolicy::IpHash | LbPolicy::HeaderHash(_), _) => {
            of_tier().max_by_key(|at| among.load(*at).score(choice.affinity))
        }
    };
    // Others count requests at the same time; between two looks one may have become busy.
    let missing = if loads.is_empty() { NoReplica::Missing } else { NoReplica::Busy };
    chosen.or_else(|| among.all().next()).ok_or(missing)
}

struct Among<'a, L> {
    endpoints: &'a [Endpoint],
    loads: &'a [L],
    choice: &'a Choice<'a>,
    has_warm: bool,
}

impl<L: Borrow<Load>> Among<'_, L> {
    fn load(&self, at: usize) -> &Load {
        self.loads[at].borrow()
    }

    /// Those that may take a request at all.
    fn all(&self) -> impl Iterator<Item = usize> {
        let count = self.endpoints.len().min(self.loads.len());
        let (now, most) = (self.choice.now, self.choice.most.unwrap_or(u32::MAX));
        let mut may_rest = count / 2;
        (0..count).filter(move |at| {
            let load = self.load(*at);
            if may_rest > 0 && load.rests(now) {
                may_rest -= 1;
                return false;
            }
            load.running() < most
        })
    }

    /// Those of the lowest tier are chosen from.
    fn tier(&self, at: usize) -> u8 {
        let choice = self.choice;
        let is_tried = choice.tried.contains(&at);
        let is_remote = choice.lb.prefer_local && !self.endpoints[at].is_local;
        let is_spared = self.has_warm && self.load(at).is_spared(choice.now, choice.random);
        (u8::from(is_tried) << 2) | (u8::from(is_remote) << 1) | u8::from(is_spared)
    }
}
