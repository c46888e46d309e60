//! Clusters that grow, shrink and replace members by their roster.

use std::time::Duration;

use jaco_kit_core::{Core, OpId};
use jaco_raft_core::{Input, MemberChange, Role, Standing};
use proptest::prelude::*;

use crate::support::{Cluster, many_snapshots};

fn grown(ids: &[u64]) -> Cluster {
    let mut cluster = Cluster::new(&[1], 3, |_| {});
    cluster.stand(1, Standing::Ready);
    ids.iter().for_each(|id| cluster.join(*id));
    cluster.pass(Duration::from_secs(15));
    cluster
}

/// The member list on which everybody agrees.
fn list(cluster: &Cluster) -> (Vec<u64>, Vec<u64>) {
    let mut lists = cluster.nodes.values().map(|node| node.core.members().clone());
    let first = lists.next().expect("a member");
    assert!(lists.all(|other| other == first), "lists differ");
    (first.voters, first.learners)
}

#[test]
fn a_roster_of_one_costs_nothing() {
    let mut cluster = grown(&[]);
    assert_eq!(cluster.node(1).core.deadline(), None);
    let before = cluster.node(1).persists;
    cluster.pass(Duration::from_secs(60));
    assert_eq!(cluster.node(1).persists, before);
}

#[test]
fn joiners_get_in_and_vote_without_any_write_to_wait_for() {
    let mut cluster = grown(&[2]);
    assert_eq!(list(&cluster), (vec![1], vec![2]), "two members, one voter");
    cluster.join(3);
    // A broken connection puts the library in the probing state, and nothing brings it out again.
    cluster.pass(Duration::from_secs(1));
    cluster.step(1, Input::PeerUnreachable { peer: 2 });
    cluster.step(1, Input::PeerUnreachable { peer: 3 });
    cluster.pass(Duration::from_secs(10));
    assert_eq!(list(&cluster), (vec![1, 2, 3], vec![]));
    let progress = cluster.node(1).core.progress();
    let commit = cluster.node(1).core.commit_index();
    assert!(progress.iter().all(|it| it.is_active && it.is_voter && it.matched == commit));
    assert_eq!(cluster.node(2).core.progress(), []);
    let before: usize = cluster.nodes.values().map(|node| node.persists).sum();
    cluster.pass(Duration::from_secs(60));
    let after: usize = cluster.nodes.values().map(|node| node.persists).sum();
    assert_eq!(before, after, "at rest nothing is written");
}

#[test]
fn a_member_that_may_not_vote_yet_does_not() {
    let mut cluster = grown(&[2, 3]);
    cluster.join(4);
    cluster.join(5);
    cluster.stand(5, Standing::Joining);
    cluster.pass(Duration::from_secs(30));
    assert_eq!(list(&cluster), (vec![1, 2, 3], vec![4, 5]), "never an even number");
    cluster.stand(5, Standing::Ready);
    cluster.pass(Duration::from_secs(10));
    assert_eq!(list(&cluster), (vec![1, 2, 3, 4, 5], vec![]));
}

#[test]
fn a_joiner_with_an_empty_log_waits_and_remembers_its_term() {
    let mut cluster = grown(&[2, 3]);
    cluster.cut.insert(4);
    cluster.join(4);
    cluster.pass(Duration::from_secs(20));
    let node = cluster.node(4);
    assert_eq!((node.core.status().role, node.core.deadline()), (Role::Follower, None));
    cluster.cut.clear();
    // Only so far that it has heard of the leader.
    while cluster.node(4).writing.is_none() {
        cluster.now = cluster.now.plus(Duration::from_millis(100));
        cluster.wake(1);
        while let Some(message) = cluster.network.pop_front() {
            cluster.deliver(message);
        }
    }
    cluster.restart(4, true);
    assert_eq!(cluster.node(4).core.status().term, cluster.node(1).core.status().term);
    assert_eq!(cluster.node(4).disk.last_index(), 0);
    cluster.pass(Duration::from_secs(10));
    assert_eq!(list(&cluster), (vec![1, 2, 3], vec![4]));
    assert_eq!(cluster.node(4).violations, Vec::<&str>::new());
}

#[test]
fn a_leader_that_is_to_leave_hands_over_first() {
    let mut cluster = grown(&[2, 3]);
    let leader = cluster.leader().unwrap();
    cluster.stand(leader, Standing::Leaving);
    cluster.pass(Duration::from_secs(15));
    let next = cluster.leader().expect("a leader");
    assert_ne!(next, leader);
    let rest: Vec<u64> = [1, 2, 3].into_iter().filter(|id| *id != leader).collect();
    let members = cluster.node(next).core.members().clone();
    let (voters, learners): (Vec<u64>, Vec<u64>) = rest.into_iter().partition(|id| *id == next);
    assert_eq!((members.voters, members.learners), (voters, learners));
}

#[test]
fn a_sole_voter_that_is_to_leave_makes_another_one_first() {
    let mut cluster = grown(&[2]);
    cluster.stand(1, Standing::Leaving);
    cluster.pass(Duration::from_secs(15));
    assert_eq!(cluster.leader(), Some(2));
    assert_eq!(cluster.node(2).core.members().voters, [2]);
    assert!(!cluster.node(2).core.members().contains(1));
    cluster.destroy(1);
    cluster.pass(Duration::from_secs(5));
    let op = cluster.propose(2, "alone");
    cluster.settle();
    assert_eq!(cluster.node(2).done, [op]);
}

#[test]
fn a_planned_stop_hands_over_within_a_moment() {
    let mut cluster = grown(&[2, 3]);
    let leader = cluster.leader().unwrap();
    cluster.step(leader, Input::TransferLeadership);
    let refused = cluster.propose(leader, "late");
    cluster.settle();
    let next = cluster.leader().expect("a new leader without any time passing");
    assert_ne!(next, leader);
    assert!(cluster.node(leader).failed.iter().any(|(op, _)| *op == refused));
    // Nobody to hand over to: nothing happens.
    let mut alone = grown(&[]);
    alone.step(1, Input::TransferLeadership);
    alone.settle();
    assert_eq!(alone.leader(), Some(1));
}

#[test]
fn a_dead_voter_is_replaced_after_its_time_only() {
    let mut cluster = grown(&[2, 3, 4]);
    assert_eq!(list(&cluster), (vec![1, 2, 3], vec![4]));
    let dead = if cluster.leader() == Some(2) { 3 } else { 2 };
    cluster.roster.voter_replace_after = Duration::from_secs(60);
    cluster.cut.insert(dead);
    cluster.stand(dead, Standing::Down);
    cluster.pass(Duration::from_secs(55));
    let leader = cluster.leader().unwrap();
    assert!(cluster.node(leader).core.members().voters.contains(&dead));
    cluster.pass(Duration::from_secs(10));
    let members = cluster.node(leader).core.members().clone();
    assert_eq!(members.learners, [dead]);
    assert!(members.voters.contains(&4) && members.voters.len() == 3);
}

/// The entry that takes the vote from a member may be committed by that member itself. The library
/// then panics at the next commit.
#[test]
fn a_leader_that_commits_its_own_removal_steps_down() {
    for change in [MemberChange::Remove as fn(u64) -> MemberChange, MemberChange::AddLearner] {
        let mut cluster = Cluster::new(&[1, 2, 3], 7, |_| {});
        cluster.pass(Duration::from_secs(4));
        let old = cluster.leader().unwrap();
        let next = if old == 1 { 2 } else { 1 };
        let third = 6 - old - next;
        cluster.cut.insert(third);
        cluster.step(old, Input::ChangeMembers { op: OpId(900), change: change(next) });
        // The entry gets to the disk of the next leader; the answer is lost with the old one.
        while let Some(message) = cluster.network.pop_front() {
            cluster.deliver(message);
        }
        cluster.cut.insert(old);
        cluster.cut.remove(&third);
        let mut has_led = false;
        for _ in 0..200 {
            cluster.pass(Duration::from_millis(50));
            let node = cluster.node(next);
            let leads = node.core.status().role == Role::Leader;
            assert!(!leads || node.core.members().voters.contains(&next), "leads without a vote");
            has_led |= cluster.leaders.values().any(|id| *id == next);
            // Always something that is not yet durable.
            for _ in 0..3 {
                cluster.propose(next, "x");
            }
        }
        assert!(has_led, "the one with the longer log wins");
        assert!(!cluster.node(next).core.members().voters.contains(&next));
        cluster.cut.clear();
        cluster.pass(Duration::from_secs(10));
        let leader = cluster.leader().expect("a leader among the rest");
        assert_ne!(leader, next);
        let op = cluster.propose(leader, "after");
        cluster.pass(Duration::from_secs(1));
        assert!(cluster.node(leader).done.contains(&op));
    }
}

/// Stirs for a while, heals, and waits until the voters are right.
fn phase(cluster: &mut Cluster, calm: usize, voters: usize) {
    for _ in 0..1_200 {
        cluster.stir(calm);
        cluster.check_agreement();
    }
    cluster.cut.clear();
    for _ in 0..60 {
        cluster.pass(Duration::from_secs(1));
        let leader = cluster.leader();
        let members = leader.map(|id| cluster.node(id).core.members().clone());
        let roster = cluster.roster.members.iter();
        let mut staying = roster.filter(|it| it.standing != Standing::Leaving);
        let is_right = members.is_some_and(|members| {
            members.voters.len() == voters && staying.all(|it| members.contains(it.raft_id))
        });
        if is_right {
            return cluster.check_agreement();
        }
    }
    let cores: Vec<_> = cluster.nodes.values().map(|node| &node.core).collect();
    panic!("not {voters} voters after a minute: {cores:?}");
}

/// Takes members out in good order.
fn retire(cluster: &mut Cluster, ids: &[u64], calm: usize, voters: usize) {
    ids.iter().for_each(|id| cluster.stand(*id, Standing::Leaving));
    phase(cluster, calm, voters);
    for _ in 0..30 {
        let leader = cluster.leader().expect("a healed cluster has a leader");
        let members = cluster.node(leader).core.members();
        if ids.iter().all(|id| !members.contains(*id)) {
            return ids.iter().for_each(|id| cluster.destroy(*id));
        }
        cluster.pass(Duration::from_secs(1));
    }
    panic!("{ids:?} are still members");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// One, three, five, three members; one of them loses its disk and comes back under a new id.
    /// All of it with loss, reordering, cuts and crashes.
    #[test]
    fn members_come_and_go_through_chaos(seed: u64, calm in prop::sample::select(vec![2, 10, 40])) {
        let mut cluster = Cluster::new(&[1], seed, many_snapshots);
        cluster.stand(1, Standing::Ready);
        phase(&mut cluster, calm, 1);
        [2, 3].into_iter().for_each(|id| cluster.join(id));
        phase(&mut cluster, calm, 3);
        [4, 5].into_iter().for_each(|id| cluster.join(id));
        phase(&mut cluster, calm, 5);
        // Its disk is gone: a new id, never the old one again.
        let wiped = 1 + seed % 5;
        cluster.destroy(wiped);
        cluster.join(6);
        phase(&mut cluster, calm, 5);
        let leave: Vec<u64> = cluster.nodes.keys().copied().filter(|id| *id % 2 == 0).take(2).collect();
        retire(&mut cluster, &leave, calm, 3);
        phase(&mut cluster, calm, 3);

        let leader = cluster.leader().expect("a healed cluster has a leader");
        cluster.propose(leader, "last");
        cluster.pass(Duration::from_secs(2));
        let (voters, learners) = list(&cluster);
        prop_assert_eq!((voters.len(), learners.len()), (3, 0));
        for node in cluster.nodes.values() {
            prop_assert_eq!(node.applied.last().map(String::as_str), Some("last"));
            prop_assert_eq!(&node.violations, &Vec::<&str>::new());
            for text in &cluster.acknowledged {
                prop_assert_eq!(node.applied.iter().filter(|it| *it == text).count(), 1, "{}", text);
            }
        }
    }
}

/// The last entry of a quiet cluster gave a vote. Whoever is restarted must know of it without the
/// member that led then, or three voters would not survive the loss of one.
#[test]
fn a_vote_given_last_counts_after_everybody_was_restarted_and_one_disk_was_lost() {
    for lost in [1, 2, 3] {
        let mut cluster = grown(&[2, 3]);
        assert_eq!(list(&cluster), (vec![1, 2, 3], vec![]));
        cluster.pass(Duration::from_secs(60));
        cluster.destroy(lost);
        let left: Vec<u64> = cluster.nodes.keys().copied().collect();
        left.iter().for_each(|id| cluster.restart(*id, true));
        cluster.pass(Duration::from_secs(20));
        assert!(cluster.leader().is_some(), "nobody leads without {lost}");
    }
}
