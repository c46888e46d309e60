//! `cluster init`: ids, the first command, and the first durable batch that holds its outcome.

use crate::daemon::boot::Error;
use crate::daemon::cluster::CERTIFICATE_TTL;
use crate::daemon::config::Config;
use crate::daemon::logging;
use ipnet::Ipv4Net;
use jaco_kit::{Clock, Seeds};
use jaco_model::command::{Command, Envelope, InitCluster};
use jaco_model::entity::{Ipam, Node, NodeFacts, NodeStatus, Trust};
use jaco_model::view::InitView;
use jaco_model::{ClusterId, Identity, NodeId, NodeName, RequestId, WallMs};
use jaco_netmesh_core::InUse;
use jaco_peers::NodeFiles;
use jaco_peers::pki::{Authority, NodeKey};
use jaco_raft::{HostDisk, Loaded, Marker, Store};
use jaco_raft_core::{Members, Position, SnapshotFile, SnapshotMeta};
use jaco_state::State;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

/// A cluster that was just begun.
pub(crate) struct Begun {
    /// The opened store.
    pub(crate) store: (Store, Loaded),
    /// What the user is told.
    pub(crate) view: InitView,
}

/// The first position of every log: the state after `InitCluster`, with one voter. It is the
/// first durable batch, so that a crash leaves either no cluster or a complete one.
const FIRST: Position = Position { index: 1, term: 1 };

/// Makes the files of a new one-member cluster. A crash leaves either nothing or all of them.
///
/// `alone` leaves out the authority by which others could join.
pub(crate) fn begin(
    config: &Config,
    clock: &Clock,
    name: Option<String>,
    alone: bool,
) -> Result<Begun, Error> {
    let cluster = uuid_v4()?;
    let node_id = NodeId::new(format!("{:032x}", Seeds.id()?));
    // Zero is no raft id.
    let raft_id = Seeds.seed()?.max(1);
    let now = WallMs(clock.wall().0);
    let marker = Marker {
        cluster_id: cluster,
        epoch: 1,
        node_id: node_id.to_string(),
        raft_id,
        created_at_ms: now.0,
    };
    let (pool, pool_reason) = pool(config)?;
    let plan = Ipam { pool, block_prefix: config.block_prefix };
    let hostname = node_name(config);
    let cluster_id = ClusterId::new(uuid_text(cluster));
    let name = name.unwrap_or_else(|| hostname.to_string());
    let hash_key: [u8; 32] = Seeds.bytes()?;
    let own = if alone { None } else { Some(own_identity(&cluster_id, &node_id, now)?) };
    let serials = own.iter().map(|own| own.serial.clone()).collect();
    let command = Command::InitCluster(Box::new(InitCluster {
        cluster_id: cluster_id.clone(),
        name: name.clone(),
        hash_key: hash_key.iter().map(|byte| format!("{byte:02x}")).collect(),
        history_limit: config.history_limit,
        ipam: Some(plan),
        trust: own.as_ref().map(|own| own.trust.clone()),
        node: Node {
            id: node_id,
            name: hostname.clone(),
            raft_id,
            status: NodeStatus::Joining,
            schedulable: true,
            voter: true,
            labels: std::collections::BTreeMap::new(),
            facts: facts(config, alone),
            joined_at: now,
            serials,
            liveness_epoch: 0,
            leaving: None,
            mesh_address: None,
        },
    }));
    let envelope = Envelope {
        request_id: RequestId(Seeds.id()?),
        at: now,
        identity: Identity::from("bootstrap"),
        os_user: None,
        command,
    };
    let file = first(&marker, &envelope)?;
    // Before the marker: a member without its key could not speak to anybody.
    if let Some(own) = own {
        own.files.write(&config.data_dir)?;
    }
    let store = Store::bootstrap(Arc::new(HostDisk), &config.data_dir, &marker, file)?;
    let cluster_id = cluster_id.to_string();
    let node = hostname.to_string();
    let view = InitView { cluster_id, name, node, pool: Some(pool), pool_reason };
    Ok(Begun { store, view })
}

/// The configured pool. The usual one, which nobody chose, gives way to what the host uses already;
/// then also why.
fn pool(config: &Config) -> Result<(Ipv4Net, Option<String>), Error> {
    let in_use = match jaco_netmesh::in_use() {
        Ok(in_use) => in_use,
        Err(error) => {
            let error = logging::chain(&error);
            tracing::warn!(error, "cannot tell which addresses this host uses");
            return Ok((config.ipam_pool, None));
        }
    };
    choose_pool(config.ipam_pool, config.has_ipam_pool, &in_use)
}

fn choose_pool(
    pool: Ipv4Net,
    is_chosen: bool,
    in_use: &BTreeSet<InUse>,
) -> Result<(Ipv4Net, Option<String>), Error> {
    let Some(other) = jaco_netmesh_core::conflict(pool, in_use) else { return Ok((pool, None)) };
    match jaco_netmesh_core::free_pool(in_use).filter(|_| !is_chosen) {
        Some(free) => Ok((free, Some(format!("this host has {other}")))),
        None => Err(Error::Pool { pool, other: other.clone() }),
    }
}

/// What is known without an engine: a node that joins soon must find this one.
fn facts(config: &Config, alone: bool) -> NodeFacts {
    let addresses = if alone { None } else { crate::daemon::boot::addresses(config) };
    let (address, api_address) =
        addresses.map(|at| (at.public_peer, at.public_api)).unwrap_or_default();
    NodeFacts {
        address,
        api_address,
        version: crate::version::VERSION.to_owned(),
        ..NodeFacts::default()
    }
}

/// A new authority, and the first member's certificate by it.
struct OwnIdentity {
    trust: Trust,
    serial: String,
    files: NodeFiles,
}

fn own_identity(
    cluster: &ClusterId,
    node: &NodeId,
    now: WallMs,
) -> Result<OwnIdentity, jaco_peers::Error> {
    let authority = Authority::create(cluster, now)?;
    let key = NodeKey::create()?;
    let signed = authority.sign_node(&key.csr_der, cluster, node, now, CERTIFICATE_TTL)?;
    let files = NodeFiles {
        roots: authority.cert_pem.clone(),
        certificate: signed.cert_pem,
        key: key.key_pem,
    };
    let trust = Trust { certificate: authority.cert_pem, key: authority.key_pem };
    Ok(OwnIdentity { trust, serial: signed.serial, files })
}

/// The snapshot at the first position.
fn first(marker: &Marker, init: &Envelope) -> Result<SnapshotFile, Error> {
    let members = Members { voters: vec![marker.raft_id], learners: Vec::new() };
    let mut state = State::default();
    jaco_state::apply(&mut state, FIRST.index, init).result.map_err(io::Error::other)?;
    let data = jaco_wiring::encode_state(&state, FIRST, &members)
        .map_err(|source| jaco_wiring::Error::Decode { index: FIRST.index, source })?;
    Ok(SnapshotFile { meta: SnapshotMeta { at: FIRST, members }, data: Arc::new(data) })
}

/// The configured name, else the host's up to the first dot, in lower case.
pub(crate) fn node_name(config: &Config) -> NodeName {
    if !config.node_name.is_empty() {
        return NodeName::new(config.node_name.clone());
    }
    let uname = rustix::system::uname();
    let host = uname.nodename().to_string_lossy().to_ascii_lowercase();
    NodeName::new(host.split('.').next().unwrap_or("localhost"))
}

/// Random bytes with the version and variant of RFC 9562.
fn uuid_v4() -> io::Result<[u8; 16]> {
    let mut bytes: [u8; 16] = Seeds.bytes()?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Ok(bytes)
}

/// The five groups of a UUID.
pub(crate) fn uuid_text(bytes: [u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_that_nobody_chose_gives_way() {
        let pool: Ipv4Net = "10.80.0.0/12".parse().unwrap();
        let net = "10.81.0.0/16".parse().unwrap();
        let in_use = BTreeSet::from([InUse { net, interface: "tun0".to_owned() }]);
        assert_eq!(choose_pool(pool, false, &BTreeSet::new()).unwrap(), (pool, None));
        let (other, why) = choose_pool(pool, false, &in_use).unwrap();
        assert_eq!(other.to_string(), "10.64.0.0/12");
        assert_eq!(why.as_deref(), Some("this host has 10.81.0.0/16 on tun0"));
        let refused = choose_pool(pool, true, &in_use).unwrap_err().to_string();
        assert_eq!(refused, "the address pool 10.80.0.0/12 overlaps 10.81.0.0/16 on tun0");
    }

    #[test]
    fn a_uuid_has_version_4_and_five_groups() {
        let text = uuid_text(uuid_v4().unwrap());
        let groups: Vec<usize> = text.split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12]);
        assert_eq!(text.as_bytes()[14], b'4');
    }
}
