//! The daemon's main thread: the shells, one wiring table, and the drivers behind them.
//!
//! Effects of the cores go through `jaco_wiring::Member`, which says what becomes of them; this
//! file only moves messages and calls drivers. Other threads (the API, the log writer) talk to it
//! through channels and mailboxes.

use crate::daemon::identity::RosterFile;
use crate::daemon::network::decode_fault;
use crate::daemon::persist::Disk;
use actix::Recipient;
use jaco_api::Membership;
use jaco_kit::{Broken, Clock, Deliver, Perform};
use jaco_kit_core::{Mono, OpId};
use jaco_liveness_core::Word;
use jaco_model::command::{Envelope, Reply};
use jaco_model::{ErrorCode, Fault, NodeId};
use jaco_peers::tls::RosterEntry;
use jaco_peers::transport::{CallError, Peers};
use jaco_runtime::DriverHandle;
use jaco_state::State;
use jaco_wire::peer::Method;
use jaco_wiring::{Delivery, Io, Member, Peer, Step, Ticket};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// Where a command stands in the log (0 when nothing was written), and its answer.
pub(crate) type Written = (u64, Result<Reply, Fault>);

/// Addresses of the shells; set again when one is rebuilt.
#[derive(Default)]
pub(crate) struct Links {
    /// The raft shell.
    pub(crate) raft: Option<Recipient<Deliver<jaco_raft_core::Input>>>,
    /// The scheduler's shell.
    pub(crate) scheduler: Option<Recipient<Deliver<jaco_scheduler::Input>>>,
    /// The runtime's shell.
    pub(crate) runtime: Option<Recipient<Deliver<jaco_runtime_core::Input>>>,
    /// The liveness shell.
    pub(crate) liveness: Option<Recipient<Deliver<jaco_liveness_core::Input>>>,
}

/// What everyone outside the main thread may watch.
#[derive(Clone)]
pub(crate) struct Boards {
    /// The replicated state.
    pub(crate) state: watch::Sender<Arc<State>>,
    /// Whether this daemon is in a cluster, and who leads it.
    pub(crate) membership: watch::Sender<Membership>,
    /// Peers that routing should avoid.
    pub(crate) suspects: watch::Sender<BTreeSet<NodeId>>,
    /// The way to the other members, once there is one.
    pub(crate) peers: watch::Sender<Option<Peers>>,
}

impl Default for Boards {
    fn default() -> Boards {
        Boards {
            state: watch::Sender::new(Arc::new(State::default())),
            membership: watch::Sender::new(Membership::Uninitialized),
            suspects: watch::Sender::new(BTreeSet::new()),
            peers: watch::Sender::new(None),
        }
    }
}

/// Shared by the performers of all shells; lives on the main thread.
#[derive(Clone)]
pub(crate) struct Hub {
    inner: Rc<RefCell<Inner>>,
}

struct Inner {
    me: NodeId,
    member: Member,
    links: Links,
    disk: Disk,
    engine: DriverHandle,
    boards: Boards,
    waiting: BTreeMap<Ticket, oneshot::Sender<Written>>,
    reading: BTreeMap<Ticket, oneshot::Sender<Result<u64, Fault>>>,
    last_ticket: u64,
    peers: Option<Peers>,
    /// The members as last shown, for a transport that is opened later.
    roster: Vec<Peer>,
    /// Where the members are kept for a start without a usable log.
    roster_file: Option<RosterFile>,
    /// Snapshots of a leader on their way to the disk, by index.
    installing: Vec<(u64, oneshot::Sender<bool>)>,
    /// What this node last said of others.
    word: Word,
    /// The member's timer.
    timer: Option<Mono>,
    clock: Clock,
    /// Who leads, as far as this member knows.
    leader: Option<NodeId>,
    /// Whether a state was shown since the start.
    is_shown: bool,
    /// Why the member must stop, once it must.
    fatal: Option<jaco_wiring::Error>,
}

impl Inner {
    /// Says who leads, but not before there is a state to go with it.
    fn publish_membership(&self) {
        if self.is_shown {
            let (node, leader) = (self.me.clone(), self.leader.clone());
            self.boards.membership.send_replace(Membership::Member { node, leader });
        }
    }
}

impl Inner {
    fn ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        Ticket(self.last_ticket)
    }

    /// What needs no other member.
    fn io(&mut self, io: Io) {
        match io {
            Io::Persist(batch) => self.disk.persist(batch),
            Io::EncodeSnapshot { at, members, state } => self.disk.encode(at, members, state),
            Io::LoadSnapshot(at) => self.disk.load(at),
            Io::Runtime(effect) => self.engine.run(effect),
            Io::Answer { ticket, index, answer } => {
                if let Some(waiting) = self.waiting.remove(&ticket) {
                    // A caller that went away does not want the answer any more.
                    let _ = waiting.send((index, answer));
                }
            }
            Io::AnswerRead { ticket, result } => {
                if let Some(reading) = self.reading.remove(&ticket) {
                    let _ = reading.send(result);
                }
            }
            Io::Publish { state, events } => {
                publish(&self.boards, state, &events);
                self.is_shown = true;
                self.publish_membership();
            }
            Io::PublishLeader(leader) => {
                self.leader = leader;
                self.publish_membership();
            }
            Io::PublishSuspects(suspects) => {
                self.boards.suspects.send_replace(suspects);
            }
            Io::Peers(roster) => self.show_roster(roster),
            Io::Send(messages) => match &self.peers {
                Some(peers) => peers.send(messages),
                None => tracing::debug!(count = messages.len(), "no peers to send to"),
            },
            Io::Violation { from, what } => tracing::warn!(from, what, "peer violation"),
            Io::Fatal(error) => self.fatal = Some(error),
            // Taken before: they need the other members.
            Io::Forward { .. } | Io::AskRead { .. } | Io::Probe { .. } | Io::TellRemoved(_) => {}
        }
    }

    fn show_roster(&mut self, roster: Vec<Peer>) {
        if roster == self.roster {
            return;
        }
        if let Some(peers) = &self.peers {
            peers.set_roster(roster.iter().map(entry).collect());
        }
        if let Some(file) = &self.roster_file {
            file.write(&roster);
        }
        self.roster = roster;
    }

    /// Tells the leader's transport that its snapshot is in use here.
    fn installed(&mut self, index: u64) {
        let waiting = std::mem::take(&mut self.installing);
        for (at, installed) in waiting {
            if at <= index {
                // The connection may have gone; raft finds out by itself.
                let _ = installed.send(true);
            } else {
                self.installing.push((at, installed));
            }
        }
    }
}

fn entry(peer: &Peer) -> RosterEntry {
    RosterEntry {
        node: peer.node.clone(),
        raft_id: peer.raft_id,
        address: peer.address.clone(),
        serials: peer.serials.clone(),
    }
}

/// How long the leader may take with a command.
const FORWARD_LIMIT: Duration = Duration::from_secs(10);
/// How long the leader may take to say how far its log is.
const READ_LIMIT: Duration = Duration::from_secs(3);
/// The liveness core waits no longer than this for an answer.
const PROBE_LIMIT: Duration = Duration::from_millis(400);

/// How the leader answers a command that was handed to it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ForwardReply {
    pub(crate) index: u64,
    pub(crate) result: Result<Reply, Fault>,
}

fn unclear(error: serde_json::Error) -> Fault {
    Fault::new(
        ErrorCode::VersionSkew,
        format!("the answer of the leader is not understood: {error}"),
    )
}

/// Another member did not answer: what it was asked may have happened.
fn unreachable(host: &str, reason: &str) -> Fault {
    Fault::new(ErrorCode::NodeUnreachable, format!("{host}: {reason}"))
        .with("host", host)
        .with("outcome", "unknown")
}

/// What a hub is made of.
pub(crate) struct Parts {
    /// This node.
    pub(crate) me: NodeId,
    /// The state machine.
    pub(crate) member: Member,
    /// The log writer.
    pub(crate) disk: Disk,
    /// The engine driver.
    pub(crate) engine: DriverHandle,
    /// What others watch.
    pub(crate) boards: Boards,
    /// The one clock.
    pub(crate) clock: Clock,
    /// Where the members are kept.
    pub(crate) roster_file: Option<RosterFile>,
}

impl Hub {
    /// A hub whose shells are not linked yet.
    pub(crate) fn new(parts: Parts) -> Hub {
        let Parts { me, member, disk, engine, boards, clock, roster_file } = parts;
        let inner = Inner {
            me,
            member,
            links: Links::default(),
            disk,
            engine,
            boards,
            waiting: BTreeMap::new(),
            reading: BTreeMap::new(),
            last_ticket: 0,
            peers: None,
            roster: Vec::new(),
            roster_file,
            installing: Vec::new(),
            word: Word::default(),
            timer: None,
            clock,
            leader: None,
            is_shown: false,
            fatal: None,
        };
        Hub { inner: Rc::new(RefCell::new(inner)) }
    }

    /// Sets addresses of shells.
    pub(crate) fn link(&self, set: impl FnOnce(&mut Links)) {
        set(&mut self.inner.borrow_mut().links);
    }

    /// A command of the API.
    pub(crate) fn submit(&self, envelope: &Envelope, answer: oneshot::Sender<Written>) {
        let now = self.now();
        let steps = {
            let mut inner = self.inner.borrow_mut();
            let ticket = inner.ticket();
            inner.waiting.insert(ticket, answer);
            inner.member.submit(now, ticket, envelope)
        };
        self.run(steps);
    }

    /// As [`Hub::submit`], for tasks of this thread.
    pub(crate) async fn propose(&self, envelope: &Envelope) -> Result<Reply, Fault> {
        let (sender, answer) = oneshot::channel();
        self.submit(envelope, sender);
        match answer.await {
            Ok((_, result)) => result,
            Err(_) => Err(crate::daemon::backend::stopping()),
        }
    }

    /// A command that another member hands over.
    pub(crate) fn forwarded(&self, from: &NodeId, data: Vec<u8>, answer: oneshot::Sender<Written>) {
        let steps = {
            let mut inner = self.inner.borrow_mut();
            let ticket = inner.ticket();
            inner.waiting.insert(ticket, answer);
            inner.member.forwarded(from, ticket, data)
        };
        self.run(steps);
    }

    /// A read that must see everything acknowledged before it; `forwarded` by another member that
    /// takes this one for the leader.
    pub(crate) fn read(&self, forwarded: bool, answer: oneshot::Sender<Result<u64, Fault>>) {
        let now = self.now();
        let steps = {
            let mut inner = self.inner.borrow_mut();
            let ticket = inner.ticket();
            inner.reading.insert(ticket, answer);
            match forwarded {
                true => inner.member.read_forwarded(ticket),
                false => inner.member.read(now, ticket),
            }
        };
        self.run(steps);
    }

    /// A probe of another member; gives what this one has to say.
    pub(crate) fn heard(&self, from: NodeId, word: Word) -> Word {
        let inner = self.inner.borrow();
        let input = jaco_liveness_core::Input::Heard { from, word };
        push_to(inner.links.liveness.as_ref(), input);
        let applied_index = inner.member.state().applied_index;
        Word { applied_index, ..inner.word.clone() }
    }

    /// Takes a snapshot of the leader in; `installed` is told once it is durable and shown.
    pub(crate) fn install(
        &self,
        message: Box<jaco_raft_core::eraftpb::Message>,
        installed: oneshot::Sender<bool>,
    ) {
        let index = message.get_snapshot().get_metadata().index;
        let is_intact = jaco_wire::verify_snapshot(&message.get_snapshot().data).is_ok();
        let mut inner = self.inner.borrow_mut();
        if !is_intact {
            tracing::warn!(index, "snapshot of a peer is damaged");
            // The sender of a snapshot that is not installed tries again.
            let _ = installed.send(false);
            return;
        }
        let is_known = inner.member.state().applied_index >= index;
        if is_known {
            let _ = installed.send(true);
        } else {
            inner.installing.push((index, installed));
        }
        push_to(inner.links.raft.as_ref(), jaco_raft_core::Input::PeerMessage(message));
    }

    /// Opens the way to the other members.
    pub(crate) fn connect(&self, peers: Peers) {
        let mut inner = self.inner.borrow_mut();
        if !inner.roster.is_empty() {
            peers.set_roster(inner.roster.iter().map(entry).collect());
        }
        inner.boards.peers.send_replace(Some(peers.clone()));
        inner.peers = Some(peers);
    }

    /// Says to members that this node is there, so that they need not find out by trying.
    pub(crate) fn greet(&self, nodes: Vec<NodeId>) {
        for node in nodes {
            let hub = self.clone();
            actix::spawn(async move {
                let word = Word::default().encode();
                // One that does not answer finds out later.
                drop(hub.call(&node, Method::Ping, word, FORWARD_LIMIT).await);
            });
        }
    }

    /// The way to the other members, if it is open.
    pub(crate) fn peers(&self) -> Option<Peers> {
        self.inner.borrow().peers.clone()
    }

    /// The replicated state as of now.
    pub(crate) fn state(&self) -> Arc<State> {
        Arc::new(self.inner.borrow().member.state().clone())
    }

    /// Whether this member leads.
    pub(crate) fn leads(&self) -> bool {
        let inner = self.inner.borrow();
        inner.leader.as_ref() == Some(&inner.me)
    }

    /// The leader, when it is another member.
    pub(crate) fn leader_elsewhere(&self) -> Option<NodeId> {
        let inner = self.inner.borrow();
        inner.leader.clone().filter(|leader| *leader != inner.me)
    }

    /// Why a command cannot be written now.
    pub(crate) fn leaderless(&self) -> Fault {
        Fault::new(ErrorCode::NoLeader, "an election is under way").with("retry_after", 1)
    }

    /// Calls another member.
    pub(crate) async fn call(
        &self,
        node: &NodeId,
        method: Method,
        payload: Vec<u8>,
        limit: Duration,
    ) -> Result<Vec<u8>, Fault> {
        let host = self.state().nodes.get(node).map(|node| node.name.to_string());
        let host = host.unwrap_or_else(|| node.to_string());
        let Some(peers) = self.peers() else { return Err(unreachable(&host, "no network")) };
        peers.call(node, method, payload, limit).await.map_err(|error| match error {
            CallError::Refused(text) => decode_fault(&text),
            other => unreachable(&host, &other.to_string()),
        })
    }

    /// Hands leadership over if this member has it; before a planned stop.
    pub(crate) fn hand_over(&self) {
        let inner = self.inner.borrow();
        push_to(inner.links.raft.as_ref(), jaco_raft_core::Input::TransferLeadership);
        push_to(inner.links.liveness.as_ref(), jaco_liveness_core::Input::Pausing);
    }

    /// Lets the runtime see that nothing is wanted here any more.
    pub(crate) fn clear_out(&self) {
        let inner = self.inner.borrow();
        let state = inner.member.state().without_instances();
        let input = jaco_runtime_core::Input::StateChanged(Arc::new(state));
        push_to(inner.links.runtime.as_ref(), input);
    }

    /// Shows the current state to everyone, among them a shell that was just built; nothing while
    /// the log is still being read.
    pub(crate) fn show_state(&self) {
        let steps = self.inner.borrow().member.show();
        self.run(steps);
    }

    /// Takes the steps in order. A delivery only fills a mailbox, so this never recurses.
    fn run(&self, steps: Vec<Step>) {
        let mut steps = VecDeque::from(steps);
        while let Some(step) = steps.pop_front() {
            match step {
                Step::Deliver(delivery) => self.deliver(*delivery),
                Step::Io(io) => self.io(io),
            }
        }
        self.arm();
    }

    fn deliver(&self, delivery: Delivery) {
        let inner = self.inner.borrow();
        match delivery {
            Delivery::Raft(input) => push_to(inner.links.raft.as_ref(), input),
            Delivery::Scheduler(input) => push_to(inner.links.scheduler.as_ref(), input),
            Delivery::Runtime(input) => push_to(inner.links.runtime.as_ref(), input),
            Delivery::Liveness(input) => push_to(inner.links.liveness.as_ref(), input),
        }
    }

    fn io(&self, io: Io) {
        match io {
            Io::Forward { op, to, data } => self.forward(op, to, data),
            Io::AskRead { op, to } => self.ask_read(op, to),
            Io::Probe { op, to, word } => self.probe(op, to, word),
            Io::TellRemoved(node) => self.tell_removed(node),
            other => self.inner.borrow_mut().io(other),
        }
    }

    /// Hands a command to the leader.
    fn forward(&self, op: OpId, to: NodeId, data: Vec<u8>) {
        let hub = self.clone();
        actix::spawn(async move {
            let answered = hub.call(&to, Method::Forward, data, FORWARD_LIMIT).await;
            let outcome = answered.and_then(|bytes| {
                let answer: ForwardReply = serde_json::from_slice(&bytes).map_err(unclear)?;
                Ok((answer.index, answer.result))
            });
            let steps = hub.inner.borrow_mut().member.forward_answered(op, outcome);
            hub.run(steps);
        });
    }

    fn ask_read(&self, op: OpId, to: NodeId) {
        let hub = self.clone();
        actix::spawn(async move {
            let answered = hub.call(&to, Method::ReadIndex, Vec::new(), READ_LIMIT).await;
            let result = answered.and_then(|bytes| serde_json::from_slice(&bytes).map_err(unclear));
            let now = hub.now();
            let steps = hub.inner.borrow_mut().member.read_answered(now, op, result);
            hub.run(steps);
        });
    }

    fn probe(&self, op: OpId, to: NodeId, word: Word) {
        let hub = self.clone();
        self.inner.borrow_mut().word = word.clone();
        actix::spawn(async move {
            let answered = hub.call(&to, Method::Ping, word.encode(), PROBE_LIMIT).await;
            let answered = answered.ok().and_then(|bytes| Word::decode(&bytes).ok());
            let input = match answered {
                Some(word) => jaco_liveness_core::Input::Answered { op, word },
                None => jaco_liveness_core::Input::Failed { op },
            };
            push_to(hub.inner.borrow().links.liveness.as_ref(), input);
        });
    }

    fn tell_removed(&self, node: NodeId) {
        let hub = self.clone();
        actix::spawn(async move {
            if let Err(fault) = hub.call(&node, Method::Removed, Vec::new(), READ_LIMIT).await {
                tracing::info!(%node, %fault, "removed node does not know it");
            }
        });
    }

    /// Keeps one timer, for the member's deadline.
    fn arm(&self) {
        let (at, wait) = {
            let mut inner = self.inner.borrow_mut();
            let deadline = inner.member.deadline();
            if inner.timer == deadline {
                return;
            }
            inner.timer = deadline;
            let Some(at) = deadline else { return };
            (at, at.since(inner.clock.mono()))
        };
        let hub = self.clone();
        actix::spawn(async move {
            tokio::time::sleep(wait).await;
            if hub.inner.borrow().timer != Some(at) {
                return;
            }
            hub.inner.borrow_mut().timer = None;
            let now = hub.now();
            let steps = hub.inner.borrow_mut().member.wake(now);
            hub.run(steps);
        });
    }

    /// Why the member must stop, once it must.
    fn broken(&self) -> Result<(), Broken> {
        match self.inner.borrow_mut().fatal.take() {
            Some(error) => Err(Broken(crate::daemon::logging::chain(&error))),
            None => Ok(()),
        }
    }

    pub(crate) fn now(&self) -> jaco_kit_core::Now {
        self.inner.borrow().clock.now()
    }
}

/// Shows a new state to all watchers and mirrors the audit log to the log stream.
fn publish(boards: &Boards, state: Arc<State>, events: &[jaco_model::event::Event]) {
    use jaco_model::event::Event;
    for event in events {
        match event {
            Event::Audited(line) => {
                tracing::info!(
                    target: "audit",
                    kind = line.kind, identity = %line.identity, index = line.raft_index,
                    payload = ?line.payload, "audit event"
                );
            }
            Event::InstanceChanged { id, from, to } => {
                let from = from.map_or("new", |state| state.as_str());
                tracing::info!(instance = %id, from, to = to.as_str(), "instance changed");
            }
            Event::Dropped { fault } => tracing::debug!(%fault, "part of a command dropped"),
            Event::ClusterChanged | Event::NodeChanged(_) | Event::DeploymentChanged(_) => {}
        }
    }
    boards.state.send_replace(state);
}

fn push_to<I: fmt::Debug + Send + 'static>(link: Option<&Recipient<Deliver<I>>>, input: I) {
    match link {
        Some(link) => push(link, input),
        None => tracing::debug!(?input, "input for a shell that is being rebuilt"),
    }
}

/// Puts an input into a mailbox; when that is full it waits its turn instead of being lost.
pub(crate) fn push<I: Send + 'static>(link: &Recipient<Deliver<I>>, input: I) {
    match link.try_send(Deliver(input)) {
        Ok(()) => {}
        Err(actix::dev::SendError::Full(message)) => {
            let link = link.clone();
            actix::spawn(async move {
                if link.send(message).await.is_err() {
                    tracing::debug!("input for a shell that has stopped");
                }
            });
        }
        Err(actix::dev::SendError::Closed(_)) => {
            tracing::debug!("input for a shell that has stopped");
        }
    }
}

/// Performs the effects of the raft core.
pub(crate) struct RaftDriver(pub(crate) Hub);

impl Perform<jaco_raft_core::Effect> for RaftDriver {
    fn perform(&mut self, effect: jaco_raft_core::Effect) -> Result<(), Broken> {
        let now = self.0.now();
        let restored = match &effect {
            jaco_raft_core::Effect::Restore { at, .. } => Some(at.index),
            _ => None,
        };
        let steps = self.0.inner.borrow_mut().member.from_raft(now, effect);
        self.0.run(steps);
        if let Some(index) = restored {
            self.0.inner.borrow_mut().installed(index);
        }
        self.0.broken()
    }
}

/// Performs the effects of the scheduler.
pub(crate) struct SchedulerDriver(pub(crate) Hub);

impl Perform<jaco_scheduler::Effect> for SchedulerDriver {
    fn perform(&mut self, effect: jaco_scheduler::Effect) -> Result<(), Broken> {
        let now = self.0.now();
        let steps = self.0.inner.borrow_mut().member.from_scheduler(now, effect);
        self.0.run(steps);
        Ok(())
    }
}

/// Performs the effects of the runtime core.
pub(crate) struct RuntimeDriver(pub(crate) Hub);

impl Perform<jaco_runtime_core::Effect> for RuntimeDriver {
    fn perform(&mut self, effect: jaco_runtime_core::Effect) -> Result<(), Broken> {
        let now = self.0.now();
        let steps = self.0.inner.borrow_mut().member.from_runtime(now, effect);
        self.0.run(steps);
        Ok(())
    }
}

/// Performs the effects of the liveness core.
pub(crate) struct LivenessDriver(pub(crate) Hub);

impl Perform<jaco_liveness_core::Effect> for LivenessDriver {
    fn perform(&mut self, effect: jaco_liveness_core::Effect) -> Result<(), Broken> {
        let now = self.0.now();
        let steps = self.0.inner.borrow_mut().member.from_liveness(now, effect);
        self.0.run(steps);
        Ok(())
    }
}

/// The answer to a command that could not even be handed to the main thread.
pub(crate) fn overloaded() -> Fault {
    Fault::new(ErrorCode::TooManyRequests, "too many changes wait to be written")
        .with("retry_after", 1)
}
