//! The single steps of the planner, each with its condition.

use std::cmp::Reverse;

use super::{Part, Plan, Seat, View, successor, voters_for};
use crate::input::{MemberChange, Standing};

/// The voters of a [`View`], sorted by what is to become of them.
#[derive(Debug)]
pub(super) struct Council<'a> {
    view: &'a View,
    /// They vote and go on voting unless there are too many.
    keepers: Vec<&'a Seat>,
    /// They vote and shall not: not in the roster, or to leave.
    leavers: Vec<&'a Seat>,
    /// Learners that may vote.
    fit: Vec<&'a Seat>,
    /// How many should vote.
    pub(super) target: usize,
}

impl<'a> Council<'a> {
    pub(super) fn new(view: &'a View) -> Council<'a> {
        let voters = view.seats.iter().filter(|seat| seat.part == Part::Voter);
        let (leavers, keepers) = voters.partition(|seat| seat.must_go());
        let may_vote = |seat: &&Seat| {
            seat.part == Part::Learner && seat.standing == Some(Standing::Ready) && seat.is_fit
        };
        let fit = view.seats.iter().filter(may_vote).collect();
        let members = view.seats.iter().filter(|seat| !seat.must_go()).count();
        Council { view, keepers, leavers, fit, target: voters_for(members) }
    }

    pub(super) fn hand_over(&self) -> Option<Plan> {
        let must_go = self.leavers.iter().any(|seat| self.leads(seat));
        let may = must_go && self.view.may_hand_over;
        may.then(|| successor(self.view)).flatten().map(Plan::HandOver)
    }

    pub(super) fn add_learner(&self) -> Option<Plan> {
        let is_missing = |seat: &&Seat| seat.part == Part::Outside && !seat.must_go();
        let first = self.view.seats.iter().filter(is_missing).min_by_key(|seat| seat.key())?;
        Some(Plan::Change(MemberChange::AddLearner(first.raft_id)))
    }

    /// They weigh on every majority; without them a broken newcomer does no harm.
    pub(super) fn drop_silent_leaver(&self) -> Option<Plan> {
        self.drop_first_leaver(|seat| !seat.is_heard)
    }

    pub(super) fn drop_leaver(&self) -> Option<Plan> {
        self.drop_first_leaver(|_| true)
    }

    /// First the demotion, then the promotion: a broken newcomer must not cost the majority.
    pub(super) fn demote_lost(&self) -> Option<Plan> {
        if self.fit.is_empty() {
            return None;
        }
        self.demote_one(|seat| seat.is_lost)
    }

    pub(super) fn promote(&self) -> Option<Plan> {
        if self.promotions() == 0 || !self.can_bear_newcomer() {
            return None;
        }
        let in_zone = |zone: &str| self.keepers.iter().filter(|seat| seat.zone == zone).count();
        let best = self.fit.iter().min_by_key(|seat| (in_zone(&seat.zone), seat.key()))?;
        Some(Plan::Change(MemberChange::AddVoter(best.raft_id)))
    }

    pub(super) fn demote_surplus(&self) -> Option<Plan> {
        if self.keepers.len() <= self.target {
            return None;
        }
        self.demote_one(|_| true)
    }

    /// One voter less fails no sooner than an even number.
    pub(super) fn demote_to_odd(&self) -> Option<Plan> {
        let is_stuck = self.leavers.is_empty() && self.promotions() == 0;
        if self.voters() % 2 == 1 || !is_stuck || !self.view.is_even_for_long {
            return None;
        }
        self.demote_one(|_| true)
    }

    pub(super) fn remove_learner(&self) -> Option<Plan> {
        let voters_done = self.leavers.is_empty() && self.keepers.len() <= self.target;
        let may_go = |seat: &&Seat| match seat.standing {
            _ if seat.part != Part::Learner => false,
            None => true,
            Some(standing) => standing == Standing::Leaving && voters_done,
        };
        let first = self.view.seats.iter().filter(may_go).min_by_key(|seat| seat.key())?;
        Some(Plan::Change(MemberChange::Remove(first.raft_id)))
    }

    /// Nothing to do, and nothing that only time can change.
    pub(super) fn is_settled(&self) -> bool {
        let in_place = |seat: &Seat| match seat.part {
            Part::Outside => seat.must_go(),
            Part::Learner => !seat.must_go(),
            Part::Voter => !seat.must_go() && seat.standing != Some(Standing::Down),
        };
        self.voters() == self.target && self.view.seats.iter().all(in_place)
    }

    fn leads(&self, seat: &Seat) -> bool {
        seat.raft_id == self.view.leader
    }

    fn voters(&self) -> usize {
        self.keepers.len() + self.leavers.len()
    }

    fn live(&self) -> impl Iterator<Item = &Seat> {
        let all = self.keepers.iter().chain(&self.leavers).copied();
        all.filter(|seat| {
            self.leads(seat) || (seat.is_heard && seat.standing != Some(Standing::Down))
        })
    }

    /// Whether the voters without this one can still commit.
    fn can_spare(&self, seat: &Seat) -> bool {
        let live = self.live().filter(|other| other.raft_id != seat.raft_id).count();
        !self.leads(seat) && live >= majority(self.voters() - 1)
    }

    /// Whether they can commit if one more voter never answers. One voter alone never can.
    fn can_bear_newcomer(&self) -> bool {
        self.voters() == 1 || self.live().count() >= majority(self.voters() + 1)
    }

    /// How many learners to promote so that the voters that stay end up odd in number.
    fn promotions(&self) -> usize {
        let missing = self.target.saturating_sub(self.keepers.len());
        let possible = missing.min(self.fit.len());
        let is_odd = (self.keepers.len() + possible) % 2 == 1;
        if is_odd { possible } else { possible.saturating_sub(1) }
    }

    fn drop_first_leaver(&self, which: impl Fn(&Seat) -> bool) -> Option<Plan> {
        let can_go = |seat: &&&Seat| which(seat) && self.can_spare(seat);
        let order = |seat: &&&Seat| (seat.standing.is_some(), Reverse(seat.key()));
        let first = self.leavers.iter().filter(can_go).min_by_key(order)?;
        let id = first.raft_id;
        Some(Plan::Change(match first.standing {
            None => MemberChange::Remove(id),
            Some(_) => MemberChange::AddLearner(id),
        }))
    }

    /// The dead first, then from the zone with the most voters, then the last by name.
    fn demote_one(&self, which: impl Fn(&Seat) -> bool) -> Option<Plan> {
        let can_go = |seat: &&&Seat| which(seat) && self.can_spare(seat);
        let in_zone = |zone: &str| self.keepers.iter().filter(|seat| seat.zone == zone).count();
        let order = |seat: &&&Seat| {
            let is_alive = seat.is_heard && seat.standing != Some(Standing::Down);
            (is_alive, Reverse(in_zone(&seat.zone)), Reverse(seat.key()))
        };
        let first = self.keepers.iter().filter(can_go).min_by_key(order)?;
        Some(Plan::Change(MemberChange::AddLearner(first.raft_id)))
    }
}

impl Seat {
    fn must_go(&self) -> bool {
        matches!(self.standing, None | Some(Standing::Leaving))
    }

    fn key(&self) -> (String, u64) {
        (self.name.clone(), self.raft_id)
    }
}

fn majority(voters: usize) -> usize {
    voters / 2 + 1
}
