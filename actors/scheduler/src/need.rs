//! What one replica asks of its node: amounts, host ports, volumes and company.

use jaco_model::ServiceName;
use jaco_model::entity::{Deployment, Instance, Scope};
use jaco_model::spec::{
    DeploymentSpec, Isolation, MountKind, NetworkMode, PortMode, Protocol, ServiceSpec, VolumeSpec,
};
use jaco_state::State;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// Amounts reserved on a node; limits are never counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amounts {
    pub(crate) cpu_milli: u64,
    pub(crate) memory: u64,
    pub(crate) generic: BTreeMap<String, u64>,
}

impl Amounts {
    pub(crate) fn of(spec: &ServiceSpec) -> Amounts {
        let resources = &spec.container.resources;
        Amounts {
            cpu_milli: resources.reserved_cpu_milli,
            memory: resources.reserved_memory,
            generic: resources.reserved_generic.clone(),
        }
    }

    pub(crate) fn add(&mut self, other: &Amounts) {
        self.cpu_milli = self.cpu_milli.saturating_add(other.cpu_milli);
        self.memory = self.memory.saturating_add(other.memory);
        for (kind, amount) in &other.generic {
            let used = self.generic.entry(kind.clone()).or_default();
            *used = used.saturating_add(*amount);
        }
    }

    pub(crate) fn generic_of(&self, kind: &str) -> u64 {
        self.generic.get(kind).copied().unwrap_or(0)
    }
}

/// A port that Docker publishes on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PortClaim {
    protocol: Protocol,
    port: u16,
    address: Option<Ipv4Addr>,
}

impl PortClaim {
    /// Whether both cannot listen on one node. No address is every address.
    pub(crate) fn clashes(&self, other: &PortClaim) -> bool {
        let same_address = match (self.address, other.address) {
            (Some(a), Some(b)) => a == b || a.is_unspecified() || b.is_unspecified(),
            _ => true,
        };
        self.port == other.port && self.protocol == other.protocol && same_address
    }

    /// As it is written in a reason, such as `8080/tcp`.
    pub(crate) fn text(&self) -> String {
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        format!("{}/{protocol}", self.port)
    }
}

/// A service of one revision, as its instances weigh on a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weight<'a> {
    pub(crate) deployment: &'a Deployment,
    pub(crate) plan: &'a DeploymentSpec,
    pub(crate) spec: &'a ServiceSpec,
}

impl<'a> Weight<'a> {
    /// That of an instance; `None` once its revision is lost.
    pub(crate) fn of(state: &'a State, instance: &Instance) -> Option<Weight<'a>> {
        let deployment = state.deployments.get(&instance.deployment)?;
        let record = state.revision(&instance.deployment, instance.revision)?;
        let spec = record.spec.services.get(&instance.service)?;
        Some(Weight { deployment, plan: &record.spec, spec })
    }

    pub(crate) fn amounts(&self) -> Amounts {
        Amounts::of(self.spec)
    }

    /// The networks in which it holds an address.
    pub(crate) fn scopes(&self) -> Vec<Scope> {
        self.plan.scopes_of(self.spec)
    }

    /// The ports that Docker publishes: those in host mode.
    pub(crate) fn ports(&self) -> Vec<PortClaim> {
        let spec = self.spec;
        if spec.ports.is_empty() || spec.container.network_mode != NetworkMode::Networks {
            return Vec::new();
        }
        let by_docker = spec.ports.iter().filter(|port| port.mode == PortMode::Host);
        by_docker
            .filter_map(|port| {
                let (protocol, address) = (port.protocol, port.host_ip);
                Some(PortClaim { protocol, port: port.published?, address })
            })
            .collect()
    }

    /// The volumes whose data lives on one node, once each.
    pub(crate) fn local_volumes(&self) -> Vec<&'a VolumeSpec> {
        let mut seen = BTreeSet::new();
        mounted_volumes(self.spec)
            .filter_map(|key| self.plan.volumes.get(key))
            .filter(|volume| volume.is_node_local() && seen.insert(volume.name.as_str()))
            .collect()
    }

    /// The drivers that the named volumes need.
    pub(crate) fn volume_drivers(&self) -> BTreeSet<&'a str> {
        let mounted = mounted_volumes(self.spec).filter_map(|key| self.plan.volumes.get(key));
        mounted.map(|volume| volume.driver.as_str()).collect()
    }
}

/// The engine's name for the volume of one slot.
pub(crate) fn volume_name(volume: &VolumeSpec, index: Option<u32>) -> String {
    match index {
        Some(index) if volume.per_replica => format!("{}_{index}", volume.name),
        _ => volume.name.clone(),
    }
}

/// The compose keys of the named volumes that a service mounts.
pub(crate) fn mounted_volumes(spec: &ServiceSpec) -> impl Iterator<Item = &str> {
    spec.container.mounts.iter().filter_map(|mount| match &mount.kind {
        MountKind::Volume { volume, .. } => Some(volume.as_str()),
        MountKind::Anonymous
        | MountKind::Bind { .. }
        | MountKind::Tmpfs { .. }
        | MountKind::Image { .. } => None,
    })
}

/// Services whose namespaces this one joins: its replicas run beside theirs.
pub(crate) fn joined(spec: &ServiceSpec) -> BTreeSet<&ServiceName> {
    let container = &spec.container;
    let mut joined = BTreeSet::new();
    if let NetworkMode::Service(service) = &container.network_mode {
        joined.insert(service);
    }
    for isolation in [&container.security.ipc, &container.security.pid] {
        if let Isolation::Service(service) = isolation {
            joined.insert(service);
        }
    }
    joined
}
