//! `deploy` and `restart` of a service.

use super::cx::{Cx, Fields, Item, Spot};
use super::schema::{Schema, compose, h, s};
use super::{constraints, devices};
use crate::Reason;
use jaco_model::Millis;
use jaco_model::spec::{
    Constraint, DeviceRequest, FailureAction, Preference, RestartCondition, RestartPolicy,
    UpdateOrder,
};
use std::collections::BTreeMap;

const DEPLOY: Schema = compose(&[
    s("endpoint_mode"),
    h("labels"),
    h("mode"),
    h("placement"),
    h("replicas"),
    h("resources"),
    h("restart_policy"),
    h("rollback_config"),
    h("update_config"),
]);
const PLACEMENT: Schema =
    compose(&[h("constraints"), h("max_replicas_per_node"), h("preferences")]);
const RESOURCES: Schema = compose(&[h("limits"), h("reservations")]);
const LIMITS: Schema = compose(&[h("cpus"), h("memory"), h("pids")]);
const RESERVATIONS: Schema =
    compose(&[h("cpus"), h("devices"), h("generic_resources"), h("memory")]);
const GENERIC: Schema = compose(&[h("discrete_resource_spec")]);
const DISCRETE: Schema = compose(&[h("kind"), h("value")]);
const UPDATE: Schema = compose(&[
    h("delay"),
    h("failure_action"),
    h("max_failure_ratio"),
    h("monitor"),
    h("order"),
    h("parallelism"),
]);
const RESTART: Schema = compose(&[h("condition"), h("delay"), h("max_attempts"), h("window")]);

/// What `deploy.mode` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    #[default]
    Replicated,
    Global,
    ReplicatedJob,
    GlobalJob,
}

/// Everything under `deploy`, before defaults.
#[derive(Debug, Default)]
pub(super) struct Deploy {
    pub(super) mode: Option<Spot<Mode>>,
    pub(super) replicas: Option<Spot<u32>>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) constraints: Vec<Constraint>,
    pub(super) preferences: Vec<Preference>,
    pub(super) max_per_node: Option<u32>,
    pub(super) limits: Limits,
    pub(super) update: Policy,
    pub(super) rollback: Policy,
    pub(super) restart: Option<RestartPolicy>,
}

/// `deploy.resources`.
#[derive(Debug, Default)]
pub(super) struct Limits {
    pub(super) nano_cpus: Option<i64>,
    pub(super) memory: Option<i64>,
    pub(super) pids: Option<i64>,
    pub(super) reserved_cpu_milli: u64,
    pub(super) reserved_memory: Option<u64>,
    pub(super) reserved_generic: BTreeMap<String, u64>,
    pub(super) device_requests: Vec<DeviceRequest>,
}

/// `update_config` or `rollback_config`, before defaults.
#[derive(Debug, Default)]
pub(super) struct Policy {
    pub(super) parallelism: Option<u32>,
    pub(super) delay: Option<Millis>,
    pub(super) order: Option<Spot<UpdateOrder>>,
    pub(super) monitor: Option<Millis>,
    pub(super) failure_action: Option<FailureAction>,
    pub(super) max_failure_ppm: Option<u32>,
}

impl Deploy {
    pub(super) fn is_job(&self) -> bool {
        let mode = self.mode.as_ref().map(|mode| mode.value);
        matches!(mode, Some(Mode::ReplicatedJob | Mode::GlobalJob))
    }

    pub(super) fn is_global(&self) -> bool {
        let mode = self.mode.as_ref().map(|mode| mode.value);
        matches!(mode, Some(Mode::Global | Mode::GlobalJob))
    }
}

/// Decodes `deploy`.
pub(super) fn decode(cx: &mut Cx, service: &Fields<'_>) -> Deploy {
    let Some(item) = service.get("deploy") else { return Deploy::default() };
    let fields = item.map(cx, &DEPLOY);
    let mut deploy = Deploy {
        mode: fields.get("mode").and_then(|item| mode(cx, &item)),
        replicas: fields.get("replicas").and_then(|item| Some(item.spot(item.count(cx, 0)?))),
        labels: fields.pairs(cx, "labels"),
        limits: fields.get("resources").map(|item| limits(cx, &item)).unwrap_or_default(),
        update: fields.get("update_config").map(|item| policy(cx, &item)).unwrap_or_default(),
        rollback: fields.get("rollback_config").map(|item| policy(cx, &item)).unwrap_or_default(),
        restart: fields.get("restart_policy").map(|item| restart_policy(cx, &item)),
        ..Deploy::default()
    };
    if let Some(item) = fields.get("placement") {
        let placement = item.map(cx, &PLACEMENT);
        deploy.constraints = constraints::decode(cx, &placement);
        deploy.preferences = constraints::decode_preferences(cx, &placement);
        let most = placement.count(cx, "max_replicas_per_node", 0);
        deploy.max_per_node = most.filter(|most| *most > 0);
    }
    check_endpoint_mode(cx, &fields);
    deploy
}

fn check_endpoint_mode(cx: &mut Cx, fields: &Fields<'_>) {
    let Some(item) = fields.get("endpoint_mode") else { return };
    if item.choice(cx, &[("dnsrr", false), ("vip", true)]) == Some(true) {
        cx.warn(&item.place, "ignored: names resolve to the addresses of all ready replicas");
    }
}

fn mode(cx: &mut Cx, item: &Item<'_>) -> Option<Spot<Mode>> {
    let mode = item.choice(
        cx,
        &[
            ("replicated", Mode::Replicated),
            ("global", Mode::Global),
            ("replicated-job", Mode::ReplicatedJob),
            ("global-job", Mode::GlobalJob),
        ],
    )?;
    if matches!(mode, Mode::ReplicatedJob | Mode::GlobalJob) {
        cx.later(&item.place, "a job");
    }
    Some(item.spot(mode))
}

fn limits(cx: &mut Cx, item: &Item<'_>) -> Limits {
    let fields = item.map(cx, &RESOURCES);
    let mut limits = Limits::default();
    if let Some(item) = fields.get("limits") {
        let fields = item.map(cx, &LIMITS);
        limits.nano_cpus = fields.get("cpus").and_then(|item| item.nano_cpus(cx));
        limits.memory = fields.get("memory").and_then(|item| memory_limit(cx, &item));
        limits.pids = fields.int(cx, "pids", -1..=i64::MAX);
    }
    if let Some(item) = fields.get("reservations") {
        let fields = item.map(cx, &RESERVATIONS);
        let nano = fields.get("cpus").and_then(|item| item.nano_cpus(cx)).unwrap_or_default();
        limits.reserved_cpu_milli = u64::try_from(nano / 1_000_000).unwrap_or_default();
        limits.reserved_memory =
            fields.size(cx, "memory").and_then(|bytes| u64::try_from(bytes).ok());
        limits.reserved_generic = generic_resources(cx, &fields);
        if let Some(item) = fields.get("devices") {
            limits.device_requests =
                item.list(cx).iter().map(|item| devices::request(cx, item)).collect();
        }
    }
    limits
}

fn memory_limit(cx: &mut Cx, item: &Item<'_>) -> Option<i64> {
    let bytes = item.size(cx)?;
    if bytes < 6 << 20 {
        cx.fail(&item.place, Reason::Range, "Docker needs a memory limit of at least 6m");
    }
    Some(bytes)
}

fn generic_resources(cx: &mut Cx, fields: &Fields<'_>) -> BTreeMap<String, u64> {
    let Some(item) = fields.get("generic_resources") else { return BTreeMap::new() };
    let mut resources = BTreeMap::new();
    for item in item.list(cx) {
        let Some(spec) = item.map(cx, &GENERIC).require(cx, "discrete_resource_spec") else {
            continue;
        };
        let fields = spec.map(cx, &DISCRETE);
        let kind = fields.require(cx, "kind").and_then(|item| item.word(cx));
        let value = fields.require(cx, "value").and_then(|item| item.count(cx, 1));
        resources.extend(kind.zip(value.map(u64::from)));
    }
    resources
}

fn policy(cx: &mut Cx, item: &Item<'_>) -> Policy {
    let fields = item.map(cx, &UPDATE);
    let orders = [("start-first", UpdateOrder::StartFirst), ("stop-first", UpdateOrder::StopFirst)];
    let actions = [
        ("rollback", FailureAction::Rollback),
        ("pause", FailureAction::Pause),
        ("continue", FailureAction::Continue),
    ];
    Policy {
        parallelism: fields.count(cx, "parallelism", 0),
        delay: fields.duration(cx, "delay"),
        order: fields.get("order").and_then(|item| Some(item.spot(item.choice(cx, &orders)?))),
        monitor: fields.duration(cx, "monitor"),
        failure_action: fields.choice(cx, "failure_action", &actions),
        max_failure_ppm: fields.get("max_failure_ratio").and_then(|item| item.ppm(cx)),
    }
}

/// Defaults: any end restarts, after a second, without limit.
pub(super) fn default_restart(condition: RestartCondition) -> RestartPolicy {
    RestartPolicy {
        condition,
        delay: Millis::secs(1),
        max_attempts: None,
        window: Millis::secs(30),
    }
}

fn restart_policy(cx: &mut Cx, item: &Item<'_>) -> RestartPolicy {
    let fields = item.map(cx, &RESTART);
    let conditions = [
        ("any", RestartCondition::Any),
        ("on-failure", RestartCondition::OnFailure),
        ("none", RestartCondition::None),
    ];
    let condition = fields.choice(cx, "condition", &conditions);
    let mut policy = default_restart(condition.unwrap_or(RestartCondition::Any));
    policy.delay = fields.duration(cx, "delay").unwrap_or(policy.delay);
    policy.max_attempts = fields.count(cx, "max_attempts", 0).filter(|attempts| *attempts > 0);
    policy.window = fields.duration(cx, "window").unwrap_or(policy.window);
    policy
}

/// The service's own `restart`.
pub(super) fn decode_restart(cx: &mut Cx, service: &Fields<'_>) -> Option<RestartPolicy> {
    let item = service.get("restart")?;
    let text = item.text(cx)?;
    let (word, attempts) = match text.split_once(':') {
        Some((word, attempts)) => (word, Some(attempts)),
        None => (text, None),
    };
    let condition = match word {
        "always" | "unless-stopped" => RestartCondition::Any,
        "on-failure" => RestartCondition::OnFailure,
        // The unquoted word is a boolean in older YAML and reaches us as that.
        "no" | "false" | "off" => RestartCondition::None,
        _ => {
            let words = ["no", "always", "on-failure", "unless-stopped"];
            cx.unknown_word(&item.place, word, &words);
            return None;
        }
    };
    let mut policy = default_restart(condition);
    if let Some(attempts) = attempts {
        let parsed = attempts.parse::<u32>().ok();
        if parsed.is_none() || condition != RestartCondition::OnFailure {
            let message = format!("expected on-failure:<attempts>, got \"{text}\"");
            cx.fail(&item.place, Reason::Format, message);
        }
        policy.max_attempts = parsed.filter(|attempts| *attempts > 0);
    }
    Some(policy)
}
