//! The settings of one raft member.

use std::time::Duration;

/// Everything a member is told at construction.
#[derive(Clone, Debug)]
pub struct Config {
    /// Own raft id: random, non-zero, never used before in this cluster.
    pub raft_id: u64,
    /// Length of one tick: a heartbeat; ten to twenty of them make an election timeout.
    pub tick: Duration,
    /// Source of the election timeouts; members need different seeds.
    pub seed: u64,
    /// Bounds on what the core accepts and holds.
    pub limits: Limits,
    /// When to snapshot and what to keep.
    pub snapshots: SnapshotPolicy,
    /// The mistake to make, if any.
    #[cfg(feature = "seeded-bugs")]
    pub seeded_bug: Option<crate::SeededBug>,
}

impl Config {
    /// The settings of a member with the default limits and a tick of 100 ms.
    pub fn new(raft_id: u64, seed: u64) -> Config {
        Config {
            raft_id,
            tick: Duration::from_millis(100),
            seed,
            limits: Limits::default(),
            snapshots: SnapshotPolicy::default(),
            #[cfg(feature = "seeded-bugs")]
            seeded_bug: None,
        }
    }
}

/// Bounds on what the core accepts and holds, in bytes unless said otherwise.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The largest single command.
    pub command_max: usize,
    /// Proposals and messages that wait for the disk, in number.
    pub queue_len_max: usize,
    /// Proposals and messages that wait for the disk.
    pub queue_bytes_max: usize,
    /// Entries proposed but not yet committed.
    pub uncommitted_max: u64,
    /// Committed entries handed out at once.
    pub committed_per_ready_max: u64,
    /// One message of entries to a peer.
    pub message_max: u64,
    /// Messages to one peer without an answer, in number.
    pub inflight_messages_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            command_max: 1 << 20,
            queue_len_max: 4096,
            queue_bytes_max: 4 << 20,
            uncommitted_max: 4 << 20,
            committed_per_ready_max: 4 << 20,
            message_max: 64 << 10,
            inflight_messages_max: 256,
        }
    }
}

/// When to snapshot and how much of the log to keep behind the snapshot.
#[derive(Clone, Debug)]
pub struct SnapshotPolicy {
    /// Snapshot after so many applied entries.
    pub every_entries: u64,
    /// Snapshot after so many bytes of applied entries.
    pub every_bytes: u64,
    /// Never more often than this,
    pub interval_min: Duration,
    /// except for a peer that waits for one: there is at most one such need per new member.
    pub interval_min_for_peers: Duration,
    /// Entries kept for slow followers.
    pub trailing_entries: u64,
    /// Bytes kept for slow followers; the smaller of the two bounds holds.
    pub trailing_bytes: u64,
}

impl Default for SnapshotPolicy {
    fn default() -> SnapshotPolicy {
        SnapshotPolicy {
            every_entries: 8_192,
            every_bytes: 64 << 20,
            interval_min: Duration::from_secs(30),
            interval_min_for_peers: Duration::from_secs(1),
            trailing_entries: 10_240,
            trailing_bytes: 64 << 20,
        }
    }
}
