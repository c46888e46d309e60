//! The effective container configuration: everything Docker is told.

use super::{Healthcheck, Mount, NetworkAttachment, NetworkMode};
use crate::{Millis, ServiceName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What runs in one replica. Two equal specs with one image digest are one container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// The image reference as the user wrote it; the digest is pinned per revision.
    pub image: String,
    /// When the reference is looked up in a registry.
    pub pull_policy: PullPolicy,
    /// `os/arch[/variant]` wanted by the user.
    pub platform: Option<String>,
    /// Replaces the image's command; `None` keeps it, an empty list clears it.
    pub command: Option<Vec<String>>,
    /// Replaces the image's entrypoint; `None` keeps it, an empty list clears it.
    pub entrypoint: Option<Vec<String>>,
    /// Environment variables.
    pub environment: BTreeMap<String, String>,
    /// Container labels without those set by the system.
    pub labels: BTreeMap<String, String>,
    /// OCI annotations.
    pub annotations: BTreeMap<String, String>,
    /// `user[:group]`.
    pub user: Option<String>,
    /// Extra groups.
    pub group_add: Vec<String>,
    /// Working directory.
    pub working_dir: Option<String>,
    /// Hostname; `None` is the instance's name.
    pub hostname: Option<String>,
    /// NIS domain name.
    pub domainname: Option<String>,
    /// Whether an init process reaps children.
    pub init: Option<bool>,
    /// Whether standard input stays open.
    pub stdin_open: bool,
    /// Whether a terminal is allocated.
    pub tty: bool,
    /// Whether the root file system is read-only.
    pub read_only: bool,
    /// Volumes, binds, tmpfs and images.
    pub mounts: Vec<Mount>,
    /// How the container gets its network.
    pub network_mode: NetworkMode,
    /// Networks in attach order; empty unless the mode is [`NetworkMode::Networks`].
    pub networks: Vec<NetworkAttachment>,
    /// `host:address` lines for /etc/hosts.
    pub extra_hosts: Vec<String>,
    /// Name servers that replace the built-in resolver.
    pub dns: Vec<String>,
    /// Resolver options.
    pub dns_opt: Vec<String>,
    /// Search domains.
    pub dns_search: Vec<String>,
    /// Fixed MAC address, only with one replica.
    pub mac_address: Option<String>,
    /// Docker's own healthcheck; `None` keeps the image's.
    pub healthcheck: Option<Healthcheck>,
    /// Stop signal; `None` keeps the image's.
    pub stop_signal: Option<String>,
    /// Time between the stop signal and the kill.
    pub stop_grace_period: Millis,
    /// Commands run in the container after start and before stop.
    pub post_start: Vec<Hook>,
    /// See `post_start`.
    pub pre_stop: Vec<Hook>,
    /// CPU, memory, device and other limits.
    pub resources: Resources,
    /// Capabilities, namespaces and what else weakens or strengthens the walls.
    pub security: Security,
    /// Log driver and options.
    pub logging: Logging,
    /// OCI runtime; `None` is the engine's default.
    pub runtime: Option<String>,
    /// Storage driver options.
    pub storage_opt: BTreeMap<String, String>,
}

/// When the image reference is looked up in a registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PullPolicy {
    /// Look the reference up at each apply and pull even when a copy is present.
    Always,
    /// Look the reference up at each apply; pull only when absent.
    #[default]
    Missing,
    /// Never ask a registry: the image must be on the node.
    Never,
}

/// A command run inside the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Program and arguments.
    pub command: Vec<String>,
    /// User to run as; `None` is the container's.
    pub user: Option<String>,
    /// Whether it gets all capabilities.
    pub privileged: bool,
    /// Working directory; `None` is the container's.
    pub working_dir: Option<String>,
    /// Extra environment.
    pub environment: BTreeMap<String, String>,
}

/// Limits and reservations. `None` leaves the engine's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// CPU limit in billionths of a core.
    pub nano_cpus: Option<i64>,
    /// Memory limit in bytes.
    pub memory: Option<i64>,
    /// Memory plus swap in bytes; -1 is unlimited swap.
    pub memory_swap: Option<i64>,
    /// Most processes.
    pub pids: Option<i64>,
    /// CPU reserved for placement, in thousandths of a core.
    pub reserved_cpu_milli: u64,
    /// Memory reserved for placement and set as the soft limit, in bytes.
    pub reserved_memory: u64,
    /// Generic resources reserved for placement.
    pub reserved_generic: BTreeMap<String, u64>,
    /// GPUs and other devices asked for by capability.
    pub device_requests: Vec<DeviceRequest>,
    /// CFS period in microseconds.
    pub cpu_period: Option<i64>,
    /// CFS quota in microseconds.
    pub cpu_quota: Option<i64>,
    /// Real-time period in microseconds.
    pub cpu_rt_period: Option<i64>,
    /// Real-time runtime in microseconds.
    pub cpu_rt_runtime: Option<i64>,
    /// Relative CPU weight.
    pub cpu_shares: Option<i64>,
    /// CPUs to run on, such as `0-2,4`.
    pub cpuset: Option<String>,
    /// Size of /dev/shm in bytes.
    pub shm_size: Option<i64>,
    /// Resource limits of processes.
    pub ulimits: Vec<Ulimit>,
    /// Kernel OOM score adjustment.
    pub oom_score_adj: Option<i64>,
    /// Whether the OOM killer spares the container.
    pub oom_kill_disable: Option<bool>,
    /// Block I/O weights and limits.
    pub blkio: Option<BlkioLimits>,
    /// Host devices.
    pub devices: Vec<DeviceMapping>,
    /// cgroup device rules.
    pub device_cgroup_rules: Vec<String>,
}

/// A device request as Docker takes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRequest {
    /// Driver name, such as `nvidia`.
    pub driver: Option<String>,
    /// How many; -1 is all.
    pub count: Option<i64>,
    /// Ids instead of a count.
    pub device_ids: Vec<String>,
    /// Sets of capabilities; one set must match.
    pub capabilities: Vec<String>,
    /// Driver options.
    pub options: BTreeMap<String, String>,
}

/// One process limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// Name without `RLIMIT_`, lower case.
    pub name: String,
    /// Soft limit.
    pub soft: i64,
    /// Hard limit.
    pub hard: i64,
}

/// Block I/O weights and limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlkioLimits {
    /// Weight, 10 to 1000.
    pub weight: Option<u16>,
    /// Weight by device.
    pub weight_device: Vec<BlkioDevice>,
    /// Read bytes per second by device.
    pub device_read_bps: Vec<BlkioDevice>,
    /// Write bytes per second by device.
    pub device_write_bps: Vec<BlkioDevice>,
    /// Read operations per second by device.
    pub device_read_iops: Vec<BlkioDevice>,
    /// Write operations per second by device.
    pub device_write_iops: Vec<BlkioDevice>,
}

/// A number for one block device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlkioDevice {
    /// Device path.
    pub path: String,
    /// Weight or rate.
    pub value: u64,
}

/// A host device given to the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceMapping {
    /// Path on the host.
    pub source: String,
    /// Path in the container.
    pub target: String,
    /// Any of `r`, `w`, `m`.
    pub permissions: String,
}

/// What weakens or strengthens the walls around the container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    /// All capabilities and devices.
    pub privileged: bool,
    /// Added capabilities.
    pub cap_add: Vec<String>,
    /// Dropped capabilities.
    pub cap_drop: Vec<String>,
    /// `no-new-privileges`, seccomp, AppArmor and SELinux options.
    pub security_opt: Vec<String>,
    /// Kernel parameters.
    pub sysctls: BTreeMap<String, String>,
    /// IPC namespace.
    pub ipc: Isolation,
    /// PID namespace.
    pub pid: Isolation,
    /// UTS namespace is the host's.
    pub uts_host: bool,
    /// User namespace is the host's.
    pub userns_host: bool,
    /// cgroup namespace is the host's.
    pub cgroup_host: bool,
    /// Parent cgroup.
    pub cgroup_parent: Option<String>,
}

/// Whose namespace a container uses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "service")]
pub enum Isolation {
    /// The engine's default, one of its own.
    #[default]
    Default,
    /// One of its own, explicitly.
    Private,
    /// One of its own that others may join.
    Shareable,
    /// None at all.
    None,
    /// The host's.
    Host,
    /// That of a replica of another service on the same node.
    Service(ServiceName),
}

/// Log driver and options.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logging {
    /// Driver name.
    pub driver: String,
    /// Driver options.
    pub options: BTreeMap<String, String>,
}

/// Three files of 10 MiB, so that a chatty container cannot fill the disk.
impl Default for Logging {
    fn default() -> Self {
        let options = [("max-size", "10m"), ("max-file", "3")];
        Logging {
            driver: "json-file".to_owned(),
            options: options.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        }
    }
}
