//! The identity marker: which member of which cluster this data directory is.
//!
//! A raft id belongs to one data directory for its whole life. Without the marker nobody may vote
//! here, since a vote already given would be forgotten.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::disk::Disk;
use crate::error::Error;
use crate::files::write_atomic;

const FORMAT: u32 = 1;

/// Who this node is. Written once; a rejoin writes a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The cluster.
    pub cluster_id: [u8; 16],
    /// The epoch of the cluster at the time of writing.
    pub epoch: u64,
    /// The node, in the form the state uses.
    pub node_id: String,
    /// The raft id, never zero and never used again.
    pub raft_id: u64,
    /// Wall clock in milliseconds since the Unix epoch, for people.
    pub created_at_ms: u64,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: u32,
    cluster_id: String,
    epoch: u64,
    node_id: String,
    raft_id: u64,
    created_at: u64,
    sha256: String,
}

impl Marker {
    /// Where the marker is in `data_dir`.
    pub(crate) fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("node").join("id")
    }

    /// Reads the marker, or `None` if there is none.
    ///
    /// # Errors
    /// When it cannot be read, or is not intact.
    pub fn load(disk: &dyn Disk, data_dir: &Path) -> Result<Option<Marker>, Error> {
        let path = Marker::path(data_dir);
        let Some(bytes) = disk.read(&path).map_err(Error::io("read", &path))? else {
            return Ok(None);
        };
        let corrupt = |what: &str, expected: &str| Error::StorageCorrupt {
            path: path.clone(),
            what: what.into(),
            expected: expected.into(),
        };
        let stored: Stored = serde_json::from_slice(&bytes)
            .map_err(|error| corrupt(&error.to_string(), "the fields of a marker"))?;
        if stored.format != FORMAT {
            let what = format!("format {}", stored.format);
            return Err(corrupt(&what, &format!("at most format {FORMAT}")));
        }
        let cluster_id = from_hex(&stored.cluster_id)
            .ok_or_else(|| corrupt(&stored.cluster_id, "16 bytes in hexadecimal"))?;
        let marker = Marker {
            cluster_id,
            epoch: stored.epoch,
            node_id: stored.node_id,
            raft_id: stored.raft_id,
            created_at_ms: stored.created_at,
        };
        if marker.digest() != stored.sha256 {
            return Err(corrupt("the checksum does not match", &marker.digest()));
        }
        if marker.raft_id == 0 {
            return Err(corrupt("raft id 0", "another"));
        }
        Ok(Some(marker))
    }

    /// Writes the marker as a whole.
    pub(crate) fn store(&self, disk: &dyn Disk, data_dir: &Path) -> Result<(), Error> {
        let stored = Stored {
            format: FORMAT,
            cluster_id: hex(&self.cluster_id),
            epoch: self.epoch,
            node_id: self.node_id.clone(),
            raft_id: self.raft_id,
            created_at: self.created_at_ms,
            sha256: self.digest(),
        };
        let path = Marker::path(data_dir);
        let text = serde_json::to_vec_pretty(&stored).expect("plain fields always serialise");
        write_atomic(disk, &path, &text)
    }

    /// Over every field with its length, so that none can lend bytes to its neighbour.
    fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        for field in [
            &FORMAT.to_le_bytes()[..],
            &self.cluster_id,
            &self.epoch.to_le_bytes(),
            self.node_id.as_bytes(),
            &self.raft_id.to_le_bytes(),
            &self.created_at_ms.to_le_bytes(),
        ] {
            hasher.update((field.len() as u64).to_le_bytes());
            hasher.update(field);
        }
        hex(&hasher.finalize())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<[u8; 16]> {
    let is_plain = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let value = u128::from_str_radix(text, 16).ok().filter(|_| is_plain)?;
    Some(value.to_be_bytes())
}
