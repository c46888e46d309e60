//! How a replica proves that it is ready and alive.

use crate::Millis;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Docker's healthcheck. `None` in a field keeps the image's value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Healthcheck {
    /// What to run.
    pub test: HealthcheckTest,
    /// Time between checks.
    pub interval: Option<Millis>,
    /// Longest time of one check.
    pub timeout: Option<Millis>,
    /// Failures in a row until unhealthy.
    pub retries: Option<u32>,
    /// Time after start in which failures do not count.
    pub start_period: Option<Millis>,
    /// Time between checks during the start period (engine API 1.44 and later).
    pub start_interval: Option<Millis>,
}

/// What a healthcheck runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "command")]
pub enum HealthcheckTest {
    /// The image's own test.
    Inherit,
    /// No check at all, not even the image's.
    Disabled,
    /// A program and its arguments.
    Command(Vec<String>),
    /// A line for the image's shell.
    Shell(String),
}

/// Native probes: readiness opens the door, liveness also restarts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeSpec {
    /// Decides whether the replica is ready.
    pub readiness: Option<Probe>,
    /// Decides whether the replica is restarted.
    pub liveness: Option<Probe>,
}

/// One probe, run by the node's agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// What is asked.
    pub check: ProbeCheck,
    /// Time between checks once ready.
    pub interval: Millis,
    /// Time between checks before the first success.
    pub start_interval: Millis,
    /// Longest time of one check.
    pub timeout: Millis,
    /// Failures in a row until degraded.
    pub failure_threshold: u32,
    /// Passes in a row until ready.
    pub success_threshold: u32,
    /// Time after start in which failures do not count.
    pub start_period: Millis,
}

/// What a probe asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum ProbeCheck {
    /// An HTTP request whose status must fall into a range.
    Http(HttpProbe),
    /// A TCP connection that opens.
    Tcp {
        /// Port in the container.
        port: u16,
    },
    /// The gRPC health protocol.
    Grpc {
        /// Port in the container.
        port: u16,
        /// Service name; empty is the whole server.
        service: String,
    },
    /// A command in the container that exits 0.
    Exec {
        /// Program and arguments.
        command: Vec<String>,
    },
}

/// An HTTP request to the replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpProbe {
    /// Port in the container.
    pub port: u16,
    /// Path and query.
    pub path: String,
    /// Whether to speak TLS, without checking the certificate.
    pub https: bool,
    /// `Host` header.
    pub host: String,
    /// Further headers.
    pub headers: BTreeMap<String, String>,
    /// Lowest accepted status.
    pub status_min: u16,
    /// Highest accepted status.
    pub status_max: u16,
}
