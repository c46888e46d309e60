//! No message makes a member panic or write what it cannot read again, whatever its part is.
//!
//! A victim of each part is brought up among honest peers; then it hears only lies. They are near the
//! truth: terms and indexes around the victim's own.

use std::sync::Arc;
use std::time::Duration;

use jaco_kit_core::{Core, Mono, Now, OpId};
use jaco_raft_core::eraftpb::{
    ConfChange, ConfChangeSingle, ConfChangeV2, Entry, Message, MessageType,
};
use jaco_raft_core::{Config, DurableLog, Input, RaftCore, Role, decode_message, encode_message};
use proptest::prelude::*;
use prost_raft::Message as _;

use crate::support::{Cluster, Node, many_snapshots};

/// Which member hears the lies.
#[derive(Clone, Copy, Debug)]
enum Victim {
    Leader,
    Follower,
    PreCandidate,
    Candidate,
    Learner,
    Joiner,
    SoleVoter,
}

const VICTIMS: [Victim; 7] = [
    Victim::Leader,
    Victim::Follower,
    Victim::PreCandidate,
    Victim::Candidate,
    Victim::Learner,
    Victim::Joiner,
    Victim::SoleVoter,
];

/// Numbers near one of the victim's own, or far away.
#[derive(Clone, Copy, Debug)]
enum Near {
    Zero,
    Truncated(i64),
    Commit(i64),
    Last(i64),
    Max(u64),
}

impl Near {
    fn of(self, node: &Node) -> u64 {
        let disk = node.core.durable();
        match self {
            Near::Zero => 0,
            Near::Truncated(by) => disk.truncated.index.saturating_add_signed(by),
            Near::Commit(by) => node.core.commit_index().saturating_add_signed(by),
            Near::Last(by) => disk.last_index().saturating_add_signed(by),
            Near::Max(by) => u64::MAX - by,
        }
    }
}

/// One lie, to be made concrete when the victim's state is known.
#[derive(Clone, Debug)]
struct Lie {
    kind: i32,
    from: u64,
    term: i64,
    index: Near,
    log_term: i64,
    commit: Near,
    hint: Near,
    request_snapshot: Near,
    reject: bool,
    entries: Vec<(i32, i64, bool, u8, Vec<u8>)>,
    snapshot: Option<(Near, i64, Vec<u64>, Vec<u64>)>,
    context: Vec<u8>,
    priority: i64,
}

/// What happens between two lies.
#[derive(Clone, Copy, Debug)]
enum Between {
    Nothing,
    Write,
    Time(u16),
    Propose,
    Read,
    HandOver,
    Report(u64, bool),
    Crash,
}

fn near() -> impl Strategy<Value = Near> {
    prop_oneof![
        1 => Just(Near::Zero),
        2 => (-2..3_i64).prop_map(Near::Truncated),
        4 => (-2..4_i64).prop_map(Near::Commit),
        4 => (-2..60_i64).prop_map(Near::Last),
        3 => (-1..2_i64).prop_map(Near::Last),
        1 => (0..3_u64).prop_map(Near::Max),
    ]
}

fn change_bytes() -> impl Strategy<Value = Vec<u8>> {
    let single = (0..5_i32, 0..6_u64);
    prop_oneof![
        Just(Vec::new()),
        prop::collection::vec(any::<u8>(), 0..6),
        single.clone().prop_map(|(change_type, node_id)| {
            ConfChange { change_type, node_id, ..ConfChange::default() }.encode_to_vec()
        }),
        (prop::collection::vec(single, 0..3), 0..4_i32).prop_map(|(changes, transition)| {
            let one = |(change_type, node_id)| ConfChangeSingle { change_type, node_id };
            let changes = changes.into_iter().map(one).collect();
            ConfChangeV2 { transition, changes, ..ConfChangeV2::default() }.encode_to_vec()
        }),
    ]
}

fn lie() -> impl Strategy<Value = Lie> {
    let entry = (-1..4_i32, -3..2_i64, prop::bool::weighted(0.1), any::<u8>(), change_bytes());
    let ids = || prop::collection::vec(0..8_u64, 0..4);
    let snapshot = (near(), -3..2_i64, ids(), ids());
    let head = (-1..21_i32, 0..6_u64, -1..3_i64, near(), -3..2_i64, near());
    let tail = (near(), prop_oneof![4 => Just(Near::Zero), 1 => near()], any::<bool>());
    let body = (
        prop::collection::vec(entry, 0..4),
        prop::option::of(snapshot),
        prop_oneof![Just(Vec::new()), Just(b"CampaignTransfer".to_vec()), change_bytes()],
        -1..2_i64,
    );
    (head, tail, body).prop_map(|(head, tail, body)| {
        let (kind, from, term, index, log_term, commit) = head;
        let (hint, request_snapshot, reject) = tail;
        let (entries, snapshot, context, priority) = body;
        Lie {
            kind,
            from,
            term,
            index,
            log_term,
            commit,
            hint,
            request_snapshot,
            reject,
            entries,
            snapshot,
            context,
            priority,
        }
    })
}

fn between() -> impl Strategy<Value = Between> {
    prop_oneof![
        6 => Just(Between::Nothing),
        6 => Just(Between::Write),
        2 => (50..3_000_u16).prop_map(Between::Time),
        1 => Just(Between::Propose),
        1 => Just(Between::Read),
        1 => Just(Between::HandOver),
        1 => (0..6_u64, any::<bool>()).prop_map(|(peer, installed)| Between::Report(peer, installed)),
        1 => Just(Between::Crash),
    ]
}

impl Lie {
    fn tell(&self, node: &Node) -> Message {
        let term = |by: i64| node.core.status().term.saturating_add_signed(by);
        let index = self.index.of(node);
        let entry =
            |at: usize, (kind, by, gap, text, change): &(i32, i64, bool, u8, Vec<u8>)| Entry {
                entry_type: *kind,
                term: term(*by),
                index: index.wrapping_add(1 + at as u64 + u64::from(*gap)),
                data: if *kind == 0 { vec![b'a' + text % 26] } else { change.clone() },
                ..Entry::default()
            };
        let mut message = Message {
            msg_type: self.kind,
            to: node.id,
            from: self.from,
            term: term(self.term),
            index,
            // Often the right one, so that the lie goes deeper.
            log_term: node
                .core
                .durable()
                .term(index)
                .filter(|_| self.log_term < 1)
                .unwrap_or(term(self.log_term)),
            commit: self.commit.of(node),
            commit_term: term(self.log_term),
            reject: self.reject,
            reject_hint: self.hint.of(node),
            request_snapshot: self.request_snapshot.of(node),
            context: self.context.clone(),
            priority: self.priority,
            entries: self.entries.iter().enumerate().map(|(at, it)| entry(at, it)).collect(),
            ..Message::default()
        };
        if let Some((at, by, voters, learners)) = &self.snapshot {
            let metadata = message.mut_snapshot().mut_metadata();
            (metadata.index, metadata.term) = (at.of(node), term(*by));
            let conf = metadata.mut_conf_state();
            (conf.voters, conf.learners) = (voters.clone(), learners.clone());
        }
        decode_message(&encode_message(&message)).expect("what was encoded decodes")
    }
}

/// The victim among honest peers, in the part it is to have.
fn raise(victim: Victim) -> (Cluster, u64) {
    let mut cluster = Cluster::new(&[1, 2, 3], 5, many_snapshots);
    if matches!(victim, Victim::SoleVoter) {
        cluster = Cluster::new(&[1], 5, many_snapshots);
    }
    cluster.pass(Duration::from_secs(4));
    let leader = cluster.leader().expect("a leader");
    for n in 0..25 {
        cluster.propose(leader, &format!("{n}"));
        cluster.pass(Duration::from_millis(50));
    }
    let other = if leader == 1 { 2 } else { 1 };
    let id = match victim {
        Victim::Leader | Victim::SoleVoter => leader,
        Victim::Follower => other,
        Victim::PreCandidate | Victim::Candidate => {
            let wanted = match victim {
                Victim::Candidate => Role::Candidate,
                _ => Role::PreCandidate,
            };
            campaign(&mut cluster, other, wanted);
            other
        }
        Victim::Learner => {
            let change = jaco_raft_core::MemberChange::AddLearner(4);
            let joiner = Node::new(Config::new(4, 99), DurableLog::default(), Arc::default());
            cluster.nodes.insert(4, joiner);
            cluster.step(leader, Input::ChangeMembers { op: OpId(1_000), change });
            cluster.pass(Duration::from_secs(3));
            assert_eq!(cluster.node(4).core.members().learners, [4]);
            4
        }
        Victim::Joiner => {
            let joiner = Node::new(Config::new(4, 99), DurableLog::default(), Arc::default());
            cluster.nodes.insert(4, joiner);
            4
        }
    };
    cluster.network.clear();
    (cluster, id)
}

/// Lets a member campaign: it hears votes only as far as it has to.
fn campaign(cluster: &mut Cluster, id: u64, wanted: Role) {
    for _ in 0..100 {
        cluster.now = cluster.now.plus(Duration::from_millis(100));
        let others: Vec<u64> = cluster.nodes.keys().copied().filter(|it| *it != id).collect();
        cluster.wake(id);
        let written = cluster.node(id).finish_write();
        written.into_iter().for_each(|input| cluster.step(id, input));
        if cluster.node(id).core.status().role == wanted {
            return;
        }
        for message in std::mem::take(&mut cluster.network) {
            if message.to == others[0] && message.from == id {
                cluster.step(message.to, Input::PeerMessage(Box::new(message)));
                let written = cluster.node(others[0]).finish_write();
                written.into_iter().for_each(|input| cluster.step(others[0], input));
            } else if message.to == id && cluster.node(id).core.status().role != Role::Follower {
                cluster.step(id, Input::PeerMessage(Box::new(message)));
            }
        }
        others.iter().for_each(|it| cluster.wake(*it));
        cluster.network.retain(|message| message.from != id || message.to == others[0]);
    }
    panic!("never a {wanted:?}");
}

fn happen(node: &mut Node, now: &mut Mono, what: Between, n: u64) {
    let op = OpId(5_000 + n);
    let input = match what {
        Between::Nothing => return,
        Between::Write => {
            let written = node.finish_write();
            let answer = node.answers.pop_front();
            let mut inputs = written.into_iter().chain(answer);
            return inputs.by_ref().for_each(|input| step(node, *now, input));
        }
        Between::Time(ms) => {
            *now = now.plus(Duration::from_millis(u64::from(ms)));
            let effects = node.core.wake(Now { mono: *now, ..Now::default() });
            node.run(effects);
            return;
        }
        Between::Propose => Input::Propose { op, data: vec![1] },
        Between::Read => Input::ReadIndex { op },
        Between::HandOver => Input::TransferLeadership,
        Between::Report(peer, installed) => Input::SnapshotReported { peer, installed },
        Between::Crash => {
            // What the liars left on the disk is a disk to start from.
            node.finish_write();
            node.restart(false);
            node.is_lied_to = true;
            return;
        }
    };
    step(node, *now, input);
}

fn step(node: &mut Node, now: Mono, input: Input) {
    let effects = node.core.step(Now { mono: now, ..Now::default() }, input);
    node.run(effects);
}

#[test]
fn victims_have_the_part_they_are_named_for() {
    for victim in VICTIMS {
        let (mut cluster, id) = raise(victim);
        let node = cluster.node(id);
        let role = match victim {
            Victim::Leader | Victim::SoleVoter => Role::Leader,
            Victim::PreCandidate => Role::PreCandidate,
            Victim::Candidate => Role::Candidate,
            Victim::Follower | Victim::Learner | Victim::Joiner => Role::Follower,
        };
        assert_eq!(node.core.status().role, role, "{victim:?}");
        assert_eq!(node.disk.last_index() == 0, matches!(victim, Victim::Joiner));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// After any lies the member either goes on, or stops and says why; and its disk is readable.
    #[test]
    fn no_lie_makes_a_member_panic(
        victim in prop::sample::select(VICTIMS.to_vec()),
        story in prop::collection::vec((lie(), between()), 1..30),
    ) {
        let (mut cluster, id) = raise(victim);
        let mut now = cluster.now;
        let node = cluster.node(id);
        node.is_lied_to = true;
        for (n, (lie, between)) in story.into_iter().enumerate() {
            let message = lie.tell(node);
            step(node, now, Input::PeerMessage(Box::new(message)));
            happen(node, &mut now, between, n as u64);
        }
        node.finish_write();
        prop_assert_eq!(node.disk.validate(), Ok(()));
        prop_assert!(RaftCore::new(node.config.clone(), node.disk.clone()).is_ok());
    }
}

/// Gives the messages while the disk is busy, so that the member takes them in one go.
fn at_once(cluster: &mut Cluster, id: u64, messages: Vec<Message>) -> Vec<&'static str> {
    for message in messages {
        cluster.step(id, Input::PeerMessage(Box::new(message)));
    }
    let node = cluster.node(id);
    assert!(node.writing.is_some(), "the disk is busy");
    let now = cluster.now;
    let node = cluster.node(id);
    node.is_lied_to = true;
    let written = node.finish_write();
    written.into_iter().for_each(|input| step(node, now, input));
    node.violations.clone()
}

fn message(kind: MessageType, from: u64, node: &Node, term: u64) -> Message {
    let mut message = Message { from, to: node.id, term, ..Message::default() };
    message.set_msg_type(kind);
    let last = node.core.durable().last_index();
    let term = node.core.durable().term(last);
    (message.index, message.log_term) = (last, term.expect("the last entry has one"));
    message
}

fn entry(index: u64, term: u64) -> Entry {
    Entry { index, term, data: vec![b'x'], ..Entry::default() }
}

#[test]
fn a_vote_before_the_question_does_not_count() {
    let (mut cluster, id) = raise(Victim::Follower);
    let leader = cluster.leader().unwrap();
    let (node, third) = (cluster.node(id), 6 - leader - id);
    let term = node.core.status().term;
    let mut one = message(MessageType::MsgAppend, leader, node, term);
    one.entries = vec![entry(one.index + 1, term)];
    let mut two = Message { index: one.index + 1, log_term: term, ..one.clone() };
    two.entries = vec![entry(one.index + 2, term)];
    let hand_over = message(MessageType::MsgTimeoutNow, leader, node, term);
    let vote = message(MessageType::MsgRequestVoteResponse, third, node, term + 1);
    let found = at_once(&mut cluster, id, vec![one, two, hand_over, vote]);
    assert_eq!(found, ["answers a question that was not asked"]);
    assert_eq!(cluster.node(id).core.status().role, Role::Candidate);
}

#[test]
fn who_does_not_know_the_leader_does_not_accuse_it_of_a_hand_over() {
    let (mut cluster, id) = raise(Victim::PreCandidate);
    let leader = cluster.leader().expect("a leader that goes on");
    let node = cluster.node(id);
    let status = node.core.status();
    assert_eq!((status.role, status.leader), (Role::PreCandidate, None));
    let hand_over = message(MessageType::MsgTimeoutNow, leader, node, status.term);
    cluster.step(id, Input::PeerMessage(Box::new(hand_over.clone())));
    assert_eq!(cluster.node(id).violations, [""; 0]);
    assert_eq!(cluster.node(id).core.status().role, Role::PreCandidate, "it has begun already");

    cluster.node(id).finish_write();
    cluster.restart(id, true);
    let status = cluster.node(id).core.status();
    assert_eq!((status.role, status.leader), (Role::Follower, None));
    cluster.step(id, Input::PeerMessage(Box::new(hand_over)));
    assert_eq!(cluster.node(id).violations, [""; 0]);
    assert_eq!(cluster.node(id).core.status().role, Role::Candidate);
}

#[test]
fn only_the_leader_of_the_term_hands_over_leadership() {
    let (mut cluster, id) = raise(Victim::Follower);
    let leader = cluster.leader().expect("a leader");
    let node = cluster.node(id);
    let term = node.core.status().term;
    for (from, term) in [(6 - leader - id, term), (leader, term + 1)] {
        let hand_over = message(MessageType::MsgTimeoutNow, from, cluster.node(id), term);
        cluster.step(id, Input::PeerMessage(Box::new(hand_over)));
        assert_eq!(
            cluster.node(id).violations.pop(),
            Some("hands over leadership without having it")
        );
        assert_eq!(cluster.node(id).core.status().role, Role::Follower);
    }
}

#[test]
fn the_only_voter_is_not_handed_a_leadership_that_it_would_win_at_once() {
    let (mut cluster, id) = raise(Victim::SoleVoter);
    let node = cluster.node(id);
    let term = node.core.status().term + 1;
    let hello = message(MessageType::MsgHeartbeat, 2, node, term);
    let mut append = message(MessageType::MsgAppend, 2, node, term);
    append.entries = vec![entry(append.index + 1, term)];
    let hand_over = message(MessageType::MsgTimeoutNow, 2, node, term);
    let found = at_once(&mut cluster, id, vec![hello, append, hand_over]);
    assert_eq!(found, ["hands over leadership to the only voter"]);
}

#[test]
fn acknowledgements_stay_within_what_was_sent() {
    let (mut cluster, id) = raise(Victim::Leader);
    let peer = if id == 1 { 2 } else { 1 };
    cluster.step(id, Input::PeerUnreachable { peer });
    let node = cluster.node(id);
    let mut answer = message(MessageType::MsgAppendResponse, peer, node, node.core.status().term);
    answer.reject = true;
    for (hint, snapshot, what) in
        [(u64::MAX, 0, "acknowledges more than was sent"), (0, u64::MAX, "asks for a snapshot")]
    {
        (answer.reject_hint, answer.request_snapshot) = (hint, snapshot);
        cluster.step(id, Input::PeerMessage(Box::new(answer.clone())));
        assert_eq!(cluster.node(id).violations.last(), Some(&what));
    }
}
