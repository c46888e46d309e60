//! The key of a join under way, kept until the node is a member.
//!
//! The cluster gives a second answer only to whoever shows the same token and the same key. So a
//! join whose answer was lost, or that was cut off by a crash, can be asked for again.

use crate::daemon::cluster::internal;
use crate::daemon::identity::{node_dir, write_whole};
use jaco_model::Fault;
use jaco_peers::pki::{JoinToken, NodeKey};
use serde::{Deserialize, Serialize};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

const FILE: &str = "join.json";

/// What the file holds; not the secret itself.
#[derive(Serialize, Deserialize)]
struct Kept {
    secret_hash: String,
    key_pem: String,
    csr_der: Vec<u8>,
}

/// The key that was shown with this token before, or a new one that is kept first.
pub(super) fn keep(data_dir: &Path, token: &JoinToken) -> Result<NodeKey, Fault> {
    let secret_hash = token.secret_hash();
    let path = node_dir(data_dir).join(FILE);
    let bytes = std::fs::read(&path).unwrap_or_default();
    let kept = serde_json::from_slice::<Kept>(&bytes).ok();
    if let Some(kept) = kept.filter(|kept| kept.secret_hash == secret_hash) {
        return Ok(NodeKey { key_pem: kept.key_pem, csr_der: kept.csr_der });
    }
    let key = NodeKey::create().map_err(internal)?;
    let (key_pem, csr_der) = (key.key_pem.clone(), key.csr_der.clone());
    let bytes = serde_json::to_vec(&Kept { secret_hash, key_pem, csr_der }).map_err(internal)?;
    let directory = node_dir(data_dir);
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.and_then(|()| write_whole(&path, &bytes)).map_err(internal)?;
    Ok(key)
}

/// The node is a member; what would let it ask again is of no use any more.
pub(super) fn drop_kept(data_dir: &Path) {
    let path = node_dir(data_dir).join(FILE);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "cannot remove the key of the join");
        }
        Ok(()) | Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_same_token_gets_the_same_key_until_the_node_is_a_member() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) =
            (JoinToken::create([1; 32]).unwrap(), JoinToken::create([1; 32]).unwrap());
        let first = keep(dir.path(), &one).unwrap();
        let path = node_dir(dir.path()).join(FILE);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!std::fs::read_to_string(&path).unwrap().contains(&one.secret_text()));
        let again = keep(dir.path(), &one).unwrap();
        assert_eq!((again.key_pem, again.csr_der), (first.key_pem.clone(), first.csr_der));
        assert_ne!(keep(dir.path(), &other).unwrap().key_pem, first.key_pem);
        drop_kept(dir.path());
        assert!(!path.try_exists().unwrap());
        drop_kept(dir.path());
    }
}
