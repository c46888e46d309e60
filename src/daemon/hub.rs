//! The daemon's main thread: the shells, one wiring table, and the drivers behind them.
//!
//! Effects of the cores go through `jaco_wiring::Member`, which says what becomes of them; this
//! file only moves messages and calls drivers. Other threads (the API, the log writer) talk to it
//! through channels and mailboxes.

mod across;
mod dismissed;
mod drivers;
mod look;
mod overlay;
mod seek;

pub(crate) use across::ForwardReply;
use drivers::publish;
pub(crate) use drivers::{LivenessDriver, RaftDriver, RuntimeDriver, SchedulerDriver};
use overlay::Overlay;
pub(crate) use overlay::{AcmeShell, DnsDriver, FirewallDriver, IngressDriver, NetmeshDriver};
use seek::{Hearsay, Whereabouts};

use crate::daemon::identity::RosterFile;
use crate::daemon::persist::Disk;
use actix::Recipient;
use jaco_api::Membership;
use jaco_ingress::{Meters, PortMeters};
use jaco_ingress_core::{ListenKey, SocketFault};
use jaco_kit::{Broken, Clock, Deliver};
use jaco_kit_core::Mono;
use jaco_liveness_core::Word;
use jaco_model::command::{Envelope, Reply};
use jaco_model::{ErrorCode, Fault, NodeId};
use jaco_netmesh_core::MeshView;
use jaco_peers::transport::Peers;
use jaco_runtime::DriverHandle;
use jaco_state::State;
use jaco_wiring::{Delivery, Io, Member, Peer, Step, Ticket};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
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
    /// The mesh's shell.
    pub(crate) netmesh: Option<Recipient<Deliver<jaco_netmesh_core::Input>>>,
    /// The packet filter's shell.
    pub(crate) firewall: Option<Recipient<Deliver<jaco_firewall_core::Input>>>,
    /// The names' shell.
    pub(crate) dns: Option<Recipient<Deliver<jaco_dns_core::Input>>>,
    /// The front door's shell.
    pub(crate) ingress: Option<Recipient<Deliver<jaco_ingress_core::Input>>>,
    /// The shell of certificates.
    pub(crate) acme: Option<Recipient<Deliver<jaco_ingress_core::acme::Input>>>,
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
    /// How the mesh of this node is.
    pub(crate) mesh: watch::Sender<MeshView>,
    /// Sockets of the front door that could not be opened.
    pub(crate) closed: watch::Sender<BTreeMap<ListenKey, SocketFault>>,
    /// What reads the counters of the front door and of published ports, once there are any.
    pub(crate) meters: watch::Sender<Option<(Option<Meters>, Option<PortMeters>)>>,
    pub(crate) renewals: watch::Sender<crate::daemon::metrics::Renewals>,
    /// The way to the other members, once there is one.
    pub(crate) peers: watch::Sender<Option<Peers>>,
    /// Whether this node has learned that it is no member any more.
    pub(crate) removed: watch::Sender<bool>,
}

impl Default for Boards {
    fn default() -> Boards {
        Boards {
            state: watch::Sender::new(Arc::new(State::default())),
            membership: watch::Sender::new(Membership::Uninitialized),
            suspects: watch::Sender::new(BTreeSet::new()),
            mesh: watch::Sender::new(MeshView::default()),
            closed: watch::Sender::new(BTreeMap::new()),
            meters: watch::Sender::new(None),
            renewals: watch::Sender::default(),
            peers: watch::Sender::new(None),
            removed: watch::Sender::new(false),
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
    overlay: Overlay,
    boards: Boards,
    waiting: BTreeMap<Ticket, oneshot::Sender<Written>>,
    reading: BTreeMap<Ticket, oneshot::Sender<Result<u64, Fault>>>,
    last_ticket: u64,
    peers: Option<Peers>,
    /// The members as last shown, for a transport that is opened later.
    roster: Vec<Peer>,
    /// Where the members are kept for a start without a usable log.
    roster_file: Option<RosterFile>,
    /// The members as a file or others know them, while that is newer than the own log.
    hearsay: Hearsay,
    whereabouts: Whereabouts,
    /// Whether others are being asked who the members are.
    is_seeking: bool,
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
            Io::Netmesh(effect) => self.netmesh(effect),
            Io::Firewall(effect) => self.firewall(effect),
            Io::Dns(effect) => self.dns(effect),
            Io::Ingress(effect) => self.ingress(effect),
            Io::Acme { op, at, call } => self.ask_authority(op, at, call),
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
                publish(&self.boards, state, &events, self.leader.as_ref() == Some(&self.me));
                self.is_shown = true;
                self.publish_membership();
                self.forget_hearsay();
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
            Io::Diverged { index, same, against, is_minority } => {
                tracing::error!(index, same, against, "the states of members differ");
                if is_minority {
                    self.fence(index);
                }
            }
            Io::Fatal(error) => self.fatal = Some(error),
            // Taken before: they need the other members.
            Io::Forward { .. } | Io::AskRead { .. } | Io::Probe { .. } | Io::TellRemoved(_) => {}
        }
    }

    /// Stops serving a state that most members do not have; the way back is to join again.
    fn fence(&mut self, index: u64) {
        if let Some(file) = &self.roster_file {
            file.fence(index);
        }
        self.fatal = Some(jaco_wiring::Error::Diverged { index });
    }

    fn show_roster(&mut self, roster: Vec<Peer>) {
        if roster == self.roster {
            return;
        }
        // While the log is still read, the file may know more than it.
        let is_current = roster.iter().all(|peer| peer.serials.is_some());
        if let Some(file) = self.roster_file.as_ref().filter(|_| is_current) {
            file.write(&roster);
        }
        self.roster = roster;
        self.show_transport();
    }
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
            overlay: Overlay::default(),
            boards,
            waiting: BTreeMap::new(),
            reading: BTreeMap::new(),
            last_ticket: 0,
            peers: None,
            roster: Vec::new(),
            roster_file,
            hearsay: Hearsay::default(),
            whereabouts: Whereabouts::default(),
            is_seeking: false,
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

    /// Opens the way to the other members.
    pub(crate) fn connect(&self, peers: Peers) {
        let mut inner = self.inner.borrow_mut();
        inner.boards.peers.send_replace(Some(peers.clone()));
        inner.peers = Some(peers);
        inner.show_transport();
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
        let steps = self.inner.borrow_mut().member.show();
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
            Delivery::Netmesh(input) => push_to(inner.links.netmesh.as_ref(), input),
            Delivery::Firewall(input) => push_to(inner.links.firewall.as_ref(), input),
            Delivery::Dns(input) => push_to(inner.links.dns.as_ref(), input),
            Delivery::Ingress(input) => push_to(inner.links.ingress.as_ref(), input),
            Delivery::Acme(input) => push_to(inner.links.acme.as_ref(), input),
        }
    }

    fn io(&self, io: Io) {
        match io {
            Io::Forward { op, to, data } => self.forward(op, to, data),
            Io::AskRead { op, to } => self.ask_read(op, to),
            Io::Probe { op, to, word } => self.probe(op, to, word),
            Io::TellRemoved(node) => self.tell_removed(node),
            Io::PublishLeader(None) => {
                self.inner.borrow_mut().io(Io::PublishLeader(None));
                self.seek();
            }
            other => self.inner.borrow_mut().io(other),
        }
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

fn push_to<I: Send + 'static>(link: Option<&Recipient<Deliver<I>>>, input: I) {
    match link {
        Some(link) => push(link, input),
        // Not the input itself: it may hold secrets.
        None => tracing::debug!("input for a shell that is being rebuilt"),
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

/// The answer to a command that could not even be handed to the main thread.
pub(crate) fn overloaded() -> Fault {
    Fault::new(ErrorCode::TooManyRequests, "too many changes wait to be written")
        .with("retry_after", 1)
}
