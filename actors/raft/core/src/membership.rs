//! Who should vote: one step from the member list as it is towards the roster.
//!
//! A pure function over a small picture of the cluster. What it needs to know of the past (who is
//! caught up for long, who is down for long) is gathered elsewhere ([`watch`]). Only single-step
//! changes come out, so that old and new majority always overlap.
//!
//! Steps in order; the first possible one is taken:
//!
//! | step | condition |
//! |---|---|
//! | hand over | this leader is to leave, and a voter that stays can take over |
//! | add a learner | a member of the roster is not in the list |
//! | drop a voter that is to leave and not heard | the rest has a live majority |
//! | demote a voter that is down for long | a fit learner exists |
//! | promote a fit learner | voters are missing, and the number of voters ends odd |
//! | drop a voter that is to leave | the rest has a live majority |
//! | demote a surplus voter | there are more than the target |
//! | demote a voter | the number is even for long and no fit learner exists |
//! | remove a learner | it is not in the roster; or is to leave, and no voter above is left to drop |

mod council;
pub(crate) mod watch;

#[cfg(test)]
mod tests;

use council::Council;

use crate::input::{MemberChange, Standing};

/// The cluster as the leader sees it.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// Raft id of the leader, which is a voter.
    pub(crate) leader: u64,
    /// Everybody in the roster or in the member list, each once.
    pub(crate) seats: Vec<Seat>,
    /// The number of voters has been even for longer than a change takes.
    pub(crate) is_even_for_long: bool,
    /// No attempt to hand over was made lately.
    pub(crate) may_hand_over: bool,
}

/// One member, real or wanted.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    pub(crate) raft_id: u64,
    pub(crate) name: String,
    pub(crate) zone: String,
    /// `None`: not in the roster.
    pub(crate) standing: Option<Standing>,
    pub(crate) part: Part,
    /// The leader has heard it within an election timeout.
    pub(crate) is_heard: bool,
    /// Heard, and its log is as good as the leader's.
    pub(crate) is_close: bool,
    /// Close and ready for long: it may vote.
    pub(crate) is_fit: bool,
    /// Down for so long that another shall vote.
    pub(crate) is_lost: bool,
    /// The last index that it is known to hold.
    pub(crate) matched: u64,
}

/// The part of a member in the list in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Not in the list.
    Outside,
    /// Receives without a vote.
    Learner,
    /// Votes.
    Voter,
}

/// What the leader does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// List and roster agree.
    Settled,
    /// They differ, and nothing can be done yet.
    Wait,
    /// Propose this.
    Change(MemberChange),
    /// Hand leadership to this voter.
    HandOver(u64),
}

/// The next step.
pub(crate) fn plan(view: &View) -> Plan {
    let council = Council::new(view);
    // A roster that keeps nobody is no order to dissolve the cluster.
    if council.target == 0 {
        return Plan::Settled;
    }
    let step = (council.hand_over())
        .or_else(|| council.add_learner())
        .or_else(|| council.drop_silent_leaver())
        .or_else(|| council.demote_lost())
        .or_else(|| council.promote())
        .or_else(|| council.drop_leaver())
        .or_else(|| council.demote_surplus())
        .or_else(|| council.demote_to_odd())
        .or_else(|| council.remove_learner());
    match step {
        Some(step) => step,
        None if council.is_settled() => Plan::Settled,
        None => Plan::Wait,
    }
}

/// The voter that can take over from the leader with the least delay.
pub(crate) fn successor(view: &View) -> Option<u64> {
    let can = |seat: &&Seat| {
        seat.part == Part::Voter
            && seat.raft_id != view.leader
            && seat.standing == Some(Standing::Ready)
            && seat.is_close
    };
    let fitness = |seat: &&Seat| (seat.matched, std::cmp::Reverse(seat.name.clone()));
    view.seats.iter().filter(can).max_by_key(fitness).map(|seat| seat.raft_id)
}

/// How many of so many members vote: odd, so that no vote is in vain, and at most seven.
pub(crate) fn voters_for(members: usize) -> usize {
    match members {
        0 => 0,
        1 | 2 => 1,
        3 | 4 => 3,
        5 | 6 => 5,
        _ => 7,
    }
}
