//! What only a cluster has: the per-service keys of jaco.yaml and of `x-jaco`.

use super::cx::{Cx, Fields, Item, Spot};
use super::schema::{Schema, closed, h, r};
use super::{constraints, probe, schedule};
use crate::Reason;
use jaco_model::spec::{
    Constraint, NodeLossAction, NodeLossPolicy, PlacementPolicy, Preference, ProbeSpec,
};
use jaco_model::{Millis, NodeName};
use std::collections::BTreeSet;

macro_rules! service_keys {
    ($($own:expr),+) => {
        closed(&[
            $($own,)+
            r("compose_service", "no such key; make name equal the compose service"),
            h("concurrency"),
            h("constraints"),
            h("drain_timeout"),
            h("hosts"),
            h("job"),
            h("max_per_node"),
            h("networks"),
            h("on_node_loss"),
            h("partition"),
            h("placement"),
            h("preferences"),
            h("probe"),
            h("rebalance"),
            h("replicas"),
            h("schedule"),
            h("schedule_timezone"),
            h("singleton"),
            h("start_limit"),
            h("starting_deadline"),
            h("update"),
        ])
    };
}

/// `services[*]` of jaco.yaml.
pub(super) const OVERLAY: Schema = service_keys!(h("name"));
/// `services.<name>.x-jaco` of a compose file.
pub(super) const EXTENSION: Schema = service_keys!(h("routes"));

const UPDATE: Schema = closed(&[h("max_unavailable")]);
const NODE_LOSS: Schema = closed(&[h("action"), h("grace")]);
const PARTITION: Schema = closed(&[h("action"), h("grace")]);

/// Every key as written; `None` was not written.
#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    pub(super) replicas: Option<Spot<u32>>,
    pub(super) placement: Option<Spot<PlacementPolicy>>,
    pub(super) hosts: Option<Spot<Vec<NodeName>>>,
    pub(super) networks: Option<Spot<Vec<Spot<String>>>>,
    pub(super) constraints: Option<Spot<Vec<Constraint>>>,
    pub(super) preferences: Option<Spot<Vec<Preference>>>,
    pub(super) max_per_node: Option<Spot<u32>>,
    pub(super) probe: Option<Spot<ProbeSpec>>,
    pub(super) start_limit: Option<Spot<Millis>>,
    pub(super) max_unavailable: Option<Spot<u32>>,
    pub(super) drain_timeout: Option<Spot<Millis>>,
    pub(super) on_node_loss: Option<Spot<NodeLossPolicy>>,
    pub(super) singleton: Option<Spot<bool>>,
    pub(super) rebalance: Option<Spot<bool>>,
    pub(super) schedule: Option<Spot<()>>,
    pub(super) job: Option<Spot<()>>,
}

impl Options {
    /// Field by field, the first source that sets one wins.
    pub(super) fn or(self, lower: Options) -> Options {
        Options {
            replicas: self.replicas.or(lower.replicas),
            placement: self.placement.or(lower.placement),
            hosts: self.hosts.or(lower.hosts),
            networks: self.networks.or(lower.networks),
            constraints: self.constraints.or(lower.constraints),
            preferences: self.preferences.or(lower.preferences),
            max_per_node: self.max_per_node.or(lower.max_per_node),
            probe: self.probe.or(lower.probe),
            start_limit: self.start_limit.or(lower.start_limit),
            max_unavailable: self.max_unavailable.or(lower.max_unavailable),
            drain_timeout: self.drain_timeout.or(lower.drain_timeout),
            on_node_loss: self.on_node_loss.or(lower.on_node_loss),
            singleton: self.singleton.or(lower.singleton),
            rebalance: self.rebalance.or(lower.rebalance),
            schedule: self.schedule.or(lower.schedule),
            job: self.job.or(lower.job),
        }
    }

    pub(super) fn is_job(&self) -> bool {
        self.schedule.is_some() || self.job.is_some()
    }
}

/// Decodes the keys that both places share.
pub(super) fn decode(cx: &mut Cx, fields: &Fields<'_>) -> Options {
    let placements = [
        ("spread", PlacementPolicy::Spread),
        ("pack", PlacementPolicy::Pack),
        ("hosts", PlacementPolicy::Hosts),
        ("global", PlacementPolicy::Global),
    ];
    check_partition(cx, fields);
    let limit = Millis::secs(1)..=Millis::secs(3_600);
    let drain = Millis(0)..=Millis::secs(3_600);
    Options {
        replicas: read(cx, fields, "replicas", |cx, item| item.count(cx, 0)),
        placement: read(cx, fields, "placement", |cx, item| item.choice(cx, &placements)),
        hosts: read(cx, fields, "hosts", hosts),
        networks: read(cx, fields, "networks", networks),
        constraints: read(cx, fields, "constraints", |cx, _| Some(constraints::decode(cx, fields))),
        preferences: read(cx, fields, "preferences", |cx, _| {
            Some(constraints::decode_preferences(cx, fields))
        }),
        max_per_node: read(cx, fields, "max_per_node", |cx, item| item.count(cx, 0)),
        probe: read(cx, fields, "probe", probe::decode),
        start_limit: read(cx, fields, "start_limit", |cx, item| {
            item.duration_in(cx, limit.clone())
        }),
        max_unavailable: read(cx, fields, "update", |cx, item| {
            item.map(cx, &UPDATE).count(cx, "max_unavailable", 0)
        }),
        drain_timeout: read(cx, fields, "drain_timeout", |cx, item| {
            item.duration_in(cx, drain.clone())
        }),
        on_node_loss: read(cx, fields, "on_node_loss", node_loss),
        singleton: read(cx, fields, "singleton", |cx, item| item.boolean(cx)),
        rebalance: read(cx, fields, "rebalance", |cx, item| item.boolean(cx)),
        schedule: schedule::decode(cx, fields),
        job: read(cx, fields, "job", schedule::decode_job),
    }
}

fn read<'n, T>(
    cx: &mut Cx,
    fields: &Fields<'n>,
    key: &str,
    decode: impl FnOnce(&mut Cx, &Item<'n>) -> Option<T>,
) -> Option<Spot<T>> {
    let item = fields.get(key)?;
    let value = decode(cx, &item)?;
    Some(item.spot(value))
}

fn hosts(cx: &mut Cx, item: &Item<'_>) -> Option<Vec<NodeName>> {
    let mut hosts: Vec<NodeName> = Vec::new();
    let mut seen = BTreeSet::new();
    for entry in item.list(cx) {
        let Some(name) = entry.word(cx) else { continue };
        if !seen.insert(name.clone()) {
            cx.fail(&entry.place, Reason::Conflict, format!("{name} is listed twice"));
        } else {
            hosts.push(NodeName::new(name));
        }
    }
    Some(hosts)
}

fn networks(cx: &mut Cx, item: &Item<'_>) -> Option<Vec<Spot<String>>> {
    let list = item.list(cx);
    Some(list.iter().filter_map(|entry| Some(entry.spot(entry.word(cx)?))).collect())
}

fn node_loss(cx: &mut Cx, item: &Item<'_>) -> Option<NodeLossPolicy> {
    let fields = item.map(cx, &NODE_LOSS);
    let actions = [("reschedule", NodeLossAction::Reschedule), ("wait", NodeLossAction::Wait)];
    let grace = fields.duration(cx, "grace");
    Some(NodeLossPolicy { action: fields.require(cx, "action")?.choice(cx, &actions)?, grace })
}

fn check_partition(cx: &mut Cx, fields: &Fields<'_>) {
    let Some(item) = fields.get("partition") else { return };
    let fields = item.map(cx, &PARTITION);
    fields.duration(cx, "grace");
    if fields.choice(cx, "action", &[("run", false), ("stop", true)]) == Some(true) {
        cx.later(&item.place, "partition: stop");
    }
}
