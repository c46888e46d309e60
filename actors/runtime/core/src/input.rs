//! Everything that can happen to the runtime core.

use crate::ContainerPlan;
use jaco_kit_core::OpId;
use jaco_model::entity::{Capacity, MeshFacts, Platform};
use jaco_model::{Fault, InstanceId};
use jaco_state::State;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Facts and outcomes from outside.
#[derive(Clone, Debug)]
pub enum Input {
    /// The replicated state has moved on.
    StateChanged(Arc<State>),
    /// Whether the states that follow may be older than what was acknowledged. Then nothing is
    /// removed for being unknown to them.
    Doubted(bool),
    /// Whether the node's packet filter stands between deployments. While it does not, no
    /// container is made or started; those that run stay.
    Isolation(Result<(), Fault>),
    /// Largest packet, in bytes, of the bridges that are made from now on.
    Mtu(u16),
    /// Whether something else on the host uses addresses of the cluster's pool: then the node takes
    /// no new work.
    PoolConflict(bool),
    /// Whether something else on the host has an address that the front door or a published port
    /// wants.
    PortInUse(bool),
    /// This node's part of the mesh, for what it says about itself.
    Mesh(MeshFacts),
    /// A proposal of this core was applied, refused, or its fate is unknown.
    Proposed {
        /// Which one.
        op: OpId,
        /// Whether it was applied.
        result: Result<(), Fault>,
    },
    /// The engine answers (again): everything known of its containers is stale.
    EngineUp(EngineFacts),
    /// The engine does not answer, or its event stream broke.
    EngineDown {
        /// Why, for people.
        reason: String,
    },
    /// The engine says that something happened to a container of ours.
    Event {
        /// The engine's id of the container.
        container: String,
        /// What happened.
        event: EngineEvent,
    },
    /// Outcome of [`crate::Effect::Observe`].
    Observed {
        /// Which order.
        op: OpId,
        /// All containers, networks and volumes of this cluster.
        result: Result<Observation, EngineFault>,
    },
    /// Outcome of [`crate::Effect::Pull`].
    Pulled {
        /// Which order.
        op: OpId,
        /// Whether the image is present now.
        result: Result<(), PullFault>,
    },
    /// Outcome of [`crate::Effect::Create`].
    Created {
        /// Which order.
        op: OpId,
        /// The engine's id of the container, and what the engine could not honour.
        result: Result<(String, Vec<String>), EngineFault>,
    },
    /// Outcome of [`crate::Effect::Inspect`].
    Inspected {
        /// Which order.
        op: OpId,
        /// What the engine says; `None` when the container is gone.
        result: Result<Option<ContainerFacts>, EngineFault>,
    },
    /// Outcome of [`crate::Effect::Exec`].
    Executed {
        /// Which order.
        op: OpId,
        /// How the command ended.
        result: Result<ExecOutcome, EngineFault>,
    },
    /// Outcome of [`crate::Effect::CountConnections`].
    Counted {
        /// Which order.
        op: OpId,
        /// Established connections.
        result: Result<u32, EngineFault>,
    },
    /// Outcome of [`crate::Effect::Probe`].
    Probed {
        /// Which order.
        op: OpId,
        /// `Err` says what was wrong, for people.
        result: Result<(), String>,
    },
    /// Outcome of every other order.
    Finished {
        /// Which order.
        op: OpId,
        /// Whether it was carried out. Removing or stopping what is gone already is `Ok`.
        result: Result<(), EngineFault>,
    },
}

/// What happened to a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineEvent {
    /// Its process started.
    Started,
    /// Its process ended.
    Died {
        /// Exit code; 128 + n for signal n.
        exit_code: i64,
    },
    /// The kernel killed a process of it for want of memory.
    OutOfMemory,
    /// Its healthcheck changed its mind.
    Health(Health),
    /// It was removed.
    Destroyed,
}

/// What Docker's healthcheck says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// No healthcheck is configured.
    #[default]
    None,
    /// In its start period.
    Starting,
    /// The last check passed.
    Healthy,
    /// Too many checks failed.
    Unhealthy,
}

/// What the engine says about itself and its host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineFacts {
    /// Engine version, such as `20.10.24`.
    pub version: String,
    /// API version in use, such as `1.41`.
    pub api: String,
    /// Operating system and architecture.
    pub platform: Platform,
    /// What the host has.
    pub capacity: Capacity,
    /// Volume drivers.
    pub volume_drivers: Vec<String>,
    /// OCI runtimes.
    pub runtimes: Vec<String>,
}

/// Everything of this cluster that the engine has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// Containers, running or not.
    pub containers: Vec<ContainerFacts>,
    /// Networks.
    pub networks: Vec<ObservedNetwork>,
    /// Volumes.
    pub volumes: Vec<ObservedVolume>,
}

/// A network with our labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedNetwork {
    /// The engine's name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Its subnet, as the engine writes it; empty when it has none or several.
    pub subnet: String,
}

/// A volume with our labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedVolume {
    /// The engine's name.
    pub name: String,
    /// Driver.
    pub driver: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// What the engine says about one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerFacts {
    /// The engine's id.
    pub id: String,
    /// Replica and generation from its labels; `None` when they do not parse.
    pub instance: Option<InstanceId>,
    /// The hash of what it runs, from its label.
    pub spec_hash: String,
    /// Whether its process runs.
    pub running: bool,
    /// Whether it was created but never started.
    pub never_started: bool,
    /// Code of the last end.
    pub exit_code: Option<i64>,
    /// Whether the kernel killed it for want of memory.
    pub oom_killed: bool,
    /// What its healthcheck says.
    pub health: Health,
    /// The last output of its healthcheck, at most 512 bytes.
    pub health_output: String,
    /// Failures of its healthcheck in a row.
    pub failing_streak: u32,
    /// When its process started, milliseconds since the Unix epoch.
    pub started_at_ms: Option<u64>,
    /// Address by the engine's network name, while it runs.
    pub addresses: BTreeMap<String, String>,
    /// Address that it was made with, by the engine's network name: it has it in every run.
    pub fixed_addresses: BTreeMap<String, String>,
}

impl ContainerFacts {
    /// The addresses that it has or will have when it runs again.
    pub(crate) fn all_addresses(&self) -> BTreeSet<Ipv4Addr> {
        let all = self.addresses.values().chain(self.fixed_addresses.values());
        all.filter_map(|address| address.parse().ok()).collect()
    }

    /// Whether no network has it at another address than the plan's: one that was not made for this
    /// plan may have the same name and labels.
    pub fn has_addresses_of(&self, plan: &ContainerPlan) -> bool {
        plan.endpoints.iter().all(|endpoint| {
            let fixed = self.fixed_addresses.get(&endpoint.network);
            fixed.is_none_or(|fixed| endpoint.address.is_some_and(|at| at.to_string() == *fixed))
        })
    }
}

/// The engine refused or did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineFault {
    /// What was asked, such as `create`.
    pub op: &'static str,
    /// The engine's words, without secrets.
    pub reason: String,
    /// Whether trying again may help: `false` for a request the engine will always refuse.
    pub retry: bool,
}

impl EngineFault {
    /// Whether somebody else has an address that was asked for (moby: `ipamapi.ErrIPAlreadyAllocated`).
    pub(crate) fn is_address_conflict(&self) -> bool {
        self.reason.to_ascii_lowercase().contains("address already in use")
            && !self.reason.contains("bind")
    }
}

/// A pull failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullFault {
    /// Which kind of failure.
    pub reason: PullReason,
    /// The registry's or engine's words.
    pub message: String,
    /// How long the registry asked to wait, in milliseconds.
    pub retry_after_ms: Option<u64>,
}

/// Why a pull failed; the words of `image_pull_failed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullReason {
    /// Credentials are missing or wrong.
    Auth,
    /// No such image.
    NotFound,
    /// The registry could not be reached.
    Network,
    /// The registry asked for fewer requests.
    RateLimited,
    /// The image does not exist for this platform.
    NoPlatform,
    /// No space left.
    DiskFull,
}

impl PullReason {
    /// The word in `details.reason`.
    pub const fn as_str(self) -> &'static str {
        match self {
            PullReason::Auth => "auth",
            PullReason::NotFound => "not_found",
            PullReason::Network => "network",
            PullReason::RateLimited => "rate_limited",
            PullReason::NoPlatform => "no_platform",
            PullReason::DiskFull => "disk_full",
        }
    }

    /// Whether the same pull may work later without anybody changing anything.
    pub const fn is_final(self) -> bool {
        matches!(self, PullReason::Auth | PullReason::NotFound | PullReason::NoPlatform)
    }
}

/// How a command inside a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecOutcome {
    /// Exit code.
    pub exit_code: i64,
    /// The last output, at most 512 bytes.
    pub output: String,
}
