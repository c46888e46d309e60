//! The disk of one host: what is durable, and what is on its way there.
//!
//! A batch is one transaction: it becomes durable as a whole or not at all. That a real store keeps
//! this under torn writes is tested where the store is.

use crate::random::Random;
use jaco_raft_core::{Batch, DurableLog, Position};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Snapshot files kept beside the newest.
const OLD_SNAPSHOTS: usize = 1;

/// One data directory from its making until it is wiped.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    /// The raft id in its marker.
    pub(crate) raft_id: u64,
    pub(crate) durable: DurableLog,
    snapshots: BTreeMap<Position, Arc<Vec<u8>>>,
    writing: Option<Arc<Batch>>,
    /// Every write fails for want of space.
    pub(crate) is_full: bool,
    /// The next sync fails.
    pub(crate) fails_once: bool,
}

impl Disk {
    /// An empty data directory.
    pub(crate) fn new(raft_id: u64) -> Disk {
        Disk {
            raft_id,
            durable: DurableLog::default(),
            snapshots: BTreeMap::new(),
            writing: None,
            is_full: false,
            fails_once: false,
        }
    }

    /// A data directory that begins with a snapshot.
    pub(crate) fn with_snapshot(raft_id: u64, durable: DurableLog, file: Arc<Vec<u8>>) -> Disk {
        let snapshots = [(durable.snapshot.at, file)].into();
        Disk { durable, snapshots, ..Disk::new(raft_id) }
    }

    /// The bytes of a snapshot file, if it is still there.
    pub(crate) fn snapshot(&self, at: Position) -> Option<Arc<Vec<u8>>> {
        self.snapshots.get(&at).cloned()
    }

    /// A batch is on its way.
    ///
    /// # Errors
    /// If another one still is: raft writes one at a time.
    pub(crate) fn begin(&mut self, batch: Arc<Batch>) -> Result<(), String> {
        match self.writing.replace(batch) {
            Some(other) => Err(format!("batch {} is still being written", other.seq)),
            None => Ok(()),
        }
    }

    /// The batch on its way is durable now, or will never be. Nothing when there is none.
    pub(crate) fn finish(
        &mut self,
        random: &mut Random,
    ) -> Option<(Arc<Batch>, Result<(), String>)> {
        let batch = self.writing.take()?;
        if self.is_full {
            return Some((batch, Err("no space left on device".to_owned())));
        }
        if std::mem::take(&mut self.fails_once) {
            // Nobody knows what a failed sync leaves behind.
            if random.chance(500) {
                self.apply(&batch);
            }
            return Some((batch, Err("input/output error".to_owned())));
        }
        self.apply(&batch);
        Some((batch, Ok(())))
    }

    /// The process is gone: the batch on its way became durable with the last breath, or is lost.
    /// Returns one that did.
    pub(crate) fn crash(&mut self, random: &mut Random) -> Option<Arc<Batch>> {
        let batch = self.writing.take()?;
        let survives = !self.is_full && random.chance(400);
        survives.then(|| {
            self.apply(&batch);
            batch
        })
    }

    fn apply(&mut self, batch: &Batch) {
        if let Some(file) = &batch.snapshot {
            self.snapshots.insert(file.meta.at, file.data.clone());
        }
        self.durable.apply(batch);
        let newest = self.durable.snapshot.at;
        let old: Vec<Position> = self.snapshots.range(..newest).map(|(at, _)| *at).collect();
        for at in old.iter().rev().skip(OLD_SNAPSHOTS) {
            self.snapshots.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(seq: u64) -> Arc<Batch> {
        let mut batch = Batch { seq, ..Batch::default() };
        batch.hard_state.term = seq;
        Arc::new(batch)
    }

    #[test]
    fn a_batch_is_durable_when_it_is_finished_and_not_before() {
        let (mut disk, mut random) = (Disk::new(1), Random::new(1));
        disk.begin(batch(1)).unwrap();
        assert_eq!(disk.durable.hard_state.term, 0);
        assert!(disk.begin(batch(2)).is_err());
        disk.finish(&mut random).unwrap().1.unwrap();
        assert_eq!(disk.durable.hard_state.term, 2);
    }

    #[test]
    fn a_full_disk_takes_nothing_and_a_crash_loses_sometimes() {
        let mut random = Random::new(1);
        let mut full = Disk { is_full: true, ..Disk::new(1) };
        full.begin(batch(1)).unwrap();
        assert!(full.finish(&mut random).unwrap().1.is_err());
        assert_eq!(full.durable.hard_state.term, 0);
        let mut survived = 0;
        for _ in 0..100 {
            let mut disk = Disk::new(1);
            disk.begin(batch(1)).unwrap();
            let kept = disk.crash(&mut random).is_some();
            assert_eq!(kept, disk.durable.hard_state.term == 1);
            survived += u32::from(kept);
        }
        assert!((10..90).contains(&survived), "{survived}");
    }
}
