//! Admission: which parts of a service's effective configuration need privileges.
//!
//! One function over the resolved spec, used by validate, plan, apply, rollback and restore, so
//! that no way of writing a thing gets around it.

use jaco_model::spec::{
    Hook, Isolation, Mount, MountKind, NetworkMode, Security, ServiceSpec, VolumeSpec,
};
use std::collections::BTreeMap;

/// The label that admits gated fields, with the exact text `true`.
pub const ALLOW_LABEL: &str = "jaco.io/allow-privileged";
/// Host directories that a service may bind freely unless the cluster says otherwise.
pub const DEFAULT_BIND_PATHS: [&str; 3] = ["/srv", "/mnt", "/media"];

/// Docker's default set, and two that stay inside the container.
const FREE_CAPABILITIES: [&str; 16] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
    "SYS_NICE",
];
/// Free to read, never to write.
const READABLE: [&str; 4] =
    ["/etc/localtime", "/etc/timezone", "/usr/share/zoneinfo", "/etc/ssl/certs"];
/// Gated whatever the cluster's free paths are.
const NEVER_FREE: [&str; 11] = [
    "/proc",
    "/sys",
    "/dev",
    "/etc",
    "/root",
    "/boot",
    "/run",
    "/var/run",
    "/var/lib/jaco",
    "/var/lib/docker",
    "/usr/local/bin/jaco",
];

/// The gated fields of one service, sorted, as users write them; empty needs no privileges.
pub fn gated_fields(
    service: &ServiceSpec,
    volumes: &BTreeMap<String, VolumeSpec>,
    free_paths: &[String],
) -> Vec<String> {
    let container = &service.container;
    let mut fields = Vec::new();
    gated_security(&container.security, &mut fields);
    let resources = &container.resources;
    let hooks = |hooks: &[Hook]| hooks.iter().any(|hook| hook.privileged);
    let options = container.logging.options.values();
    for (gated, field) in [
        (container.network_mode == NetworkMode::Host, "network_mode"),
        (!resources.devices.is_empty(), "devices"),
        (!resources.device_cgroup_rules.is_empty(), "device_cgroup_rules"),
        (resources.oom_score_adj.is_some_and(|score| score < 0), "oom_score_adj"),
        (resources.oom_kill_disable == Some(true), "oom_kill_disable"),
        (options.clone().any(|value| names_the_host(value)), "logging.options"),
        (hooks(&container.post_start), "post_start.privileged"),
        (hooks(&container.pre_stop), "pre_stop.privileged"),
    ] {
        if gated {
            fields.push(field.to_owned());
        }
    }
    fields.extend(
        container.mounts.iter().filter_map(|mount| gated_mount(mount, volumes, free_paths)),
    );
    fields.sort();
    fields.dedup();
    fields
}

fn gated_security(security: &Security, fields: &mut Vec<String>) {
    let capability = |name: &String| !FREE_CAPABILITIES.contains(&name.as_str());
    let option = |option: &String| {
        !matches!(
            option.as_str(),
            "no-new-privileges" | "no-new-privileges:true" | "no-new-privileges=true"
        )
    };
    for (gated, field) in [
        (security.privileged, "privileged"),
        (security.cap_add.iter().any(capability), "cap_add"),
        (security.security_opt.iter().any(option), "security_opt"),
        (security.pid == Isolation::Host, "pid"),
        (security.ipc == Isolation::Host, "ipc"),
        (security.uts_host, "uts"),
        (security.userns_host, "userns_mode"),
        (security.cgroup_host, "cgroup"),
        (security.cgroup_parent.is_some(), "cgroup_parent"),
        (security.sysctls.keys().any(|key| !is_namespaced(key)), "sysctls"),
    ] {
        if gated {
            fields.push(field.to_owned());
        }
    }
}

/// Whether a kernel parameter belongs to the container alone.
fn is_namespaced(sysctl: &str) -> bool {
    ["net.", "kernel.shm", "kernel.msg", "fs.mqueue."].iter().any(|start| sysctl.starts_with(start))
        || sysctl == "kernel.sem"
}

fn names_the_host(value: &str) -> bool {
    ["/", "unix:", "unixgram:", "file:"].iter().any(|start| value.starts_with(start))
}

fn gated_mount(
    mount: &Mount,
    volumes: &BTreeMap<String, VolumeSpec>,
    free_paths: &[String],
) -> Option<String> {
    match &mount.kind {
        MountKind::Bind { source, .. } => {
            let free = is_free_bind(source, mount.read_only, free_paths);
            (!free).then(|| format!("volumes ({source})"))
        }
        MountKind::Volume { volume, .. } => {
            let options = &volumes.get(volume)?.driver_opts;
            binds_a_host_path(options).then(|| format!("volumes.{volume}.driver_opts"))
        }
        MountKind::Anonymous | MountKind::Tmpfs { .. } | MountKind::Image { .. } => None,
    }
}

fn is_free_bind(source: &str, read_only: bool, free_paths: &[String]) -> bool {
    let path = lexical(source);
    let under = |root: &str| {
        path == root || path.strip_prefix(root).is_some_and(|rest| rest.starts_with('/'))
    };
    if read_only && READABLE.iter().any(|root| under(root)) {
        return true;
    }
    let never =
        path == "/" || path.ends_with("/docker.sock") || NEVER_FREE.iter().any(|root| under(root));
    !never && free_paths.iter().any(|root| under(root.trim_end_matches('/')))
}

/// The path without `.`, `..` and doubled slashes. Symbolic links are the node's to resolve.
fn lexical(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Options of the local driver that reach the host's files.
fn binds_a_host_path(options: &BTreeMap<String, String>) -> bool {
    let option = |key: &str| options.get(key).map(String::as_str).unwrap_or_default();
    let network = matches!(option("type"), "nfs" | "nfs4" | "cifs");
    let binds = option("o").split(',').any(|flag| matches!(flag.trim(), "bind" | "rbind"));
    binds || (option("device").starts_with('/') && !network)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_binds() {
        let free = DEFAULT_BIND_PATHS.map(str::to_owned);
        for (source, read_only, expected) in [
            ("/srv", false, true),
            ("/srv/app/data", false, true),
            ("/srv/../etc/shadow", true, false),
            ("/srvx", false, false),
            ("/etc/localtime", true, true),
            ("/etc/localtime", false, false),
            ("/etc/ssl/certs/ca.pem", true, true),
            ("/mnt/docker.sock", false, false),
            ("/", true, false),
            ("/home/me", false, false),
        ] {
            assert_eq!(is_free_bind(source, read_only, &free), expected, "{source}");
        }
        let all = ["/etc".to_owned(), "/".to_owned()];
        assert!(!is_free_bind("/etc/passwd", true, &all));
        assert!(!is_free_bind("/var/run/docker.sock", true, &all));
    }

    #[test]
    fn volume_options_that_reach_the_host() {
        let options = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        assert!(binds_a_host_path(&options(&[("o", "rw,bind"), ("device", "x")])));
        assert!(binds_a_host_path(&options(&[("type", "none"), ("device", "/etc")])));
        assert!(!binds_a_host_path(&options(&[("type", "nfs"), ("device", "/export")])));
        assert!(!binds_a_host_path(&options(&[("type", "tmpfs"), ("device", "tmpfs")])));
    }
}
