//! The loop: look, compare, change, look again; and the probes beside it.
//!
//! | stage | input | next |
//! |---|---|---|
//! | idle | a cause, or 30 s | `Observe` → looking |
//! | looking | `Observed`, as wanted | idle |
//! | looking | `Observed`, different | `Apply` → changing |
//! | changing | `Applied` | `Observe` → looking |
//! | looking, changing | a failure, or changes that do not hold | idle, again after a back-off |
//!
//! Nothing is removed while the state gives this node no address: a node that is not in the state
//! yet, or not any more, keeps what it has until the daemon takes it down.

use crate::desired::desired;
use crate::plan::{Change, plan};
use crate::pool::{self, InUse};
use crate::repair::repairs;
use crate::settings::{FIGHT, LOOK_EVERY, LOOK_EVERY_UNWELL, PROBE_EVERY, RETRY, ROUNDS, Settings};
use crate::sizes::Sizes;
use crate::track::Track;
use crate::{
    Effect, Input, Installed, Mesh, MeshFault, MeshView, Notice, PathCondition, PathView, Probe,
    PublicKey,
};
use ipnet::Ipv4Net;
use jaco_kit_core::{Backoff, Core, Mono, Now, OpId, OpIds};
use jaco_model::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Decides what this node's part of the mesh should be and whether its paths carry packets.
#[derive(Debug)]
pub struct NetmeshCore {
    settings: Settings,
    ops: OpIds,
    wanted: Option<Mesh>,
    sizes: Sizes,
    stage: Stage,
    /// Whether something may be different from what was last looked at.
    is_due: bool,
    /// Repairs that go before the next look.
    urgent: Vec<Change>,
    /// Rounds of changes for the same wanted mesh since then.
    rounds: u32,
    rounds_since: Mono,
    look_at: Mono,
    retry_at: Option<Mono>,
    backoff: Backoff,
    tracks: BTreeMap<PublicKey, Track>,
    suspected: BTreeSet<NodeId>,
    is_doubted: bool,
    listening: Option<Ipv4Addr>,
    listen: Option<(OpId, Ipv4Addr)>,
    sequence: u64,
    probe_at: Option<Mono>,
    bounced_at: Option<Mono>,
    is_impaired: bool,
    fault: Option<String>,
    has_device: bool,
    conflict: Option<InUse>,
    shown: Arc<MeshView>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Idle,
    Looking(OpId),
    Changing(OpId),
}

impl NetmeshCore {
    /// A core that knows no state yet and wants nothing.
    pub fn new(settings: Settings) -> NetmeshCore {
        let backoff = Backoff::new(RETRY.0, RETRY.1, settings.seed);
        NetmeshCore {
            settings,
            ops: OpIds::default(),
            wanted: None,
            sizes: Sizes::default(),
            stage: Stage::Idle,
            is_due: false,
            urgent: Vec::new(),
            rounds: 0,
            rounds_since: Mono::default(),
            look_at: Mono::default(),
            retry_at: None,
            backoff,
            tracks: BTreeMap::new(),
            suspected: BTreeSet::new(),
            is_doubted: false,
            listening: None,
            listen: None,
            sequence: 0,
            probe_at: None,
            bounced_at: None,
            is_impaired: false,
            fault: None,
            has_device: false,
            conflict: None,
            shown: Arc::default(),
        }
    }

    /// Takes another wanted mesh: what every new state comes down to.
    pub fn want(&mut self, now: Now, wanted: Option<Mesh>) -> Vec<Effect> {
        self.take(now.mono, wanted);
        self.act(now)
    }

    fn take(&mut self, now: Mono, wanted: Option<Mesh>) {
        let Some(wanted) = wanted else { return };
        if self.wanted.as_ref() == Some(&wanted) {
            return;
        }
        self.tracks.retain(|key, _| wanted.peers.contains_key(key));
        for (key, peer) in &wanted.peers {
            let track = self.tracks.entry(*key).or_insert_with(|| Track::new(peer.clone(), now));
            if track.peer.endpoints != peer.endpoints {
                // The next turn begins with the first of the new ones.
                track.turn = peer.endpoints.len().saturating_sub(1);
            }
            track.peer = peer.clone();
        }
        self.wanted = Some(wanted);
        self.is_due = true;
        self.rounds = 0;
    }

    fn observed(&mut self, now: Mono, installed: &Installed) -> Vec<Effect> {
        self.stage = Stage::Idle;
        self.sizes.underlay(installed.underlay_mtu);
        self.has_device = installed.device.is_some();
        for (key, track) in &mut self.tracks {
            let peer = installed.peers.get(key);
            track.handshake_age = peer.and_then(|peer| peer.handshake_age);
            track.endpoint = peer.and_then(|peer| peer.endpoint);
        }
        let is_well = self.tracks.values().all(|t| t.condition(now) == PathCondition::Ok);
        self.look_at = now.plus(if is_well { LOOK_EVERY } else { LOOK_EVERY_UNWELL });
        let Some(mut wanted) = self.wanted.clone() else { return Vec::new() };
        let mut effects: Vec<Effect> =
            self.look_for_conflict(wanted.pool, installed).into_iter().collect();
        wanted.mtu = self.sizes.mtu(wanted.mtu, self.settings.mtu.is_some());
        let mut changes = plan(&wanted, installed);
        if self.is_doubted && self.has_device {
            changes.retain(is_safe_in_doubt);
        }
        if changes.is_empty() {
            if self.rounds == 0 || now.since(self.rounds_since) > FIGHT {
                self.backoff.reset();
            }
            self.fault = None;
            effects.extend(self.listen(wanted.address, installed));
            return effects;
        }
        if now.since(self.rounds_since) > FIGHT {
            (self.rounds, self.rounds_since) = (0, now);
        }
        self.rounds += 1;
        if self.rounds > ROUNDS {
            let what = format!("changes do not hold: {:?}", changes[0]);
            self.failed(now, &MeshFault { op: "compare", reason: what });
            return effects;
        }
        effects.push(self.change(changes));
        effects
    }

    /// Looks whether the pool is also somebody else's; tells of it once each time it begins.
    fn look_for_conflict(&mut self, pool: Ipv4Net, installed: &Installed) -> Option<Effect> {
        let found = pool::conflict(pool, &installed.in_use).cloned();
        let before = std::mem::replace(&mut self.conflict, found.clone());
        let news = found.filter(|found| before.as_ref() != Some(found))?;
        Some(Effect::Notify(Notice::PoolConflict(news)))
    }

    fn change(&mut self, changes: Vec<Change>) -> Effect {
        let op = self.ops.next_id();
        self.stage = Stage::Changing(op);
        Effect::Apply { op, changes }
    }

    fn failed(&mut self, now: Mono, fault: &MeshFault) {
        self.stage = Stage::Idle;
        self.is_due = true;
        self.retry_at = Some(now.plus(self.backoff.next_delay()));
        self.fault = Some(format!("{}: {}", fault.op, fault.reason));
    }

    fn listen(&mut self, address: Ipv4Addr, installed: &Installed) -> Vec<Effect> {
        let is_there = installed.addresses.contains(&Ipv4Net::from(address));
        if self.listening == Some(address) || self.listen.is_some() || !is_there {
            return Vec::new();
        }
        let op = self.ops.next_id();
        self.listen = Some((op, address));
        vec![Effect::Listen { op, address }]
    }

    fn listened(&mut self, now: Mono, op: OpId, result: Result<(), MeshFault>) {
        let Some((_, address)) = self.listen.filter(|(asked, _)| *asked == op) else { return };
        self.listen = None;
        match result {
            Ok(()) => {
                self.listening = Some(address);
                self.probe_at.get_or_insert(now);
            }
            Err(fault) => {
                self.failed(now, &fault);
            }
        }
    }

    /// Sends what is due on all paths and judges them.
    fn probe(&mut self, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        // Numbers of a restarted daemon go on above those of the one before.
        self.sequence = (self.sequence + 1).max(if self.sequence == 0 { now.wall.0 } else { 0 });
        let is_fixed = self.settings.mtu.is_some();
        let wanted_mtu = self.wanted.as_ref().map_or(0, |wanted| wanted.mtu);
        let mut too_large = None;
        for track in self.tracks.values_mut() {
            let to = track.peer.address;
            let probe = track.probe(self.sequence);
            effects.push(Effect::SendProbe { to, probe, size: None });
            if track.is_too_large(now.mono) {
                too_large.get_or_insert_with(|| track.peer.node.clone());
            }
            if let Some(probe) = track.full_probe(now.mono, self.sequence) {
                let size = Some(self.sizes.mtu(wanted_mtu, is_fixed));
                effects.push(Effect::SendProbe { to, probe, size });
            }
        }
        if let Some(node) = too_large {
            effects.extend(self.shrink(now.mono, node, wanted_mtu));
        }
        effects.extend(self.repair(now.mono));
        effects
    }

    fn shrink(&mut self, now: Mono, node: NodeId, wanted: u16) -> Option<Effect> {
        self.tracks.values_mut().for_each(|track| track.resized(now));
        let mtu = self.sizes.lower(wanted, self.settings.mtu.is_some())?;
        self.is_due = true;
        Some(Effect::Notify(Notice::MtuLowered { node, mtu }))
    }

    fn repair(&mut self, now: Mono) -> Vec<Effect> {
        let repairs = repairs(now, &mut self.tracks, &self.suspected, self.bounced_at);
        if repairs.bounces {
            self.bounced_at = Some(now);
        }
        if !repairs.changes.is_empty() {
            self.urgent.extend(repairs.changes);
            self.is_due = true;
        }
        let was_impaired = std::mem::replace(&mut self.is_impaired, repairs.is_impaired);
        let is_news =
            |notice: &Notice| !was_impaired || !matches!(notice, Notice::DataplaneImpaired { .. });
        repairs.notices.into_iter().filter(is_news).map(Effect::Notify).collect()
    }

    /// What follows from where things stand.
    fn act(&mut self, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.probe_at.is_some_and(|at| at <= now.mono) {
            effects.extend(self.probe(now));
            let next = if self.tracks.is_empty() { None } else { Some(now.mono.plus(PROBE_EVERY)) };
            self.probe_at = next;
        } else if self.probe_at.is_none() && self.listening.is_some() && !self.tracks.is_empty() {
            self.probe_at = Some(now.mono.plus(PROBE_EVERY));
        }
        let is_waiting = self.retry_at.is_some_and(|at| at > now.mono);
        if self.stage == Stage::Idle && self.wanted.is_some() && !is_waiting {
            self.retry_at = None;
            if !self.urgent.is_empty() {
                let changes = self.fitting_repairs();
                effects.push(self.change(changes));
            } else if self.is_due || self.look_at <= now.mono {
                effects.push(self.look());
            }
        }
        effects.extend(self.show(now.mono));
        effects
    }

    /// The repairs, without those of peers that are not wanted any more.
    fn fitting_repairs(&mut self) -> Vec<Change> {
        let peers = self.wanted.as_ref().map(|wanted| &wanted.peers);
        let is_wanted = |key: &PublicKey| peers.is_some_and(|peers| peers.contains_key(key));
        let urgent = std::mem::take(&mut self.urgent);
        let fits = |change: &Change| match change {
            Change::Peer(change) => is_wanted(&change.key()),
            _ => true,
        };
        urgent.into_iter().filter(fits).collect()
    }

    fn look(&mut self) -> Effect {
        let op = self.ops.next_id();
        self.stage = Stage::Looking(op);
        self.is_due = false;
        let endpoints = self.tracks.values().flat_map(|track| &track.peer.endpoints);
        let towards = endpoints.map(|endpoint| endpoint.ip()).collect();
        Effect::Observe { op, towards }
    }

    fn show(&mut self, now: Mono) -> Option<Effect> {
        let wanted = self.wanted.as_ref()?;
        let mtu = self.sizes.mtu(wanted.mtu, self.settings.mtu.is_some());
        let path = |track: &Track| PathView {
            node: track.peer.node.clone(),
            address: track.peer.address,
            condition: track.condition(now),
            endpoint: track.endpoint,
            handshake_age: track.handshake_age,
        };
        let mut paths: Vec<PathView> = self.tracks.values().map(path).collect();
        paths.sort_by(|a, b| a.node.cmp(&b.node));
        let view = MeshView {
            mtu: self.has_device.then_some(mtu),
            path_mtu: self.has_device.then_some(self.settings.mtu.unwrap_or(self.sizes.path())),
            paths,
            conflict: self.conflict.clone(),
            is_impaired: self.is_impaired,
            fault: self.fault.clone(),
        };
        if view == *self.shown {
            return None;
        }
        self.shown = Arc::new(view);
        Some(Effect::Show(self.shown.clone()))
    }

    fn probed(&mut self, now: Mono, from: Ipv4Addr, probe: &Probe) {
        let sent = self.sequence;
        if let Some(track) = self.tracks.values_mut().find(|track| track.peer.address == from) {
            track.probed(now, probe, sent);
        }
    }
}

/// Whether a change takes nothing away that a newer state may want.
fn is_safe_in_doubt(change: &Change) -> bool {
    !matches!(change, Change::Peer(_) | Change::RemoveRoute(_) | Change::RemoveAddress(_))
}

impl Core for NetmeshCore {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, now: Now, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::StateChanged(state) => {
                let wanted = desired(&state, &self.settings);
                self.take(now.mono, wanted);
            }
            Input::Doubted(is_doubted) => {
                self.is_doubted = is_doubted;
                self.is_due = true;
            }
            Input::Suspected(nodes) => self.suspected = nodes,
            Input::KernelChanged => self.is_due = true,
            Input::Observed { op, result } if self.stage == Stage::Looking(op) => match result {
                Ok(installed) => effects = self.observed(now.mono, &installed),
                Err(fault) => self.failed(now.mono, &fault),
            },
            Input::Applied { op, result } if self.stage == Stage::Changing(op) => match result {
                Ok(()) => {
                    self.stage = Stage::Idle;
                    self.is_due = true;
                }
                Err(fault) => self.failed(now.mono, &fault),
            },
            Input::Observed { .. } | Input::Applied { .. } => {}
            Input::Listening { op, result } => self.listened(now.mono, op, result),
            Input::Probed { from, probe } => self.probed(now.mono, from, &probe),
        }
        effects.extend(self.act(now));
        effects
    }

    fn wake(&mut self, now: Now) -> Vec<Effect> {
        self.act(now)
    }

    fn deadline(&self) -> Option<Mono> {
        self.wanted.as_ref()?;
        let look = match self.stage {
            Stage::Idle => Some(self.retry_at.unwrap_or(self.look_at)),
            Stage::Looking(_) | Stage::Changing(_) => None,
        };
        [look, self.probe_at].into_iter().flatten().min()
    }

    fn check_invariants(&self) {
        let Some(wanted) = &self.wanted else { return };
        let mut all: Vec<Ipv4Net> = Vec::new();
        for net in wanted.peers.values().flat_map(|peer| &peer.allowed) {
            assert!(!all.iter().any(|other| crate::prefixes::overlap(other, net)), "{net} twice");
            all.push(*net);
        }
        assert!(self.tracks.keys().eq(wanted.peers.keys()), "a path for each peer");
    }
}
