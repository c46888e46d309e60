//! A deployment and its services: how many, where, in which order, and what happens on failure.

use super::{
    ContainerSpec, DnsProvider, NetworkSpec, PortSpec, ProbeSpec, RouteSpec, SecretText, VolumeSpec,
};
use crate::{DeploymentName, Millis, NodeName, ServiceName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything a user asked for under one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentSpec {
    /// The deployment's name.
    pub name: DeploymentName,
    /// Enabled services by name.
    pub services: BTreeMap<ServiceName, ServiceSpec>,
    /// Networks by compose key; `_default` is present when a service uses it.
    pub networks: BTreeMap<String, NetworkSpec>,
    /// Named volumes by compose key.
    pub volumes: BTreeMap<String, VolumeSpec>,
    /// Revisions kept; `None` takes the cluster's setting.
    pub history: Option<u32>,
    /// Routes by domain and path, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RouteSpec>,
    /// Whom the certificate authority writes to; `None` takes the cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acme_email: Option<String>,
    /// Providers of DNS-01 that it brings, beside those of the cluster.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub acme_dns: BTreeMap<String, DnsProvider>,
    /// Content of the secrets that routes and providers refer to, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretText>,
}

/// One compose service with all of its cluster settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// The service's name.
    pub name: ServiceName,
    /// How many replicas, and whether they end.
    pub mode: ServiceMode,
    /// Where replicas may run.
    pub placement: Placement,
    /// What runs. Its hash decides whether a replica must be replaced.
    pub container: ContainerSpec,
    /// Checks run by the node itself, besides Docker's healthcheck.
    pub probe: Option<ProbeSpec>,
    /// Longest time from container start to ready; pulls do not count.
    pub start_limit: Millis,
    /// Longest wait for open connections before a stop.
    pub drain_timeout: Millis,
    /// How a new revision replaces the old one.
    pub update: UpdatePolicy,
    /// How a rollback replaces the failed revision.
    pub rollback: UpdatePolicy,
    /// What happens when the process ends.
    pub restart: RestartPolicy,
    /// What must be there before a replica is created.
    pub depends_on: Vec<Dependency>,
    /// Published and documented ports.
    pub ports: Vec<PortSpec>,
    /// `deploy.labels`: on the service, not on its containers.
    pub labels: BTreeMap<String, String>,
    /// What happens to replicas of a lost node.
    pub on_node_loss: NodeLossPolicy,
    /// Whether two replicas may never run at once.
    pub singleton: bool,
    /// Whether replicas may be moved under pressure.
    pub rebalance: bool,
}

/// How many replicas a service has and whether they are meant to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum ServiceMode {
    /// A fixed number of replicas that run until removed.
    Replicated {
        /// Wanted replicas; 0 keeps the service and its names.
        replicas: u32,
    },
    /// One replica on each eligible node.
    Global,
}

/// Where the replicas of one service may run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// How a node is chosen among those that fit.
    pub policy: PlacementPolicy,
    /// The only allowed nodes, for [`PlacementPolicy::Hosts`].
    pub hosts: Vec<NodeName>,
    /// All must hold.
    pub constraints: Vec<Constraint>,
    /// Spread over the values of node labels, in order.
    pub preferences: Vec<Preference>,
    /// Most replicas of this service on one node; `None` is no limit.
    pub max_per_node: Option<u32>,
}

/// How a node is chosen among those that fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlacementPolicy {
    /// Fewest replicas of this service, then fewest in all, then a stable hash.
    #[default]
    Spread,
    /// The fullest node that still fits.
    Pack,
    /// Like spread, within a list of nodes.
    Hosts,
    /// One on each eligible node.
    Global,
}

/// `key == value` or `key != value` over a node's facts; comparison is exact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Constraint {
    /// Which fact of the node.
    pub key: ConstraintKey,
    /// `true` for `==`, `false` for `!=`.
    pub equal: bool,
    /// The text to compare with. A missing label compares as the empty text.
    pub value: String,
}

/// A fact of a node that a constraint may name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "label")]
pub enum ConstraintKey {
    /// `node.hostname`
    Hostname,
    /// `node.id`
    Id,
    /// `node.role`: `manager` for voters, `worker` for others.
    Role,
    /// `node.platform.os`
    Os,
    /// `node.platform.arch`
    Arch,
    /// `node.labels.<key>`
    Label(String),
}

/// `spread: node.labels.<label>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preference {
    /// The label whose values are filled evenly.
    pub label: String,
}

/// How one state of a service is replaced by the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdatePolicy {
    /// Replacements in flight; 0 is all at once.
    pub parallelism: u32,
    /// Pause between batches.
    pub delay: Millis,
    /// New before old, or old before new.
    pub order: UpdateOrder,
    /// Whether the user wrote the order; a defaulted one may degrade when there is no room.
    pub order_explicit: bool,
    /// How long a new replica must stay ready before it counts.
    pub monitor: Millis,
    /// What a failed step leads to.
    pub failure_action: FailureAction,
    /// Tolerated failures in parts per million of all replacements (0.2 is 200 000).
    pub max_failure_ppm: u32,
    /// Most ready replicas that an operation may take away at once.
    pub max_unavailable: u32,
}

/// Whether the new replica starts before the old one stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpdateOrder {
    /// The old replica serves until the new one is ready.
    StartFirst,
    /// The old replica stops before the new one is created.
    StopFirst,
}

/// What happens when a rollout fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureAction {
    /// Restore the previous revision as a new one.
    Rollback,
    /// Stop where it is; old replicas still serve.
    Pause,
    /// Go on with the next replica.
    Continue,
}

/// What happens when a replica's process ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartPolicy {
    /// Which ends lead to a restart.
    pub condition: RestartCondition,
    /// First delay; doubles up to five minutes.
    pub delay: Millis,
    /// Most restarts in a row; `None` is forever.
    pub max_attempts: Option<u32>,
    /// Ready for that long resets the count.
    pub window: Millis,
}

/// Which ends of a process lead to a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartCondition {
    /// Every end.
    Any,
    /// A code other than 0, or a signal.
    OnFailure,
    /// None.
    None,
}

/// One entry of `depends_on`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// The service that must be there first.
    pub service: ServiceName,
    /// What "be there" means.
    pub condition: Condition,
    /// Whether a failed dependency blocks. Absent ones were dropped at load.
    pub required: bool,
    /// Whether an operator's restart or replacement of the dependency restarts this service.
    pub restart: bool,
}

/// When a dependency is satisfied, judged over the whole cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// One replica is `running` or `degraded`.
    ServiceStarted,
    /// One replica is `running`.
    ServiceHealthy,
    /// Every replica of this revision ended with code 0.
    ServiceCompletedSuccessfully,
}

/// What happens to replicas when their node is down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeLossPolicy {
    /// Replace them elsewhere, or wait.
    pub action: NodeLossAction,
    /// Extra wait before the action; `None` takes the cluster's setting.
    pub grace: Option<Millis>,
}

/// Replace a lost node's replicas elsewhere, or wait for the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeLossAction {
    /// Run them on another node.
    Reschedule,
    /// Wait for the node to come back.
    Wait,
}
