//! Answers of the commands that look.

use super::CertificateView;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Answer of `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusView {
    /// Deployments by name.
    pub deployments: Vec<DeploymentRow>,
    /// Replicas by id; one row per instance.
    pub replicas: Vec<ReplicaStatusRow>,
    /// Routes by domain and path.
    pub routes: Vec<RouteRow>,
    /// Certificates by domain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certs: Vec<CertificateView>,
}

/// One deployment in `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentRow {
    /// Its name.
    pub name: String,
    /// The revision that should run.
    pub applied_revision: u64,
    /// The one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_revision: Option<u64>,
    /// `pending`, `active`, `updating`, `degraded`, `paused` or `deleting`.
    pub status: String,
    /// Why, when that needs saying; the key `reason` first.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub status_details: BTreeMap<String, String>,
    /// Wanted replicas.
    pub wanted: u32,
    /// Ready replicas.
    pub running: u32,
    /// The rollout under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutView>,
}

/// A rollout under way, over all services of a deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutView {
    /// `in_progress` or `paused`.
    pub state: String,
    /// Replicas replaced.
    pub step: u32,
    /// Replicas to replace.
    pub total: u32,
}

/// One instance, or one slot without any, in `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaStatusRow {
    /// Replica id.
    pub id: String,
    /// Its state.
    pub state: String,
    /// The node's hostname; empty for a slot that waits.
    pub host: String,
    /// The container; empty before it is made.
    pub container_id: String,
    /// When it was last found healthy, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_health_at: Option<String>,
    /// Why, when that needs saying.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The same for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The same in parts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
    /// The deployment.
    pub deployment: String,
    /// The service.
    pub service: String,
    /// Index of the slot; left out for global services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// Which life of the slot; 0 for a slot that waits.
    pub generation: u64,
    /// `<replica>.g<generation>`; empty for a slot that waits.
    pub instance: String,
    /// Whether it serves.
    pub ready: bool,
    /// Restarts of the container.
    pub restart_count: u32,
    /// Its address on its first network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// When it entered the state, RFC 3339.
    pub since: String,
}

/// One route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteRow {
    /// Domain.
    pub domain: String,
    /// Prefix; empty is every path.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Whose it is.
    pub deployment: String,
    /// Where it leads; empty for a route that answers by itself.
    pub service: String,
    /// Port in the containers.
    pub port: Option<u16>,
    /// `auto`, `off`, or the secret with the certificate.
    pub tls: String,
    /// Whether the path is removed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strip_path: bool,
    /// Replicas that take requests.
    pub ready_replicas: usize,
    /// Replicas that are meant to.
    pub total_replicas: usize,
}

/// Answer of `get route`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteView {
    /// Domain.
    pub domain: String,
    /// In the order in which they are tried.
    pub routes: Vec<RouteEntry>,
}

/// One route of a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteEntry {
    /// What the list shows too.
    #[serde(flatten)]
    pub row: RouteRow,
    /// Whether it takes what no other takes.
    pub catch_all: bool,
    /// The deployment that owns the domain.
    pub owner: String,
    /// Its replicas.
    pub upstreams: Vec<UpstreamRow>,
}

/// A replica behind a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamRow {
    /// Its id.
    pub replica: String,
    /// Where it is; empty before it has an address.
    pub address: String,
    /// Its state.
    pub state: String,
}

/// One line of `get deployments`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentSummary {
    /// Its name.
    pub name: String,
    /// The revision that should run.
    pub applied_revision: u64,
    /// The one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_revision: Option<u64>,
    /// Its status.
    pub status: String,
    /// Services by name.
    pub services: Vec<String>,
}

/// Answer of `get deployment`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentView {
    /// Its name.
    pub name: String,
    /// The revision shown.
    pub applied_revision: u64,
    /// The one before the current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_revision: Option<u64>,
    /// Its status.
    pub status: String,
    /// Services by name.
    pub services: Vec<ServiceSummary>,
    /// The overlay; empty without one.
    pub jaco_yaml: String,
    /// The compose document.
    pub compose_yaml: String,
    /// Whether values that look secret were masked.
    pub env_masked: bool,
    /// Where it was applied from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub origin_directory: String,
    /// By whom it was applied.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub origin_user: String,
}

/// One service in `get deployment`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSummary {
    /// Its name.
    pub name: String,
    /// Wanted replicas, after `jaco scale`; the number of nodes for global services is not known
    /// here and reads 0.
    pub replicas: u32,
    /// `spread`, `pack`, `hosts` or `global`.
    pub placement: String,
    /// The only allowed nodes.
    pub hosts: Vec<String>,
    /// Networks by compose key.
    pub networks: Vec<String>,
    /// Image reference.
    pub image: String,
    /// What it was resolved to.
    pub digest: String,
    /// `replicated` or `global`.
    pub mode: String,
}

/// One replica in `ps` and `get replicas`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaRow {
    /// Replica id.
    pub id: String,
    /// The deployment.
    pub deployment: String,
    /// The service.
    pub service: String,
    /// Index of the slot; left out for global services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// Its state.
    pub state: String,
    /// The node's hostname; empty for a slot that waits.
    pub host: String,
    /// Image reference.
    pub image: String,
    /// The revision it runs.
    pub revision: u64,
    /// The container; empty before it is made.
    pub container_id: String,
    /// Restarts of the container.
    pub restart_count: u32,
    /// Why, when that needs saying.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The same for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The same in parts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
    /// When its container first started, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// When it was last found healthy, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_health_at: Option<String>,
    /// `<replica>.g<generation>`; empty for a slot that waits.
    pub instance: String,
    /// Which life of the slot; 0 for a slot that waits.
    pub generation: u64,
    /// Address by network key.
    pub ips: BTreeMap<String, String>,
    /// Published ports, such as `8080->80/tcp`.
    pub ports: Vec<String>,
}

/// Answer of `get replica`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaDetail {
    /// What the list shows.
    #[serde(flatten)]
    pub row: ReplicaRow,
    /// What its image was resolved to.
    pub digest: String,
    /// Its dependencies.
    pub depends_on: Vec<DependencyView>,
    /// Why it is where it is, or nowhere.
    pub placement: PlacementView,
    /// Its last transitions, oldest first.
    pub state_history: Vec<TransitionView>,
    /// Ended instances of the slot, newest first.
    pub past: Vec<ReplicaRow>,
}

/// One dependency of a replica.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DependencyView {
    /// The service it depends on.
    pub service: String,
    /// The condition.
    pub condition: String,
    /// Whether it holds now.
    pub satisfied: bool,
    /// What it is now.
    pub state: String,
}

/// Why a replica is where it is, or nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacementView {
    /// Why no node took it, by hostname.
    pub rejected: BTreeMap<String, String>,
}

/// One transition in `get replica`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransitionView {
    /// When, RFC 3339.
    pub ts: String,
    /// From which state.
    pub from: String,
    /// To which state.
    pub to: String,
    /// Why, when that needs saying.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The same for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// One line of `get volumes`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeView {
    /// The engine's name.
    pub name: String,
    /// The deployment that made it.
    pub deployment: String,
    /// The node that holds it.
    pub host: String,
    /// Driver.
    pub driver: String,
    /// Replicas that mount it.
    pub in_use_by: Vec<String>,
}

/// One line of `get networks`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkView {
    /// The engine's name.
    pub name: String,
    /// The deployment.
    pub deployment: String,
    /// The node.
    pub host: String,
    /// Addresses in use.
    pub used: u32,
}

/// One line of `GET /v1/logs`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When, RFC 3339 with fractions, as the engine stamped it.
    pub ts: String,
    /// Replica id.
    pub replica: String,
    /// The node's hostname.
    pub host: String,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// The line without its end.
    pub line: String,
}
