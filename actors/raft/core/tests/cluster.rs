//! What clusters of cores promise: order, durability, agreement, one leader, no panic.

#[path = "cluster/hostile.rs"]
mod hostile;
#[path = "cluster/membership.rs"]
mod membership;
#[path = "cluster/reads.rs"]
mod reads;
#[cfg(feature = "seeded-bugs")]
#[path = "cluster/seeded.rs"]
mod seeded;
mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jaco_kit_core::{Core, OpId};
use jaco_raft_core::eraftpb::{Entry, Message};
use jaco_raft_core::{Config, DurableLog, Effect, Input, MemberChange, Members, RaftCore, Refusal};
use proptest::prelude::*;
use support::{Cluster, Node, first_disk, many_snapshots};

#[test]
fn a_sole_voter_leads_at_once_and_then_sleeps() {
    let mut cluster = Cluster::new(&[1], 1, |_| {});
    cluster.settle();
    assert_eq!(cluster.leader(), Some(1), "without any time passing");
    assert_eq!(cluster.node(1).core.deadline(), None);
    let op = cluster.propose(1, "a");
    assert!(cluster.node(1).done.is_empty(), "nothing is done before the disk");
    cluster.settle();
    assert_eq!(cluster.node(1).done, [op]);
    assert_eq!(cluster.node(1).core.deadline(), None);
}

#[test]
fn proposals_that_meet_a_busy_disk_share_the_next_batch() {
    let mut cluster = Cluster::new(&[1], 1, |_| {});
    cluster.settle();
    let before = cluster.node(1).persists;
    for n in 0..101 {
        cluster.propose(1, &format!("{n}"));
    }
    cluster.settle();
    let node = cluster.node(1);
    assert_eq!((node.persists - before, node.done.len()), (2, 101));
    let expected: Vec<String> = (0..101).map(|n| n.to_string()).collect();
    assert_eq!(node.applied, expected, "in order");
}

#[test]
fn a_full_queue_refuses_and_keeps_its_promises() {
    let mut cluster = Cluster::new(&[1], 1, |config| config.limits.queue_len_max = 3);
    cluster.settle();
    for n in 0..6 {
        cluster.propose(1, &format!("{n}"));
    }
    let node = cluster.node(1);
    assert_eq!(node.failed, [(OpId(5), Refusal::Overloaded), (OpId(6), Refusal::Overloaded)]);
    cluster.settle();
    assert_eq!(cluster.node(1).done.len(), 4);
}

#[test]
fn unfit_proposals_are_refused_by_reason() {
    let mut cluster = Cluster::new(&[1, 2, 3], 1, |config| config.limits.command_max = 4);
    cluster.settle();
    cluster.propose(1, "a");
    cluster.pass(Duration::from_secs(5));
    let leader = cluster.leader().unwrap();
    cluster.propose(leader, "");
    cluster.propose(leader, "12345");
    assert_eq!(cluster.node(1).failed[0], (OpId(1), Refusal::NotLeader { leader: None }));
    let failed = cluster.node(leader).failed.clone();
    assert!(failed.ends_with(&[(OpId(2), Refusal::Size), (OpId(3), Refusal::Size)]));
    let follower = if leader == 1 { 2 } else { 1 };
    let op = cluster.propose(follower, "b");
    let expected = (op, Refusal::NotLeader { leader: Some(leader) });
    assert_eq!(cluster.node(follower).failed.last(), Some(&expected));
}

#[test]
fn proposals_that_come_together_share_a_batch_and_a_message() {
    let mut cluster = Cluster::new(&[1, 2, 3], 7, |_| {});
    cluster.pass(Duration::from_secs(4));
    let leader = cluster.leader().unwrap();
    let (now, node) = (cluster.now(), cluster.node(leader));
    let proposal = |op| Input::Propose { op: OpId(op), data: vec![b'a'] };
    let effects = node.core.step_all(now, (100..105).map(proposal).collect());
    let [Effect::Send(messages), Effect::Persist(batch)] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(batch.entries.len(), 5);
    assert_eq!(messages.len(), 2, "one for each peer");
    assert!(messages.iter().all(|message| message.entries.len() == 5));
}

#[test]
fn a_failed_write_ends_participation() {
    let mut cluster = Cluster::new(&[1], 1, |_| {});
    cluster.settle();
    let op = cluster.propose(1, "a");
    let now = cluster.now();
    let node = cluster.node(1);
    let seq = node.writing.take().unwrap().seq;
    let effects = node.core.step(now, Input::Persisted { seq, result: Err("no space".into()) });
    assert!(matches!(effects[0], Effect::Failed { op: it, why: Refusal::Unknown } if it == op));
    assert!(matches!(effects[1], Effect::Fatal(_)));
    assert_eq!(node.core.deadline(), None);
    let refused = node.core.step(now, Input::Propose { op: OpId(9), data: vec![1] });
    assert!(matches!(refused[..], [Effect::Failed { why: Refusal::NotLeader { .. }, .. }]));
}

#[test]
fn three_members_elect_replicate_and_survive_the_leader() {
    let mut cluster = Cluster::new(&[1, 2, 3], 7, |_| {});
    cluster.pass(Duration::from_secs(4));
    let first = cluster.leader().expect("a leader within four seconds");
    cluster.propose(first, "a");
    cluster.pass(Duration::from_secs(1));
    assert!(cluster.nodes.values().all(|node| node.applied == ["a"]));

    // The last command never leaves the old leader: its fate is unknown to the client.
    cluster.cut.insert(first);
    let lost = cluster.propose(first, "lost");
    cluster.pass(Duration::from_secs(5));
    let second = cluster.leader().expect("a new leader");
    assert_ne!(first, second);
    assert!(cluster.node(first).failed.contains(&(lost, Refusal::Unknown)), "check quorum");
    cluster.propose(second, "b");
    cluster.pass(Duration::from_secs(1));
    cluster.cut.clear();
    cluster.pass(Duration::from_secs(3));
    assert!(cluster.nodes.values().all(|node| node.applied == ["a", "b"]));
}

#[test]
fn a_learner_far_behind_is_caught_up_by_a_snapshot() {
    let mut cluster = Cluster::new(&[1], 3, many_snapshots);
    cluster.settle();
    for n in 0..50 {
        cluster.propose(1, &format!("{n}"));
        cluster.pass(Duration::from_millis(50));
    }
    assert!(cluster.node(1).disk.truncated.index > 20, "the log was compacted");
    let joiner = Node::new(Config::new(2, 99), DurableLog::default(), Arc::default());
    cluster.nodes.insert(2, joiner);
    let change = MemberChange::AddLearner(2);
    cluster.step(1, Input::ChangeMembers { op: OpId(1_000), change });
    cluster.pass(Duration::from_secs(3));
    assert_eq!(cluster.node(1).failed, []);
    let applied = cluster.node(1).applied.clone();
    assert_eq!(cluster.node(2).applied, applied);
    assert_eq!(cluster.node(2).core.members().learners, [2]);
    assert!(cluster.node(1).core.deadline().is_some(), "a leader with peers sends heartbeats");

    let promote = MemberChange::AddVoter(2);
    cluster.step(1, Input::ChangeMembers { op: OpId(1_002), change: promote });
    cluster.pass(Duration::from_secs(1));
    assert_eq!(cluster.node(2).core.members().voters, [1, 2]);
    // Replaying the changes after a restart leads to the same members.
    cluster.node(1).restart(true);
    cluster.pass(Duration::from_secs(4));
    assert_eq!(cluster.node(1).core.members().voters, [1, 2]);
}

#[test]
fn members_change_one_at_a_time_and_never_to_nobody() {
    let mut cluster = Cluster::new(&[1, 2, 3], 7, |_| {});
    cluster.pass(Duration::from_secs(4));
    let leader = cluster.leader().unwrap();
    let other = if leader == 1 { 2 } else { 1 };
    for (op, change) in [
        (OpId(1), MemberChange::AddLearner(4)),
        (OpId(2), MemberChange::AddLearner(5)),
        (OpId(3), MemberChange::AddLearner(leader)),
        (OpId(4), MemberChange::AddVoter(0)),
    ] {
        cluster.step(leader, Input::ChangeMembers { op, change });
    }
    let op = OpId(5);
    cluster.step(other, Input::ChangeMembers { op, change: MemberChange::Remove(leader) });
    cluster.pass(Duration::from_secs(1));
    assert_eq!(cluster.node(leader).done, [OpId(1)]);
    let refused = [OpId(2), OpId(3), OpId(4)].map(|op| (op, Refusal::Membership));
    assert_eq!(cluster.node(leader).failed, refused);
    let not_leader = Refusal::NotLeader { leader: Some(leader) };
    assert_eq!(cluster.node(other).failed, [(op, not_leader)]);
}

#[test]
fn snapshots_compact_and_a_restart_goes_on_from_them() {
    let mut cluster = Cluster::new(&[1], 3, many_snapshots);
    cluster.settle();
    for n in 0..100 {
        cluster.propose(1, &format!("{n}"));
        cluster.pass(Duration::from_millis(50));
    }
    let before = cluster.node(1).applied.clone();
    let disk = &cluster.node(1).disk;
    assert!(disk.entries.len() < 20 && disk.snapshot.at.index > 80, "{}", disk.entries.len());
    assert!(disk.truncated.index + 3 <= disk.snapshot.at.index, "some entries trail");
    cluster.node(1).restart(false);
    cluster.settle();
    assert_eq!(cluster.node(1).applied, before);
}

#[test]
fn an_inconsistent_disk_is_named_before_the_library_panics() {
    let members = Members { voters: vec![1], learners: Vec::new() };
    let good = first_disk(&members);
    let check = |what: &str, change: &dyn Fn(&mut DurableLog)| {
        let mut disk = good.clone();
        change(&mut disk);
        let error = RaftCore::new(Config::new(1, 1), disk).err();
        assert!(error.is_some_and(|e| e.to_string().contains(what)), "{what}");
    };
    check("commit index is 0", &|disk| disk.hard_state.commit = 0);
    check("commit index is 9", &|disk| disk.hard_state.commit = 9);
    check("snapshot term", &|disk| disk.snapshot.at.term = 2);
    check("snapshot index is 9", &|disk| disk.snapshot.at.index = 9);
    check("truncated index", &|disk| disk.truncated.index = 4);
    check("term is 0", &|disk| disk.hard_state.term = 0);
    check("members", &|disk| disk.members.1.voters.clear());
    check("snapshot members", &|disk| disk.snapshot.members.voters = vec![2, 1]);
    check("members index", &|disk| disk.members.0 = 7);
    check("entry index", &|disk| disk.entries.push(Entry::default()));
}

#[test]
fn a_seed_replays_exactly() {
    let run = || {
        let mut cluster = Cluster::new(&[1, 2, 3], 11, many_snapshots);
        let mut trace = Vec::new();
        for _ in 0..3_000 {
            cluster.shake();
            let status = cluster.nodes.values().map(|n| (n.core.status(), n.applied.len()));
            trace.push(status.collect::<Vec<_>>());
        }
        trace
    };
    assert!(run() == run());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Crashes at any moment, lost and torn batches, a bad network: members agree, keep what was
    /// acknowledged, and after healing go on.
    #[test]
    fn members_agree_through_chaos_and_heal(seed: u64) {
        let mut cluster = Cluster::new(&[1, 2, 3], seed, many_snapshots);
        let mut acknowledged = BTreeSet::new();
        for _ in 0..2_000 {
            cluster.shake();
            cluster.check_agreement();
            for node in cluster.nodes.values() {
                acknowledged.extend(node.done.iter().copied());
            }
        }
        cluster.cut.clear();
        cluster.pass(Duration::from_secs(10));
        let leader = cluster.leader().expect("a healed cluster has a leader");
        cluster.propose(leader, "last");
        cluster.pass(Duration::from_secs(2));
        cluster.check_agreement();
        for node in cluster.nodes.values() {
            prop_assert_eq!(node.applied.last().map(String::as_str), Some("last"));
            prop_assert_eq!(&node.violations, &Vec::<&str>::new());
            for op in &acknowledged {
                let text = format!("command {}", op.0);
                prop_assert_eq!(node.applied.iter().filter(|a| **a == text).count(), 1);
            }
        }
    }

    /// No message, however odd, makes a member panic.
    #[test]
    fn odd_messages_never_panic(
        kind in 0..20_i32, from in 0..4_u64, term in prop::sample::select(vec![0, 1, 2, 3, 9, u64::MAX]),
        index in prop::sample::select(vec![0, 1, 2, 3, 4, 50, u64::MAX]),
        log_term in 0..4_u64, commit in prop::sample::select(vec![0, 1, 2, 3, 50, u64::MAX]),
        entries in prop::collection::vec((0..6_u64, 0..4_u64), 0..3),
        snapshot in prop::option::of((0..60_u64, 0..4_u64)), reject: bool,
    ) {
        for id in 1..=3 {
            let mut cluster = Cluster::new(&[1, 2, 3], 5, |_| {});
            cluster.pass(Duration::from_secs(4));
            let leader = cluster.leader().expect("a leader");
            cluster.propose(leader, "a");
            cluster.settle();
            let mut message = Message { msg_type: kind, to: id, from, term, index, log_term, commit, reject, ..Message::default() };
            message.entries = entries.iter().map(|(index, term)| Entry { index: *index, term: *term, ..Default::default() }).collect();
            if let Some((index, term)) = snapshot {
                let metadata = message.mut_snapshot().mut_metadata();
                (metadata.index, metadata.term) = (index, term);
                metadata.mut_conf_state().voters = vec![1, 2, 3];
            }
            cluster.step(id, Input::PeerMessage(Box::new(message)));
            let written = cluster.node(id).finish_write();
            written.into_iter().for_each(|input| cluster.step(id, input));
        }
    }
}
