//! The daemon's main thread: three shells, one wiring table, and the drivers behind them.
//!
//! Effects of the cores go through `jaco_wiring::Member`, which says what becomes of them; this
//! file only moves messages and calls drivers. Other threads (the API, the log writer) talk to it
//! through channels and mailboxes.

use crate::daemon::persist::Disk;
use actix::Recipient;
use jaco_api::Membership;
use jaco_kit::{Broken, Clock, Deliver, Perform};
use jaco_model::command::{Envelope, Reply};
use jaco_model::{ErrorCode, Fault, NodeId};
use jaco_runtime::DriverHandle;
use jaco_state::State;
use jaco_wiring::{Delivery, Io, Member, Step, Ticket};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::{oneshot, watch};

/// Addresses of the shells; set again when one is rebuilt.
#[derive(Default)]
pub(crate) struct Links {
    /// The raft shell.
    pub(crate) raft: Option<Recipient<Deliver<jaco_raft_core::Input>>>,
    /// The scheduler's shell.
    pub(crate) scheduler: Option<Recipient<Deliver<jaco_scheduler::Input>>>,
    /// The runtime's shell.
    pub(crate) runtime: Option<Recipient<Deliver<jaco_runtime_core::Input>>>,
}

/// What everyone outside the main thread may watch.
#[derive(Clone)]
pub(crate) struct Boards {
    /// The replicated state.
    pub(crate) state: watch::Sender<Arc<State>>,
    /// Whether this daemon is in a cluster, and who leads it.
    pub(crate) membership: watch::Sender<Membership>,
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
    waiting: BTreeMap<Ticket, oneshot::Sender<Result<Reply, Fault>>>,
    last_ticket: u64,
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
}

impl Hub {
    /// A hub whose shells are not linked yet.
    pub(crate) fn new(parts: Parts) -> Hub {
        let Parts { me, member, disk, engine, boards, clock } = parts;
        let inner = Inner {
            me,
            member,
            links: Links::default(),
            disk,
            engine,
            boards,
            waiting: BTreeMap::new(),
            last_ticket: 0,
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
    pub(crate) fn submit(
        &self,
        envelope: &Envelope,
        answer: oneshot::Sender<Result<Reply, Fault>>,
    ) {
        let steps = {
            let mut inner = self.inner.borrow_mut();
            inner.last_ticket += 1;
            let ticket = Ticket(inner.last_ticket);
            inner.waiting.insert(ticket, answer);
            inner.member.submit(ticket, envelope)
        };
        self.run(steps);
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
    }

    fn deliver(&self, delivery: Delivery) {
        let inner = self.inner.borrow();
        match delivery {
            Delivery::Raft(input) => push_to(inner.links.raft.as_ref(), input),
            Delivery::Scheduler(input) => push_to(inner.links.scheduler.as_ref(), input),
            Delivery::Runtime(input) => push_to(inner.links.runtime.as_ref(), input),
        }
    }

    fn io(&self, io: Io) {
        let mut inner = self.inner.borrow_mut();
        match io {
            Io::Persist(batch) => inner.disk.persist(batch),
            Io::EncodeSnapshot { at, members, state } => inner.disk.encode(at, members, state),
            Io::LoadSnapshot(at) => inner.disk.load(at),
            Io::Runtime(effect) => inner.engine.run(effect),
            Io::Answer { ticket, answer } => {
                if let Some(waiting) = inner.waiting.remove(&ticket) {
                    // A caller that went away does not want the answer any more.
                    let _ = waiting.send(answer);
                }
            }
            Io::Publish { state, events } => {
                publish(&inner.boards, state, &events);
                inner.is_shown = true;
                inner.publish_membership();
            }
            Io::PublishLeader(leader) => {
                inner.leader = leader;
                inner.publish_membership();
            }
            // A single member has no peers: there is nobody to send to or to complain about.
            Io::Send(messages) => tracing::debug!(count = messages.len(), "no peers to send to"),
            Io::Violation { from, what } => tracing::warn!(from, what, "peer violation"),
            Io::Fatal(error) => inner.fatal = Some(error),
        }
    }

    /// Why the member must stop, once it must.
    fn broken(&self) -> Result<(), Broken> {
        match self.inner.borrow_mut().fatal.take() {
            Some(error) => Err(Broken(crate::daemon::logging::chain(&error))),
            None => Ok(()),
        }
    }

    fn now(&self) -> jaco_kit_core::Now {
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
        let steps = self.0.inner.borrow_mut().member.from_raft(effect);
        self.0.run(steps);
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

/// The answer to a command that could not even be handed to the main thread.
pub(crate) fn overloaded() -> Fault {
    Fault::new(ErrorCode::TooManyRequests, "too many changes wait to be written")
        .with("retry_after", 1)
}
