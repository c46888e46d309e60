//! Requests of clients and operators: sent to some node, sent again under the same id until the
//! answer is one that a retry would not change.

use crate::event::{AskId, Attempt, Event, Heard, HostId};
use crate::host::{Caller, Standing};
use crate::queue::{Key, MILLI, Micros, SECOND};
use crate::world::World;
use jaco_model::command::{Command, Envelope, JoinNode, Reply};
use jaco_model::entity::{Node, NodeFacts, NodeStatus};
use jaco_model::{DeploymentName, ErrorCode, Fault, Identity, NodeId, NodeName, RequestId, WallMs};
use std::collections::BTreeMap;

/// How long one attempt may take.
const PATIENCE: Micros = 3 * SECOND;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    /// One of the clients.
    Client(usize),
    /// A host that wants to be a member.
    Joiner(HostId),
    /// An operator who wants a token for some hosts.
    Token(u64),
    /// An operator who removes a node.
    Removal,
    /// Whether a write succeeds from this node.
    Probe(HostId),
}

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// Write this.
    Command(Command),
    /// Read this, linearizably.
    Read(DeploymentName),
    /// Become a member.
    Join { name: NodeName, secret_hash: String, key_digest: String },
    /// Become a member again under a new raft id.
    Rejoin { node: NodeId, old_raft_id: u64 },
}

/// One request on its way.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) owner: Owner,
    pub(crate) what: What,
    pub(crate) since: Micros,
    request_id: RequestId,
    attempt: u32,
    /// The only host to ask.
    pin: Option<HostId>,
    timer: Option<Key>,
}

/// All requests on their way.
#[derive(Debug, Default)]
pub(crate) struct Asks {
    open: BTreeMap<AskId, Ask>,
    last: u64,
}

impl Asks {
    /// Those that nobody has answered.
    pub(crate) fn open(&self) -> impl Iterator<Item = &Ask> {
        self.open.values()
    }

    fn current(&mut self, attempt: Attempt) -> Option<&mut Ask> {
        self.open.get_mut(&attempt.ask).filter(|ask| ask.attempt == attempt.number)
    }
}

impl World {
    /// Begins a request; `pin` is the only host to ask.
    pub(crate) fn ask(&mut self, owner: Owner, what: What, pin: Option<HostId>) {
        self.asks.last += 1;
        let id = AskId(self.asks.last);
        let request_id = RequestId(self.random.id());
        let since = self.now;
        let ask = Ask { owner, what, since, request_id, attempt: 1, pin, timer: None };
        self.asks.open.insert(id, ask);
        self.send_ask(Attempt { ask: id, number: 1 });
    }

    pub(crate) fn send_ask(&mut self, attempt: Attempt) {
        let Some(ask) = self.asks.current(attempt) else { return };
        let (owner, pin, what) = (ask.owner, ask.pin, ask.what.clone());
        let host = pin.or_else(|| match what {
            What::Join { .. } | What::Rejoin { .. } => self.supposed_leader(),
            What::Command(_) | What::Read(_) => self.home(owner).or_else(|| self.some_member()),
        });
        let timer = self.after(PATIENCE, Event::AskExpires(attempt));
        if let Some(ask) = self.asks.current(attempt) {
            ask.timer = Some(timer);
        }
        if let Some(host) = host {
            let delay = self.random.between(100, 3 * MILLI);
            self.after(delay, Event::AskArrives { attempt, host });
        }
    }

    /// The host that a client asks most of the time.
    fn home(&mut self, owner: Owner) -> Option<HostId> {
        let Owner::Client(client) = owner else { return None };
        let home = HostId(client % self.hosts.len());
        let is_usual = self.random.chance(700);
        (is_usual && self.host(home).standing == Standing::Member).then_some(home)
    }

    fn some_member(&mut self) -> Option<HostId> {
        let members: Vec<HostId> = self
            .hosts
            .iter()
            .filter(|host| host.standing == Standing::Member)
            .map(|host| host.id)
            .collect();
        self.random.pick(&members)
    }

    /// Whom some member takes for the leader.
    fn supposed_leader(&mut self) -> Option<HostId> {
        let some = self.some_member()?;
        let leader = self.host(some).running()?.leader.clone()?;
        self.host_of(&leader)
    }

    /// An attempt arrives at the API of a daemon.
    pub(crate) fn ask_arrives(&mut self, attempt: Attempt, host: HostId) {
        let Some(ask) = self.asks.current(attempt) else { return };
        let (request_id, what) = (ask.request_id, ask.what.clone());
        let now = self.clock(host);
        let refuse = |code, message: &str| Heard::Command(Err(Fault::new(code, message)));
        let Some(process) = self.process_mut(host) else {
            return self.tell_client(attempt, refuse(ErrorCode::Unreachable, "connection refused"));
        };
        if process.published.is_none() {
            return self.tell_client(attempt, refuse(ErrorCode::NoLeader, "catching up"));
        }
        let leads = process.leader.as_ref() == Some(&process.me);
        let ticket = process.ticket(Caller::Client(attempt));
        let command = match what {
            What::Read(_) => {
                let steps = process.member.read(now, ticket);
                self.take(host, now, steps);
                return self.work(host);
            }
            What::Command(command) => command,
            What::Join { .. } | What::Rejoin { .. } if !leads => {
                process.callers.remove(&ticket);
                return self.tell_client(attempt, refuse(ErrorCode::NoLeader, "not the leader"));
            }
            What::Join { name, secret_hash, key_digest } => {
                let node = self.newcomer(name);
                Command::JoinNode(Box::new(JoinNode { secret_hash, key_digest, node }))
            }
            What::Rejoin { node, old_raft_id } => {
                let raft_id = self.random.next().max(1);
                Command::RejoinNode { node, old_raft_id, raft_id }
            }
        };
        let is_ours = matches!(command, Command::JoinNode(_) | Command::RejoinNode { .. });
        let envelope = Envelope {
            request_id,
            at: WallMs(now.wall.0),
            identity: Identity::from(if is_ours { "system" } else { "local" }),
            os_user: None,
            command,
        };
        let Some(process) = self.process_mut(host) else { return };
        let steps = process.member.submit(now, ticket, &envelope);
        self.take(host, now, steps);
        self.work(host);
    }

    /// A member as the leader makes it for a joiner: the ids are random.
    pub(crate) fn newcomer(&mut self, name: NodeName) -> Node {
        let address = format!("{name}:7001");
        Node {
            id: NodeId::new(format!("{:032x}", self.random.id())),
            name,
            raft_id: self.random.next().max(1),
            status: NodeStatus::Joining,
            schedulable: true,
            voter: false,
            labels: BTreeMap::new(),
            facts: NodeFacts { address, ..NodeFacts::default() },
            joined_at: WallMs(crate::clock::START),
            serials: Vec::new(),
            liveness_epoch: 0,
            leaving: None,
            mesh_address: None,
        }
    }

    pub(crate) fn ask_hears(&mut self, attempt: Attempt, heard: Heard) {
        let Some(ask) = self.asks.current(attempt) else { return };
        let timer = ask.timer.take();
        let number = u64::from(attempt.number);
        let (owner, at) = (ask.owner, self.now);
        self.trace.note(at, &[6, attempt.ask.0, number], || {
            format!("{owner:?} hears {heard:?} for {attempt:?}")
        });
        if let Some(timer) = timer {
            self.queue.cancel(timer);
        }
        match &heard {
            Heard::Command(Err(fault)) | Heard::Read(Err(fault)) if is_open(fault) => {
                self.ask_again(attempt);
            }
            Heard::Command(answer) => {
                let answer = answer.clone();
                self.ask_ends(attempt, |world, ask| world.command_ends(ask, answer));
            }
            Heard::Read(seen) => {
                let seen = seen.clone();
                self.ask_ends(attempt, |world, ask| world.read_ends(ask, seen));
            }
        }
    }

    pub(crate) fn ask_expires(&mut self, attempt: Attempt) {
        if self.asks.current(attempt).is_some() {
            self.ask_again(attempt);
        }
    }

    fn ask_again(&mut self, attempt: Attempt) {
        let next = Attempt { number: attempt.number + 1, ..attempt };
        if let Some(ask) = self.asks.current(attempt) {
            ask.attempt = next.number;
            let delay = self.random.between(10, 400) * MILLI;
            self.after(delay, Event::Ask(next));
        }
    }

    fn ask_ends(&mut self, attempt: Attempt, end: impl FnOnce(&mut World, Ask)) {
        if let Some(ask) = self.asks.open.remove(&attempt.ask) {
            end(self, ask);
        }
    }

    /// Nobody asks any more for a host that was removed.
    pub(crate) fn drop_asks_for(&mut self, host: HostId) {
        let owners = [Owner::Probe(host), Owner::Joiner(host)];
        self.asks.open.retain(|_, ask| !owners.contains(&ask.owner));
    }

    fn command_ends(&mut self, ask: Ask, answer: Result<Reply, Fault>) {
        match ask.owner {
            Owner::Client(client) => self.write_ends(client, &ask, answer),
            Owner::Joiner(host) => self.join_ends(host, &ask, answer),
            Owner::Token(serial) => self.token_ends(serial, &answer),
            Owner::Probe(_) => {
                let refused = |fault: Fault| self.violate(format!("a probing write: {fault}"));
                answer.map_or_else(refused, |_| ());
            }
            Owner::Removal => {}
        }
    }

    fn read_ends(&mut self, ask: Ask, seen: Result<Option<(u64, u64)>, Fault>) {
        match (ask.owner, seen) {
            (Owner::Client(client), Ok(seen)) => self.read_seen(client, &ask, seen),
            (owner, seen) => self.violate(format!("{owner:?} reads {seen:?}")),
        }
    }

    /// The deployment that an attempt reads, as this daemon shows it now: revision and value.
    pub(crate) fn look_up(&mut self, host: HostId, attempt: Attempt) -> Option<(u64, u64)> {
        let Some(Ask { what: What::Read(name), .. }) = self.asks.current(attempt) else {
            return None;
        };
        let name = name.clone();
        let state = self.host(host).running()?.published.clone()?;
        let record = state.current(&name)?;
        Some((record.number.0, crate::client::value_of(&record.documents)))
    }
}

/// Whether a later attempt may end differently.
fn is_open(fault: &Fault) -> bool {
    matches!(
        fault.code,
        ErrorCode::NoLeader
            | ErrorCode::QuorumLost
            | ErrorCode::TooManyRequests
            | ErrorCode::Unreachable
            | ErrorCode::Forbidden
    )
}
