//! Every key of jacod.yaml: its kind, its default, and whether this version uses it.

/// What a key's value may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number within a range.
    Int(u64, u64),
    /// A number within a range.
    Number(f64, f64),
    /// One of these words.
    Enum(&'static [&'static str]),
    /// A duration within a range, in milliseconds.
    Duration(u64, u64),
    /// A size; stands for bytes.
    Size,
    /// An absolute path.
    Path,
    /// A path of a unix socket: absolute, at most 107 bytes.
    Socket,
    /// `unix://` and an absolute path.
    UnixUrl,
    /// A node's name.
    Name,
    /// `host:port`.
    HostPort,
    /// An address of this host or of a private network, with a port.
    PrivatePort,
    /// A list of `address:port` to listen on.
    Listeners,
    /// An IPv4 prefix between the lengths.
    Cidr(u8, u8),
    /// A list of prefixes or addresses.
    Cidrs,
    /// A list of `address[:port]`, IPv6 with a port in brackets.
    Addresses,
    /// A list of ports.
    Ports,
    /// A list of absolute paths that are not system directories.
    BindPaths,
    /// Any list of texts.
    List,
    /// A map of texts.
    Map,
    /// A level, or a map of subsystem to level.
    Levels,
    /// Any text.
    Text,
    /// A map of DNS providers.
    Providers,
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    /// With dots between the parts.
    pub(super) path: &'static str,
    /// What its value may be.
    pub(super) kind: Kind,
    /// Its default, as it would be written.
    pub(super) default: &'static str,
    /// Whether this version does anything with it.
    pub(super) used: bool,
}

const fn used(path: &'static str, kind: Kind, default: &'static str) -> Key {
    Key { path, kind, default, used: true }
}

const fn later(path: &'static str, kind: Kind, default: &'static str) -> Key {
    Key { path, kind, default, used: false }
}

const MIN: u64 = 60_000;
const HOUR: u64 = 60 * MIN;
const DAY: u64 = 24 * HOUR;

/// All keys, by path.
pub(super) const KEYS: &[Key] = &[
    used("acme_ca", Kind::Text, ""),
    used("acme_ca_root", Kind::Path, ""),
    used("acme_dns", Kind::Providers, "{}"),
    used("acme_eab.hmac_key_file", Kind::Path, ""),
    used("acme_eab.key_id", Kind::Text, ""),
    used("acme_email", Kind::Text, ""),
    used("acme_enabled", Kind::Bool, "true"),
    used("acme_skip_staging", Kind::Bool, "false"),
    used("admission.bind_paths", Kind::BindPaths, "/srv,/mnt,/media"),
    used("advertise_addr", Kind::Text, ""),
    later("audit.file", Kind::Path, ""),
    later("audit.max_age", Kind::Duration(DAY, 365 * DAY), "30d"),
    later("audit.max_events", Kind::Int(1_000, 50_000), "10000"),
    later("auto_feature_level", Kind::Bool, "true"),
    later("backup.dir", Kind::Path, ""),
    later("backup.keep", Kind::Int(1, 1_000), "7"),
    later("backup.recipients", Kind::List, ""),
    later("backup.schedule", Kind::Text, ""),
    used("block_prefix", Kind::Int(22, 28), "26"),
    later("cert.node_ttl", Kind::Duration(DAY, 365 * DAY), "90d"),
    used("cluster_addr", Kind::HostPort, "0.0.0.0:7001"),
    later("dashboard", Kind::Bool, "true"),
    used("data_dir", Kind::Path, "/var/lib/jaco"),
    later("dns.forwarder_timeout", Kind::Duration(0, 10_000), "2s"),
    used("dns.forwarders", Kind::Addresses, ""),
    later("dns.ttl", Kind::Duration(0, 5_000), "5s"),
    used("docker_host", Kind::UnixUrl, "unix:///var/run/docker.sock"),
    later("generic_resources", Kind::List, ""),
    used("history_limit", Kind::Int(1, 50), "10"),
    later("image_gc.enabled", Kind::Bool, "true"),
    later("image_gc.foreign", Kind::Bool, "false"),
    later("image_gc.high", Kind::Int(1, 100), "85"),
    later("image_gc.low", Kind::Int(1, 100), "75"),
    later("image_gc.min_age", Kind::Duration(0, 365 * DAY), "24h"),
    later("image_store.enabled", Kind::Bool, "true"),
    later("image_store.max_size", Kind::Size, "20GiB"),
    used("ingress.access_log", Kind::Enum(&["off", "errors", "all"]), "errors"),
    used("ingress.access_log_file", Kind::Path, ""),
    used("ingress.enabled", Kind::Bool, "true"),
    used("ingress.header_timeout", Kind::Duration(1_000, 5 * MIN), "10s"),
    used("ingress.http_addr", Kind::Listeners, "0.0.0.0:80"),
    used("ingress.https_addr", Kind::Listeners, "0.0.0.0:443"),
    used("ingress.max_connections", Kind::Int(0, u32::MAX as u64), "0"),
    used("ingress.proxy_protocol", Kind::Cidrs, ""),
    used("ingress.stop_timeout", Kind::Duration(0, 20_000), "5s"),
    used("ingress.trusted_proxies", Kind::Cidrs, ""),
    used("ipam_pool", Kind::Cidr(8, 20), "10.80.0.0/12"),
    used("isolation.block_metadata", Kind::Bool, "false"),
    used("isolation.host_ports", Kind::Ports, ""),
    used("listen_addr", Kind::HostPort, "0.0.0.0:7000"),
    used("log_format", Kind::Enum(&["auto", "journald", "json", "text"]), "auto"),
    used("log_level", Kind::Levels, "info"),
    used("metrics.enabled", Kind::Bool, "true"),
    used("metrics.listen", Kind::PrivatePort, ""),
    used("node_labels", Kind::Map, "{}"),
    used("node_name", Kind::Name, ""),
    later("node_status_interval", Kind::Duration(0, 5 * MIN), "30s"),
    later("otlp.endpoint", Kind::Text, ""),
    later("otlp.sample", Kind::Number(0.0, 1.0), "1"),
    used("raft_tick", Kind::Duration(50, 500), "100ms"),
    later("rebalance", Kind::Enum(&["auto", "off"]), "auto"),
    later("reschedule_grace", Kind::Duration(0, DAY), "0s"),
    used("reserved.cpus", Kind::Number(0.0, 1_024.0), "0.1"),
    used("reserved.memory", Kind::Size, "0"),
    used("socket_group", Kind::Text, "jaco"),
    used("unix_socket", Kind::Socket, "/var/run/jaco/jaco.sock"),
    later("voter_replace_after", Kind::Duration(30_000, DAY), "5m"),
    used("wg_port", Kind::Int(1, 65_535), "51820"),
    later("wireguard.endpoint", Kind::HostPort, ""),
    used("wireguard.mode", Kind::Enum(&["auto", "kernel", "userspace"]), "auto"),
    used("wireguard.mtu", Kind::Int(0, 8_920), "0"),
    later("witness", Kind::List, ""),
];

/// One key by its path.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The key that an environment variable sets: `JACO_IPAM_POOL` or one of the fixed names.
pub(super) fn of_variable(name: &str) -> Option<&'static Key> {
    let rest = name.strip_prefix("JACO_")?;
    let path = match rest {
        "SOCKET" => "unix_socket",
        "LOG" => "log_level",
        _ => {
            let spelled = |key: &&Key| key.path.replace('.', "_").eq_ignore_ascii_case(rest);
            return KEYS.iter().find(spelled).filter(|key| key.kind != Kind::Providers);
        }
    };
    find(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_and_unique() {
        assert!(KEYS.windows(2).all(|pair| pair[0].path < pair[1].path));
    }

    #[test]
    fn variables_find_their_keys() {
        assert_eq!(of_variable("JACO_DNS_FORWARDERS").map(|k| k.path), Some("dns.forwarders"));
        assert_eq!(of_variable("JACO_SOCKET").map(|k| k.path), Some("unix_socket"));
        assert!(of_variable("JACO_ACME_DNS").is_none());
        assert!(of_variable("JACO_NOPE").is_none());
    }
}
