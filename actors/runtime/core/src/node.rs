//! The engine's connection, and what the node says about itself.

use crate::orders::{Orders, Subject};
use crate::{Effect, EngineFacts, Host, Settings};
use jaco_kit_core::{Backoff, Mono, OpId};
use jaco_model::command::Command;
use jaco_model::entity::{MeshFacts, Node, NodeFacts, NodeStatus};
use std::time::Duration;

/// The condition of a node whose engine does not answer.
const UNAVAILABLE: &str = "engine_unavailable";

/// The condition of a node whose packet filter cannot be put in place.
const UNISOLATED: &str = "isolation_unavailable";

/// The condition of a node where something else uses addresses of the cluster's pool.
const CONFLICTING: &str = "pool_conflict";

/// The condition of a node where something else has an address of the front door.
const TAKEN: &str = "port_in_use";

/// All conditions that are reported here.
const CONDITIONS: [&str; 4] = [UNAVAILABLE, UNISOLATED, CONFLICTING, TAKEN];

/// First and longest wait before a failed observation or report is repeated.
const REPEAT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// Whether the engine is there, and whether we know what it has.
#[derive(Debug)]
pub(crate) struct Engine {
    facts: Option<EngineFacts>,
    /// Its part of the mesh, once that is known.
    mesh: Option<MeshFacts>,
    /// Whether everything was observed since it came up.
    seen: bool,
    /// The observation under way: its order, when it was asked for, and the count of inputs then.
    asked: Option<(OpId, Mono, u64)>,
    observe_at: Mono,
    /// Since when there was no sign of life; `None` while it answers.
    silent_since: Option<Mono>,
    retry: Backoff,
    /// Whether the packet filter is known not to stand.
    unisolated: bool,
    /// Whether the cluster's addresses are also somebody else's here.
    conflicting: bool,
    /// Whether somebody else has an address of the front door.
    port_in_use: bool,
    report: Option<OpId>,
    report_at: Mono,
    report_retry: Backoff,
}

impl Engine {
    /// An engine that has not answered yet.
    pub(crate) fn new(seed: u64) -> Engine {
        Engine {
            facts: None,
            mesh: None,
            seen: false,
            asked: None,
            observe_at: Mono(0),
            silent_since: Some(Mono(0)),
            retry: Backoff::new(REPEAT.0, REPEAT.1, seed),
            unisolated: false,
            conflicting: false,
            port_in_use: false,
            report: None,
            report_at: Mono(0),
            report_retry: Backoff::new(REPEAT.0, REPEAT.1, seed),
        }
    }

    /// The engine answers: everything has to be looked at anew.
    pub(crate) fn up(&mut self, now: Mono, facts: EngineFacts) {
        self.facts = Some(facts);
        self.seen = false;
        self.asked = None;
        self.observe_at = now;
        self.silent_since = None;
        self.retry.reset();
    }

    /// The mesh told of itself.
    pub(crate) fn meshed(&mut self, mesh: MeshFacts) {
        self.mesh = Some(mesh);
    }

    /// The engine went away.
    pub(crate) fn down(&mut self, now: Mono) {
        self.facts = None;
        self.seen = false;
        self.asked = None;
        self.silent_since.get_or_insert(now);
    }

    /// Takes whether the packet filter is known not to stand.
    pub(crate) fn set_unisolated(&mut self, unisolated: bool) {
        self.unisolated = unisolated;
    }

    /// Takes whether something else on the host uses addresses of the pool.
    pub(crate) fn set_conflicting(&mut self, conflicting: bool) {
        self.conflicting = conflicting;
    }

    /// Takes whether something else on the host has an address of the front door.
    pub(crate) fn set_port_in_use(&mut self, port_in_use: bool) {
        self.port_in_use = port_in_use;
    }

    /// The engine's version; empty while it does not answer.
    pub(crate) fn version(&self) -> &str {
        self.facts.as_ref().map_or("", |facts| facts.version.as_str())
    }

    /// Whether orders make sense: it answers, and we know what it has.
    pub(crate) fn is_known(&self) -> bool {
        self.facts.is_some() && self.seen
    }

    /// Starts the silence of a node that has just started.
    pub(crate) fn begin(&mut self, now: Mono) {
        if self.silent_since == Some(Mono(0)) {
            self.silent_since = Some(now);
        }
    }

    /// Looks at everything the engine has, when that is due.
    pub(crate) fn observe(&mut self, now: Mono, count: u64, orders: &mut Orders) {
        if self.facts.is_some() && self.asked.is_none() && now >= self.observe_at {
            let op = orders.issue(Subject::Observe, |op| Effect::Observe { op });
            self.asked = Some((op, now, count));
        }
    }

    /// Takes the end of an observation, and returns the count of inputs when it was asked for.
    pub(crate) fn observed(
        &mut self,
        now: Mono,
        op: OpId,
        worked: bool,
        settings: &Settings,
    ) -> Option<u64> {
        let (_, _, count) = self.asked.take_if(|(of, _, _)| *of == op)?;
        if worked {
            self.seen = true;
            self.silent_since = None;
            self.retry.reset();
            self.observe_at = now.plus(settings.observe_every);
            return Some(count);
        }
        self.observe_at = now.plus(self.retry.next_delay());
        None
    }

    /// Says what the node is, unless the state holds that already.
    pub(crate) fn report(
        &mut self,
        now: Mono,
        node: &Node,
        host: &Host,
        settings: &Settings,
        orders: &mut Orders,
    ) {
        if self.report.is_some() || now < self.report_at {
            return;
        }
        let Some((status, facts)) = self.wanted(now, node, host, settings) else { return };
        if node.status == status && node.facts == facts {
            self.report_retry.reset();
            return;
        }
        let node = host.node.clone();
        self.report = Some(orders.issue(Subject::NodeReport, |op| Effect::Propose {
            op,
            command: Command::ReportNode { node, status, facts: Box::new(facts) },
        }));
    }

    /// Takes the outcome of a report. Whatever it was, the state tells whether another is needed.
    pub(crate) fn reported(&mut self, now: Mono, op: OpId) {
        if self.report.take_if(|of| *of == op).is_some() {
            self.report_at = now.plus(self.report_retry.next_delay());
        }
    }

    /// When something is to be done by itself.
    pub(crate) fn deadlines(&self, settings: &Settings) -> impl Iterator<Item = Mono> {
        let observe = self.observe_at;
        let observe = (self.facts.is_some() && self.asked.is_none()).then_some(observe);
        let silence = self.silence().map(|since| since.plus(settings.engine_silence));
        let report = self.report.is_none().then_some(self.report_at);
        [observe, silence, report].into_iter().flatten()
    }

    /// Since when the engine has owed a sign of life.
    fn silence(&self) -> Option<Mono> {
        self.silent_since.or(self.asked.map(|(_, asked, _)| asked))
    }

    /// What the state should hold; `None` while it is too early to tell.
    fn wanted(
        &self,
        now: Mono,
        node: &Node,
        host: &Host,
        settings: &Settings,
    ) -> Option<(NodeStatus, NodeFacts)> {
        let silent = self.silence().is_some_and(|since| now >= since.plus(settings.engine_silence));
        let mut facts = node.facts.clone();
        facts.address.clone_from(&host.address);
        facts.api_address.clone_from(&host.api_address);
        facts.version.clone_from(&host.version);
        facts.reserved.clone_from(&host.reserved);
        facts.labels.clone_from(&host.labels);
        if self.mesh.is_some() {
            facts.mesh.clone_from(&self.mesh);
        }
        facts.conditions.retain(|word| !CONDITIONS.contains(&word.as_str()));
        let known = [
            (self.unisolated, UNISOLATED),
            (self.conflicting, CONFLICTING),
            (self.port_in_use, TAKEN),
        ];
        let present = known.into_iter().filter(|(is_so, _)| *is_so);
        facts.conditions.extend(present.map(|(_, word)| word.to_owned()));
        match &self.facts {
            _ if silent => {
                facts.engine_version.clear();
                facts.engine_api.clear();
                facts.conditions.push(UNAVAILABLE.to_owned());
                return Some((node.status, facts));
            }
            None => return None,
            Some(engine) => {
                facts.engine_version.clone_from(&engine.version);
                facts.engine_api.clone_from(&engine.api);
                facts.platform.clone_from(&engine.platform);
                facts.capacity.clone_from(&engine.capacity);
                facts.volume_drivers.clone_from(&engine.volume_drivers);
                facts.runtimes.clone_from(&engine.runtimes);
            }
        }
        // Who was confirmed down is declared up again by the leader, not by itself.
        let status = if node.status == NodeStatus::Down { node.status } else { NodeStatus::Ready };
        Some((status, facts))
    }
}
