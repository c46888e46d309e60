//! The files in `<data_dir>/node/` beside certificate and marker: where the peers are; and the end of
//! them all when this node is no member any more.

use crate::daemon::cluster::PeerRecord;
use jaco_wiring::Peer;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const PEERS: &str = "peers.json";

/// There while this node must not serve; holds the index at which its state was found wrong.
const FENCED: &str = "fenced";

/// Where the files are.
pub(crate) fn node_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("node")
}

/// Removes what makes this node a member. Nothing is kept: the log holds the key of the cluster's
/// authority, which a node that was removed must not have.
pub(crate) fn forget(data_dir: &Path) -> io::Result<()> {
    let node = node_dir(data_dir);
    // The marker first: without it the rest is no member's.
    for name in ["id", "node.crt", "node.key", "ca.crt", PEERS, FENCED] {
        match std::fs::remove_file(node.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    for entry in std::fs::read_dir(data_dir)?.flatten() {
        // The log, and what a rejoin kept of earlier ones.
        if entry.file_name().to_string_lossy().starts_with("raft") {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Where the members are, for a start whose log cannot say it: a joiner's first, and a rejoin.
#[derive(Clone, Debug)]
pub(crate) struct RosterFile(PathBuf);

impl RosterFile {
    /// The file of a data directory.
    pub(crate) fn of(data_dir: &Path) -> RosterFile {
        RosterFile(node_dir(data_dir).join(PEERS))
    }

    /// Keeps the members; a failure only makes a later rejoin need another way to its peers. A list
    /// that is there already is not written again: other facts of members change far more often.
    pub(crate) fn write(&self, roster: &[Peer]) {
        let records = roster.iter().map(|peer| PeerRecord {
            node: peer.node.clone(),
            raft_id: peer.raft_id,
            address: peer.address.clone(),
        });
        let records: Vec<PeerRecord> = records.collect();
        if records != self.read() {
            self.write_records(&records);
        }
    }

    /// As [`RosterFile::write`].
    pub(crate) fn write_records(&self, records: &[PeerRecord]) {
        let bytes = serde_json::to_vec_pretty(records).unwrap_or_default();
        if let Err(error) = write_whole(&self.0, &bytes) {
            tracing::warn!(path = %self.0.display(), %error, "cannot keep the list of members");
        }
    }

    /// Keeps this node from serving its state until it has joined again.
    pub(crate) fn fence(&self, index: u64) {
        if let Err(error) =
            write_whole(&self.0.with_file_name(FENCED), index.to_string().as_bytes())
        {
            tracing::error!(%error, index, "cannot note that this node's state is wrong");
        }
    }

    /// The index at which this node's state was found wrong, if it was.
    pub(crate) fn fenced_at(&self) -> Option<String> {
        std::fs::read_to_string(self.0.with_file_name(FENCED)).ok()
    }

    /// Lets this node serve again, with a state from the others.
    pub(crate) fn lift_fence(&self) -> io::Result<()> {
        match std::fs::remove_file(self.0.with_file_name(FENCED)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The members as they were last known.
    pub(crate) fn read(&self) -> Vec<PeerRecord> {
        let bytes = std::fs::read(&self.0).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }
}

/// Writes a file as a whole: a start sees the old one or the new one.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let next = path.with_extension("next");
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&next)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&next, path)
}
