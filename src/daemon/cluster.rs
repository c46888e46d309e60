//! Membership: who may join, by which certificate, and how this node gets its own.
//!
//! Who is a member is decided by the state machine; what is here makes keys, draws ids, signs and
//! carries files. Everything that changes the state is a command like any other.

use crate::daemon::address::Addresses;
use crate::daemon::hub::Hub;
use jaco_kit::Seeds;
use jaco_model::command::{Command, Envelope, JoinNode, Reply};
use jaco_model::entity::{Node, NodeFacts, NodeStatus, Trust};
use jaco_model::view::JoinTokenView;
use jaco_model::{ClusterId, ErrorCode, Fault, Identity, NodeId, NodeName, RequestId, WallMs};
use jaco_peers::NodeFiles;
use jaco_peers::pki::{self, Authority, JoinToken};
use jaco_state::State;
use jaco_wire::peer::Method;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a node's certificate is good for.
pub(crate) const CERTIFICATE_TTL: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// How far the clocks of a joiner and the cluster may be apart.
const SKEW_MAX_MS: u64 = 5 * 60 * 1_000;

/// How long another member may take to answer for the leader.
pub(crate) const CALL_LIMIT: Duration = Duration::from_secs(15);

/// What a node that joins sends; the secret only after it has verified the peer.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AdmitRequest {
    /// The secret of the join token.
    pub(crate) secret: String,
    /// Certificate request, DER as hex.
    pub(crate) csr: String,
    /// Hostname.
    pub(crate) name: String,
    /// Host and port of its peer port.
    pub(crate) address: String,
    /// Host and port of its API.
    pub(crate) api_address: String,
    /// Version of its daemon.
    pub(crate) version: String,
    /// Its wall clock.
    pub(crate) now_ms: u64,
    /// The newest commands and formats that its daemon knows.
    pub(crate) level: u32,
}

/// Raised with every version that writes commands or formats which the one before does not know.
pub(crate) const LEVEL: u32 = 3;

/// What it gets.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AdmitReply {
    pub(crate) cluster_id: String,
    pub(crate) epoch: u64,
    pub(crate) node: NodeId,
    pub(crate) raft_id: u64,
    /// The root, PEM.
    pub(crate) ca: String,
    /// The node's certificate, PEM.
    pub(crate) certificate: String,
    pub(crate) peers: Vec<PeerRecord>,
}

/// A member as a node that has no state yet must know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PeerRecord {
    pub(crate) node: NodeId,
    pub(crate) raft_id: u64,
    pub(crate) address: String,
}

/// What a member that lost its log sends and gets.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RejoinRequest {
    pub(crate) old_raft_id: u64,
}

/// The answer to [`RejoinRequest`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RejoinReply {
    pub(crate) raft_id: u64,
    pub(crate) epoch: u64,
    pub(crate) peers: Vec<PeerRecord>,
}

/// The members by the replicated state, and this one where it is now: what it says of itself gets
/// into the state only once its engine answers.
pub(crate) fn peer_records(hub: &Hub, state: &State) -> Vec<PeerRecord> {
    let mut records = records_of(state);
    let (me, address) = hub.whereabouts();
    for record in records.iter_mut().filter(|record| record.node == me && !address.is_empty()) {
        record.address.clone_from(&address);
    }
    records
}

fn records_of(state: &State) -> Vec<PeerRecord> {
    let record = |node: &Node| PeerRecord {
        node: node.id.clone(),
        raft_id: node.raft_id,
        address: node.facts.address.clone(),
    };
    state.nodes.values().map(|node| record(node)).collect()
}

/// The cluster's authority, from the state.
pub(crate) fn authority(state: &State) -> Result<(ClusterId, u64, Authority), Fault> {
    let Some(cluster) = &state.cluster else {
        return Err(Fault::new(ErrorCode::ClusterUninitialized, "there is no cluster yet"));
    };
    let Some(trust) = &cluster.trust else {
        let message = "this cluster has no peer port, so no node can join; set cluster_addr";
        return Err(Fault::new(ErrorCode::Unsupported, message).with("feature", "join"));
    };
    let authority = Authority::from_pem(&trust.certificate, &trust.key).map_err(internal)?;
    Ok((cluster.cluster_id.clone(), cluster.epoch, authority))
}

/// A fault of our own making.
pub(crate) fn internal(error: impl std::error::Error) -> Fault {
    Fault::new(ErrorCode::Internal, crate::daemon::logging::chain(&error))
}

fn random(error: std::io::Error) -> Fault {
    Fault::new(ErrorCode::Internal, format!("the kernel gives no randomness: {error}"))
}

/// Writes what only a leader may ask. One that has just stopped leading says so, and does not hand
/// the command on: another leader would refuse it, and whoever asked would not ask again.
pub(crate) async fn decide(hub: &Hub, command: Command) -> Result<Reply, Fault> {
    if !hub.leads() {
        return Err(hub.leaderless());
    }
    let envelope = Envelope {
        request_id: RequestId(Seeds.id().map_err(random)?),
        at: WallMs(hub.now().wall.0),
        identity: Identity::from("system"),
        os_user: None,
        command,
    };
    hub.propose(&envelope).await
}

/// Refuses a token that the cluster does not know. Anybody may knock, and not every knock may fill
/// the log.
async fn check_token(hub: &Hub, secret_hash: &str) -> Result<(), Fault> {
    if hub.state().join_tokens.contains_key(secret_hash) {
        return Ok(());
    }
    // A leader may have to catch up with what its predecessor acknowledged.
    let (sender, read) = tokio::sync::oneshot::channel();
    hub.read(true, sender);
    read.await.map_err(|_| crate::daemon::backend::stopping())??;
    if hub.state().join_tokens.contains_key(secret_hash) {
        return Ok(());
    }
    let message = "this join token is not known; issue a new one";
    Err(Fault::new(ErrorCode::TokenInvalid, message).with("kind", "join").with("reason", "unknown"))
}

/// Carries a request to the leader, when this node is not it. `None` when it is.
async fn at_leader(hub: &Hub, method: Method, payload: Vec<u8>) -> Result<Option<Vec<u8>>, Fault> {
    if hub.leads() {
        return Ok(None);
    }
    let leader = hub.leader_elsewhere().ok_or_else(|| hub.leaderless())?;
    hub.call(&leader, method, payload, CALL_LIMIT).await.map(Some)
}

/// Lets a node in: at the leader here, at another member through it.
pub(crate) async fn admit(hub: &Hub, payload: Vec<u8>) -> Result<Vec<u8>, Fault> {
    let request: AdmitRequest = serde_json::from_slice(&payload).map_err(|error| {
        Fault::new(ErrorCode::ParseFailed, format!("the join request is not understood: {error}"))
    })?;
    if let Some(answer) = at_leader(hub, Method::Join, payload).await? {
        return Ok(answer);
    }
    let now = hub.now().wall.0;
    let skew = now.abs_diff(request.now_ms);
    if skew > SKEW_MAX_MS {
        let message = "the clocks of the new node and the cluster are too far apart";
        return Err(Fault::new(ErrorCode::ClockSkew, message)
            .with("skew_seconds", skew / 1_000)
            .with("hint", "set the clock of the new node, for instance by NTP"));
    }
    if request.level < LEVEL {
        let message = "the new node's daemon is older than the cluster's";
        return Err(Fault::new(ErrorCode::VersionSkew, message)
            .with("have", &request.version)
            .with("need", crate::version::VERSION));
    }
    let csr = from_hex(&request.csr).ok_or_else(|| bad_request("csr"))?;
    let key_digest = pki::csr_key_digest(&csr).map_err(|_| bad_request("csr"))?;
    let secret_hash = JoinToken::hash_of_secret(&request.secret).map_err(|_| {
        Fault::new(ErrorCode::TokenInvalid, "the secret of the join token is damaged")
            .with("kind", "join")
            .with("reason", "malformed")
    })?;
    if !is_node_name(&request.name) {
        return Err(bad_request("name"));
    }
    check_token(hub, &secret_hash).await?;
    let node = newcomer(&request)?;
    let join = JoinNode { secret_hash, key_digest, node };
    let reply = decide(hub, Command::JoinNode(Box::new(join))).await?;
    let Reply::Joined { node, raft_id } = reply else {
        return Err(Fault::new(ErrorCode::Internal, "a join was answered as something else"));
    };
    let certificate = sign(hub, &csr, &node).await?;
    let state = hub.state();
    let (cluster_id, epoch, authority) = authority(&state)?;
    let reply = AdmitReply {
        cluster_id: cluster_id.to_string(),
        epoch,
        node,
        raft_id,
        ca: authority.cert_pem,
        certificate,
        peers: peer_records(hub, &state),
    };
    serde_json::to_vec(&reply).map_err(internal)
}

fn bad_request(field: &str) -> Fault {
    Fault::new(ErrorCode::ValidationFailed, format!("the join request has a bad {field}"))
        .with("field", field)
        .with("reason", "format")
}

/// One label of RFC 1123 in lower case.
pub(crate) fn is_node_name(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(legal)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

fn newcomer(request: &AdmitRequest) -> Result<Node, Fault> {
    Ok(Node {
        id: NodeId::new(format!("{:032x}", Seeds.id().map_err(random)?)),
        name: NodeName::new(request.name.clone()),
        // Zero is no raft id.
        raft_id: Seeds.seed().map_err(random)?.max(1),
        status: NodeStatus::Joining,
        schedulable: true,
        voter: false,
        labels: std::collections::BTreeMap::new(),
        facts: NodeFacts {
            address: request.address.clone(),
            api_address: request.api_address.clone(),
            version: request.version.clone(),
            ..NodeFacts::default()
        },
        joined_at: WallMs(0),
        serials: Vec::new(),
        liveness_epoch: 0,
        leaving: None,
        mesh_address: None,
    })
}

/// A certificate for a member, which counts from when its serial is in the log.
async fn sign(hub: &Hub, csr: &[u8], node: &NodeId) -> Result<String, Fault> {
    let (cluster, _, authority) = authority(&hub.state())?;
    let now = WallMs(hub.now().wall.0);
    let signed =
        authority.sign_node(csr, &cluster, node, now, CERTIFICATE_TTL).map_err(internal)?;
    let (node, serial) = (node.clone(), signed.serial);
    decide(hub, Command::RecordCertificate { node, serial }).await?;
    Ok(signed.cert_pem)
}

/// A new certificate for `node`, which has proven itself by its old one.
pub(crate) async fn renew(hub: &Hub, node: &NodeId, csr: Vec<u8>) -> Result<String, Fault> {
    sign(hub, &csr, node).await
}

/// A new raft id for `node`, which has lost its log.
pub(crate) async fn rejoin(hub: &Hub, node: NodeId, payload: Vec<u8>) -> Result<Vec<u8>, Fault> {
    let request: RejoinRequest = serde_json::from_slice(&payload).map_err(internal)?;
    let raft_id = Seeds.seed().map_err(random)?.max(1);
    let command = Command::RejoinNode { node, old_raft_id: request.old_raft_id, raft_id };
    let Reply::Joined { raft_id, .. } = decide(hub, command).await? else {
        return Err(Fault::new(ErrorCode::Internal, "a rejoin was answered as something else"));
    };
    let state = hub.state();
    let epoch = state.cluster.as_ref().map_or(1, |cluster| cluster.epoch);
    serde_json::to_vec(&RejoinReply { raft_id, epoch, peers: peer_records(hub, &state) })
        .map_err(internal)
}

/// Makes a join token; the cluster keeps only the hash of its secret.
pub(crate) async fn issue_token(
    hub: &Hub,
    asker: jaco_api::Asker,
    ttl: Duration,
    addresses: Option<&Addresses>,
) -> Result<JoinTokenView, Fault> {
    let state = hub.state();
    let (_, _, authority) = authority(&state)?;
    let Some(addresses) = addresses else {
        let message = "this node has no API port that others can reach; set listen_addr";
        return Err(Fault::new(ErrorCode::Unsupported, message).with("feature", "join"));
    };
    let digest = pki::spki_digest(&authority.cert_pem).map_err(internal)?;
    let token = JoinToken::create(digest).map_err(internal)?;
    let at = WallMs(hub.now().wall.0);
    let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    let expires_at = WallMs(at.0.saturating_add(ttl_ms));
    let secret_hash = token.secret_hash();
    let envelope = Envelope {
        // A retry draws another secret, so it is another command.
        request_id: RequestId(Seeds.id().map_err(random)?),
        at,
        identity: asker.identity,
        os_user: asker.os_user,
        command: Command::IssueJoinToken { secret_hash, expires_at },
    };
    hub.propose(&envelope).await?;
    let peer = addresses.public_api.clone();
    let others = state.nodes.values().map(|node| node.facts.api_address.clone());
    let alternatives = others.filter(|other| !other.is_empty() && *other != peer).collect();
    Ok(JoinTokenView {
        command: format!("sudo jaco node join --peer={peer} --token={token}"),
        token: token.to_string(),
        peer,
        alternatives,
        expires_at: expires_at.to_string(),
        ca_pem: authority.cert_pem,
    })
}

/// Gives a cluster that was begun without one an authority, and this node a certificate.
pub(crate) async fn establish_trust(hub: &Hub, node: &NodeId) -> Result<NodeFiles, Fault> {
    let Some(cluster) = hub.state().cluster.as_ref().map(|cluster| cluster.cluster_id.clone())
    else {
        return Err(Fault::new(ErrorCode::ClusterUninitialized, "there is no cluster yet"));
    };
    let made = Authority::create(&cluster, WallMs(hub.now().wall.0)).map_err(internal)?;
    let trust = Trust { certificate: made.cert_pem, key: made.key_pem };
    decide(hub, Command::EstablishTrust(trust)).await?;
    let key = pki::NodeKey::create().map_err(internal)?;
    let certificate = sign(hub, &key.csr_der, node).await?;
    let (_, _, authority) = authority(&hub.state())?;
    Ok(NodeFiles { roots: authority.cert_pem, certificate, key: key.key_pem })
}

/// Bytes from hex in either case.
fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) || digits.len() > 32 * 1024 {
        return None;
    }
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    digits.chunks_exact(2).map(|pair| Some(digit(&pair[0])? << 4 | digit(&pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_read_or_refused() {
        assert_eq!(from_hex("00fF7a"), Some(vec![0, 255, 122]));
        assert_eq!(from_hex(""), Some(Vec::new()));
        for bad in ["0", "0g", "é1"] {
            assert_eq!(from_hex(bad), None, "{bad}");
        }
    }

    #[test]
    fn node_names_are_host_names() {
        for good in ["a", "node-1", "0x"] {
            assert!(is_node_name(good), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", &"x".repeat(64)] {
            assert!(!is_node_name(bad), "{bad}");
        }
    }
}
