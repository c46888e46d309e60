//! Daemons begin and end: from the first snapshot of a cluster, from a disk, and by kill -9.

use super::World;
use super::mesh::WIREGUARD_PORT;
use crate::authority::DIRECTORY;
use crate::disk::Disk;
use crate::event::{Event, HostId, Life};
use crate::host::{Hearsay, Host, Mail, Process, Standing};
use crate::kernel::Kernel;
use crate::queue::{Micros, SECOND};
use jaco_dns_core::DnsCore;
use jaco_firewall_core::FirewallCore;
use jaco_ingress_core::IngressCore;
use jaco_ingress_core::acme::AcmeCore;
use jaco_kit_core::Now;
use jaco_liveness_core::LivenessCore;
use jaco_model::NodeId;
use jaco_model::entity::Capacity;
use jaco_netmesh_core::NetmeshCore;
use jaco_raft_core::{Config, RaftCore};
use jaco_runtime_core::{Host as RuntimeHost, RuntimeCore, Settings};
use jaco_scheduler::Scheduler;
use jaco_state::State;
use jaco_wiring::{Me, Member, Start, decode_state};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

impl World {
    /// systemd starts the daemon again after a while.
    pub(crate) fn boot_later(&mut self, host: HostId) {
        let delay = self.random.between(SECOND / 2, 4 * SECOND);
        self.boot_after(host, delay);
    }

    pub(crate) fn boot_after(&mut self, host: HostId, delay: Micros) {
        let life = self.host(host).alive();
        self.after(delay, Event::Boot(life));
    }

    /// Starts the daemon from what its disk holds.
    pub(crate) fn boot(&mut self, host: HostId) {
        let this = self.host(host);
        let (Some(disk), Some(node), None) = (&this.disk, &this.node, &this.process) else {
            return;
        };
        let (disk, node) = (disk.clone(), node.clone());
        let at = self.now;
        self.trace.note(at, &[3, host.number(), disk.raft_id], || {
            format!("{host} starts as raft id {:x}", disk.raft_id)
        });
        let bound = self.check_identity(host, disk.raft_id);
        self.require(bound);
        let now = self.clock(host);
        match self.process(now, &disk, node) {
            Ok(process) => self.host_mut(host).process = Some(Box::new(process)),
            Err(what) => return self.violate(format!("{host} cannot start: {what}")),
        }
        self.introduce(host);
        self.state_changed(host);
        let Some(process) = self.process_mut(host) else { return };
        process.member.expect_mesh();
        let steps = process.member.show();
        self.take(host, now, steps);
        self.connect_engine(host);
        self.work(host);
    }

    fn process(&mut self, now: Now, disk: &Disk, node: NodeId) -> Result<Process, String> {
        let at = disk.durable.snapshot.at;
        let state = if at.index == 0 {
            State::default()
        } else {
            let file = disk.snapshot(at).ok_or("the newest snapshot is missing")?;
            decode_state(at.index, &file).map_err(|error| format!("{error}: {error:?}"))?
        };
        let start = Start {
            state,
            members: disk.durable.snapshot.members.clone(),
            last_index: disk.durable.last_command_index(),
            is_only_voter: disk.durable.is_only_voter(disk.raft_id),
            session: self.random.next(),
        };
        let mut config = Config::new(disk.raft_id, self.random.next());
        config.tick = self.plan.tick;
        config.snapshots = self.plan.snapshots.clone();
        self.seed_bug(&mut config);
        let raft = RaftCore::new(config, disk.durable.clone())
            .map_err(|error| format!("{error}: {error:?}"))?;
        let me = Me { node: node.clone(), raft_id: disk.raft_id };
        Ok(Process {
            raft_id: disk.raft_id,
            member: Member::new(now, me, start),
            raft,
            scheduler: Scheduler::new(self.random.next()),
            runtime: RuntimeCore::new(
                self.runtime_host(&node),
                self.runtime_settings(),
                self.random.next(),
            ),
            liveness: LivenessCore::new(node.clone(), liveness(), self.random.next()),
            firewall: FirewallCore::new(
                node.clone(),
                jaco_firewall_core::Options::default(),
                jaco_firewall_core::Settings::default(),
                self.random.next(),
            ),
            dns: DnsCore::new(node.clone(), jaco_dns_core::Settings::default()),
            ingress: IngressCore::new(jaco_ingress_core::Settings {
                me: node.clone(),
                http: vec![([0, 0, 0, 0], 80).into()],
                https: vec![([0, 0, 0, 0], 443).into()],
                retry: Duration::from_secs(5),
            }),
            acme: AcmeCore::new(acme(&node)),
            netmesh: NetmeshCore::new(jaco_netmesh_core::Settings {
                me: node.clone(),
                port: WIREGUARD_PORT,
                mtu: None,
                seed: self.random.next(),
            }),
            mesh: Arc::default(),
            zones: Arc::default(),
            me: node,
            mail: Mail::default(),
            published: None,
            leader: None,
            roster: Vec::new(),
            hearsay: Hearsay::default(),
            peers: BTreeMap::new(),
            callers: BTreeMap::new(),
            last_ticket: 0,
            calls: BTreeMap::new(),
            alarm: None,
            snapshots_out: BTreeMap::new(),
            snapshot_serial: 0,
            snapshot_in: None,
            steps: 0,
        })
    }

    #[cfg(feature = "seeded-bugs")]
    fn seed_bug(&self, config: &mut Config) {
        use crate::bug::Bug;
        use jaco_raft_core::SeededBug;
        config.seeded_bug = match self.plan.bug {
            Some(Bug::AckBeforeFsync) => Some(SeededBug::AckBeforeFsync),
            Some(Bug::CommitNotRaised) => Some(SeededBug::CommitNotRaisedWithSnapshot),
            Some(Bug::MessagesEarly) => Some(SeededBug::PersistedMessagesEarly),
            Some(Bug::SkipEmptyConf) => Some(SeededBug::SkipEmptyConfEntry),
            Some(Bug::LeaseReads) => Some(SeededBug::LeaseReads),
            Some(
                Bug::RaftIdReused
                | Bug::TokenTwice
                | Bug::ForgetfulApply
                | Bug::UnfilteredStarts
                | Bug::LostTables,
            )
            | None => None,
        };
    }

    fn runtime_settings(&self) -> Settings {
        Settings {
            needs_isolation: !self.starts_unfiltered(),
            has_dns: true,
            settle: Duration::from_secs(1),
            retry: (Duration::from_millis(500), Duration::from_secs(10)),
            ..Settings::default()
        }
    }

    #[cfg(feature = "seeded-bugs")]
    fn starts_unfiltered(&self) -> bool {
        self.plan.bug == Some(crate::bug::Bug::UnfilteredStarts)
    }

    #[cfg(not(feature = "seeded-bugs"))]
    fn starts_unfiltered(&self) -> bool {
        false
    }

    #[cfg(not(feature = "seeded-bugs"))]
    fn seed_bug(&self, _: &mut Config) {}

    fn runtime_host(&self, node: &NodeId) -> RuntimeHost {
        let name = self.host_of(node).map(|id| id.address().to_string()).unwrap_or_default();
        RuntimeHost {
            node: node.clone(),
            cluster: self.cluster.clone(),
            address: format!("{name}:7001"),
            api_address: format!("{name}:7000"),
            version: "v0.1.0".to_owned(),
            reserved: Capacity::default(),
            labels: BTreeMap::new(),
        }
    }

    /// kill -9, or the end of a process by its own will.
    pub(crate) fn kill(&mut self, host: HostId) {
        if self.host(host).process.is_none() {
            return;
        }
        let at = self.now;
        self.trace.note(at, &[4, host.number()], || format!("{host} ends"));
        self.reset_connections(host);
        let World { hosts, random, .. } = self;
        let this: &mut Host = &mut hosts[host.0];
        let survivor = this.disk.as_mut().and_then(|disk| disk.crash(random));
        let alarm = this.process.take().and_then(|process| process.alarm);
        this.life += 1;
        this.paused_until = None;
        // Calls that wait for it in vain time out.
        this.parked.clear();
        if let Some(alarm) = alarm {
            self.queue.cancel(alarm);
        }
        if let Some(batch) = survivor {
            self.became_durable(host, &batch);
        }
    }

    /// The daemon does nothing for so long.
    pub(crate) fn pause(&mut self, host: HostId, time: Micros) {
        let until = self.now + time;
        let this = self.host_mut(host);
        if this.process.is_none() || this.paused_until.is_some_and(|at| at >= until) {
            return;
        }
        this.paused_until = Some(until);
        let at = self.now;
        self.trace.note(at, &[10, host.number()], || format!("{host} stands still for {time} us"));
        self.after(time, Event::Resume(host));
    }

    pub(crate) fn resume(&mut self, host: HostId) {
        let now = self.now;
        let this = self.host_mut(host);
        if this.paused_until.is_none_or(|until| until > now) {
            return;
        }
        this.paused_until = None;
        this.kernel.wakes(now);
        // What waited comes first, in its order, and before anything new. Requests of clients come
        // in on another way than messages of peers: they may overtake them.
        let parked = std::mem::take(&mut this.parked);
        let count = parked.len();
        let overtakes = self.random.chance(500);
        let (first, second): (Vec<Event>, Vec<Event>) = parked
            .into_iter()
            .partition(|event| overtakes && matches!(event, Event::AskArrives { .. }));
        self.trace.note(now, &[11, host.number()], || format!("{host} goes on, {count} wait"));
        for event in first.into_iter().chain(second) {
            self.queue.push(now, event);
        }
        self.work(host);
    }

    /// A leader says that this node was removed, which it believes when its own log says so too, or
    /// when it follows that leader.
    pub(crate) fn hears_removal(&mut self, life: Life, by: HostId) {
        let leader = self.host(by).node.clone();
        let Some(process) = self.process_mut(life.host) else { return };
        let own = process.member.state().nodes.get(&process.me);
        let leaves = own.is_some_and(|own| own.leaving.is_some());
        if leaves || (leader.is_some() && process.leader == leader) {
            self.removed(life);
        }
    }

    /// A node was told that it is no member any more: it leaves nothing behind.
    pub(crate) fn removed(&mut self, life: Life) {
        let host = life.host;
        self.kill(host);
        let this = self.host_mut(host);
        this.standing = Standing::Spare;
        this.disk = None;
        this.node = None;
        this.engine.clear();
        this.kernel = Kernel::new();
        this.known_peers.clear();
        self.drop_asks_for(host);
        self.admin.forget(host);
        let at = self.now;
        self.trace.note(at, &[5, host.number()], || format!("{host} was removed"));
    }

    /// Ends a planned stop: by now leadership is handed over, or will be lost.
    pub(crate) fn stopped(&mut self, life: Life) {
        self.kill(life.host);
        self.boot_later(life.host);
    }
}

fn acme(node: &NodeId) -> jaco_ingress_core::acme::Settings {
    jaco_ingress_core::acme::Settings {
        me: node.clone(),
        enabled: true,
        directory: DIRECTORY.to_owned(),
        contact: String::new(),
        skip_staging: false,
        providers: BTreeMap::new(),
        seed: 1,
        epoch: 0,
    }
}

/// As in the product, but less resentful: a run is short.
fn liveness() -> jaco_liveness_core::Settings {
    jaco_liveness_core::Settings {
        return_after: Duration::from_secs(3),
        flap_window: Duration::from_secs(60),
        hold_first: Duration::from_secs(2),
        hold_limit: Duration::from_secs(8),
        ..jaco_liveness_core::Settings::default()
    }
}
