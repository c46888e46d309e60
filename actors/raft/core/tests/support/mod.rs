//! A cluster of cores in memory: a disk that takes its time, a network that loses, crashes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jaco_kit_core::{Core, Mono, Now, OpId};
use jaco_raft_core::eraftpb::{HardState, Message, MessageType};
use jaco_raft_core::{
    Batch, Config, DurableLog, Effect, Error, Input, Members, Payload, Position, RaftCore, Refusal,
    Role, Roster, RosterMember, SnapshotMeta, Standing, decode_message, encode_message,
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
    /// Answered reads: the index, and how many commands were applied then.
    pub(crate) reads: BTreeMap<OpId, (u64, usize)>,
    pub(crate) persists: usize,
    pub(crate) violations: Vec<&'static str>,
    /// Its peers lie, so it may have to stop.
    pub(crate) is_lied_to: bool,
    pub(crate) fatal: Option<Error>,
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
            reads: BTreeMap::new(),
            persists: 0,
            violations: Vec::new(),
            is_lied_to: false,
            fatal: None,
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
                            self.applied.push(String::from_utf8_lossy(&data).into_owned());
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
                Effect::ReadReady { op, index } => {
                    assert!(self.core.applied().index >= index, "reads wait for their index");
                    let old = self.reads.insert(op, (index, self.applied.len()));
                    assert_eq!(old, None, "one answer per read");
                }
                Effect::Fatal(error) if self.is_lied_to => self.fatal = Some(error),
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
    let text = String::from_utf8_lossy(image);
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
    pub(crate) change: Box<dyn Fn(&mut Config)>,
    pub(crate) roster: Roster,
    /// Acknowledged commands, in the order of their acknowledgement.
    pub(crate) acknowledged: Vec<String>,
    acknowledged_ops: BTreeSet<OpId>,
    texts: BTreeMap<OpId, String>,
    /// Open reads: how many commands were acknowledged when each was asked.
    asked: BTreeMap<OpId, usize>,
}

impl Cluster {
    pub(crate) fn new(ids: &[u64], seed: u64, change: impl Fn(&mut Config) + 'static) -> Cluster {
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
            change: Box::new(change),
            roster: Roster { members: Vec::new(), voter_replace_after: Duration::from_secs(300) },
            acknowledged: Vec::new(),
            acknowledged_ops: BTreeSet::new(),
            texts: BTreeMap::new(),
            asked: BTreeMap::new(),
        }
    }

    /// A new member with an empty disk; the roster names it.
    pub(crate) fn join(&mut self, id: u64) {
        let mut config = Config::new(id, self.random.0.wrapping_add(id));
        (self.change)(&mut config);
        self.nodes.insert(id, Node::new(config, DurableLog::default(), Arc::default()));
        self.stand(id, Standing::Ready);
    }

    /// Disk and process of a member are gone for ever; the roster forgets it.
    pub(crate) fn destroy(&mut self, id: u64) {
        self.nodes.remove(&id);
        self.cut.remove(&id);
        self.roster.members.retain(|member| member.raft_id != id);
        self.tell_roster();
    }

    /// Changes the roster's word on one member, and tells everybody.
    pub(crate) fn stand(&mut self, raft_id: u64, standing: Standing) {
        self.roster.members.retain(|member| member.raft_id != raft_id);
        let (name, zone) = (format!("n{raft_id}"), format!("z{}", raft_id % 2));
        self.roster.members.push(RosterMember { raft_id, name, zone, standing });
        self.tell_roster();
    }

    fn tell_roster(&mut self) {
        let ids: Vec<u64> = self.nodes.keys().copied().collect();
        ids.into_iter().for_each(|id| self.step(id, Input::Roster(self.roster.clone())));
    }

    pub(crate) fn now(&self) -> Now {
        Now { mono: self.now, ..Now::default() }
    }

    pub(crate) fn node(&mut self, id: u64) -> &mut Node {
        self.nodes.get_mut(&id).expect("a member")
    }

    pub(crate) fn step(&mut self, id: u64, input: Input) {
        self.step_all(id, vec![input]);
    }

    pub(crate) fn step_all(&mut self, id: u64, inputs: Vec<Input>) {
        let now = self.now();
        let node = self.node(id);
        let effects = node.core.step_all(now, inputs);
        let sent = node.run(effects);
        self.network.extend(sent);
        self.check_leader(id);
        self.check_answers(id);
    }

    pub(crate) fn wake(&mut self, id: u64) {
        let now = self.now();
        let node = self.node(id);
        if node.core.deadline().is_some_and(|at| at <= now.mono) {
            let effects = node.core.wake(now);
            let again = node.core.deadline();
            assert!(again.is_none_or(|at| at > now.mono), "the timer stands still at {now:?}");
            let sent = node.run(effects);
            self.network.extend(sent);
        }
        self.check_leader(id);
        self.check_answers(id);
    }

    /// Invariant 10: a read sees every write that was acknowledged before it was asked.
    fn check_answers(&mut self, id: u64) {
        let node = self.nodes.get(&id).expect("a member");
        for op in &node.done {
            if self.acknowledged_ops.insert(*op) {
                self.acknowledged.extend(self.texts.get(op).cloned());
            }
        }
        for (op, (_, seen)) in &node.reads {
            let Some(count) = self.asked.remove(op) else { continue };
            for text in &self.acknowledged[..count] {
                assert!(node.applied[..*seen].contains(text), "a stale read of {text}");
            }
        }
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
        if self.nodes.contains_key(&leader) {
            self.step(leader, Input::SnapshotReported { peer, installed: false });
        }
    }

    /// Power fails at one member; its peers see the connection break.
    pub(crate) fn restart(&mut self, id: u64, is_written: bool) {
        self.node(id).restart(is_written);
        let others: Vec<u64> = self.nodes.keys().copied().filter(|other| *other != id).collect();
        for other in others {
            self.step(other, Input::SnapshotReported { peer: id, installed: false });
        }
        if !self.roster.members.is_empty() {
            self.step(id, Input::Roster(self.roster.clone()));
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
        self.texts.insert(op, text.to_owned());
        self.step(id, Input::Propose { op, data: text.as_bytes().to_vec() });
        op
    }

    pub(crate) fn read(&mut self, id: u64) -> OpId {
        self.last_op += 1;
        let op = OpId(self.last_op);
        self.asked.insert(op, self.acknowledged.len());
        self.step(id, Input::ReadIndex { op });
        op
    }

    /// One random event.
    pub(crate) fn shake(&mut self) {
        self.stir(1);
    }

    /// One random event; crashes and cuts are so many times rarer.
    pub(crate) fn stir(&mut self, calm: usize) {
        let ids: Vec<u64> = self.nodes.keys().copied().collect();
        let id = ids[self.random.below(ids.len())];
        match self.random.below(40) {
            0 | 1 if calm > 1 && self.random.below(calm) > 0 => {}
            0 => {
                let is_written = self.random.below(2) == 0;
                self.restart(id, is_written);
            }
            1 => {
                self.cut.insert(id);
            }
            2..=4 => self.cut.clear(),
            5 => {
                self.read(id);
            }
            6..=9 => {
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
                // What a shell finds in its mailbox together comes together.
                self.step_all(id, written.into_iter().chain(answer).collect());
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
