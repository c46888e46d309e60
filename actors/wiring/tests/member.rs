//! One member in memory: the real cores and the real wiring, a disk and an engine of our own.

use jaco_kit_core::{Core, Mono, Now, Wall};
use jaco_liveness_core::{Checkpoint, Word};
use jaco_model::command::{Command, Envelope, InitCluster, JoinNode};
use jaco_model::entity::{Node, NodeFacts, NodeStatus};
use jaco_model::{ClusterId, ErrorCode, Identity, NodeId, NodeName, RequestId, WallMs};
use jaco_raft_core::eraftpb::HardState;
use jaco_raft_core::{
    Committed, Config, DurableLog, Members, Payload, Position, RaftCore, SnapshotMeta,
};
use jaco_runtime_core::{Host, RuntimeCore, Settings};
use jaco_scheduler::Scheduler;
use jaco_state::State;
use jaco_wiring::{
    Answer, Delivery, Io, Me, Member, Start, Step, Ticket, decode_state, encode_state,
};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

const FIRST: Position = Position { index: 1, term: 1 };
const RAFT_ID: u64 = 7;

/// A daemon without a process.
struct World {
    now: u64,
    member: Member,
    raft: RaftCore,
    scheduler: Scheduler,
    runtime: RuntimeCore,
    steps: VecDeque<Step>,
    /// While off, batches stay in `unwritten`.
    disk_on: bool,
    unwritten: Vec<u64>,
    published: Arc<State>,
    answers: Vec<(Ticket, Answer, u64)>,
    /// Nodes that were told of their removal.
    told: Vec<NodeId>,
    /// Off where a thousand checks of a growing state would take minutes.
    checks: bool,
}

impl World {
    fn new() -> World {
        let mut state = State::default();
        let init = init();
        jaco_state::apply(&mut state, FIRST.index, &init).result.expect("init is accepted");
        let members = Members { voters: vec![RAFT_ID], learners: Vec::new() };
        let image = encode_state(&state, FIRST, &members).expect("it encodes");
        let state = decode_state(FIRST.index, &image).expect("it decodes");
        let durable = DurableLog {
            hard_state: HardState { term: 1, vote: 0, commit: 1 },
            snapshot: SnapshotMeta { at: FIRST, members: members.clone() },
            members: (1, members),
            truncated: FIRST,
            entries: Vec::new(),
        };
        let me = Me { node: node_id(), raft_id: RAFT_ID };
        World {
            now: 0,
            published: Arc::new(state.clone()),
            member: Member::new(Now::default(), me, start(state, FIRST.index)),
            raft: RaftCore::new(Config::new(RAFT_ID, 1), durable).expect("the log is valid"),
            scheduler: Scheduler::new(1),
            runtime: RuntimeCore::new(host(), Settings::default(), 1),
            steps: VecDeque::new(),
            disk_on: true,
            unwritten: Vec::new(),
            answers: Vec::new(),
            told: Vec::new(),
            checks: true,
        }
    }

    fn now(&self) -> Now {
        Now { mono: Mono(self.now), wall: Wall(1_000_000 + self.now) }
    }

    /// Wakes every core whose deadline is near and runs until nothing is left to do.
    fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        loop {
            let effects = self.raft.wake(self.now());
            self.raft_effects(effects);
            let effects = self.scheduler.wake(self.now());
            self.scheduler_effects(effects);
            let effects = self.runtime.wake(self.now());
            self.runtime_effects(effects);
            self.drain();
            let deadlines =
                [self.raft.deadline(), self.scheduler.deadline(), self.runtime.deadline()];
            match deadlines.into_iter().flatten().min() {
                Some(Mono(at)) if at <= end => self.now = at.max(self.now + 1),
                Some(_) | None => break,
            }
        }
        self.now = end;
    }

    /// Everybody who was told that he was removed knows it.
    fn all_know(&mut self) {
        for node in std::mem::take(&mut self.told) {
            let steps = self.member.told_removed(self.now(), node);
            self.steps.extend(steps);
        }
        self.run(100);
    }

    fn drain(&mut self) {
        while let Some(step) = self.steps.pop_front() {
            match step {
                Step::Deliver(delivery) => self.deliver(*delivery),
                Step::Io(io) => self.io(io),
            }
            if self.checks {
                self.member.check_invariants();
            }
        }
    }

    fn deliver(&mut self, delivery: Delivery) {
        let now = self.now();
        match delivery {
            Delivery::Raft(input) => {
                let effects = self.raft.step(now, input);
                self.raft_effects(effects);
            }
            Delivery::Scheduler(input) => {
                let effects = self.scheduler.step(now, input);
                self.scheduler_effects(effects);
            }
            Delivery::Runtime(input) => {
                let effects = self.runtime.step(now, input);
                self.runtime_effects(effects);
            }
            // There is nobody to watch, and no network to make.
            Delivery::Liveness(_)
            | Delivery::Netmesh(_)
            | Delivery::Firewall(_)
            | Delivery::Dns(_)
            | Delivery::Ingress(_)
            | Delivery::Acme(_) => {}
        }
    }

    fn raft_effects(&mut self, effects: Vec<jaco_raft_core::Effect>) {
        for effect in effects {
            let steps = self.member.from_raft(self.now(), effect);
            self.steps.extend(steps);
        }
    }

    fn scheduler_effects(&mut self, effects: Vec<jaco_scheduler::Effect>) {
        for effect in effects {
            let steps = self.member.from_scheduler(self.now(), effect);
            self.steps.extend(steps);
        }
    }

    fn runtime_effects(&mut self, effects: Vec<jaco_runtime_core::Effect>) {
        for effect in effects {
            let steps = self.member.from_runtime(self.now(), effect);
            self.steps.extend(steps);
        }
    }

    fn io(&mut self, io: Io) {
        match io {
            Io::Persist(batch) if self.disk_on => self.written(batch.seq),
            Io::Persist(batch) => self.unwritten.push(batch.seq),
            Io::Publish { state, .. } => self.published = state,
            Io::Answer { ticket, answer, .. } => {
                self.answers.push((ticket, answer, self.published.applied_index));
            }
            // The engine never answers, and nobody asks who leads.
            Io::Runtime(_) | Io::PublishLeader(_) | Io::Peers(_) => {}
            // Nobody is there to hear it.
            Io::Send(_) | Io::EncodeSnapshot { .. } => {}
            Io::TellRemoved(node) => self.told.push(node),
            other => panic!("a single member asks for {other:?}"),
        }
    }

    fn written(&mut self, seq: u64) {
        let input = jaco_raft_core::Input::Persisted { seq, result: Ok(()) };
        let effects = self.raft.step(self.now(), input);
        self.raft_effects(effects);
    }

    fn submit(&mut self, ticket: u64, request: u128, command: Command) {
        self.submit_at(2_000_000, ticket, request, command);
    }

    fn submit_at(&mut self, at: u64, ticket: u64, request: u128, command: Command) {
        let envelope = Envelope {
            request_id: RequestId(request),
            at: WallMs(at),
            identity: Identity::from("local"),
            os_user: None,
            command,
        };
        let steps = self.member.submit(self.now(), Ticket(ticket), &envelope);
        self.steps.extend(steps);
        self.drain();
    }
}

/// What a sole voter knows at its start.
fn start(state: State, last_index: u64) -> Start {
    let members = Members { voters: vec![RAFT_ID], learners: Vec::new() };
    Start { state, members, last_index, is_only_voter: true, session: 99 }
}

fn node_id() -> NodeId {
    NodeId::from("n1")
}

fn host() -> Host {
    Host {
        node: node_id(),
        cluster: ClusterId::from("00112233-4455-4677-8899-aabbccddeeff"),
        address: String::new(),
        api_address: String::new(),
        version: "v0.1.0".to_owned(),
        reserved: Default::default(),
        labels: BTreeMap::new(),
    }
}

fn init() -> Envelope {
    let command = Command::InitCluster(Box::new(InitCluster {
        cluster_id: host().cluster,
        name: "test".to_owned(),
        hash_key: "00".repeat(32),
        history_limit: 10,
        trust: None,
        ipam: Some(jaco_model::entity::Ipam::default()),
        node: Node {
            id: node_id(),
            name: NodeName::from("node-1"),
            raft_id: RAFT_ID,
            status: NodeStatus::Joining,
            schedulable: true,
            voter: true,
            labels: BTreeMap::new(),
            facts: NodeFacts::default(),
            joined_at: WallMs(1),
            serials: Vec::new(),
            liveness_epoch: 0,
            leaving: None,
            mesh_address: None,
        },
    }));
    Envelope {
        request_id: RequestId(1),
        at: WallMs(1),
        identity: Identity::from("bootstrap"),
        os_user: None,
        command,
    }
}

/// A command that is always refused, and durable all the same.
fn unknown_delete() -> Command {
    Command::Delete { deployment: "nobody".into(), volumes: false }
}

#[test]
fn a_sole_member_leads_at_once_and_answers_after_it_shows_the_state() {
    let mut world = World::new();
    world.run(50);
    world.submit(1, 11, unknown_delete());
    let [(ticket, answer, shown)] = &world.answers[..] else { panic!("{:?}", world.answers) };
    assert_eq!(*ticket, Ticket(1));
    let fault = answer.as_ref().unwrap_err();
    assert_eq!(fault.code, ErrorCode::DeploymentNotFound);
    assert_eq!(*shown, world.member.state().applied_index, "shown before it was answered");
}

#[test]
fn nothing_is_answered_before_it_is_durable() {
    let mut world = World::new();
    world.run(50);
    world.disk_on = false;
    world.submit(1, 11, unknown_delete());
    world.submit(2, 12, unknown_delete());
    assert!(world.answers.is_empty());
    world.disk_on = true;
    for seq in std::mem::take(&mut world.unwritten) {
        world.written(seq);
        world.drain();
    }
    let tickets: Vec<u64> = world.answers.iter().map(|(ticket, ..)| ticket.0).collect();
    assert_eq!(tickets, [1, 2]);
}

#[test]
fn a_retry_with_the_same_id_gets_the_same_answer() {
    let mut world = World::new();
    world.run(50);
    world.submit(1, 11, unknown_delete());
    world.submit(2, 11, unknown_delete());
    world.submit(3, 11, Command::Delete { deployment: "other".into(), volumes: true });
    let codes: Vec<_> =
        world.answers.iter().map(|(_, a, _)| a.as_ref().unwrap_err().code).collect();
    assert_eq!(
        codes,
        [
            ErrorCode::DeploymentNotFound,
            ErrorCode::DeploymentNotFound,
            ErrorCode::RequestIdConflict
        ]
    );
}

#[test]
fn a_member_with_nothing_to_do_writes_nothing() {
    let mut world = World::new();
    world.run(1_000);
    let before = world.member.state().applied_index;
    world.run(120_000);
    assert_eq!(world.member.state().applied_index, before);
}

/// Steps that show the state to somebody.
fn shown(steps: &[Step]) -> usize {
    let shows = |step: &&Step| {
        matches!(step, Step::Io(Io::Publish { .. }))
            || matches!(step, Step::Deliver(to) if matches!(**to,
                Delivery::Scheduler(jaco_scheduler::Input::StateChanged { .. })
                | Delivery::Runtime(_)))
    };
    steps.iter().filter(shows).count()
}

#[test]
fn a_restarted_member_shows_nothing_older_than_what_it_had_acknowledged() {
    let mut state = State::default();
    jaco_state::apply(&mut state, FIRST.index, &init()).result.unwrap();
    let me = Me { node: node_id(), raft_id: RAFT_ID };
    let mut member = Member::new(Now::default(), me, start(state, 5));
    assert_eq!(shown(&member.show()), 0);
    let mut entry = |index| {
        let envelope = Envelope { request_id: RequestId(u128::from(index)), ..init() };
        let committed = Committed {
            index,
            term: 2,
            op: None,
            payload: Payload::Command(jaco_wiring::encode(&envelope).unwrap()),
        };
        shown(&member.from_raft(Now::default(), jaco_raft_core::Effect::Apply(vec![committed])))
    };
    assert_eq!(entry(3), 0, "replayed");
    assert_eq!(entry(5), 3, "to watchers, the scheduler and the runtime");
}

#[test]
fn a_node_that_joined_and_never_came_is_removed() {
    let mut world = World::new();
    world.run(50);
    let hash = "5".repeat(64);
    let expires_at = WallMs(3_000_000);
    world.submit(1, 11, Command::IssueJoinToken { secret_hash: hash.clone(), expires_at });
    let Command::InitCluster(first) = init().command else { panic!("a cluster") };
    let (id, name) = (NodeId::from("n2"), NodeName::from("node-2"));
    let node = Node { id: id.clone(), name, raft_id: 8, ..first.node };
    let join = JoinNode { secret_hash: hash, key_digest: "6".repeat(64), node };
    world.submit(2, 12, Command::JoinNode(Box::new(join)));
    let has = |world: &World| world.member.state().nodes.contains_key(&id);
    assert!(has(&world));
    let minutes = |n: u64| 2_000_000 + n * 60_000;
    world.submit_at(minutes(14), 3, 13, unknown_delete());
    world.run(100);
    assert!(has(&world), "a joiner may still come");
    world.submit_at(minutes(16), 4, 14, unknown_delete());
    world.run(10_000);
    assert_eq!(world.told, std::slice::from_ref(&id), "it is told once");
    assert!(has(&world), "it is forgotten before it knows");
    world.all_know();
    assert!(!has(&world), "the ghost stays");
    assert!(world.member.state().tombstones.contains_key(&8));
}

#[test]
fn a_voter_among_others_shows_nothing_by_its_own_log_alone() {
    let mut state = State::default();
    jaco_state::apply(&mut state, FIRST.index, &init()).result.unwrap();
    let me = Me { node: node_id(), raft_id: RAFT_ID };
    // Its snapshot is from when it was alone.
    let among_others = Start { is_only_voter: false, ..start(state, 3) };
    let mut member = Member::new(Now::default(), me, among_others);
    let committed = Committed {
        index: 3,
        term: 2,
        op: None,
        payload: Payload::Command(jaco_wiring::encode(&init()).unwrap()),
    };
    let steps = member.from_raft(Now::default(), jaco_raft_core::Effect::Apply(vec![committed]));
    assert_eq!(shown(&steps), 0, "others may have acknowledged more");
    assert!(!member.has_caught_up());
}

#[test]
fn a_forwarded_command_gets_the_time_of_the_leader() {
    let mut world = World::new();
    world.run(1_000);
    let year = 365 * 24 * 60 * 60 * 1_000;
    let envelope = Envelope {
        request_id: RequestId(77),
        at: WallMs(world.now().wall.0 + year),
        identity: Identity::from("local"),
        os_user: None,
        command: unknown_delete(),
    };
    let data = jaco_wiring::encode(&envelope).unwrap();
    let steps = world.member.forwarded(world.now(), &NodeId::from("n2"), Ticket(5), &data);
    world.steps.extend(steps);
    world.drain();
    assert_eq!(world.answers.last().map(|(ticket, ..)| *ticket), Some(Ticket(5)));
    let cluster_time = world.member.state().cluster.as_ref().unwrap().cluster_time;
    assert!(cluster_time <= WallMs(world.now().wall.0), "{cluster_time}");
}

#[test]
fn a_state_that_most_members_do_not_have_stops_serving() {
    let mut world = World::new();
    world.run(50);
    let hash = "5".repeat(64);
    for n in 2..=3_u64 {
        let secret_hash = format!("{n}{}", &hash[1..]);
        let expires_at = WallMs(3_000_000);
        let token = Command::IssueJoinToken { secret_hash: secret_hash.clone(), expires_at };
        world.submit(n * 10, u128::from(n) * 10, token);
        let Command::InitCluster(first) = init().command else { panic!("a cluster") };
        let (id, name) = (format!("n{n}"), format!("node-{n}"));
        let node = Node {
            id: NodeId::new(id),
            name: NodeName::new(name),
            raft_id: 100 + n,
            voter: false,
            ..first.node
        };
        let join = JoinNode { secret_hash, key_digest: "6".repeat(64), node };
        world.submit(n * 10 + 1, u128::from(n) * 10 + 1, Command::JoinNode(Box::new(join)));
    }
    let said = |world: &World| world.member.with_checkpoint(Word::default()).checkpoint;
    assert_eq!(said(&world), None, "nothing to compare yet");
    let before = world.member.state().applied_index;
    world.checks = false;
    for n in 0..=1_024 - before {
        world.submit(1_000 + n, u128::from(1_000 + n), unknown_delete());
    }
    let mine = said(&world).expect("the log is long enough");
    assert_eq!(mine.index, 1_024);
    let word = |hash: &str, index| {
        let checkpoint = Some(Checkpoint { index, hash: hash.to_owned() });
        Word { checkpoint, ..Word::default() }
    };
    let (second, third) = (NodeId::from("n2"), NodeId::from("n3"));
    assert!(world.member.heard(&second, &word(&mine.hash, 1_024)).is_empty());
    assert!(world.member.heard(&second, &word("other", 2_048)).is_empty(), "another index");
    let found = |steps: Vec<Step>| match &steps[..] {
        [Step::Io(Io::Diverged { index: 1_024, is_minority, .. })] => *is_minority,
        other => panic!("{other:?}"),
    };
    assert!(!found(world.member.heard(&second, &word("other", 1_024))), "one against one");
    assert!(world.member.heard(&second, &word("other", 1_024)).is_empty(), "said once");
    assert!(world.member.heard(&third, &word("a third one", 1_024)).is_empty());
    assert!(found(world.member.heard(&third, &word("other", 1_024))), "two of three");
}
