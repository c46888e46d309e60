//! Why a slot waits, as a fault that people read and scripts branch on.

use crate::addresses::POOL_EXHAUSTED;
use crate::board::Board;
use crate::choose::Refusals;
use crate::filter::Reason;
use crate::service::Service;
use jaco_model::spec::{PlacementPolicy, ServiceSpec};
use jaco_model::{ErrorCode, Fault};
use std::collections::BTreeMap;

/// Nodes named one by one; the others are counted by reason.
const NODES_NAMED: usize = 50;

/// The reason of a slot that no node takes.
pub(crate) fn unplaced(spec: &ServiceSpec, board: &Board<'_>, refusals: &Refusals<'_>) -> Fault {
    let mut fault = match code(spec, refusals) {
        ErrorCode::SubnetPoolExhausted => board.addresses.exhausted(refusals),
        code => Fault::new(code, format!("0 of {} nodes fit", refusals.len())),
    };
    let missing = missing_hosts(spec, board);
    if fault.code == ErrorCode::CannotSatisfyHostPlacement {
        fault = fault.with("missing", missing.join(", "));
    }
    let mut grouped: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, (name, reason)) in refusals.iter().enumerate() {
        if index < NODES_NAMED {
            fault = fault.with(name.as_str(), reason.text());
        } else {
            *grouped.entry(reason.code).or_default() += 1;
        }
    }
    if !grouped.is_empty() {
        let groups: Vec<_> = grouped.iter().map(|(code, n)| format!("{code}: {n}")).collect();
        fault = fault.with("others", groups.join(", "));
    }
    fault
}

/// The reason of a slot whose instance serves and may not be taken away for its successor.
pub(crate) fn held(service: &Service<'_>, unavailable: u32) -> Fault {
    let ready = service.slots.iter().filter(|slot| slot.is_ready()).count();
    let wanted = service.n_wanted;
    let message = format!(
        "held: {ready} of {wanted} replicas are ready and at most {unavailable} may be away"
    );
    Fault::new(ErrorCode::Unschedulable, message).with("reason", "rollout_invariant_hold")
}

fn code(spec: &ServiceSpec, refusals: &Refusals<'_>) -> ErrorCode {
    let is = |code: &str| refusals.iter().any(|(_, reason)| reason.code == code);
    let away = |reason: &Reason| {
        matches!(reason.code, "node_down" | "node_not_ready" | "cordoned" | "draining")
    };
    if is("volume_elsewhere") && refusals.iter().any(|(_, reason)| away(reason)) {
        return ErrorCode::VolumeWaiting;
    }
    let pinned = spec.placement.policy == PlacementPolicy::Hosts;
    let listed = |name| spec.placement.hosts.contains(name);
    if pinned && refusals.iter().any(|(name, reason)| listed(*name) && away(reason)) {
        return ErrorCode::CannotSatisfyHostPlacement;
    }
    if is(POOL_EXHAUSTED) {
        return ErrorCode::SubnetPoolExhausted;
    }
    ErrorCode::Unschedulable
}

/// Pinned hosts that take no work now.
fn missing_hosts<'a>(spec: &'a ServiceSpec, board: &Board<'_>) -> Vec<&'a str> {
    use jaco_model::entity::NodeStatus;
    let takes_work = |name: &jaco_model::NodeName| {
        board.rooms().iter().any(|room| {
            room.node.name == *name
                && room.node.schedulable
                && room.node.status == NodeStatus::Ready
        })
    };
    let hosts = spec.placement.hosts.iter().filter(|name| !takes_work(name));
    hosts.map(|name| name.as_str()).collect()
}
