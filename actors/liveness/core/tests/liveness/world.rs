//! N cores in virtual time: kills, pauses, late timers, and messages that take their time.

use crate::network::{Dice, Network};
use crate::raft::{Declared, Raft};
use jaco_kit_core::{Core, Mono, Now, OpId, Wall};
use jaco_liveness_core::{Effect, Input, LivenessCore, Peer, Settings, Word};
use jaco_model::command::Command;
use jaco_model::{NodeId, NodeName};
use std::collections::{BTreeMap, BTreeSet};

/// When the world begins; not zero, so that differences with zero are seen.
pub(crate) const START: u64 = 1_000;

/// How long the disks of a majority take.
const COMMIT: u64 = 20;

/// One host.
#[derive(Debug)]
pub(crate) struct Node {
    id: NodeId,
    /// None while it is dead.
    pub(crate) core: Option<LivenessCore>,
    /// Which life; answers to an earlier one are lost.
    life: u64,
    /// Stopped as by SIGSTOP: what arrives waits.
    pub(crate) paused: bool,
    backlog: Vec<Event>,
    /// Its core's deadline.
    deadline: Option<u64>,
    /// How late its timer is, in milliseconds.
    pub(crate) late: u64,
    /// The state it has applied, which is still there when it starts again.
    pub(crate) version: u64,
    pub(crate) members: Vec<Peer>,
    /// Whether a dead host still refuses connections.
    refuses: bool,
    /// What its core told routing last.
    pub(crate) suspects: BTreeSet<usize>,
}

#[derive(Clone, Debug)]
enum Event {
    Probe { from: usize, life: u64, op: OpId, to: usize, word: Word },
    Input { to: usize, life: u64, input: Input },
    Propose { by: usize, life: u64, op: OpId, command: Command },
    Tick,
}

/// The cluster.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) network: Network,
    pub(crate) raft: Raft,
    pub(crate) dice: Dice,
    /// What happened, for people.
    pub(crate) lines: Vec<String>,
    pub(crate) declared: Vec<Declared>,
    /// Every proposal, also those that came to nothing: when, by whom, about whom, up.
    pub(crate) proposed: Vec<(u64, usize, usize, bool)>,
    pub(crate) probes: u64,
    /// Whether probes are noted too.
    pub(crate) chatty: bool,
    events: BTreeMap<(u64, u64), Event>,
    sequence: u64,
}

/// Voters of a cluster of so many nodes.
pub(crate) fn voters(nodes: usize) -> usize {
    match nodes {
        0..=2 => 1,
        3..=4 => 3,
        5..=6 => 5,
        _ => 7,
    }
}

impl World {
    /// Nodes `a`, `b`, …, of which `a` leads and the first are voters.
    pub(crate) fn new(count: usize, seed: u64) -> World {
        let ids: Vec<NodeId> =
            (0..count).map(|n| NodeId::new(format!("{:032x}", n + 10))).collect();
        let member = |(n, id): (usize, &NodeId)| Peer {
            node: id.clone(),
            name: NodeName::new(name(n)),
            voter: n < voters(count),
            is_down: false,
            epoch: 0,
        };
        let members: Vec<Peer> = ids.iter().enumerate().map(member).collect();
        let node = |id| Node {
            id,
            core: None,
            life: 0,
            paused: false,
            backlog: Vec::new(),
            deadline: None,
            late: 0,
            version: 1,
            members: members.clone(),
            refuses: true,
            suspects: BTreeSet::new(),
        };
        let mut world = World {
            now: START,
            nodes: ids.iter().cloned().map(node).collect(),
            network: Network::new(),
            raft: Raft::new(members.clone()),
            dice: Dice(seed),
            lines: Vec::new(),
            declared: Vec::new(),
            proposed: Vec::new(),
            probes: 0,
            chatty: false,
            events: BTreeMap::new(),
            sequence: 0,
        };
        for n in 0..count {
            world.start(n);
        }
        world.deliver(0, Input::Leadership(true));
        world.after(100, Event::Tick);
        world
    }

    pub(crate) fn name(&self, node: usize) -> String {
        name(node)
    }

    pub(crate) fn note(&mut self, text: &str) {
        let seconds = (self.now - START) as f64 / 1_000.0;
        self.lines.push(format!("{seconds:>8.3}  {text}"));
    }

    fn after(&mut self, delay: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now + delay, self.sequence), event);
    }

    /// Hands an input to a node; a dead one never gets it.
    pub(crate) fn deliver(&mut self, to: usize, input: Input) {
        let life = self.nodes[to].life;
        self.after(1, Event::Input { to, life, input });
    }

    pub(crate) fn start(&mut self, node: usize) {
        let seed = self.dice.throw(u64::MAX);
        let host = &mut self.nodes[node];
        assert!(host.core.is_none(), "{} runs already", name(node));
        host.life += 1;
        host.paused = false;
        host.suspects.clear();
        host.core = Some(LivenessCore::new(host.id.clone(), Settings::default(), seed));
        let (version, members) = (host.version, host.members.clone());
        self.deliver(node, Input::Applied(version));
        self.deliver(node, Input::Roster(members));
    }

    /// Ends a process; one that ends silently takes its host with it.
    pub(crate) fn kill(&mut self, node: usize, silently: bool) {
        let host = &mut self.nodes[node];
        host.core = None;
        host.deadline = None;
        host.backlog.clear();
        host.refuses = !silently;
        self.raft_lost(node);
    }

    pub(crate) fn pause(&mut self, node: usize) {
        self.nodes[node].paused = true;
    }

    /// What came meanwhile and the timer are seen in either order.
    pub(crate) fn resume(&mut self, node: usize) {
        self.nodes[node].paused = false;
        let backlog = std::mem::take(&mut self.nodes[node].backlog);
        if self.dice.throw(2) == 0 {
            self.wake(node);
        }
        for event in backlog {
            self.handle(event);
        }
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, millis: u64) {
        let end = self.now + millis;
        loop {
            let event = self.events.first_key_value().map(|((at, _), _)| *at);
            let wakes = self.nodes.iter().enumerate().filter_map(|(n, node)| {
                let deadline = node.deadline.filter(|_| !node.paused)?;
                Some((deadline + node.late, n))
            });
            let wake = wakes.min();
            let at = event.into_iter().chain(wake.map(|(at, _)| at)).min();
            let Some(at) = at.filter(|at| *at <= end) else { break };
            // Something may have been put off into the past by a pause.
            self.now = self.now.max(at);
            if event == Some(at) {
                let (_, event) = self.events.pop_first().unwrap();
                self.handle(event);
            } else if let Some((_, node)) = wake {
                self.wake(node);
            }
        }
        self.now = end;
    }

    fn handle(&mut self, event: Event) {
        let (to, life) = match &event {
            Event::Probe { to, .. } => (*to, None),
            Event::Input { to, life, .. } => (*to, Some(*life)),
            Event::Propose { by, life, .. } => (*by, Some(*life)),
            Event::Tick => {
                self.raft_tick();
                return self.after(100, Event::Tick);
            }
        };
        let host = &mut self.nodes[to];
        if host.paused && host.core.is_some() {
            return host.backlog.push(event);
        }
        if life.is_some_and(|life| life != host.life) {
            return;
        }
        match event {
            Event::Probe { from, life, op, to, word } => self.probed(from, life, op, to, word),
            Event::Input { to, input, .. } => self.step(to, input),
            Event::Propose { by, op, command, .. } => {
                let result = self.decide(by, &command);
                let delay = if result.is_ok() { COMMIT } else { 500 };
                let life = self.nodes[by].life;
                let input = Input::Proposed { op, result };
                self.after(delay, Event::Input { to: by, life, input });
            }
            Event::Tick => {}
        }
    }

    fn probed(&mut self, from: usize, life: u64, op: OpId, to: usize, word: Word) {
        let word = Word::decode(&word.encode()).unwrap();
        let is_alive = self.nodes[to].core.is_some();
        if is_alive {
            let id = self.nodes[from].id.clone();
            self.step(to, Input::Heard { from: id, word });
        }
        let input = match &self.nodes[to].core {
            Some(core) => Input::Answered { op, word: core.word() },
            None if self.nodes[to].refuses => Input::Failed { op },
            None => return,
        };
        if let Some(delay) = self.network.delay(&mut self.dice, to, from) {
            self.after(delay, Event::Input { to: from, life, input });
        }
    }

    fn now(&self) -> Now {
        Now { mono: Mono(self.now), wall: Wall(0) }
    }

    pub(crate) fn step(&mut self, node: usize, input: Input) {
        let now = self.now();
        let Some(core) = &mut self.nodes[node].core else { return };
        let effects = core.step(now, input);
        core.check_invariants();
        self.nodes[node].deadline = core.deadline().map(|at| at.0);
        self.perform(node, effects);
    }

    fn wake(&mut self, node: usize) {
        let now = self.now();
        let Some(core) = &mut self.nodes[node].core else { return };
        let effects = core.wake(now);
        core.check_invariants();
        self.nodes[node].deadline = core.deadline().map(|at| at.0);
        self.perform(node, effects);
    }

    fn perform(&mut self, by: usize, effects: Vec<Effect>) {
        let life = self.nodes[by].life;
        for effect in effects {
            match effect {
                Effect::Probe { op, peer, word } => {
                    let to = self.raft.index(&peer);
                    self.probes += 1;
                    if self.chatty {
                        self.note(&format!("{} probes {}", name(by), name(to)));
                    }
                    if let Some(delay) = self.network.delay(&mut self.dice, by, to) {
                        self.after(delay, Event::Probe { from: by, life, op, to, word });
                    }
                }
                Effect::Suspects(peers) => {
                    let peers: BTreeSet<usize> =
                        peers.iter().map(|peer| self.raft.index(peer)).collect();
                    let names: Vec<String> = peers.iter().map(|peer| name(*peer)).collect();
                    self.note(&format!("{} suspects [{}]", name(by), names.join(" ")));
                    self.nodes[by].suspects = peers;
                }
                Effect::Propose { op, command } => {
                    let Command::SetLiveness { node, up, epoch, evidence } = &command else {
                        panic!("{command:?}")
                    };
                    let about = self.raft.index(node);
                    let word = if *up { "up" } else { "down" };
                    let seen = evidence.iter().map(NodeName::as_str).collect::<Vec<_>>().join(" ");
                    let text = format!(
                        "{} proposes {} {word}, change {epoch}, seen by {seen}",
                        name(by),
                        name(about)
                    );
                    self.note(&text);
                    self.proposed.push((self.now, by, about, *up));
                    self.after(1, Event::Propose { by, life, op, command });
                }
            }
        }
    }
}

/// `a` to `z`, then `n26` and so on.
fn name(node: usize) -> String {
    match u8::try_from(node) {
        Ok(n) if n < 26 => char::from(b'a' + n).to_string(),
        _ => format!("n{node}"),
    }
}
