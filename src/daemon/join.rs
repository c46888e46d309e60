//! How this node becomes a member of a cluster that exists, or one again.

mod key;

use crate::daemon::address::Addresses;
use crate::daemon::boot;
use crate::daemon::cluster::{
    AdmitReply, AdmitRequest, CALL_LIMIT, LEVEL, RejoinReply, RejoinRequest, internal,
};
use crate::daemon::config::Config;
use crate::daemon::identity::RosterFile;
use crate::daemon::init::node_name;
use crate::daemon::network::{Deaf, decode_fault, known_peer};
use jaco_kit::Clock;
use jaco_model::view::{ErrorBody, JoinRequest, JoinView};
use jaco_model::{ClusterId, ErrorCode, Fault, NodeId};
use jaco_peers::pki::{self, JoinToken};
use jaco_peers::transport::{CallError, Config as PeersConfig, Limits, Peers};
use jaco_peers::{JoinError, NodeFiles, join_call};
use jaco_raft::{HostDisk, Loaded, Marker, Store};
use jaco_wire::peer::Method;
use std::sync::Arc;
use std::time::Duration;

/// A member whose files are complete.
pub(crate) struct Joined {
    /// The opened store.
    pub(crate) store: (Store, Loaded),
    /// What the user is told.
    pub(crate) view: JoinView,
}

/// How long a cluster may be without a leader while a node joins.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(500);
/// Answers that may be lost; each takes the patience of a call.
const LOST_TRIES: u32 = 2;

/// Joins: verifies the peer by the digest in the token, and only then shows the secret.
pub(crate) async fn join(
    config: &Config,
    clock: &Clock,
    request: JoinRequest,
) -> Result<Joined, Fault> {
    let token: JoinToken = request.token.trim().parse().map_err(|error: pki::BadToken| {
        Fault::new(ErrorCode::TokenInvalid, error.to_string())
            .with("kind", "join")
            .with("reason", "malformed")
    })?;
    let addresses = own_addresses(config)?;
    let key = key::keep(&config.data_dir, &token)?;
    let wish = AdmitRequest {
        secret: token.secret_text(),
        csr: pki::hex(&key.csr_der),
        name: node_name(config).to_string(),
        address: addresses.public_peer,
        api_address: addresses.public_api,
        version: crate::version::VERSION.to_owned(),
        now_ms: clock.wall().0,
        level: LEVEL,
    };
    let reply = ask(&request.peer, &token, &wish).await?;
    let files = NodeFiles { roots: reply.ca, certificate: reply.certificate, key: key.key_pem };
    let digest = pki::spki_digest(&files.roots).map_err(internal)?;
    if digest != token.digest {
        let message = "the cluster sent another root than the one in the token";
        return Err(Fault::new(ErrorCode::CaDigestMismatch, message));
    }
    let marker = Marker {
        cluster_id: uuid_bytes(&reply.cluster_id).ok_or_else(|| garbled("cluster_id"))?,
        epoch: reply.epoch,
        node_id: reply.node.to_string(),
        raft_id: reply.raft_id,
        created_at_ms: clock.wall().0,
    };
    // The marker comes last: before it this node may simply join again.
    files.write(&config.data_dir).map_err(internal)?;
    RosterFile::of(&config.data_dir).write_records(&reply.peers);
    let store =
        Store::bootstrap_empty(Arc::new(HostDisk), &config.data_dir, &marker).map_err(|error| {
            Fault::new(ErrorCode::StorageFailed, crate::daemon::logging::chain(&error))
        })?;
    key::drop_kept(&config.data_dir);
    Ok(Joined { store, view: JoinView { hostname: wish.name, cluster_id: reply.cluster_id } })
}

fn own_addresses(config: &Config) -> Result<Addresses, Fault> {
    boot::addresses(config).ok_or_else(|| {
        let message = "this host has no private address to listen on";
        Fault::new(ErrorCode::Unsupported, message)
            .with("feature", "join")
            .with("hint", "set listen_addr and cluster_addr in jacod.yaml")
    })
}

fn garbled(field: &str) -> Fault {
    Fault::new(ErrorCode::Internal, format!("the cluster's answer has a bad {field}"))
}

/// Asks a member until the cluster has a leader. An answer that was lost is asked for again.
async fn ask(peer: &str, token: &JoinToken, wish: &AdmitRequest) -> Result<AdmitReply, Fault> {
    let body = serde_json::to_vec(wish).map_err(internal)?;
    let (mut tries, mut lost) = (0, 0);
    loop {
        let answer = join_call(peer, token, "/v1/cluster/admit", body.clone()).await;
        let is_lost = matches!(answer, Err(JoinError::Timeout { .. } | JoinError::Answer { .. }));
        let fault = match answer.map_err(|error| refused(peer, &error)) {
            Ok((200, bytes)) => return serde_json::from_slice(&bytes).map_err(internal),
            Ok((status, bytes)) => match serde_json::from_slice::<ErrorBody>(&bytes) {
                Ok(body) => body.error,
                Err(_) => Fault::new(ErrorCode::Internal, format!("{peer} answered {status}")),
            },
            Err(fault) => fault,
        };
        tries += 1;
        lost += u32::from(is_lost);
        let waits = matches!(fault.code, ErrorCode::NoLeader | ErrorCode::NodeUnreachable);
        if !(waits || is_lost) || tries > TRIES || lost > LOST_TRIES {
            return Err(fault);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn refused(peer: &str, error: &JoinError) -> Fault {
    let text = crate::daemon::logging::chain(error);
    match error {
        JoinError::CaDigestMismatch(found) => {
            let message = format!(
                "{peer} is not of the cluster that issued the token; nothing secret was sent"
            );
            Fault::new(ErrorCode::CaDigestMismatch, message)
                .with("expected", &found.expected)
                .with("got", &found.got)
        }
        _ => Fault::new(ErrorCode::Unreachable, format!("cannot join through {peer}: {text}"))
            .with("server", peer)
            .with(
                "hint",
                "the same command may be given again: for 15 minutes the token stays good",
            ),
    }
}

/// Joins again under the identity that this node has, with an empty log and a new raft id.
pub(crate) async fn rejoin(config: &Config, clock: &Clock) -> Result<Joined, Fault> {
    let failed = |what: &str| {
        Fault::new(ErrorCode::StorageFailed, what.to_owned())
            .with("hint", "remove this node from another one, then join with a new token")
    };
    let marker = Marker::load(&HostDisk, &config.data_dir)
        .map_err(|error| failed(&crate::daemon::logging::chain(&error)))?
        .ok_or_else(|| failed("this node does not know any more who it is"))?;
    let files = NodeFiles::read(&config.data_dir)
        .map_err(internal)?
        .ok_or_else(|| failed("this node's certificate is gone"))?;
    let known = boot::known_peers(config, &marker.node_id);
    if known.is_empty() {
        return Err(failed("this node does not know its peers any more"));
    }
    let addresses = own_addresses(config)?;
    let identity = files.identity().map_err(internal)?;
    let transport = PeersConfig {
        listen: addresses.peer,
        cluster_id: ClusterId::new(crate::daemon::init::uuid_text(marker.cluster_id)),
        epoch: marker.epoch,
        me: NodeId::new(marker.node_id.clone()),
        raft_id: marker.raft_id,
        limits: Limits::default(),
    };
    let roster = known.iter().map(known_peer);
    let peers =
        Peers::start(transport, identity, roster.collect(), Arc::new(Deaf)).map_err(internal)?;
    let nodes: Vec<NodeId> = known.iter().map(|peer| peer.node.clone()).collect();
    let answer = ask_again(&peers, &nodes, marker.raft_id).await;
    let _ = tokio::task::spawn_blocking(move || peers.shutdown()).await;
    let reply = answer?;
    let next = Marker {
        raft_id: reply.raft_id,
        epoch: reply.epoch,
        created_at_ms: clock.wall().0,
        ..marker
    };
    let roster = RosterFile::of(&config.data_dir);
    roster.write_records(&reply.peers);
    let store = Store::replace(Arc::new(HostDisk), &config.data_dir, &next).map_err(|error| {
        Fault::new(ErrorCode::StorageFailed, crate::daemon::logging::chain(&error))
    })?;
    // Only now is the state that was wrong out of the way.
    roster.lift_fence().map_err(internal)?;
    let cluster_id = crate::daemon::init::uuid_text(next.cluster_id);
    let view = JoinView { hostname: node_name(config).to_string(), cluster_id };
    Ok(Joined { store, view })
}

/// Asks every known member in turn until the leader is among them.
async fn ask_again(
    peers: &Peers,
    nodes: &[NodeId],
    old_raft_id: u64,
) -> Result<RejoinReply, Fault> {
    let body = serde_json::to_vec(&RejoinRequest { old_raft_id }).map_err(internal)?;
    let mut last = Fault::new(ErrorCode::NoLeader, "no member answers");
    for _ in 0..TRIES {
        for node in nodes {
            match peers.call(node, Method::Rejoin, body.clone(), CALL_LIMIT).await {
                Ok(bytes) => return serde_json::from_slice(&bytes).map_err(internal),
                Err(CallError::Refused(text)) => {
                    last = decode_fault(&text);
                    if last.code != ErrorCode::NoLeader {
                        return Err(last);
                    }
                }
                Err(error) => {
                    let message = format!("no member answers: {error}");
                    last = Fault::new(ErrorCode::Unreachable, message);
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(last)
}

/// The 16 bytes of a UUID.
fn uuid_bytes(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let is_plain = digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let value = u128::from_str_radix(&digits, 16).ok().filter(|_| is_plain)?;
    Some(value.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_survives_a_round_trip() {
        let text = "00112233-4455-4677-8899-aabbccddeeff";
        assert_eq!(uuid_bytes(text).map(crate::daemon::init::uuid_text).as_deref(), Some(text));
        assert_eq!(uuid_bytes("00112233-4455"), None);
    }
}
