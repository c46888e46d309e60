//! Clients: each does one thing after another, anywhere, and writes down what it saw.

pub(crate) mod history;
pub(crate) mod linear;
mod spec;

use crate::ask::{Ask, Owner, What};
use crate::event::Event;
use crate::phase::Phase;
use crate::queue::MILLI;
use crate::random::Random;
use crate::world::World;
use history::{History, Operation, Outcome};
use jaco_model::command::{Command, Reply, RestartTarget};
use jaco_model::{DeploymentName, ErrorCode, Fault, Revision, ServiceName};
use std::collections::BTreeMap;

pub(crate) use spec::{door, touch, value_of};

/// Deployments whose history is checked: nobody but clients changes their revision.
const REGISTERS: [&str; 2] = ["alpha", "beta"];
/// One that comes and goes.
const CHURN: &str = "churn";

/// All clients and what they saw.
#[derive(Debug)]
pub(crate) struct Clients {
    random: Random,
    last_value: u64,
    /// The revision that each client saw last, by deployment.
    seen: BTreeMap<(usize, DeploymentName), u64>,
    pub(crate) history: History,
}

impl Clients {
    pub(crate) fn new(random: Random) -> Clients {
        Clients { random, last_value: 0, seen: BTreeMap::new(), history: History::default() }
    }

    fn next_value(&mut self) -> u64 {
        self.last_value += 1;
        self.last_value
    }
}

impl World {
    /// A client does the next thing.
    pub(crate) fn client_acts(&mut self, client: usize) {
        if !matches!(self.phase, Phase::Setup | Phase::Chaos | Phase::Heal { clients: true, .. }) {
            return;
        }
        let random = &mut self.clients.random;
        let register = DeploymentName::from(random.pick(&REGISTERS).unwrap_or(CHURN));
        let kinds =
            if self.plan.has_readers && is_reader(client) { [1, 0, 0] } else { [40, 40, 20] };
        let what = match random.weighted(&kinds) {
            0 => What::Read(register),
            1 => What::Command(self.write(client, register)),
            _ => What::Command(self.churn()),
        };
        self.ask(Owner::Client(client), what, None);
    }

    fn write(&mut self, client: usize, name: DeploymentName) -> Command {
        let value = self.clients.next_value();
        let seen = self.clients.seen.get(&(client, name.clone())).copied();
        let random = &mut self.clients.random;
        let expected = random.chance(600).then_some(Revision(seen.unwrap_or(0)));
        // Most revisions differ in their documents alone and move no container.
        let image = if random.chance(150) { value } else { 0 };
        Command::Apply(Box::new(spec::apply(&name, value, image, 2, expected)))
    }

    fn churn(&mut self) -> Command {
        let value = self.clients.next_value();
        let random = &mut self.clients.random;
        let name = DeploymentName::from(CHURN);
        let replicas = random.between(0, 3);
        match random.weighted(&[4, 3, 1, 2]) {
            0 => Command::Apply(Box::new(spec::apply(&name, value, value % 3, replicas, None))),
            1 => {
                let replicas = u32::try_from(replicas).unwrap_or(0);
                let services = [(ServiceName::from("web"), replicas)].into();
                Command::Scale { deployment: name, services }
            }
            2 => Command::Delete { deployment: name, volumes: random.chance(500) },
            _ => Command::Restart {
                target: RestartTarget::Deployment { deployment: name },
                in_place: random.chance(500),
            },
        }
    }

    pub(crate) fn write_ends(&mut self, client: usize, ask: &Ask, answer: Result<Reply, Fault>) {
        self.think(client);
        let What::Command(Command::Apply(wish)) = &ask.what else { return };
        let name = wish.spec.name.clone();
        if !REGISTERS.contains(&name.as_str()) {
            return;
        }
        let value = value_of(&wish.documents);
        let expected = wish.expected_revision.map(|revision| revision.0);
        let outcome = match answer {
            Ok(Reply::Revised { revision, .. }) => {
                self.clients.seen.insert((client, name.clone()), revision.0);
                Outcome::Written { revision: revision.0 }
            }
            Err(fault) if fault.code == ErrorCode::RevisionConflict => Outcome::Conflict,
            other => {
                let what = format!("a write of {value} to {name} ends with {other:?}");
                return self.violate(what);
            }
        };
        let (begin, end) = (ask.since, self.now);
        let operation = Operation { begin, end: Some(end), value, expected, outcome };
        self.clients.history.add(name, operation);
    }

    pub(crate) fn read_seen(&mut self, client: usize, ask: &Ask, seen: Option<(u64, u64)>) {
        self.think(client);
        let What::Read(name) = &ask.what else { return };
        if let Some((revision, _)) = seen {
            self.clients.seen.insert((client, name.clone()), revision);
        }
        let (begin, end) = (ask.since, Some(self.now));
        let outcome = Outcome::Seen(seen);
        let operation = Operation { begin, end, value: 0, expected: None, outcome };
        self.clients.history.add(name.clone(), operation);
    }

    /// Looks at what clients saw so far; writes under way may have happened or not.
    pub(crate) fn check_history(&self) -> Result<(), String> {
        let open = self.asks.open().filter_map(|ask| {
            let What::Command(Command::Apply(wish)) = &ask.what else { return None };
            let name = wish.spec.name.clone();
            let expected = wish.expected_revision.map(|revision| revision.0);
            let (value, outcome) = (value_of(&wish.documents), Outcome::Unknown);
            let operation = Operation { begin: ask.since, end: None, value, expected, outcome };
            REGISTERS.contains(&name.as_str()).then_some((name, operation))
        });
        self.clients.history.check_with(open)
    }

    fn think(&mut self, client: usize) {
        let (low, high) = if self.plan.has_readers && is_reader(client) {
            (MILLI, 60 * MILLI)
        } else {
            self.plan.think
        };
        let pause = self.clients.random.between(low, high).max(MILLI / 2);
        self.after(pause, Event::Client(client));
    }
}

/// Whether a client is one of those that only read, where there are such.
fn is_reader(client: usize) -> bool {
    client % 2 == 1
}
