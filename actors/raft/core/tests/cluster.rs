//! Whole clusters of cores in memory: a disk that takes its time, a network that loses, crashes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jaco_kit_core::{Core, Mono, Now, OpId};
use jaco_raft_core::eraftpb::{HardState, Message, MessageType};
use jaco_raft_core::{
    Batch, Config, DurableLog, Effect, Input, MemberChange, Members, Payload, Position, RaftCore,
    Refusal, Role, SnapshotMeta, decode_message, encode_message,
};
use proptest::prelude::*;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % n as u64).expect("below a usize")
    }
}

/// One member: its core, its disk and its state machine, which is the list of applied commands.
struct Node {
    id: u64,
    config: Config,
    core: RaftCore,
    disk: DurableLog,
    image: Arc<Vec<u8>>,
    writing: Option<Arc<Batch>>,
    answers: VecDeque<Input>,
    applied: Vec<String>,
    done: Vec<OpId>,
    failed: Vec<(OpId, Refusal)>,
    persists: usize,
    violations: Vec<&'static str>,
}

impl Node {
    fn new(config: Config, disk: DurableLog, image: Arc<Vec<u8>>) -> Node {
        let core = RaftCore::new(config.clone(), disk.clone()).expect("a valid disk");
        let applied = decode_state(&image);
        Node {
            id: config.raft_id,
            config,
            core,
            disk,
            image,
            writing: None,
            answers: VecDeque::new(),
            applied,
            done: Vec::new(),
            failed: Vec::new(),
            persists: 0,
            violations: Vec::new(),
        }
    }

    fn run(&mut self, effects: Vec<Effect>) -> Vec<Message> {
        let mut sent = Vec::new();
        for effect in effects {
            match effect {
                Effect::Persist(batch) => {
                    assert!(self.writing.is_none(), "one batch at a time");
                    self.persists += 1;
                    self.writing = Some(batch);
                }
                Effect::Send(messages) => sent.extend(messages),
                Effect::Restore { data, .. } => self.applied = decode_state(&data),
                Effect::Apply(entries) => {
                    for entry in entries {
                        self.done.extend(entry.op);
                        if let Payload::Command(data) = entry.payload {
                            self.applied.push(String::from_utf8(data).expect("text"));
                        }
                    }
                }
                Effect::TakeSnapshot { at, .. } => {
                    let data = Arc::new(self.applied.join("\n").into_bytes());
                    self.answers.push_back(Input::SnapshotTaken { at, data });
                }
                Effect::LoadSnapshot(at) => {
                    let data = Some(self.image.clone());
                    self.answers.push_back(Input::SnapshotLoaded { at, data });
                }
                Effect::Failed { op, why } => self.failed.push((op, why)),
                Effect::PeerViolation { what, .. } => self.violations.push(what),
                Effect::RoleChanged(_) => {}
                Effect::Fatal(error) => panic!("{error}"),
            }
        }
        self.core.check_invariants();
        sent
    }

    fn finish_write(&mut self) -> Option<Input> {
        let batch = self.writing.take()?;
        self.disk.apply(&batch);
        if let Some(file) = &batch.snapshot {
            self.image = file.data.clone();
        }
        assert_eq!(self.disk.validate(), Ok(()));
        Some(Input::Persisted { seq: batch.seq, result: Ok(()) })
    }

    /// Power fails: the batch being written may have become durable or not.
    fn restart(&mut self, is_written: bool) {
        if is_written {
            self.finish_write();
        }
        let mut config = self.config.clone();
        config.seed += 1;
        *self = Node {
            persists: self.persists,
            ..Node::new(config, self.disk.clone(), self.image.clone())
        };
    }
}

fn decode_state(image: &[u8]) -> Vec<String> {
    let text = String::from_utf8(image.to_vec()).expect("text");
    text.lines().map(str::to_owned).collect()
}

struct Cluster {
    nodes: BTreeMap<u64, Node>,
    network: VecDeque<Message>,
    cut: BTreeSet<u64>,
    now: Mono,
    random: Random,
    last_op: u64,
    leaders: BTreeMap<u64, u64>,
}

impl Cluster {
    fn new(ids: &[u64], seed: u64, change: impl Fn(&mut Config)) -> Cluster {
        let members = Members { voters: ids.to_vec(), learners: Vec::new() };
        let nodes = ids.iter().map(|id| {
            let mut config = Config::new(*id, seed.wrapping_mul(31).wrapping_add(*id));
            change(&mut config);
            (*id, Node::new(config, first_disk(&members), Arc::default()))
        });
        Cluster {
            nodes: nodes.collect(),
            network: VecDeque::new(),
            cut: BTreeSet::new(),
            now: Mono(0),
            random: Random(seed),
            last_op: 0,
            leaders: BTreeMap::new(),
        }
    }

    fn now(&self) -> Now {
        Now { mono: self.now, ..Now::default() }
    }

    fn node(&mut self, id: u64) -> &mut Node {
        self.nodes.get_mut(&id).expect("a member")
    }

    fn step(&mut self, id: u64, input: Input) {
        let now = self.now();
        let node = self.node(id);
        let effects = node.core.step(now, input);
        let sent = node.run(effects);
        self.network.extend(sent);
        self.check_leader(id);
    }

    fn wake(&mut self, id: u64) {
        let now = self.now();
        let node = self.node(id);
        if node.core.deadline().is_some_and(|at| at <= now.mono) {
            let effects = node.core.wake(now);
            let sent = node.run(effects);
            self.network.extend(sent);
        }
        self.check_leader(id);
    }

    /// Invariant 1: one leader per term.
    fn check_leader(&mut self, id: u64) {
        let status = self.node(id).core.status();
        if status.role == Role::Leader {
            assert_eq!(*self.leaders.entry(status.term).or_insert(id), id, "term {}", status.term);
        }
    }

    fn deliver(&mut self, message: Message) {
        let is_lost = self.cut.contains(&message.from) || self.cut.contains(&message.to);
        if is_lost {
            self.report_loss(&message);
        } else if self.nodes.contains_key(&message.to) {
            let bytes = encode_message(&message);
            let message = decode_message(&bytes).expect("what was encoded decodes");
            self.step(message.to, Input::PeerMessage(Box::new(message)));
        }
    }

    /// A transport ends a snapshot when its connection breaks, with the message or with the
    /// acknowledgement on it; without that the peer stays in limbo.
    fn report_loss(&mut self, message: &Message) {
        let (leader, peer) = match message.get_msg_type() {
            MessageType::MsgSnapshot => (message.from, message.to),
            MessageType::MsgAppendResponse => (message.to, message.from),
            _ => return,
        };
        self.step(leader, Input::SnapshotReported { peer, installed: false });
    }

    /// Power fails at one member; its peers see the connection break.
    fn restart(&mut self, id: u64, is_written: bool) {
        self.node(id).restart(is_written);
        let others: Vec<u64> = self.nodes.keys().copied().filter(|other| *other != id).collect();
        for other in others {
            self.step(other, Input::SnapshotReported { peer: id, installed: false });
        }
    }

    /// Lets everything happen that needs no time.
    fn settle(&mut self) {
        let ids: Vec<u64> = self.nodes.keys().copied().collect();
        loop {
            let mut is_quiet = true;
            for id in &ids {
                self.wake(*id);
                let written = self.node(*id).finish_write();
                let answer = self.node(*id).answers.pop_front();
                for input in written.into_iter().chain(answer) {
                    self.step(*id, input);
                    is_quiet = false;
                }
            }
            while let Some(message) = self.network.pop_front() {
                self.deliver(message);
                is_quiet = false;
            }
            if is_quiet {
                return;
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now.plus(time);
        while self.now < end {
            self.now = self.now.plus(Duration::from_millis(50));
            self.settle();
        }
    }

    fn leader(&self) -> Option<u64> {
        let leads = |node: &&Node| node.core.status().role == Role::Leader;
        let alive = self.nodes.values().filter(|node| !self.cut.contains(&node.id));
        alive.filter(leads).max_by_key(|node| node.core.status().term).map(|node| node.id)
    }

    fn propose(&mut self, id: u64, text: &str) -> OpId {
        self.last_op += 1;
        let op = OpId(self.last_op);
        self.step(id, Input::Propose { op, data: text.as_bytes().to_vec() });
        op
    }

    /// One random event.
    fn shake(&mut self) {
        let ids: Vec<u64> = self.nodes.keys().copied().collect();
        let id = ids[self.random.below(ids.len())];
        match self.random.below(40) {
            0 => {
                let is_written = self.random.below(2) == 0;
                self.restart(id, is_written);
            }
            1 => {
                self.cut.insert(id);
            }
            2..=4 => self.cut.clear(),
            5..=9 => {
                let text = format!("command {}", self.last_op + 1);
                self.propose(id, &text);
            }
            10..=14 => {
                self.now = self.now.plus(Duration::from_millis(100));
                ids.iter().for_each(|id| self.wake(*id));
            }
            15..=22 => {
                let written = self.node(id).finish_write();
                let answer = self.node(id).answers.pop_front();
                written.into_iter().chain(answer).for_each(|input| self.step(id, input));
            }
            // Reordered, sometimes twice, sometimes never.
            _ if self.network.is_empty() => {}
            way => {
                let at = self.random.below(self.network.len());
                let message = self.network.remove(at).expect("within");
                if way == 23 {
                    self.network.push_back(message.clone());
                }
                if way == 24 {
                    self.report_loss(&message);
                } else {
                    self.deliver(message);
                }
            }
        }
    }

    /// State machines are prefixes of one another, whatever happens.
    fn check_agreement(&self) {
        let longest = self.nodes.values().map(|n| &n.applied).max_by_key(|a| a.len());
        for node in self.nodes.values() {
            assert!(longest.is_some_and(|all| all.starts_with(&node.applied)), "node {}", node.id);
        }
    }
}

fn first_disk(members: &Members) -> DurableLog {
    let at = Position { index: 1, term: 1 };
    DurableLog {
        hard_state: HardState { term: 1, vote: 0, commit: 1 },
        snapshot: SnapshotMeta { at, members: members.clone() },
        members: (1, members.clone()),
        truncated: at,
        entries: Vec::new(),
    }
}

fn many_snapshots(config: &mut Config) {
    config.snapshots.every_entries = 10;
    config.snapshots.interval_min = Duration::from_millis(10);
    config.snapshots.trailing_entries = 3;
}

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
    check("entry index", &|disk| disk.entries.push(jaco_raft_core::eraftpb::Entry::default()));
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
            message.entries = entries.iter().map(|(index, term)| jaco_raft_core::eraftpb::Entry { index: *index, term: *term, ..Default::default() }).collect();
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
