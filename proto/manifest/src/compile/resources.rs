//! Limits and reservations: `deploy.resources` first, then the service's own older fields.

use super::cx::{Cx, Fields, Item};
use super::deploy::Deploy;
use super::devices;
use super::schema::{Schema, compose, h};
use crate::Reason;
use jaco_model::spec::{BlkioDevice, BlkioLimits, Resources, Ulimit};

const BLKIO: Schema = compose(&[
    h("device_read_bps"),
    h("device_read_iops"),
    h("device_write_bps"),
    h("device_write_iops"),
    h("weight"),
    h("weight_device"),
]);
const BLKIO_RATE: Schema = compose(&[h("path"), h("rate")]);
const BLKIO_WEIGHT: Schema = compose(&[h("path"), h("weight")]);
const ULIMIT: Schema = compose(&[h("hard"), h("soft")]);

/// Decodes all limits of a service.
pub(super) fn decode(cx: &mut Cx, fields: &Fields<'_>, deploy: &Deploy) -> Resources {
    let limits = &deploy.limits;
    let nano_cpus = fields.get("cpus").and_then(|item| item.nano_cpus(cx));
    let memory = fields.size(cx, "mem_limit");
    let reserved = fields.size(cx, "mem_reservation");
    let pids = fields.int(cx, "pids_limit", -1..=i64::MAX);
    let older_reserved = reserved.and_then(|bytes| u64::try_from(bytes).ok());
    let mut resources = Resources {
        nano_cpus: prefer(cx, fields, "cpus", limits.nano_cpus, nano_cpus),
        memory: prefer(cx, fields, "mem_limit", limits.memory, memory),
        pids: prefer(cx, fields, "pids_limit", limits.pids, pids),
        reserved_memory: prefer(
            cx,
            fields,
            "mem_reservation",
            limits.reserved_memory,
            older_reserved,
        )
        .unwrap_or_default(),
        reserved_cpu_milli: limits.reserved_cpu_milli,
        reserved_generic: limits.reserved_generic.clone(),
        device_requests: limits.device_requests.clone(),
        memory_swap: memory_swap(cx, fields),
        cpu_period: microseconds(cx, fields, "cpu_period"),
        cpu_quota: microseconds(cx, fields, "cpu_quota"),
        cpu_rt_period: microseconds(cx, fields, "cpu_rt_period"),
        cpu_rt_runtime: microseconds(cx, fields, "cpu_rt_runtime"),
        cpu_shares: fields.int(cx, "cpu_shares", 0..=262_144),
        cpuset: fields.get("cpuset").and_then(|item| cpuset(cx, &item)),
        shm_size: fields.size(cx, "shm_size"),
        ulimits: ulimits(cx, fields),
        oom_score_adj: fields.int(cx, "oom_score_adj", -1000..=1000),
        oom_kill_disable: fields.boolean(cx, "oom_kill_disable"),
        blkio: fields.get("blkio_config").map(|item| blkio(cx, &item)),
        devices: Vec::new(),
        device_cgroup_rules: fields.strings(cx, "device_cgroup_rules"),
    };
    devices::decode(cx, fields, &mut resources);
    check(cx, fields, &resources);
    resources
}

/// `deploy.resources` wins over the older field; a difference draws a warning.
fn prefer<T: PartialEq>(
    cx: &mut Cx,
    fields: &Fields<'_>,
    key: &str,
    deploy: Option<T>,
    older: Option<T>,
) -> Option<T> {
    if let (Some(a), Some(b), Some(item)) = (&deploy, &older, fields.get(key))
        && a != b
    {
        cx.warn(&item.place, "differs from deploy.resources, which wins");
    }
    deploy.or(older)
}

fn check(cx: &mut Cx, fields: &Fields<'_>, resources: &Resources) {
    let Some(memory) = resources.memory else { return };
    if u64::try_from(memory).is_ok_and(|limit| resources.reserved_memory > limit) {
        let written = fields.get("mem_reservation").or_else(|| fields.get("deploy"));
        let place = written.map_or_else(|| fields.place.clone(), |item| item.place);
        cx.fail(&place, Reason::Conflict, "reserves more memory than the limit allows");
    }
    if memory < 6 << 20
        && let Some(item) = fields.get("mem_limit")
    {
        cx.fail(&item.place, Reason::Range, "Docker needs a memory limit of at least 6m");
    }
}

fn memory_swap(cx: &mut Cx, fields: &Fields<'_>) -> Option<i64> {
    let item = fields.get("memswap_limit")?;
    if item.text(cx)? == "-1" { Some(-1) } else { item.size(cx) }
}

/// A number of microseconds, or a duration.
fn microseconds(cx: &mut Cx, fields: &Fields<'_>, key: &str) -> Option<i64> {
    let item = fields.get(key)?;
    if item.text(cx)?.parse::<i64>().is_ok() {
        return item.int(cx, -1..=i64::MAX);
    }
    i64::try_from(item.duration(cx)?.0.checked_mul(1_000)?).ok()
}

/// `0-2,4`.
fn cpuset(cx: &mut Cx, item: &Item<'_>) -> Option<String> {
    let text = item.word(cx)?;
    let number = |text: &str| text.parse::<u16>().ok();
    let range = |part: &str| match part.split_once('-') {
        Some((from, to)) => number(from).zip(number(to)).is_some_and(|(from, to)| from <= to),
        None => number(part).is_some(),
    };
    if !text.split(',').all(|part| range(part.trim())) {
        let message = format!("expected CPUs such as 0-2,4, got \"{text}\"");
        cx.fail(&item.place, Reason::Format, message);
    }
    Some(text)
}

fn ulimits(cx: &mut Cx, fields: &Fields<'_>) -> Vec<Ulimit> {
    const NAMES: &[&str] = &[
        "as",
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    ];
    let Some(item) = fields.get("ulimits") else { return Vec::new() };
    let mut ulimits = Vec::new();
    for (name, key, value) in item.entries(cx) {
        if !NAMES.contains(&name) {
            cx.unknown_word(&key, name, NAMES);
        } else if let Some(limit) = ulimit(cx, name, &value) {
            ulimits.push(limit);
        }
    }
    ulimits.sort_by(|a, b| a.name.cmp(&b.name));
    ulimits
}

fn ulimit(cx: &mut Cx, name: &str, item: &Item<'_>) -> Option<Ulimit> {
    let name = name.to_owned();
    if item.is_scalar() {
        let limit = item.int(cx, -1..=i64::MAX)?;
        return Some(Ulimit { name, soft: limit, hard: limit });
    }
    let fields = item.map(cx, &ULIMIT);
    let soft = fields.require(cx, "soft")?.int(cx, -1..=i64::MAX)?;
    let hard = fields.require(cx, "hard")?.int(cx, -1..=i64::MAX)?;
    if hard != -1 && (soft > hard || soft == -1) {
        cx.fail(&item.place, Reason::Conflict, format!("soft limit {soft} is above hard {hard}"));
    }
    Some(Ulimit { name, soft, hard })
}

fn blkio(cx: &mut Cx, item: &Item<'_>) -> BlkioLimits {
    let fields = item.map(cx, &BLKIO);
    let weight = fields.int(cx, "weight", 10..=1000).and_then(|weight| u16::try_from(weight).ok());
    BlkioLimits {
        weight,
        weight_device: blkio_devices(cx, &fields, "weight_device"),
        device_read_bps: blkio_devices(cx, &fields, "device_read_bps"),
        device_write_bps: blkio_devices(cx, &fields, "device_write_bps"),
        device_read_iops: blkio_devices(cx, &fields, "device_read_iops"),
        device_write_iops: blkio_devices(cx, &fields, "device_write_iops"),
    }
}

fn blkio_devices(cx: &mut Cx, fields: &Fields<'_>, key: &str) -> Vec<BlkioDevice> {
    let Some(item) = fields.get(key) else { return Vec::new() };
    item.list(cx).iter().filter_map(|item| blkio_device(cx, item, key)).collect()
}

fn blkio_device(cx: &mut Cx, item: &Item<'_>, key: &str) -> Option<BlkioDevice> {
    let weighted = key == "weight_device";
    let fields = item.map(cx, if weighted { &BLKIO_WEIGHT } else { &BLKIO_RATE });
    let path = fields.require(cx, "path")?.word(cx)?;
    let value = match (weighted, key.ends_with("bps")) {
        (true, _) => fields.require(cx, "weight")?.int(cx, 10..=1000)?,
        (false, true) => fields.require(cx, "rate")?.size(cx)?,
        (false, false) => fields.require(cx, "rate")?.int(cx, 0..=i64::MAX)?,
    };
    Some(BlkioDevice { path, value: u64::try_from(value).ok()? })
}
