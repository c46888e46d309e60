//! A cluster of cores in memory: a disk that takes its time, a network that loses, crashes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jaco_kit_core::{Core, Mono, Now, OpId};
use jaco_raft_core::eraftpb::{HardState, Message, MessageType};
use jaco_raft_core::{
    Batch, Config, DurableLog, Effect, Input, Members, Payload, Position, RaftCore, Refusal, Role,
    SnapshotMeta, decode_message, encode_message,
};

/// SplitMix64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % n as u64).expect("below a usize")
    }
}

/// One member: its core, its disk and its state machine, which is the list of applied commands.
pub(crate) struct Node {
    pub(crate) id: u64,
    pub(crate) config: Config,
    pub(crate) core: RaftCore,
    pub(crate) disk: DurableLog,
    pub(crate) image: Arc<Vec<u8>>,
    pub(crate) writing: Option<Arc<Batch>>,
    pub(crate) answers: VecDeque<Input>,
    pub(crate) applied: Vec<String>,
    pub(crate) done: Vec<OpId>,
    pub(crate) failed: Vec<(OpId, Refusal)>,
    pub(crate) persists: usize,
    pub(crate) violations: Vec<&'static str>,
}

impl Node {
    pub(crate) fn new(config: Config, disk: DurableLog, image: Arc<Vec<u8>>) -> Node {
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

    pub(crate) fn run(&mut self, effects: Vec<Effect>) -> Vec<Message> {
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
                Effect::RoleChanged(_) | Effect::ReadReady { .. } => {}
                Effect::Fatal(error) => panic!("{error}"),
            }
        }
        self.core.check_invariants();
        sent
    }

    pub(crate) fn finish_write(&mut self) -> Option<Input> {
        let batch = self.writing.take()?;
        self.disk.apply(&batch);
        if let Some(file) = &batch.snapshot {
            self.image = file.data.clone();
        }
        assert_eq!(self.disk.validate(), Ok(()));
        Some(Input::Persisted { seq: batch.seq, result: Ok(()) })
    }

    /// Power fails: the batch being written may have become durable or not.
    pub(crate) fn restart(&mut self, is_written: bool) {
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

pub(crate) fn decode_state(image: &[u8]) -> Vec<String> {
    let text = String::from_utf8(image.to_vec()).expect("text");
    text.lines().map(str::to_owned).collect()
}

pub(crate) struct Cluster {
    pub(crate) nodes: BTreeMap<u64, Node>,
    pub(crate) network: VecDeque<Message>,
    pub(crate) cut: BTreeSet<u64>,
    pub(crate) now: Mono,
    pub(crate) random: Random,
    pub(crate) last_op: u64,
    pub(crate) leaders: BTreeMap<u64, u64>,
}

impl Cluster {
    pub(crate) fn new(ids: &[u64], seed: u64, change: impl Fn(&mut Config)) -> Cluster {
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

    pub(crate) fn now(&self) -> Now {
        Now { mono: self.now, ..Now::default() }
    }

    pub(crate) fn node(&mut self, id: u64) -> &mut Node {
        self.nodes.get_mut(&id).expect("a member")
    }

    pub(crate) fn step(&mut self, id: u64, input: Input) {
        let now = self.now();
        let node = self.node(id);
        let effects = node.core.step(now, input);
        let sent = node.run(effects);
        self.network.extend(sent);
        self.check_leader(id);
    }

    pub(crate) fn wake(&mut self, id: u64) {
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
    pub(crate) fn check_leader(&mut self, id: u64) {
        let status = self.node(id).core.status();
        if status.role == Role::Leader {
            assert_eq!(*self.leaders.entry(status.term).or_insert(id), id, "term {}", status.term);
        }
    }

    pub(crate) fn deliver(&mut self, message: Message) {
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
    pub(crate) fn report_loss(&mut self, message: &Message) {
        let (leader, peer) = match message.get_msg_type() {
            MessageType::MsgSnapshot => (message.from, message.to),
            MessageType::MsgAppendResponse => (message.to, message.from),
            _ => return,
        };
        self.step(leader, Input::SnapshotReported { peer, installed: false });
    }

    /// Power fails at one member; its peers see the connection break.
    pub(crate) fn restart(&mut self, id: u64, is_written: bool) {
        self.node(id).restart(is_written);
        let others: Vec<u64> = self.nodes.keys().copied().filter(|other| *other != id).collect();
        for other in others {
            self.step(other, Input::SnapshotReported { peer: id, installed: false });
        }
    }

    /// Lets everything happen that needs no time.
    pub(crate) fn settle(&mut self) {
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

    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now.plus(time);
        while self.now < end {
            self.now = self.now.plus(Duration::from_millis(50));
            self.settle();
        }
    }

    pub(crate) fn leader(&self) -> Option<u64> {
        let leads = |node: &&Node| node.core.status().role == Role::Leader;
        let alive = self.nodes.values().filter(|node| !self.cut.contains(&node.id));
        alive.filter(leads).max_by_key(|node| node.core.status().term).map(|node| node.id)
    }

    pub(crate) fn propose(&mut self, id: u64, text: &str) -> OpId {
        self.last_op += 1;
        let op = OpId(self.last_op);
        self.step(id, Input::Propose { op, data: text.as_bytes().to_vec() });
        op
    }

    /// One random event.
    pub(crate) fn shake(&mut self) {
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
    pub(crate) fn check_agreement(&self) {
        let longest = self.nodes.values().map(|n| &n.applied).max_by_key(|a| a.len());
        for node in self.nodes.values() {
            assert!(longest.is_some_and(|all| all.starts_with(&node.applied)), "node {}", node.id);
        }
    }
}

pub(crate) fn first_disk(members: &Members) -> DurableLog {
    let at = Position { index: 1, term: 1 };
    DurableLog {
        hard_state: HardState { term: 1, vote: 0, commit: 1 },
        snapshot: SnapshotMeta { at, members: members.clone() },
        members: (1, members.clone()),
        truncated: at,
        entries: Vec::new(),
    }
}

pub(crate) fn many_snapshots(config: &mut Config) {
    config.snapshots.every_entries = 10;
    config.snapshots.interval_min = Duration::from_millis(10);
    config.snapshots.trailing_entries = 3;
}
