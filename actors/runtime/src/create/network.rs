//! How a container gets its network, and which ports Docker publishes.

use super::host::joined;
use super::{Translation, Unsupported};
use crate::engine::ApiVersion;
use bollard::models::{
    EndpointIpamConfig, EndpointSettings, NetworkingConfig, PortBinding, PortMap,
};
use jaco_model::spec::{ContainerSpec, NetworkMode, PortSpec, Protocol};
use jaco_runtime_core::{ContainerPlan, Endpoint};

/// From this version on the engine takes several networks, and a MAC address for each, with the
/// creation.
const MANY_ENDPOINTS: ApiVersion = ApiVersion::v1(44);
/// The engine's name for the option that names an interface.
const INTERFACE_NAME: &str = "com.docker.network.endpoint.ifname";

#[derive(Default)]
pub(super) struct NetworkRequest {
    pub(super) mode: String,
    pub(super) config: Option<NetworkingConfig>,
    pub(super) connect: Vec<(String, EndpointSettings)>,
    pub(super) mac_address: Option<String>,
    pub(super) exposed: Option<Vec<String>>,
    pub(super) bindings: Option<PortMap>,
}

pub(super) fn network(
    t: &mut Translation,
    plan: &ContainerPlan,
    spec: &ContainerSpec,
) -> Result<NetworkRequest, Unsupported> {
    let mode = |mode: &str| NetworkRequest { mode: mode.to_owned(), ..NetworkRequest::default() };
    match &spec.network_mode {
        NetworkMode::None => Ok(mode("none")),
        NetworkMode::Host => Ok(mode("host")),
        NetworkMode::Service(_) => {
            let dns = [&spec.extra_hosts, &spec.dns, &spec.dns_opt, &spec.dns_search];
            if dns.iter().any(|list| !list.is_empty()) {
                t.warnings.push(
                    "extra_hosts and dns* are left out: with network_mode service: they are \
                     those of the other service"
                        .to_owned(),
                );
            }
            Ok(mode(&joined(plan.network_of.as_ref(), "network_mode: service")?))
        }
        NetworkMode::Networks => Ok(attached(t, plan, spec)),
    }
}

/// Whether the container has a hostname of its own: the engine refuses one in a shared network or
/// UTS namespace.
pub(super) fn own_names(t: &mut Translation, spec: &ContainerSpec) -> bool {
    let shared = matches!(spec.network_mode, NetworkMode::Service(_)) || spec.security.uts_host;
    if shared && (spec.hostname.is_some() || spec.domainname.is_some()) {
        t.warnings.push(
            "hostname and domainname are left out: the container shares those of the host or of \
             another service"
                .to_owned(),
        );
    }
    !shared
}

fn attached(t: &mut Translation, plan: &ContainerPlan, spec: &ContainerSpec) -> NetworkRequest {
    // No network at all is not Docker's default bridge, which would join foreign containers.
    let Some(first) = plan.endpoints.first() else {
        return NetworkRequest { mode: "none".to_owned(), ..NetworkRequest::default() };
    };
    let many = t.api >= MANY_ENDPOINTS;
    let mut endpoints: Vec<(String, EndpointSettings)> = Vec::new();
    for (index, endpoint) in plan.endpoints.iter().enumerate() {
        let mac = endpoint.mac_address.clone();
        let mac = mac.or_else(|| spec.mac_address.clone().filter(|_| index == 0));
        if mac.is_some() && index > 0 {
            t.has(44, "mac_address on a further network");
        }
        let settings = settings(t, endpoint, mac.filter(|_| many));
        endpoints.push((endpoint.network.clone(), settings));
    }
    let connect = if many { Vec::new() } else { endpoints.split_off(1) };
    let first_mac = first.mac_address.clone().or_else(|| spec.mac_address.clone());
    let (exposed, bindings) = ports(&plan.publish);
    NetworkRequest {
        mode: first.network.clone(),
        config: Some(NetworkingConfig { endpoints_config: Some(endpoints.into_iter().collect()) }),
        connect,
        mac_address: first_mac.filter(|_| !many),
        exposed,
        bindings,
    }
}

fn settings(
    t: &mut Translation,
    endpoint: &Endpoint,
    mac_address: Option<String>,
) -> EndpointSettings {
    let gw_priority =
        Some(endpoint.gw_priority).filter(|p| *p != 0 && t.has(48, "networks.gw_priority"));
    let name = endpoint.interface_name.as_ref();
    let name = name.filter(|_| t.has(49, "networks.interface_name"));
    let ipam_config = endpoint.address.map(|address| EndpointIpamConfig {
        ipv4_address: Some(address.to_string()),
        ..EndpointIpamConfig::default()
    });
    EndpointSettings {
        ipam_config,
        aliases: super::unless_empty(&endpoint.aliases),
        mac_address,
        gw_priority,
        driver_opts: name.map(|name| [(INTERFACE_NAME.to_owned(), name.clone())].into()),
        ..EndpointSettings::default()
    }
}

fn ports(publish: &[PortSpec]) -> (Option<Vec<String>>, Option<PortMap>) {
    let mut exposed = Vec::new();
    let mut bindings = PortMap::new();
    for port in publish {
        let protocol = match port.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        let key = format!("{}/{protocol}", port.target);
        let binding = PortBinding {
            host_ip: port.host_ip.map(|ip| ip.to_string()),
            host_port: port.published.map(|port| port.to_string()),
        };
        if !exposed.contains(&key) {
            exposed.push(key.clone());
        }
        bindings.entry(key).or_default().get_or_insert_default().push(binding);
    }
    let none = exposed.is_empty();
    (Some(exposed).filter(|_| !none), Some(bindings).filter(|_| !none))
}
