//! One fault after another, as the plan weighs them.

use crate::check::table;
use crate::event::{Event, HostId, Recovery};
use crate::host::{Host, Standing};
use crate::phase::Phase;
use crate::plan::{FAULTS, Fault};
use crate::queue::{MILLI, SECOND};
use crate::world::World;
use jaco_model::entity::Leaving;
use jaco_raft_core::Input;
use jaco_wiring::Delivery;

/// How far a wall clock may be off, in milliseconds: cluster time follows the fastest, and what is
/// kept for minutes would be forgotten.
const WALL_OFF_MAX: u64 = 90_000;

impl World {
    /// The next fault, and when the one after it comes.
    pub(crate) fn next_fault(&mut self) {
        if self.phase != Phase::Chaos {
            return;
        }
        let mean = self.plan.fault_every;
        let pause = self.random.between(mean / 10, mean * 2);
        self.after(pause, Event::Fault);
        let (fault, _) = FAULTS[self.random.weighted(&self.plan.faults)];
        let victim = self.victim();
        let at = self.now;
        self.trace.note(at, &[9, fault as u64, victim.map_or(99, HostId::number)], || {
            format!("--- {fault:?} {}", victim.map_or(String::new(), |host| host.to_string()))
        });
        if let Some(host) = victim {
            self.inflict(fault, host);
        }
    }

    /// A member; often the leader, where most is at stake.
    fn victim(&mut self) -> Option<HostId> {
        let leads = |host: &&Host| {
            host.running().is_some_and(|process| process.leader.as_ref() == Some(&process.me))
        };
        let leader = self.hosts.iter().find(leads).map(|host| host.id);
        if leader.is_some() && self.random.chance(350) {
            return leader;
        }
        let members = self.hosts.iter().filter(|host| host.standing == Standing::Member);
        let members: Vec<HostId> = members.map(|host| host.id).collect();
        self.random.pick(&members)
    }

    fn inflict(&mut self, fault: Fault, host: HostId) {
        match fault {
            Fault::Crash => self.crash(host),
            Fault::CrashAll => {
                for host in self.all() {
                    self.crash(host);
                }
            }
            Fault::Stop => self.stop(host),
            Fault::Pause => {
                let time = self.random.between(300 * MILLI, 8 * SECOND);
                self.pause(host, time);
            }
            Fault::Suspend => {
                let time = self.random.between(SECOND, 8 * SECOND);
                if self.host(host).paused_until.is_none() && self.host(host).process.is_some() {
                    self.host_mut(host).clock.sleep(time);
                    self.pause(host, time);
                }
            }
            Fault::Halves => self.cut_groups(true),
            Fault::OneWay => self.cut_groups(false),
            Fault::Isolate => self.isolate(host),
            Fault::Bridge => self.bridge(host),
            Fault::Mend => self.cuts.clear(),
            Fault::DiskFull | Fault::SyncFails | Fault::SlowDisk => self.spoil_disk(fault, host),
            Fault::ClockJump => {
                let off = self.random.between(0, 2 * WALL_OFF_MAX);
                let off =
                    i64::try_from(off).unwrap_or(0) - i64::try_from(WALL_OFF_MAX).unwrap_or(0);
                self.host_mut(host).clock.set_wall(off);
            }
            Fault::Wipe => {
                if self.may_lose_disk(host) {
                    self.wipe(host);
                }
            }
            Fault::Join => self.join(),
            Fault::Remove => self.remove(host),
            Fault::EngineRestart => {
                let time = self.random.between(500 * MILLI, 5 * SECOND);
                self.restart_engine(host, time);
            }
            Fault::EngineHang => {
                let time = self.random.between(SECOND, 15 * SECOND);
                self.hang_engine(host, time);
            }
            Fault::ContainerEnds => self.end_container(host),
            Fault::FlushFilter => self.flush_filter(host),
            Fault::DropTunnel => self.drop_tunnel(host),
        }
    }

    fn all(&self) -> Vec<HostId> {
        self.hosts.iter().map(|host| host.id).collect()
    }

    fn crash(&mut self, host: HostId) {
        if self.host(host).process.is_some() {
            self.kill(host);
            self.boot_later(host);
        }
    }

    /// SIGTERM: leadership is handed over and the others are told, then the daemon ends.
    fn stop(&mut self, host: HostId) {
        let life = self.host(host).alive();
        let leave = Delivery::Raft(Input::TransferLeadership);
        self.after(0, Event::Tell(life, Box::new(leave)));
        let pause = Delivery::Liveness(jaco_liveness_core::Input::Pausing);
        self.after(0, Event::Tell(life, Box::new(pause)));
        let time = self.random.between(100 * MILLI, 2 * SECOND);
        self.after(time, Event::Stopped(life));
    }

    /// Two groups that do not hear each other, or only one way.
    fn cut_groups(&mut self, both_ways: bool) {
        self.cuts.clear();
        let all = self.all();
        let (left, right): (Vec<HostId>, Vec<HostId>) =
            all.into_iter().partition(|_| self.random.chance(500));
        for a in &left {
            for b in &right {
                self.cuts.insert((*a, *b));
                if both_ways {
                    self.cuts.insert((*b, *a));
                }
            }
        }
    }

    fn isolate(&mut self, host: HostId) {
        self.cuts.clear();
        let direction = self.random.below(4);
        for other in self.all().into_iter().filter(|other| *other != host) {
            if direction != 0 {
                self.cuts.insert((host, other));
            }
            if direction != 1 {
                self.cuts.insert((other, host));
            }
        }
    }

    /// Two groups that only meet in one host.
    fn bridge(&mut self, host: HostId) {
        self.cut_groups(true);
        self.cuts.retain(|(a, b)| *a != host && *b != host);
    }

    fn spoil_disk(&mut self, fault: Fault, host: HostId) {
        let time = self.random.between(SECOND, 10 * SECOND);
        let this = self.host_mut(host);
        match (fault, &mut this.disk) {
            (Fault::DiskFull, Some(disk)) => disk.is_full = true,
            (Fault::SyncFails, Some(disk)) => disk.fails_once = true,
            _ => this.is_slow = true,
        }
        let recovery = if fault == Fault::DiskFull { Recovery::Space } else { Recovery::Speed };
        self.after(time, Event::Recover(host, recovery));
    }

    pub(crate) fn free_space(&mut self, host: HostId) {
        if let Some(disk) = &mut self.host_mut(host).disk {
            disk.is_full = false;
        }
    }

    /// A lost disk is one fault that a majority survives: only when nothing else is under way
    /// among the voters, or for one that does not vote.
    fn may_lose_disk(&self, host: HostId) -> bool {
        let members = self.ledger.members();
        let state = &self.ledger.newest;
        let Some(raft_id) = self.host(host).disk.as_ref().map(|disk| disk.raft_id) else {
            return false;
        };
        let is_quiet = state.nodes.values().all(|node| node.leaving.is_none())
            && members.voters.len() == table(state.nodes.len())
            && members.voters.len() + members.learners.len() == state.nodes.len();
        let voters_are_there = members.voters.iter().all(|voter| {
            let mut disks = self.hosts.iter().filter_map(|host| host.disk.as_ref());
            disks.any(|disk| disk.raft_id == *voter)
        });
        let is_learner = members.learners.contains(&raft_id);
        is_quiet && voters_are_there && (is_learner || members.voters.len() >= 3)
    }

    /// A spare host joins; sometimes two try with the same token.
    fn join(&mut self) {
        let mut spares = self.spares();
        let both = self.random.chance(300);
        spares.truncate(if both { 2 } else { 1 });
        if !spares.is_empty() {
            self.begin_join(spares);
        }
    }

    fn remove(&mut self, host: HostId) {
        let members = self.hosts.iter().filter(|host| host.standing == Standing::Member).count();
        let leaving = self.ledger.newest.nodes.values().filter(|n| n.leaving.is_some()).count();
        if members > leaving + 2 {
            let force = self.random.chance(400);
            self.begin_removal(host, if force { Leaving::Force } else { Leaving::Drain });
        }
    }

    fn end_container(&mut self, host: HostId) {
        let running = self.host(host).engine.containers().filter(|facts| facts.running);
        let running: Vec<String> = running.map(|facts| facts.id.clone()).collect();
        let Some(id) = self.random.pick(&running) else { return };
        if let Some(event) = self.host_mut(host).engine.end(&id, 1) {
            self.announce(host, id, event);
        }
    }
}
