//! The filters of placement, in their fixed order; the first that fails is the node's reason.
//!
//! Those that look at the node and the service alone are asked once per service, those that look
//! at what a node carries once per slot.

use crate::board::{NodeIndex, Room};
use crate::need::{Amounts, PortClaim};
use jaco_model::ReplicaId;
use jaco_model::entity::{Node, NodeStatus};
use jaco_model::spec::{Constraint, ConstraintKey, PlacementPolicy, ServiceSpec};
use std::collections::BTreeSet;

/// Why a node does not fit: a code of the closed set, then an optional detail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reason {
    pub(crate) code: &'static str,
    pub(crate) detail: String,
    /// The prefix of the block that is missing, where that is the reason.
    pub(crate) block: Option<u8>,
}

impl Reason {
    pub(crate) fn new(code: &'static str) -> Reason {
        Reason::with(code, String::new())
    }

    pub(crate) fn with(code: &'static str, detail: impl Into<String>) -> Reason {
        Reason { code, detail: detail.into(), block: None }
    }

    /// As it stands in explanations: `code` or `code: detail`.
    pub(crate) fn text(&self) -> String {
        if self.detail.is_empty() {
            return self.code.to_owned();
        }
        format!("{}: {}", self.code, self.detail)
    }
}

/// Filters 1 to 5: the node's health, cordon, pinned hosts, platform and constraints.
pub(crate) fn of_node(node: &Node, spec: &ServiceSpec) -> Option<Reason> {
    alive(node)
        .or_else(|| (!node.schedulable).then(|| Reason::new("cordoned")))
        .or_else(|| fits_for_good(node, spec))
}

/// Filters 3 to 5: what no wait can change. A node that fails them loses its global replica.
pub(crate) fn fits_for_good(node: &Node, spec: &ServiceSpec) -> Option<Reason> {
    let placement = &spec.placement;
    if placement.policy == PlacementPolicy::Hosts && !placement.hosts.contains(&node.name) {
        return Some(Reason::new("not_in_hosts"));
    }
    if let Some(wanted) = spec.container.platform.as_deref()
        && !runs_platform(node, wanted)
    {
        return Some(Reason::with("platform", format!("wants {wanted}")));
    }
    let broken = placement.constraints.iter().find(|c| !node.satisfies(c));
    broken.map(|constraint| Reason::with("constraint", constraint_text(constraint)))
}

/// The part of filter 6 that looks at the node alone: the volume drivers it must have.
pub(crate) fn of_drivers(node: &Node, drivers: &BTreeSet<&str>) -> Option<Reason> {
    let known = |driver: &str| node.facts.volume_drivers.iter().any(|known| known == driver);
    let missing = drivers.iter().find(|driver| **driver != "local" && !known(driver));
    missing.map(|driver| Reason::with("volume_driver", *driver))
}

/// Filter 11: the state of the engine.
pub(crate) fn of_engine(node: &Node) -> Option<Reason> {
    let in_trouble = |word: &str| node.facts.conditions.iter().any(|known| known == word);
    let word = ["disk_pressure", "engine_unavailable"].into_iter().find(|word| in_trouble(word));
    word.map(Reason::new)
}

fn alive(node: &Node) -> Option<Reason> {
    match node.status {
        NodeStatus::Down => Some(Reason::new("node_down")),
        NodeStatus::Joining => Some(Reason::new("node_not_ready")),
        NodeStatus::Ready => {
            let has = |word: &&str| node.facts.conditions.iter().any(|known| known == word);
            ["isolation_unavailable", "pool_conflict"].into_iter().find(has).map(Reason::new)
        }
    }
}

fn runs_platform(node: &Node, wanted: &str) -> bool {
    let mut parts = wanted.split('/');
    let os = parts.next().unwrap_or_default();
    let arch = parts.next().unwrap_or_default();
    let platform = &node.facts.platform;
    platform.os == os && (arch.is_empty() || docker_arch(&platform.arch) == docker_arch(arch))
}

/// Kernels and people have names of their own for the architectures that images name.
fn docker_arch(arch: &str) -> &str {
    match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn constraint_text(constraint: &Constraint) -> String {
    let operator = if constraint.equal { "==" } else { "!=" };
    let key = match &constraint.key {
        ConstraintKey::Hostname => "node.hostname".to_owned(),
        ConstraintKey::Id => "node.id".to_owned(),
        ConstraintKey::Role => "node.role".to_owned(),
        ConstraintKey::Os => "node.platform.os".to_owned(),
        ConstraintKey::Arch => "node.platform.arch".to_owned(),
        ConstraintKey::Label(label) => format!("node.labels.{label}"),
    };
    format!("{key}{operator}{}", constraint.value)
}

/// What a slot gives back on one node before its next instance starts there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Freed<'a> {
    pub(crate) node: Option<NodeIndex>,
    pub(crate) amounts: Amounts,
    pub(crate) replica: Option<&'a ReplicaId>,
}

/// Filter 7: cpu, memory and generic resources.
pub(crate) fn of_amounts(room: &Room<'_>, wanted: &Amounts, freed: &Amounts) -> Option<Reason> {
    let (capacity, reserved) = (&room.node.facts.capacity, &room.node.facts.reserved);
    let left = |total: u64, kept: u64, used: u64, freed: u64| {
        total.saturating_sub(kept).saturating_sub(used.saturating_sub(freed))
    };
    let cpu = left(capacity.cpu_milli, reserved.cpu_milli, room.used.cpu_milli, freed.cpu_milli);
    if wanted.cpu_milli > cpu {
        let detail = format!("want {}m, free {cpu}m", wanted.cpu_milli);
        return Some(Reason::with("insufficient_cpu", detail));
    }
    let memory = left(capacity.memory, reserved.memory, room.used.memory, freed.memory);
    if wanted.memory > memory {
        let detail = format!("want {}, free {}", mebibytes(wanted.memory), mebibytes(memory));
        return Some(Reason::with("insufficient_memory", detail));
    }
    for (kind, amount) in &wanted.generic {
        let total = capacity.generic.get(kind).copied().unwrap_or(0);
        let kept = reserved.generic.get(kind).copied().unwrap_or(0);
        let free = left(total, kept, room.used.generic_of(kind), freed.generic_of(kind));
        if *amount > free {
            let detail = format!("want {amount} {kind}, free {free}");
            return Some(Reason::with("insufficient_generic", detail));
        }
    }
    None
}

fn mebibytes(bytes: u64) -> String {
    if bytes < 1 << 20 {
        return format!("{bytes}B");
    }
    format!("{}Mi", bytes >> 20)
}

/// Filter 8: ports that another instance of the node publishes through Docker.
pub(crate) fn of_ports(
    room: &Room<'_>,
    wanted: &[PortClaim],
    own: Option<&ReplicaId>,
) -> Option<Reason> {
    let taken = wanted.iter().find(|claim| room.port_taken(claim, own));
    taken.map(|claim| Reason::with("port_in_use", claim.text()))
}
