//! What the nodes concerned see, for `jaco why`: this one, and others by calls.

use crate::daemon::network::decode_fault;
use jaco_api::BoxFuture;
use jaco_model::{Fault, NodeId};
use jaco_peers::transport::{CallError, Peers};
use jaco_why::{Facts, Look, Resolved};
use jaco_wire::peer::Method;
use std::time::Duration;

/// How long a node may take. One that takes longer is a link of the chain, not an error.
const LIMIT: Duration = Duration::from_secs(4);

/// A node, and what it saw or why it did not say.
type Seen = (NodeId, Result<Facts, String>);

/// What this node sees.
pub(crate) fn here(node: NodeId, own: BoxFuture<Result<Facts, Fault>>) -> BoxFuture<Seen> {
    Box::pin(async move {
        let seen = match tokio::time::timeout(LIMIT, own).await {
            Ok(seen) => seen.map_err(|fault| fault.message),
            Err(_) => Err("it did not look in time".to_owned()),
        };
        (node, seen)
    })
}

/// What another node sees.
pub(crate) fn there(node: NodeId, peers: Option<&Peers>, look: &Look) -> BoxFuture<Seen> {
    let payload = serde_json::to_vec(look).unwrap_or_default();
    let asked = peers.map(|peers| peers.call(&node, Method::Look, payload, LIMIT));
    Box::pin(async move {
        let Some(asked) = asked else {
            return (node, Err("there is no network".to_owned()));
        };
        let seen = match asked.await {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| format!("its answer is not understood: {error}")),
            Err(CallError::Refused(text)) => Err(decode_fault(&text).message),
            Err(error) => Err(error.to_string()),
        };
        (node, seen)
    })
}

/// What a host resolves to, by what this node's system asks; nothing for a wildcard, which is no
/// name.
pub(crate) async fn resolve(host: Option<&str>) -> Option<Resolved> {
    let host = host.filter(|host| !host.starts_with('*'))?;
    let asked = tokio::time::timeout(LIMIT, tokio::net::lookup_host((host, 80)));
    Some(match asked.await {
        Ok(Ok(found)) => Ok(found.map(|at| at.ip()).collect()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", LIMIT.as_secs())),
    })
}
