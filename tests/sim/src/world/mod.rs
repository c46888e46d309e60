//! The world: hosts, a network, clients, one true clock, and the queue of what happens next.
//!
//! Files by what happens: daemons start and end (`boot`), cores take inputs (`cores`), their wishes
//! meet the outside (`io`), messages travel (`network`, `calls`), engines work (`engine`), kernels filter (`overlay`)
//! and tunnel (`mesh`), an authority certifies (`certificates`).

mod boot;
mod calls;
mod certificates;
mod cores;
mod engine;
mod io;
mod mesh;
mod network;
mod overlay;
mod seek;

pub(crate) use certificates::Petition;

use crate::admin::Admin;
use crate::ask::Asks;
use crate::authority::Authority;
use crate::check::Ledger;
use crate::client::Clients;
use crate::event::{Event, HostId, Life, Recovery};
use crate::host::{Host, Process};
use crate::phase::Phase;
use crate::plan::{Plan, Weather};
use crate::queue::{Key, Micros, Queue};
use crate::random::Random;
use crate::trace::Trace;
use jaco_kit_core::Now;
use jaco_model::{ClusterId, NodeId};
use std::collections::BTreeSet;

/// One run of one seed.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: Micros,
    pub(crate) queue: Queue<Event>,
    pub(crate) random: Random,
    pub(crate) plan: Plan,
    pub(crate) trace: Trace,
    pub(crate) cluster: ClusterId,
    pub(crate) hosts: Vec<Host>,
    pub(crate) weather: Weather,
    /// Directions in which nothing passes.
    pub(crate) cuts: BTreeSet<(HostId, HostId)>,
    pub(crate) ledger: Ledger,
    pub(crate) asks: Asks,
    pub(crate) clients: Clients,
    pub(crate) admin: Admin,
    pub(crate) authority: Authority,
    pub(crate) phase: Phase,
    /// When the last fault happens.
    pub(crate) chaos_ends: Micros,
    /// Since when the members are the same, and who they are.
    pub(crate) stable_since: Micros,
    pub(crate) last_members: Vec<u64>,
    /// Members that an operator had to join again because they knew nobody any more.
    pub(crate) stranded: u64,
    /// The first promise that was broken.
    pub(crate) violation: Option<String>,
}

impl World {
    /// Lets things happen until the run is over or a promise is broken.
    pub(crate) fn run(&mut self) {
        while self.violation.is_none() && self.phase != Phase::Over {
            let Some((at, event)) = self.queue.pop() else {
                self.violate("nothing is going to happen any more".to_owned());
                return;
            };
            self.now = at.max(self.now);
            self.happen(event);
        }
    }

    fn happen(&mut self, event: Event) {
        if let Some(life) = event.life()
            && self.host(life.host).life != life.number
        {
            return;
        }
        if let Some(host) = event.daemon()
            && self.host(host).paused_until.is_some()
        {
            self.host_mut(host).parked.push_back(event);
            return;
        }
        match event {
            Event::Alarm(life) => self.work(life.host),
            Event::Boot(life) => self.boot(life.host),
            Event::Resume(host) => self.resume(host),
            Event::Durable(life) => self.batch_done(life),
            Event::Tell(life, delivery) => self.tell(life.host, *delivery),
            Event::Raft { from, to, message } => self.message_arrives(from, to, message),
            Event::SnapshotEnd { life, peer, serial, installed } => {
                self.snapshot_ends(life, peer, serial, installed);
            }
            Event::Call { from, to, op, call } => self.call_arrives(from, to, op, call),
            Event::Return { from, life, op, answer } => {
                self.call_returns(from, life, op, *answer);
            }
            Event::Expire { life, op } => self.call_expires(life, op),
            Event::Engine(order) => self.carry_out(order),
            Event::Tunnel(life, effect) => self.tunnel_works(life, &effect),
            Event::Kernel(life, effect) => self.kernel_works(life, &effect),
            Event::EngineReached { life, connection } => {
                self.engine_reached(life.host, connection);
            }
            Event::EngineTurn { host, serial, turn } => self.engine_turns(host, serial, turn),
            Event::Removed { life, by } => self.hears_removal(life, by),
            Event::Seek(life) => self.seek(life),
            Event::Told(life, node) => self.told(life.host, node),
            Event::Ask(attempt) => self.send_ask(attempt),
            Event::AskArrives { attempt, host } => self.ask_arrives(attempt, host),
            Event::AskHears { attempt, heard } => self.ask_hears(attempt, *heard),
            Event::AskExpires(attempt) => self.ask_expires(attempt),
            Event::Client(client) => self.client_acts(client),
            Event::Petition(life, petition) => self.petition_arrives(life, *petition),
            Event::Fault => self.next_fault(),
            Event::Recover(host, Recovery::Space) => self.free_space(host),
            Event::Recover(host, Recovery::Speed) => self.host_mut(host).is_slow = false,
            Event::Stopped(life) => self.stopped(life),
            Event::Look => self.look(),
        }
    }

    pub(crate) fn after(&mut self, delay: Micros, event: Event) -> Key {
        self.queue.push(self.now + delay, event)
    }

    pub(crate) fn host(&self, id: HostId) -> &Host {
        &self.hosts[id.0]
    }

    pub(crate) fn host_mut(&mut self, id: HostId) -> &mut Host {
        &mut self.hosts[id.0]
    }

    pub(crate) fn process_mut(&mut self, id: HostId) -> Option<&mut Process> {
        self.host_mut(id).process.as_deref_mut()
    }

    /// The daemon of that life, if it still runs.
    pub(crate) fn alive_mut(&mut self, life: Life) -> Option<&mut Process> {
        let is_same = self.host(life.host).life == life.number;
        self.process_mut(life.host).filter(|_| is_same)
    }

    /// The host with the certificate of a node.
    pub(crate) fn host_of(&self, node: &NodeId) -> Option<HostId> {
        self.hosts.iter().find(|host| host.node.as_ref() == Some(node)).map(|host| host.id)
    }

    /// The clocks of a host.
    pub(crate) fn clock(&self, id: HostId) -> Now {
        self.host(id).clock.now(self.now)
    }

    /// Notes a broken promise; the first one counts.
    pub(crate) fn violate(&mut self, what: String) {
        if self.violation.is_none() {
            self.trace.note(self.now, &[99], || format!("VIOLATION {what}"));
            self.violation = Some(what);
        }
    }

    /// Notes what a check found.
    pub(crate) fn require(&mut self, check: Result<(), String>) {
        if let Err(what) = check {
            self.violate(what);
        }
    }
}
