//! The course of a run: a cluster is set up, then faults happen, then they end and everything must
//! come to rest.

use crate::ask::{Owner, What};
use crate::client::touch;
use crate::disk::Disk;
use crate::engine::Mode;
use crate::event::{Event, HostId, Turn};
use crate::host::{Host, Process, Standing};
use crate::plan::Weather;
use crate::queue::{MILLI, Micros, SECOND};
use crate::world::World;
use jaco_raft_core::Role;

/// Between two looks.
const LOOK_EVERY: Micros = 250 * MILLI;
/// How long the first members may take to come together.
const SETUP_MAX: Micros = 40 * SECOND;
/// Clients go on for so long after the faults have ended.
const CLIENTS_LINGER: Micros = 3 * SECOND;
/// How long the number of voters may be wrong among members that do not change.
const VOTERS_MAX: Micros = 60 * SECOND;
/// After so long an operator sees to members that know nobody any more.
const STRANDED_AFTER: Micros = 15 * SECOND;
/// How long a healed cluster may take to come to rest.
const HEAL_MAX: Micros = 120 * SECOND;

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Spare hosts join, without faults.
    Setup,
    /// Faults happen.
    Chaos,
    /// No more faults.
    Heal {
        /// Since when.
        since: Micros,
        /// Whether clients still begin new requests.
        clients: bool,
        /// Whether a write from every node was tried.
        probed: bool,
    },
    /// All is well.
    Over,
}

impl World {
    /// Begins the run.
    pub(crate) fn begin(&mut self) {
        let hosts: Vec<HostId> = self.hosts.iter().map(|host| host.id).collect();
        for host in &hosts {
            let delay = self.random.between(0, 200 * MILLI);
            self.boot_after(*host, delay);
        }
        for client in 0..self.plan.clients {
            let delay = self.random.between(500 * MILLI, 2 * SECOND);
            self.after(delay, Event::Client(client));
        }
        if self.plan.grows_first {
            let spares = self.spares();
            for host in spares {
                self.begin_join(vec![host]);
            }
        } else {
            self.begin_chaos();
        }
        self.after(LOOK_EVERY, Event::Look);
    }

    /// Hosts in no cluster.
    pub(crate) fn spares(&self) -> Vec<HostId> {
        let spare = self.hosts.iter().filter(|host| host.standing == Standing::Spare);
        spare.map(|host| host.id).collect()
    }

    fn begin_chaos(&mut self) {
        self.phase = Phase::Chaos;
        self.weather = self.plan.weather.clone();
        let chaos = self.plan.chaos;
        self.chaos_ends = self.now + chaos;
        self.after(SECOND, Event::Fault);
    }

    pub(crate) fn look(&mut self) {
        self.after(LOOK_EVERY, Event::Look);
        match self.phase {
            Phase::Setup => {
                let all_in = self.hosts.iter().all(|host| host.standing == Standing::Member);
                if (all_in && self.check_voters().is_ok()) || self.now > SETUP_MAX {
                    self.begin_chaos();
                }
            }
            Phase::Chaos if self.now >= self.chaos_ends => self.heal(),
            Phase::Heal { since, clients, probed } => self.look_at_healing(since, clients, probed),
            Phase::Chaos | Phase::Over => {}
        }
    }

    /// Ends all faults.
    fn heal(&mut self) {
        self.trace.note(self.now, &[8], || "all faults end");
        let history = self.check_history();
        self.require(history);
        self.phase = Phase::Heal { since: self.now, clients: true, probed: false };
        self.weather = Weather::fair();
        self.cuts.clear();
        self.plan.engine_faults = 0;
        for host in self.hosts.iter().map(|host| host.id).collect::<Vec<_>>() {
            let now = self.now;
            let this = self.host_mut(host);
            this.is_slow = false;
            if let Some(Disk { is_full, fails_once, .. }) = &mut this.disk {
                (*is_full, *fails_once) = (false, false);
            }
            if this.paused_until.is_some() {
                this.paused_until = Some(now);
                self.after(0, Event::Resume(host));
            }
            if self.host(host).engine.mode != Mode::Up {
                let serial = self.host(host).engine_serial;
                self.after(0, Event::EngineTurn { host, serial, turn: Turn::Up });
            }
        }
    }

    fn look_at_healing(&mut self, since: Micros, clients: bool, probed: bool) {
        let time = self.now - since;
        for host in self.strangers() {
            let life = self.host(host).alive();
            self.removed(life);
        }
        if time > STRANDED_AFTER {
            self.rescue_stranded();
        }
        self.note_membership();
        if self.now - self.stable_since.max(since) > VOTERS_MAX {
            let check = self.check_voters();
            self.require(check.map_err(|what| format!("invariant 8: after 60 s {what}")));
        }
        if clients && time > CLIENTS_LINGER {
            self.phase = Phase::Heal { since, clients: false, probed };
        }
        let waits = self.asks.open().next().map(|ask| format!("{:?} waits", ask.owner));
        let state = match waits {
            Some(waits) => Err(waits),
            None if clients => Err("clients go on".to_owned()),
            None if !probed => {
                self.phase = Phase::Heal { since, clients, probed: true };
                self.probe();
                Err("probing writes begin".to_owned())
            }
            None => self.settled(),
        };
        match state {
            Ok(()) => {
                let promises = self.check_promises();
                self.require(promises);
                self.phase = Phase::Over;
            }
            Err(what) if time > HEAL_MAX => {
                self.violate(format!("invariant 26: 120 s after the last fault, {what}"));
            }
            Err(_) => {}
        }
    }

    /// A member that was away while the others got new raft ids does not know the leader, and the
    /// transport lets through only what it knows: its operator joins it again.
    fn rescue_stranded(&mut self) {
        let leads = |process: &&Process| process.raft.status().role == Role::Leader;
        let leader = self.hosts.iter().filter_map(Host::running).filter(leads);
        let Some(leader) = leader.max_by_key(|process| process.raft.status().term) else { return };
        let (node, raft_id) = (leader.me.clone(), leader.raft_id);
        let is_stranded = |host: &&Host| {
            host.running().is_some_and(|process| {
                process.me != node && process.peers.get(&node) != Some(&raft_id)
            })
        };
        let stranded: Vec<HostId> = self.hosts.iter().filter(is_stranded).map(|h| h.id).collect();
        for host in stranded {
            let at = self.now;
            self.trace.note(at, &[12, host.number()], || format!("{host} is stranded"));
            self.stranded += 1;
            self.wipe(host);
        }
    }

    /// A write from every node must succeed.
    fn probe(&mut self) {
        let members = self.hosts.iter().filter(|host| host.standing == Standing::Member);
        let members: Vec<HostId> = members.map(|host| host.id).collect();
        for host in members {
            self.ask(Owner::Probe(host), What::Command(touch()), Some(host));
        }
    }

    /// Notes when members last came, went or got another raft id.
    fn note_membership(&mut self) {
        let nodes = self.ledger.newest.nodes.values();
        let ids: Vec<u64> = nodes.map(|node| node.raft_id).collect();
        if ids != self.last_members {
            self.last_members = ids;
            self.stable_since = self.now;
        }
    }
}
