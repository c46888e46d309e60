//! Everything the runtime core may ask of the outside.

use ipnet::Ipv4Net;
use jaco_kit_core::OpId;
use jaco_model::command::Command;
use jaco_model::entity::ImagePin;
use jaco_model::spec::{DeploymentSpec, Hook, Mount, PortSpec, ProbeCheck, PullPolicy};
use jaco_model::{InstanceId, Millis, ServiceName};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Orders to the engine, to the probes and to raft. Each that has an `op` ends in exactly one input
/// with it.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Write a report into the replicated state.
    Propose {
        /// Returns as `Proposed`.
        op: OpId,
        /// What to write.
        command: Command,
    },
    /// The addresses of this node's containers have changed: by network key, complete. Names are
    /// answered from the first moment of a container, before the state holds its address. Nothing
    /// comes back.
    Seated(BTreeMap<InstanceId, BTreeMap<String, String>>),
    /// List everything of this cluster that the engine has.
    Observe {
        /// Returns as `Observed`.
        op: OpId,
    },
    /// Make an image present.
    Pull {
        /// Returns as `Pulled`.
        op: OpId,
        /// For whom, so that progress can be shown.
        instance: InstanceId,
        /// Which image.
        image: ImagePin,
        /// Whether a registry may be asked.
        policy: PullPolicy,
        /// `os/arch[/variant]` wanted by the user.
        platform: Option<String>,
    },
    /// Make a network unless it is there. One of the same name that is not of this cluster, or
    /// that has another bridge, is an error and stays as it is.
    EnsureNetwork {
        /// Returns as `Finished`.
        op: OpId,
        /// What to make.
        plan: NetworkPlan,
    },
    /// Make a volume unless it is there; an external one must be there.
    EnsureVolume {
        /// Returns as `Finished`.
        op: OpId,
        /// What to make.
        plan: VolumePlan,
    },
    /// Make a container. One of the same name and labels that was never started counts as made.
    Create {
        /// Returns as `Created`.
        op: OpId,
        /// What to make.
        plan: Box<ContainerPlan>,
    },
    /// Start a container's process.
    Start {
        /// Returns as `Finished`.
        op: OpId,
        /// The engine's id.
        container: String,
    },
    /// Send the stop signal, wait, kill.
    Stop {
        /// Returns as `Finished` once the process ended.
        op: OpId,
        /// The engine's id.
        container: String,
        /// Time between the stop signal and the kill.
        grace: Millis,
    },
    /// Remove a stopped container and its anonymous volumes.
    Remove {
        /// Returns as `Finished`.
        op: OpId,
        /// The engine's id.
        container: String,
    },
    /// Ask about one container.
    Inspect {
        /// Returns as `Inspected`.
        op: OpId,
        /// The engine's id.
        container: String,
    },
    /// Run a command in a container.
    Exec {
        /// Returns as `Executed`.
        op: OpId,
        /// The engine's id.
        container: String,
        /// What to run.
        hook: Hook,
        /// Kill it and report failure after this long.
        timeout: Millis,
    },
    /// Ask a replica how it is.
    Probe {
        /// Returns as `Probed`.
        op: OpId,
        /// The replica's address; loopback in host mode.
        address: String,
        /// What to ask.
        check: ProbeCheck,
        /// Longest time.
        timeout: Millis,
        /// The engine's id, for `exec` probes.
        container: String,
    },
    /// Count the connections that a container still has from outside its networks.
    CountConnections {
        /// Returns as `Counted`.
        op: OpId,
        /// The engine's id.
        container: String,
        /// At these TCP ports of the container.
        ports: BTreeSet<u16>,
        /// From these addresses: the container's gateways and the nodes.
        from: BTreeSet<Ipv4Addr>,
    },
    /// Remove a network that nothing uses.
    RemoveNetwork {
        /// Returns as `Finished`.
        op: OpId,
        /// The engine's name.
        name: String,
    },
    /// Remove a volume and its data.
    RemoveVolume {
        /// Returns as `Finished`.
        op: OpId,
        /// The engine's name.
        name: String,
    },
}

impl Effect {
    /// The number under which the outcome comes back; `None` for what has none.
    pub fn op(&self) -> Option<OpId> {
        match self {
            Effect::Seated(_) => None,
            Effect::Propose { op, .. }
            | Effect::Observe { op }
            | Effect::Pull { op, .. }
            | Effect::EnsureNetwork { op, .. }
            | Effect::EnsureVolume { op, .. }
            | Effect::Create { op, .. }
            | Effect::Start { op, .. }
            | Effect::Stop { op, .. }
            | Effect::Remove { op, .. }
            | Effect::Inspect { op, .. }
            | Effect::Exec { op, .. }
            | Effect::Probe { op, .. }
            | Effect::CountConnections { op, .. }
            | Effect::RemoveNetwork { op, .. }
            | Effect::RemoveVolume { op, .. } => Some(*op),
        }
    }
}

/// A bridge network for one (deployment, network).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkPlan {
    /// The engine's name.
    pub name: String,
    /// Labels, ours and the user's.
    pub labels: BTreeMap<String, String>,
    /// The engine lets nothing out and nothing in.
    pub internal: bool,
    /// What the address plan says of it; without that the engine chooses all by itself.
    pub bridge: Option<BridgePlan>,
}

/// The linux bridge and the addresses of a network, and how the engine treats them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgePlan {
    /// All addresses of the network on this node.
    pub subnet: Ipv4Net,
    /// The address of the bridge.
    pub gateway: Ipv4Addr,
    /// Options of the engine's driver, the name of the bridge among them.
    pub options: BTreeMap<String, String>,
    /// Digest of all that cannot be changed once the network is made; also the label
    /// [`BridgePlan::REVISION_LABEL`].
    pub revision: String,
}

impl BridgePlan {
    /// The label that holds the digest.
    pub const REVISION_LABEL: &str = "jaco.bridge_rev";
    /// The label that holds the subnet.
    pub const SUBNET_LABEL: &str = "jaco.subnet";
}

/// A volume to make, or to find when external.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumePlan {
    /// The engine's name.
    pub name: String,
    /// Must exist.
    pub external: bool,
    /// Driver.
    pub driver: String,
    /// Driver options.
    pub driver_opts: BTreeMap<String, String>,
    /// Labels, ours and the user's.
    pub labels: BTreeMap<String, String>,
}

/// A container with every name resolved; the driver only translates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerPlan {
    /// Replica and generation; the container's name.
    pub instance: InstanceId,
    /// The image to create from: an id or `name@digest`.
    pub image: String,
    /// The deployment whose spec this is.
    pub spec: Arc<DeploymentSpec>,
    /// Which service of it.
    pub service: ServiceName,
    /// All labels, ours over the user's.
    pub labels: BTreeMap<String, String>,
    /// Mounts with engine names.
    pub mounts: Vec<PlannedMount>,
    /// Networks in attach order.
    pub endpoints: Vec<Endpoint>,
    /// Container whose network namespace is shared, for `network_mode: service:`.
    pub network_of: Option<String>,
    /// Container whose IPC namespace is shared.
    pub ipc_of: Option<String>,
    /// Container whose PID namespace is shared.
    pub pid_of: Option<String>,
    /// Text of the container's `/etc/resolv.conf`; the engine writes one without it.
    pub resolv_conf: Option<String>,
    /// Ports that Docker publishes on this node.
    pub publish: Vec<PortSpec>,
}

/// A mount and the engine's name of the volume behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedMount {
    /// As the user wanted it.
    pub mount: Mount,
    /// The engine's volume name, for named volumes.
    pub volume: Option<String>,
}

/// One network of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The engine's network name.
    pub network: String,
    /// Names in this network.
    pub aliases: Vec<String>,
    /// Its address there; without one the engine chooses.
    pub address: Option<Ipv4Addr>,
    /// Fixed MAC address.
    pub mac_address: Option<String>,
    /// Highest decides the default gateway, on engines that know it.
    pub gw_priority: i64,
    /// Interface name, on engines that know it.
    pub interface_name: Option<String>,
}
