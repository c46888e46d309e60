//! Linearizable reads. The support cluster compares every answer with the acknowledged writes.

use std::time::Duration;

use jaco_kit_core::{Core, OpId};
use jaco_raft_core::eraftpb::MessageType;
use jaco_raft_core::{Effect, Input, Refusal};

use crate::support::Cluster;

#[test]
fn a_sole_voter_answers_after_the_write_before_it() {
    let mut cluster = Cluster::new(&[1], 1, |_| {});
    cluster.settle();
    cluster.propose(1, "a");
    let read = cluster.read(1);
    assert!(cluster.node(1).reads.is_empty(), "the disk is busy");
    let now = cluster.now();
    let written = cluster.node(1).finish_write().unwrap();
    let effects = cluster.node(1).core.step(now, written);
    let at = |which: fn(&Effect) -> bool| effects.iter().position(which);
    let applied = at(|effect| matches!(effect, Effect::Apply(_))).unwrap();
    let answered = at(|effect| matches!(effect, Effect::ReadReady { .. })).unwrap();
    assert!(applied < answered, "{effects:?}");
    cluster.node(1).run(effects);
    assert!(cluster.node(1).reads.contains_key(&read));
    assert_eq!(cluster.node(1).core.deadline(), None, "nothing is left to wait for");
}

#[test]
fn only_a_leader_answers_and_not_before_a_majority_does() {
    let mut cluster = Cluster::new(&[1, 2, 3], 7, |_| {});
    cluster.pass(Duration::from_secs(4));
    let leader = cluster.leader().unwrap();
    let follower = if leader == 1 { 2 } else { 1 };
    let refused = cluster.read(follower);
    let why = Refusal::NotLeader { leader: Some(leader) };
    assert_eq!(cluster.node(follower).failed, [(refused, why)]);

    let reads: Vec<OpId> = (0..5).map(|_| cluster.read(leader)).collect();
    assert!(cluster.node(leader).reads.is_empty());
    cluster.settle();
    assert_eq!(cluster.node(leader).reads.keys().copied().collect::<Vec<_>>(), reads);
    assert_eq!(cluster.node(leader).failed, []);
}

#[test]
fn a_leader_without_a_commit_of_its_term_answers_once_it_has_one() {
    let mut cluster = Cluster::new(&[1, 2, 3], 7, |_| {});
    // Its first entry reaches nobody, everything else does.
    let mut read = None;
    for _ in 0..200 {
        cluster.now = cluster.now.plus(Duration::from_millis(50));
        cluster.network.retain(|message| message.get_msg_type() != MessageType::MsgAppend);
        for id in [1, 2, 3] {
            cluster.wake(id);
            let written = cluster.node(id).finish_write();
            written.into_iter().for_each(|input| cluster.step(id, input));
        }
        while let Some(message) = cluster.network.pop_front() {
            if message.get_msg_type() != MessageType::MsgAppend {
                cluster.deliver(message);
            }
        }
        if let Some(leader) = cluster.leader() {
            read = Some((leader, cluster.read(leader)));
            break;
        }
    }
    let (leader, read) = read.expect("a leader");
    assert!(!cluster.node(leader).reads.contains_key(&read));
    cluster.pass(Duration::from_millis(500));
    assert!(cluster.node(leader).reads.contains_key(&read), "{:?}", cluster.node(leader).failed);
}

#[test]
fn a_read_that_nobody_confirms_ends_after_three_tries() {
    let mut cluster = Cluster::new(&[1, 2, 3], 7, |_| {});
    cluster.pass(Duration::from_secs(4));
    let leader = cluster.leader().unwrap();
    let read = cluster.read(leader);
    let mut contexts = Vec::new();
    for _ in 0..40 {
        cluster.now = cluster.now.plus(Duration::from_millis(100));
        [1, 2, 3].into_iter().for_each(|id| cluster.wake(id));
        while let Some(mut message) = cluster.network.pop_front() {
            // The answers come, but without what they answer.
            if message.get_msg_type() == MessageType::MsgHeartbeatResponse {
                message.context.clear();
            }
            if !message.context.is_empty() {
                contexts.push(message.context.clone());
            }
            cluster.deliver(message);
        }
    }
    assert_eq!(cluster.leader(), Some(leader), "it led all the time");
    assert_eq!(cluster.node(leader).failed, [(read, Refusal::Unknown)]);
    contexts.sort();
    contexts.dedup();
    assert_eq!(contexts.len(), 3, "three questions, none twice");
}

#[test]
fn a_leader_that_was_cut_off_does_not_answer_from_the_past() {
    let mut cluster = Cluster::new(&[1, 2, 3], 7, |_| {});
    cluster.pass(Duration::from_secs(4));
    let old = cluster.leader().unwrap();
    cluster.cut.insert(old);
    // It stops for a while and does not notice that the others go on without it.
    let others: Vec<u64> = [1, 2, 3].into_iter().filter(|id| *id != old).collect();
    for _ in 0..60 {
        cluster.now = cluster.now.plus(Duration::from_millis(100));
        for id in &others {
            cluster.wake(*id);
            let written = cluster.node(*id).finish_write();
            written.into_iter().for_each(|input| cluster.step(*id, input));
        }
        while let Some(message) = cluster.network.pop_front() {
            cluster.deliver(message);
        }
    }
    let new = cluster.leader().expect("a new leader");
    cluster.propose(new, "news");
    for _ in 0..5 {
        for id in &others {
            let written = cluster.node(*id).finish_write();
            written.into_iter().for_each(|input| cluster.step(*id, input));
        }
        while let Some(message) = cluster.network.pop_front() {
            cluster.deliver(message);
        }
    }
    assert_eq!(cluster.acknowledged, ["news"]);
    let read = cluster.read(old);
    assert!(cluster.node(old).reads.is_empty());
    cluster.pass(Duration::from_secs(3));
    let why = Refusal::NotLeader { leader: None };
    assert_eq!(cluster.node(old).failed, [(read, why)]);
}

#[test]
fn reads_wait_within_bounds() {
    let mut cluster = Cluster::new(&[1, 2, 3], 7, |config| config.limits.queue_len_max = 3);
    cluster.pass(Duration::from_secs(4));
    let leader = cluster.leader().unwrap();
    let reads: Vec<OpId> = (0..5).map(|_| cluster.read(leader)).collect();
    let refused = [reads[3], reads[4]].map(|op| (op, Refusal::Overloaded));
    assert_eq!(cluster.node(leader).failed, refused);
    cluster.settle();
    assert_eq!(cluster.node(leader).reads.len(), 3);
    // A failed disk ends what waits.
    cluster.propose(leader, "a");
    let open = cluster.read(leader);
    let now = cluster.now();
    let node = cluster.node(leader);
    node.is_lied_to = true;
    let seq = node.writing.take().unwrap().seq;
    let effects = node.core.step(now, Input::Persisted { seq, result: Err("gone".into()) });
    node.run(effects);
    assert!(node.failed.iter().any(|(op, _)| *op == open));
}
