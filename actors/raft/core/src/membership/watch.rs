//! What a leader remembers of the members over time: who was heard, who is caught up since when.
//!
//! Everything here begins anew with each leadership: times are this member's own.

use std::collections::BTreeMap;
use std::time::Duration;

use jaco_kit_core::Mono;

use super::{Part, Seat, View};
use crate::durable::Members;
use crate::input::{Roster, RosterMember, Standing};

/// How long a learner is caught up before it may vote; also how long a new leader waits before its
/// first step, since the roster may lag behind the member list when both were just replayed.
const STEADY: Duration = Duration::from_secs(3);
/// Between two looks while list and roster differ.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// An even number of voters becomes odd again, downwards, after this.
const EVEN_MAX: Duration = Duration::from_secs(20);
/// Between two attempts to hand over: each one stops proposals for up to an election timeout.
const HAND_OVER_AGAIN: Duration = Duration::from_secs(10);

/// Progress of one member at the moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach {
    /// The last index that it is known to hold.
    pub(crate) matched: u64,
    /// Its log is as good as the leader's.
    pub(crate) is_close: bool,
}

/// Memory and alarm clock of the planner.
#[derive(Debug)]
pub(crate) struct Watch {
    /// `None` until the first one came: then nothing is planned.
    pub(crate) roster: Option<Roster>,
    heard_for: Duration,
    heard: BTreeMap<u64, Mono>,
    good_since: BTreeMap<u64, Mono>,
    down_since: BTreeMap<u64, Mono>,
    even_since: Option<Mono>,
    handed_over: Option<Mono>,
    not_before: Option<Mono>,
    next: Option<Mono>,
    is_due: bool,
    is_settled: bool,
}

impl Watch {
    /// `heard_for`: how long one message proves that its sender is alive.
    pub(crate) fn new(heard_for: Duration) -> Watch {
        Watch {
            roster: None,
            heard_for,
            heard: BTreeMap::new(),
            good_since: BTreeMap::new(),
            down_since: BTreeMap::new(),
            even_since: None,
            handed_over: None,
            not_before: None,
            next: None,
            is_due: false,
            is_settled: true,
        }
    }

    /// Leadership begins or ends.
    pub(crate) fn restart(&mut self, now: Mono, leads: bool) {
        let roster = self.roster.take();
        *self = Watch::new(self.heard_for);
        self.roster = roster;
        if leads {
            self.note_down(now);
            self.call();
        }
    }

    /// The roster changed.
    pub(crate) fn set_roster(&mut self, now: Mono, mut roster: Roster) {
        // Nobody can be a member twice, or without an id.
        roster.members.sort_by_key(|member| member.raft_id);
        roster.members.dedup_by_key(|member| member.raft_id);
        roster.members.retain(|member| member.raft_id != raft::INVALID_ID);
        self.roster = Some(roster);
        self.note_down(now);
        self.call();
    }

    /// Asks for a look as soon as possible.
    pub(crate) fn call(&mut self) {
        self.is_due = self.roster.is_some();
        self.is_settled &= !self.is_due;
    }

    /// A member sent something.
    pub(crate) fn hear(&mut self, now: Mono, raft_id: u64) {
        self.heard.insert(raft_id, now);
    }

    /// Whether a member sent something lately.
    pub(crate) fn is_heard(&self, now: Mono, raft_id: u64) -> bool {
        self.heard.get(&raft_id).is_some_and(|at| now.since(*at) < self.heard_for)
    }

    /// When to look again.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.next
    }

    /// The time passes: after this the deadline lies ahead or is none.
    pub(crate) fn pass(&mut self, now: Mono) {
        if self.next.take_if(|at| *at <= now).is_some() {
            self.is_due = true;
        }
    }

    /// Whether a look is asked for.
    pub(crate) fn is_due(&self) -> bool {
        self.is_due
    }

    /// Whether list and roster differ, as far as is known.
    pub(crate) fn is_unsettled(&self) -> bool {
        !self.is_settled
    }

    /// Begins a look. `false`: this leadership is too young to act.
    pub(crate) fn begin_look(&mut self, now: Mono) -> bool {
        (self.is_due, self.next) = (false, None);
        now >= *self.not_before.get_or_insert(now.plus(STEADY))
    }

    /// List and roster agree: nothing more to watch.
    pub(crate) fn settle(&mut self) {
        self.is_settled = true;
        self.good_since.clear();
        self.even_since = None;
    }

    /// Looks again after a while.
    pub(crate) fn wait(&mut self, now: Mono) {
        self.next = Some(now.plus(LOOK_AGAIN));
    }

    /// An attempt to hand over began.
    pub(crate) fn note_hand_over(&mut self, now: Mono) {
        self.handed_over = Some(now);
        self.wait(now);
    }

    /// Notes who is caught up; `reach` knows everybody in the list but this leader.
    pub(crate) fn sample(&mut self, now: Mono, reach: &BTreeMap<u64, Reach>) {
        let standing = self.standings();
        let is_good = |id: &u64| {
            standing.get(id) == Some(&Standing::Ready)
                && reach.get(id).is_some_and(|reach| reach.is_close)
                && self.is_heard(now, *id)
        };
        let good: Vec<u64> = reach.keys().copied().filter(|id| is_good(id)).collect();
        self.good_since.retain(|id, _| good.contains(id));
        for id in good {
            self.good_since.entry(id).or_insert(now);
        }
        self.heard.retain(|id, _| reach.contains_key(id));
    }

    /// The picture for the planner. Without a roster everybody in the list counts as ready.
    pub(crate) fn view(
        &mut self,
        now: Mono,
        leader: u64,
        members: &Members,
        reach: &BTreeMap<u64, Reach>,
    ) -> View {
        let is_even = members.voters.len().is_multiple_of(2);
        self.even_since = is_even.then(|| self.even_since.unwrap_or(now));
        let entries = self.roster.iter().flat_map(|roster| &roster.members);
        let mut seats: Vec<Seat> = entries
            .map(|entry| self.seat(now, entry.raft_id, Some(entry), members, reach))
            .collect();
        for id in members.voters.iter().chain(&members.learners) {
            if seats.iter().all(|seat| seat.raft_id != *id) {
                seats.push(self.seat(now, *id, None, members, reach));
            }
        }
        let is_old = |since: Option<Mono>, age| since.is_none_or(|at| now.since(at) >= age);
        View {
            leader,
            seats,
            is_even_for_long: is_even && is_old(self.even_since, EVEN_MAX),
            may_hand_over: is_old(self.handed_over, HAND_OVER_AGAIN),
        }
    }

    fn seat(
        &self,
        now: Mono,
        raft_id: u64,
        entry: Option<&RosterMember>,
        members: &Members,
        reach: &BTreeMap<u64, Reach>,
    ) -> Seat {
        let lasts = |since: &BTreeMap<u64, Mono>, age| {
            since.get(&raft_id).is_some_and(|at| now.since(*at) >= age)
        };
        let replace_after = self.roster.as_ref().map(|roster| roster.voter_replace_after);
        let reach = reach.get(&raft_id);
        let is_heard = self.is_heard(now, raft_id);
        let part = if members.voters.contains(&raft_id) {
            Part::Voter
        } else if members.learners.contains(&raft_id) {
            Part::Learner
        } else {
            Part::Outside
        };
        Seat {
            raft_id,
            name: entry.map(|entry| entry.name.clone()).unwrap_or_default(),
            zone: entry.map(|entry| entry.zone.clone()).unwrap_or_default(),
            standing: match self.roster {
                Some(_) => entry.map(|entry| entry.standing),
                None => Some(Standing::Ready),
            },
            part,
            is_heard,
            is_close: is_heard && reach.is_some_and(|reach| reach.is_close),
            is_fit: lasts(&self.good_since, STEADY),
            is_lost: replace_after.is_some_and(|age| lasts(&self.down_since, age)),
            matched: reach.map_or(0, |reach| reach.matched),
        }
    }

    fn note_down(&mut self, now: Mono) {
        let standing = self.standings();
        let is_down = |id: &u64| standing.get(id) == Some(&Standing::Down);
        self.down_since.retain(|id, _| is_down(id));
        for id in standing.keys().filter(|id| is_down(id)) {
            self.down_since.entry(*id).or_insert(now);
        }
    }

    fn standings(&self) -> BTreeMap<u64, Standing> {
        let entries = self.roster.iter().flat_map(|roster| &roster.members);
        entries.map(|entry| (entry.raft_id, entry.standing)).collect()
    }
}
