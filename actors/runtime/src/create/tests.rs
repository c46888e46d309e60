//! Golden requests: `UPDATE_GOLDEN=1` rewrites `testdata/create/*.json`.

use super::*;
use jaco_model::spec::{
    BlkioDevice, BlkioLimits, DeploymentSpec, DeviceMapping, DeviceRequest, Isolation, Logging,
    Mount, MountKind, NetworkMode, PortMode, PortSpec, Protocol, Resources, Security, ServiceSpec,
    Ulimit,
};
use jaco_runtime_core::{Endpoint, PlannedMount};
use std::path::PathBuf;
use std::sync::Arc;

#[test]
fn raw_sockets_are_for_those_who_ask() {
    let asked = |add: &[&str], drop: &[&str], privileged| {
        let security = Security {
            cap_add: texts(add),
            cap_drop: texts(drop),
            privileged,
            ..Security::default()
        };
        let spec = ContainerSpec { security, ..ContainerSpec::default() };
        let request = create_request(&plan(spec), ApiVersion::OLDEST, &ImageDefaults::default());
        request.unwrap().body.host_config.unwrap().cap_drop.unwrap_or_default()
    };
    assert_eq!(asked(&[], &[], false), ["NET_RAW"]);
    assert_eq!(asked(&["NET_ADMIN"], &["CHOWN"], false), ["CHOWN", "NET_RAW"]);
    assert_eq!(asked(&[], &["cap_net_raw"], false), ["cap_net_raw"]);
    assert_eq!(asked(&[], &["ALL"], false), ["ALL"]);
    for add in ["NET_RAW", "CAP_NET_RAW", "net_raw", "ALL"] {
        assert!(asked(&[add], &[], false).is_empty(), "{add}");
    }
    assert!(asked(&[], &[], true).is_empty());
}

#[test]
fn requests_match_their_goldens() {
    for minor in [41, 44, 49] {
        check(&format!("full-v1.{minor}"), &full(minor), minor);
        check(&format!("minimal-v1.{minor}"), &plan(ContainerSpec::default()), minor);
    }
    check("shared-v1.41", &shared(), 41);
    check("host-v1.41", &host(), 41);
}

#[test]
fn what_may_not_be_left_out_is_refused() {
    let subpath = MountKind::Volume {
        volume: "data".to_owned(),
        no_copy: false,
        subpath: Some("a".to_owned()),
    };
    let image = MountKind::Image { image: "files:1".to_owned(), subpath: None };
    for (kind, minor, field) in
        [(subpath, 44, "volumes.volume.subpath"), (image, 47, "volumes of type image")]
    {
        let mut plan = plan(ContainerSpec::default());
        plan.mounts = vec![mount(kind)];
        let api = ApiVersion::v1(minor);
        let needed = ApiVersion::v1(minor + 1);
        let refused = create_request(&plan, api, &ImageDefaults::default()).unwrap_err();
        assert_eq!(refused, Unsupported::Api { field, needed, api });
        assert!(create_request(&plan, needed, &ImageDefaults::default()).is_ok());
    }
}

#[test]
fn command_and_entrypoint_follow_compose() {
    let list = |items: &[&str]| items.iter().map(|i| (*i).to_owned()).collect::<Vec<_>>();
    let image = ImageDefaults { entrypoint: list(&["/start"]) };
    let none = ImageDefaults::default();
    for (entrypoint, command, image, wanted_entrypoint, wanted_command) in [
        (None, None, &none, None, None),
        (None, Some(list(&["a"])), &none, None, Some(list(&["a"]))),
        (Some(list(&["e"])), None, &none, Some(list(&["e"])), None),
        (Some(list(&[])), Some(list(&["a"])), &none, Some(list(&[""])), Some(list(&["a"]))),
        (None, Some(list(&[])), &image, Some(list(&["/start"])), None),
        (None, Some(list(&[])), &none, Some(list(&[""])), None),
    ] {
        let spec = ContainerSpec { entrypoint, command, ..ContainerSpec::default() };
        let request = create_request(&plan(spec.clone()), ApiVersion::OLDEST, image).unwrap();
        let found = (request.body.entrypoint, request.body.cmd);
        assert_eq!(found, (wanted_entrypoint, wanted_command), "{spec:?}");
    }
}

#[test]
fn healthchecks_replace_adjust_or_disable() {
    let check = |test| Healthcheck {
        test,
        interval: Some(Millis(1_500)),
        timeout: None,
        retries: Some(2),
        start_period: None,
        start_interval: None,
    };
    let list = |items: &[&str]| Some(items.iter().map(|i| (*i).to_owned()).collect::<Vec<_>>());
    for (test, words) in [
        (HealthcheckTest::Inherit, None),
        (HealthcheckTest::Disabled, list(&["NONE"])),
        (HealthcheckTest::Shell("true".to_owned()), list(&["CMD-SHELL", "true"])),
        (HealthcheckTest::Command(vec!["/ok".to_owned()]), list(&["CMD", "/ok"])),
    ] {
        let disabled = test == HealthcheckTest::Disabled;
        let spec = ContainerSpec { healthcheck: Some(check(test)), ..ContainerSpec::default() };
        let request =
            create_request(&plan(spec), ApiVersion::OLDEST, &ImageDefaults::default()).unwrap();
        let config = request.body.healthcheck.unwrap();
        assert_eq!(config.test, words);
        assert_eq!(config.interval, (!disabled).then_some(1_500_000_000));
    }
}

#[test]
fn a_long_name_is_no_hostname() {
    assert_eq!(hostname_of("shop-web-0.g3"), "shop-web-0.g3");
    let long = format!("{}.g3", "x".repeat(62));
    assert_eq!(hostname_of(&long), "x".repeat(62));
}

fn check(name: &str, plan: &ContainerPlan, minor: u16) {
    let api = ApiVersion::v1(minor);
    let request = create_request(plan, api, &ImageDefaults::default()).unwrap();
    let found = serde_json::json!({
        "name": request.name,
        "platform": request.platform,
        "mac_address": request.mac_address,
        "connect": request.connect,
        "warnings": request.warnings,
        "body": request.body,
    });
    let found = format!("{found:#}\n");
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("testdata/create/{name}.json"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &found).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert_eq!(found, golden, "{name}: run with UPDATE_GOLDEN=1 and look at the difference");
}

fn plan(container: ContainerSpec) -> ContainerPlan {
    let service: ServiceSpec = serde_json::from_value(serde_json::json!({
        "name": "web", "mode": {"kind": "replicated", "replicas": 1},
        "placement": {"policy": "spread", "hosts": [], "constraints": [], "preferences": [],
            "max_per_node": null},
        "container": container, "probe": null, "start_limit": 0, "drain_timeout": 0,
        "update": policy(), "rollback": policy(),
        "restart": {"condition": "any", "delay": 1000, "max_attempts": null, "window": 30000},
        "depends_on": [], "ports": [], "labels": {},
        "on_node_loss": {"action": "reschedule", "grace": null},
        "singleton": false, "rebalance": true,
    }))
    .unwrap();
    let spec = DeploymentSpec {
        name: "shop".into(),
        services: [("web".into(), service)].into(),
        networks: BTreeMap::new(),
        volumes: BTreeMap::new(),
        history: None,
        routes: Vec::new(),
        acme_email: None,
        acme_dns: BTreeMap::new(),
        secrets: BTreeMap::new(),
    };
    ContainerPlan {
        instance: "shop-web-0.g3".parse().unwrap(),
        image: "sha256:abc".to_owned(),
        spec: Arc::new(spec),
        service: "web".into(),
        labels: [("jaco.replica_id".to_owned(), "shop-web-0".to_owned())].into(),
        mounts: Vec::new(),
        endpoints: Vec::new(),
        network_of: None,
        ipc_of: None,
        pid_of: None,
        resolv_conf: None,
        publish: Vec::new(),
    }
}

fn policy() -> serde_json::Value {
    serde_json::json!({
        "parallelism": 1, "delay": 0, "order": "start-first", "order_explicit": false,
        "monitor": 5000, "failure_action": "rollback", "max_failure_ppm": 0, "max_unavailable": 0,
    })
}

fn mount(kind: MountKind) -> PlannedMount {
    let volume = matches!(kind, MountKind::Volume { .. }).then(|| "jaco_shop_data".to_owned());
    let mount = Mount { kind, target: "/data".to_owned(), read_only: true };
    PlannedMount { mount, volume }
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn texts(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

/// Everything that joins: another service's network, IPC and PID namespaces.
fn shared() -> ContainerPlan {
    let other = Isolation::Service("db".into());
    let mut plan = plan(ContainerSpec {
        hostname: Some("refused".to_owned()),
        dns: texts(&["192.0.2.53"]),
        network_mode: NetworkMode::Service("db".into()),
        security: Security { ipc: other.clone(), pid: other, ..Security::default() },
        ..ContainerSpec::default()
    });
    let peer = Some("aaaa".to_owned());
    (plan.network_of, plan.ipc_of, plan.pid_of) = (peer.clone(), peer.clone(), peer);
    plan
}

/// Everything that is the host's.
fn host() -> ContainerPlan {
    plan(ContainerSpec {
        network_mode: NetworkMode::Host,
        security: Security {
            privileged: true,
            ipc: Isolation::Host,
            pid: Isolation::Host,
            uts_host: true,
            userns_host: true,
            cgroup_host: true,
            ..Security::default()
        },
        ..ContainerSpec::default()
    })
}

/// Every field that this engine version takes.
fn full(minor: u16) -> ContainerPlan {
    let mut plan = plan(ContainerSpec {
        image: "web:1".to_owned(),
        platform: Some("linux/amd64".to_owned()),
        command: Some(texts(&["serve", "--all"])),
        entrypoint: Some(texts(&["/bin/web"])),
        environment: map(&[("A", "1"), ("B", "x=y")]),
        annotations: map(&[("org.example", "yes")]),
        user: Some("1000:1000".to_owned()),
        group_add: texts(&["audio"]),
        working_dir: Some("/srv".to_owned()),
        hostname: Some("web".to_owned()),
        domainname: Some("example.test".to_owned()),
        init: Some(true),
        stdin_open: true,
        tty: true,
        read_only: true,
        extra_hosts: texts(&["gateway:host-gateway"]),
        dns: texts(&["192.0.2.53"]),
        dns_opt: texts(&["ndots:1"]),
        dns_search: texts(&["example.test"]),
        mac_address: Some("02:42:ac:11:00:02".to_owned()),
        healthcheck: Some(Healthcheck {
            test: HealthcheckTest::Shell("true".to_owned()),
            interval: Some(Millis::secs(1)),
            timeout: Some(Millis(500)),
            retries: Some(3),
            start_period: Some(Millis::secs(2)),
            start_interval: Some(Millis(100)),
        }),
        stop_signal: Some("SIGINT".to_owned()),
        stop_grace_period: Millis(1_500),
        resources: resources(),
        security: Security {
            cap_add: texts(&["NET_BIND_SERVICE"]),
            cap_drop: texts(&["ALL"]),
            security_opt: texts(&["no-new-privileges"]),
            sysctls: map(&[("net.core.somaxconn", "1024")]),
            ipc: Isolation::Shareable,
            cgroup_parent: Some("/jaco".to_owned()),
            ..Security::default()
        },
        logging: Logging { driver: "local".to_owned(), options: map(&[("max-size", "1m")]) },
        runtime: Some("runc".to_owned()),
        storage_opt: map(&[("size", "1G")]),
        ..ContainerSpec::default()
    });
    plan.mounts = mounts(minor);
    plan.endpoints = vec![
        endpoint("jaco_shop_front", None),
        endpoint("jaco_shop_back", Some("02:42:ac:11:00:03".to_owned())),
    ];
    let port = |target, published, protocol, host_ip| PortSpec {
        name: None,
        target,
        published,
        protocol,
        host_ip,
        mode: PortMode::Host,
        app_protocol: None,
        options: Default::default(),
    };
    plan.publish = vec![
        port(80, Some(8080), Protocol::Tcp, None),
        port(80, Some(8081), Protocol::Tcp, Some([127, 0, 0, 1].into())),
        port(53, None, Protocol::Udp, None),
    ];
    plan
}

fn endpoint(network: &str, mac_address: Option<String>) -> Endpoint {
    Endpoint {
        network: network.to_owned(),
        address: mac_address.is_some().then(|| [10, 80, 32, 2].into()),
        aliases: texts(&["web", "www"]),
        gw_priority: i64::from(mac_address.is_some()),
        interface_name: mac_address.is_some().then(|| "back0".to_owned()),
        mac_address,
    }
}

fn mounts(minor: u16) -> Vec<PlannedMount> {
    let bind = |create_host_path, propagation: Option<&str>, recursive: Option<&str>, selinux| {
        MountKind::Bind {
            source: "/srv/data".to_owned(),
            create_host_path,
            propagation: propagation.map(str::to_owned),
            recursive: recursive.map(str::to_owned),
            selinux,
        }
    };
    let mut kinds = vec![
        MountKind::Volume {
            volume: "data".to_owned(),
            no_copy: true,
            subpath: (minor >= 45).then(|| "a/b".to_owned()),
        },
        MountKind::Anonymous,
        bind(false, Some("rslave"), Some("disabled"), None),
        bind(false, None, Some("readonly"), None),
        bind(true, None, None, None),
        bind(true, Some("shared"), Some("writable"), Some("Z".to_owned())),
        MountKind::Tmpfs { size: Some(1024), mode: Some(0o1777) },
    ];
    if minor >= 48 {
        let (image, subpath) = ("files:1".to_owned(), Some("etc".to_owned()));
        kinds.push(MountKind::Image { image, subpath });
    }
    kinds.into_iter().map(mount).collect()
}

fn resources() -> Resources {
    let device = |value| vec![BlkioDevice { path: "/dev/vda".to_owned(), value }];
    Resources {
        nano_cpus: Some(1_500_000_000),
        memory: Some(64 << 20),
        memory_swap: Some(-1),
        pids: Some(100),
        reserved_memory: 32 << 20,
        device_requests: vec![DeviceRequest {
            driver: Some("nvidia".to_owned()),
            count: Some(-1),
            device_ids: Vec::new(),
            capabilities: texts(&["gpu", "utility"]),
            options: map(&[("k", "v")]),
        }],
        cpu_period: Some(100_000),
        cpu_quota: Some(50_000),
        cpu_rt_period: Some(1_000_000),
        cpu_rt_runtime: Some(950_000),
        cpu_shares: Some(512),
        cpuset: Some("0-1".to_owned()),
        shm_size: Some(1 << 20),
        ulimits: vec![Ulimit { name: "nofile".to_owned(), soft: 1024, hard: 2048 }],
        oom_score_adj: Some(100),
        oom_kill_disable: Some(false),
        blkio: Some(BlkioLimits {
            weight: Some(300),
            weight_device: device(400),
            device_read_bps: device(1),
            device_write_bps: device(2),
            device_read_iops: device(3),
            device_write_iops: device(4),
        }),
        devices: vec![DeviceMapping {
            source: "/dev/fuse".to_owned(),
            target: "/dev/fuse".to_owned(),
            permissions: "rwm".to_owned(),
        }],
        device_cgroup_rules: texts(&["c 1:3 mr"]),
        ..Resources::default()
    }
}
