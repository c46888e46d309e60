//! The daemon's configuration: defaults, then the file, then the environment.
//!
//! The schema is closed and every fault has a position: the file is read with the same parser as
//! manifests, checked key by key against the table in `keys`, and only then merged by figment
//! into [`Config`].

mod check;
mod keys;
mod providers;
mod sources;

pub(crate) use sources::{Effective, Loaded, load};

use ipnet::Ipv4Net;
use jaco_model::spec::DnsProvider;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What this version of the daemon uses. Keys of the table that are not here are checked, and
/// said to have no effect yet when somebody sets them.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Config {
    /// Durable state.
    pub(crate) data_dir: PathBuf,
    /// This node's name; empty takes the host's.
    pub(crate) node_name: String,
    /// The local API.
    pub(crate) unix_socket: PathBuf,
    /// Group that may use the socket; empty leaves it to the user who runs the daemon.
    pub(crate) socket_group: String,
    /// The API port.
    pub(crate) listen_addr: String,
    /// The peer port.
    pub(crate) cluster_addr: String,
    /// Host that others reach this node by; empty takes that of the two keys before.
    pub(crate) advertise_addr: String,
    /// Docker Engine.
    pub(crate) docker_host: String,
    /// Labels under those set by operators.
    pub(crate) node_labels: BTreeMap<String, String>,
    /// Levels by subsystem; `default` for the rest.
    pub(crate) log_level: BTreeMap<String, String>,
    /// `auto`, `journald`, `json` or `text`.
    pub(crate) log_format: String,
    /// Kept back from placement.
    pub(crate) reserved: Reserved,
    /// Checks at admission.
    pub(crate) admission: Admission,
    /// Revisions kept per deployment; seeds the cluster's setting.
    pub(crate) history_limit: u32,
    /// All addresses of containers and of the mesh; seeds the cluster's setting.
    pub(crate) ipam_pool: Ipv4Net,
    /// Whether that was said, and not taken by default.
    #[serde(skip)]
    pub(crate) has_ipam_pool: bool,
    /// Prefix of the block of a network on a node; seeds the cluster's setting.
    pub(crate) block_prefix: u8,
    /// UDP port of the tunnel between nodes.
    pub(crate) wg_port: u16,
    /// The tunnel.
    pub(crate) wireguard: WireGuard,
    /// Name servers of containers.
    pub(crate) dns: Dns,
    /// The front door.
    pub(crate) ingress: Ingress,
    /// What is counted.
    pub(crate) metrics: Metrics,
    /// Directory of the certificate authority; empty for that of Let's Encrypt.
    pub(crate) acme_ca: String,
    /// Root certificates of a private authority; empty for those of the host.
    pub(crate) acme_ca_root: PathBuf,
    /// Providers of DNS-01 by name; what is secret is in files.
    pub(crate) acme_dns: BTreeMap<String, DnsProvider>,
    /// Binds accounts to a customer of the authority.
    pub(crate) acme_eab: AccountKey,
    /// Whom the authority writes to where a deployment names nobody.
    pub(crate) acme_email: String,
    /// Whether certificates are ordered.
    pub(crate) acme_enabled: bool,
    /// Whether orders go without a rehearsal.
    pub(crate) acme_skip_staging: bool,
    /// What containers may reach of the host.
    pub(crate) isolation: IsolationKeys,
    /// Length of one raft tick in milliseconds.
    pub(crate) raft_tick: u64,
}

/// What an authority gave its customer (RFC 8555 §7.3.4). Both are empty, or none is.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct AccountKey {
    /// Id of the key.
    pub(crate) key_id: String,
    /// A file with the key, base64url.
    pub(crate) hmac_key_file: PathBuf,
}

/// Kept back from placement.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Reserved {
    /// Cores.
    pub(crate) cpus: f64,
    /// Bytes; 0 is the larger of 256 MiB and 5 % of the host's memory.
    pub(crate) memory: u64,
}

/// The tunnel between nodes.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct WireGuard {
    /// `auto`, `kernel` or `userspace`.
    pub(crate) mode: String,
    /// Largest packet in bytes; 0 follows the path.
    pub(crate) mtu: u16,
}

/// Name servers of containers.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Dns {
    /// Upstreams as `address[:port]`; none takes those of the host.
    pub(crate) forwarders: Vec<String>,
}

/// The front door.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Ingress {
    /// Whether this node serves HTTP and HTTPS; published ports are served anyway.
    pub(crate) enabled: bool,
    /// Where HTTP is served.
    pub(crate) http_addr: Vec<SocketAddr>,
    /// Where HTTPS is served.
    pub(crate) https_addr: Vec<SocketAddr>,
    /// Networks whose forwarding headers are believed.
    pub(crate) trusted_proxies: Vec<String>,
    /// Networks that must say by a PROXY header who asks.
    pub(crate) proxy_protocol: Vec<String>,
    /// `off`, `errors` or `all`.
    pub(crate) access_log: String,
    /// A file for it; empty for the daemon's log.
    pub(crate) access_log_file: PathBuf,
    /// Connections at a time; 0 follows the limit of open files.
    pub(crate) max_connections: usize,
    /// Milliseconds in which a request's header must come.
    pub(crate) header_timeout: u64,
    /// Milliseconds that running requests and connections have when the daemon ends.
    pub(crate) stop_timeout: u64,
}

/// What is counted.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Metrics {
    /// Whether it is shown.
    pub(crate) enabled: bool,
    /// A plain listener for scrapers; empty for none.
    pub(crate) listen: String,
}

/// What containers may reach of the host.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct IsolationKeys {
    /// Ports of the host's own services.
    pub(crate) host_ports: Vec<u16>,
    /// Whether 169.254.169.254 is closed.
    pub(crate) block_metadata: bool,
}

/// Checks at admission.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Admission {
    /// Host directories that a service may bind without the privileged gate.
    pub(crate) bind_paths: Vec<String>,
}
