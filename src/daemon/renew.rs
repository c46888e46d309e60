//! The node's certificate renews by itself, with a new key, long before it ends.

use crate::daemon::cluster::{self, CALL_LIMIT, internal};
use crate::daemon::hub::Hub;
use jaco_model::{Fault, NodeId, WallMs};
use jaco_peers::NodeFiles;
use jaco_peers::pki::{NodeKey, Validity};
use jaco_peers::tls::Identity;
use jaco_wire::peer::Method;
use std::path::PathBuf;
use std::time::Duration;

/// How often the certificate is looked at.
const EVERY: Duration = Duration::from_secs(60 * 60);

/// What the renewal works on.
#[derive(Clone)]
pub(crate) struct Renewal {
    pub(crate) hub: Hub,
    pub(crate) node: NodeId,
    pub(crate) identity: Identity,
    pub(crate) data_dir: PathBuf,
    /// Spreads the moments of the members, from 0 to 100.
    pub(crate) spread: u64,
}

/// Whether a certificate is due: a third of its life is left, give or take a tenth of that third.
fn is_due(validity: Validity, now: WallMs, spread: u64) -> bool {
    let life = validity.not_after.0.saturating_sub(validity.not_before.0);
    let third = life / 3;
    let early = third / 10 * 2 * spread.min(100) / 100;
    let left = validity.not_after.0.saturating_sub(now.0);
    left <= third.saturating_sub(third / 10).saturating_add(early)
}

/// Looks at the certificate for as long as the daemon lives.
pub(crate) async fn watch(renewal: Renewal) {
    loop {
        let now = WallMs(renewal.hub.now().wall.0);
        if is_due(renewal.identity.validity(), now, renewal.spread) {
            match renew(&renewal).await {
                Ok(()) => tracing::info!("the node's certificate was renewed"),
                Err(fault) => tracing::warn!(%fault, "the node's certificate was not renewed"),
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Asks the leader, and takes the new certificate into use.
async fn renew(renewal: &Renewal) -> Result<(), Fault> {
    let Renewal { hub, node, identity, data_dir, .. } = renewal;
    let key = NodeKey::create().map_err(internal)?;
    let certificate = match hub.leader_elsewhere() {
        Some(leader) => {
            let asked = hub.call(&leader, Method::RenewCertificate, key.csr_der, CALL_LIMIT);
            String::from_utf8(asked.await?).map_err(internal)?
        }
        None => cluster::renew(hub, node, key.csr_der).await?,
    };
    let (_, _, authority) = cluster::authority(&hub.state())?;
    let files = NodeFiles { roots: authority.cert_pem, certificate, key: key.key_pem };
    files.write(data_dir).map_err(internal)?;
    identity.replace(&files.roots, &files.certificate, &files.key).map_err(internal)
}

#[cfg(test)]
mod tests;
