//! The host side of a container: resources, security, namespaces, logs.

use super::network::NetworkRequest;
use super::{Translation, Unsupported, hash_map, mounts, unless_empty};
use bollard::models::{
    DeviceMapping, DeviceRequest, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig,
    ResourcesBlkioWeightDevice, ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
    ThrottleDevice,
};
use jaco_model::spec::{
    BlkioDevice, BlkioLimits, ContainerSpec, Isolation, NetworkMode, Resources, Security,
};
use jaco_runtime_core::ContainerPlan;

/// The engine refuses smaller soft limits.
const SMALLEST_RESERVATION: u64 = 6 * 1024 * 1024;

pub(super) fn host_config(
    t: &mut Translation,
    plan: &ContainerPlan,
    spec: &ContainerSpec,
    network: &NetworkRequest,
) -> Result<HostConfig, Unsupported> {
    let mounts = mounts::mounts(t, &plan.mounts)?;
    let mut host = HostConfig {
        annotations: (!spec.annotations.is_empty() && t.has(43, "annotations"))
            .then(|| hash_map(&spec.annotations)),
        init: spec.init,
        readonly_rootfs: Some(spec.read_only),
        group_add: unless_empty(&spec.group_add),
        mounts: unless_empty(&mounts.mounts),
        binds: unless_empty(&mounts.binds),
        network_mode: Some(network.mode.clone()),
        port_bindings: network.bindings.clone(),
        log_config: Some(HostConfigLogConfig {
            typ: Some(spec.logging.driver.clone()),
            config: Some(hash_map(&spec.logging.options)),
        }),
        // Restarts are the core's business: it counts, waits and reports them.
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        runtime: spec.runtime.clone(),
        storage_opt: (!spec.storage_opt.is_empty()).then(|| hash_map(&spec.storage_opt)),
        ..HostConfig::default()
    };
    if !matches!(spec.network_mode, NetworkMode::Service(_)) {
        host.extra_hosts = unless_empty(&spec.extra_hosts);
        host.dns = unless_empty(&spec.dns);
        host.dns_options = unless_empty(&spec.dns_opt);
        host.dns_search = unless_empty(&spec.dns_search);
    }
    set_resources(&mut host, &spec.resources);
    set_security(&mut host, &spec.security);
    set_namespaces(&mut host, plan, &spec.security)?;
    if plan.endpoints.len() > 1 {
        // What comes in by one network is answered by the default route, which may be another's; a
        // strict host passes its own value on to its containers.
        let loose = ("net.ipv4.conf.all.rp_filter".to_owned(), "2".to_owned());
        host.sysctls.get_or_insert_default().entry(loose.0).or_insert(loose.1);
    }
    Ok(host)
}

fn set_resources(host: &mut HostConfig, resources: &Resources) {
    let reserved = Some(resources.reserved_memory).filter(|bytes| *bytes >= SMALLEST_RESERVATION);
    host.nano_cpus = resources.nano_cpus;
    host.memory = resources.memory;
    host.memory_swap = resources.memory_swap;
    host.memory_reservation = reserved.and_then(|bytes| i64::try_from(bytes).ok());
    host.pids_limit = resources.pids;
    host.cpu_period = resources.cpu_period;
    host.cpu_quota = resources.cpu_quota;
    host.cpu_realtime_period = resources.cpu_rt_period;
    host.cpu_realtime_runtime = resources.cpu_rt_runtime;
    host.cpu_shares = resources.cpu_shares;
    host.cpuset_cpus = resources.cpuset.clone();
    host.shm_size = resources.shm_size;
    host.oom_score_adj = resources.oom_score_adj;
    host.oom_kill_disable = resources.oom_kill_disable;
    host.device_cgroup_rules = unless_empty(&resources.device_cgroup_rules);
    let ulimits = resources.ulimits.iter().map(|limit| ResourcesUlimits {
        name: Some(limit.name.clone()),
        soft: Some(limit.soft),
        hard: Some(limit.hard),
    });
    host.ulimits = unless_empty(&ulimits.collect::<Vec<_>>());
    let devices = resources.devices.iter().map(|device| DeviceMapping {
        path_on_host: Some(device.source.clone()),
        path_in_container: Some(device.target.clone()),
        cgroup_permissions: Some(device.permissions.clone()),
    });
    host.devices = unless_empty(&devices.collect::<Vec<_>>());
    let requests = resources.device_requests.iter().map(|request| DeviceRequest {
        driver: request.driver.clone(),
        count: request.count,
        device_ids: unless_empty(&request.device_ids),
        // The engine takes alternatives of sets; the spec has the one set of compose.
        capabilities: Some(vec![request.capabilities.clone()]),
        options: (!request.options.is_empty()).then(|| hash_map(&request.options)),
    });
    host.device_requests = unless_empty(&requests.collect::<Vec<_>>());
    if let Some(blkio) = &resources.blkio {
        set_blkio(host, blkio);
    }
}

fn set_blkio(host: &mut HostConfig, blkio: &BlkioLimits) {
    let throttle = |devices: &[BlkioDevice]| {
        let devices = devices.iter().map(|device| ThrottleDevice {
            path: Some(device.path.clone()),
            rate: Some(i64::try_from(device.value).unwrap_or(i64::MAX)),
        });
        unless_empty(&devices.collect::<Vec<_>>())
    };
    let weights = blkio.weight_device.iter().map(|device| ResourcesBlkioWeightDevice {
        path: Some(device.path.clone()),
        weight: usize::try_from(device.value).ok(),
    });
    host.blkio_weight = blkio.weight;
    host.blkio_weight_device = unless_empty(&weights.collect::<Vec<_>>());
    host.blkio_device_read_bps = throttle(&blkio.device_read_bps);
    host.blkio_device_write_bps = throttle(&blkio.device_write_bps);
    host.blkio_device_read_iops = throttle(&blkio.device_read_iops);
    host.blkio_device_write_iops = throttle(&blkio.device_write_iops);
}

fn set_security(host: &mut HostConfig, security: &Security) {
    host.privileged = Some(security.privileged);
    host.cap_add = unless_empty(&security.cap_add);
    host.cap_drop = unless_empty(&dropped(security));
    host.security_opt = unless_empty(&security.security_opt);
    host.sysctls = (!security.sysctls.is_empty()).then(|| hash_map(&security.sysctls));
    host.cgroup_parent = security.cgroup_parent.clone();
}

/// What the user drops, and raw sockets: with them a container could speak in the name of its
/// neighbours. Who asks for them, or for everything, gets them.
fn dropped(security: &Security) -> Vec<String> {
    let is_raw = |name: &String| {
        let name = name.to_ascii_uppercase();
        ["NET_RAW", "ALL"].contains(&name.strip_prefix("CAP_").unwrap_or(&name))
    };
    let mut dropped = security.cap_drop.clone();
    let settled = security.cap_add.iter().chain(&dropped).any(is_raw);
    if !settled && !security.privileged {
        dropped.push("NET_RAW".to_owned());
    }
    dropped
}

fn set_namespaces(
    host: &mut HostConfig,
    plan: &ContainerPlan,
    security: &Security,
) -> Result<(), Unsupported> {
    host.ipc_mode = match &security.ipc {
        Isolation::Default => None,
        Isolation::Private => Some("private".to_owned()),
        Isolation::Shareable => Some("shareable".to_owned()),
        Isolation::None => Some("none".to_owned()),
        Isolation::Host => Some("host".to_owned()),
        Isolation::Service(_) => Some(joined(plan.ipc_of.as_ref(), "ipc: service")?),
    };
    // The engine knows only "host" and "of that container"; everything else is one of its own.
    host.pid_mode = match &security.pid {
        Isolation::Default | Isolation::Private | Isolation::Shareable | Isolation::None => None,
        Isolation::Host => Some("host".to_owned()),
        Isolation::Service(_) => Some(joined(plan.pid_of.as_ref(), "pid: service")?),
    };
    host.uts_mode = security.uts_host.then(|| "host".to_owned());
    host.userns_mode = security.userns_host.then(|| "host".to_owned());
    host.cgroupns_mode = security.cgroup_host.then_some(HostConfigCgroupnsModeEnum::HOST);
    Ok(())
}

/// `container:<id>`.
pub(super) fn joined(
    container: Option<&String>,
    field: &'static str,
) -> Result<String, Unsupported> {
    let container = container.ok_or(Unsupported::Peer(field))?;
    Ok(format!("container:{container}"))
}
