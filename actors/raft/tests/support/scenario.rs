//! The life of one member: bootstrap, appends, overwrites, snapshots of both kinds, compaction.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jaco_raft::{Error, Marker, Store};
use jaco_raft_core::eraftpb::{Entry, HardState};
use jaco_raft_core::{Batch, DurableLog, Members, Position, SnapshotFile, SnapshotMeta, Trim};
use jaco_wire::{Section, SnapshotHeader, encode_snapshot};

use super::sim_disk::SimDisk;

pub(crate) fn data_dir() -> PathBuf {
    PathBuf::from("/data")
}

pub(crate) fn marker() -> Marker {
    Marker {
        cluster_id: *b"0123456789abcdef",
        epoch: 1,
        node_id: "node-a".into(),
        raft_id: 42,
        created_at_ms: 1_700_000_000_000,
    }
}

pub(crate) fn snapshot(index: u64, term: u64) -> SnapshotFile {
    let members = Members { voters: vec![42], learners: Vec::new() };
    let header = SnapshotHeader {
        cluster_id: marker().cluster_id,
        epoch: marker().epoch,
        index,
        term,
        voters: members.voters.clone(),
        ..SnapshotHeader::default()
    };
    let body = format!("state at {index}").repeat(20).into_bytes();
    let sections = [Section { name: "all".into(), count: 1, body }];
    let data = encode_snapshot(&header, &sections).expect("a small snapshot encodes");
    let meta = SnapshotMeta { at: Position { index, term }, members };
    SnapshotFile { meta, data: Arc::new(data) }
}

/// Every batch after the bootstrap, and the durable state before and after each.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) batches: Vec<Batch>,
    /// `states[n]` is what must be on disk once `n` batches are durable.
    pub(crate) states: Vec<DurableLog>,
}

impl Scenario {
    pub(crate) fn new(n_rounds: usize) -> Scenario {
        let mut scenario = Scenario { batches: Vec::new(), states: vec![bootstrapped()] };
        for round in 0..n_rounds as u64 {
            scenario.round(round);
        }
        scenario
    }

    fn state(&self) -> &DurableLog {
        self.states.last().expect("one state from the start")
    }

    fn round(&mut self, round: u64) {
        let term = round * 3 + 1;
        for n in 0..4 {
            self.append(term, n % 3 + 1, 30 + 90 * n);
        }
        self.append(term, 1, 20_000);
        // A new leader replaces the uncommitted tail, shorter than it was.
        self.append_uncommitted(term, 4);
        self.overwrite(term + 1, 2);
        let at = self.committed();
        self.push(Batch {
            snapshot: Some(snapshot(at.index, at.term)),
            trim: Trim::Prefix(self.position(at.index - 3)),
            ..Batch::default()
        });
        self.append(term + 1, 3, 200);
        if round % 2 == 1 {
            self.install(term + 2);
            self.append(term + 2, 2, 100);
        }
    }

    fn append(&mut self, term: u64, count: u64, size: u64) {
        let entries = self.entries(self.state().last_index(), term, count, size);
        let commit = entries.last().expect("some entries").index;
        let is_change = count == 2;
        let members = Members { voters: vec![42], learners: Vec::new() };
        self.push(Batch {
            hard_state: HardState { term, vote: 42, commit },
            members: is_change.then_some((commit, members)),
            entries,
            ..Batch::default()
        });
    }

    fn append_uncommitted(&mut self, term: u64, count: u64) {
        let entries = self.entries(self.state().last_index(), term, count, 64);
        let hard_state = HardState { term, ..self.state().hard_state.clone() };
        self.push(Batch { hard_state, entries, ..Batch::default() });
    }

    fn overwrite(&mut self, term: u64, count: u64) {
        let before = self.state().hard_state.commit;
        let entries = self.entries(before, term, count, 77);
        let commit = before + count;
        self.push(Batch {
            hard_state: HardState { term, vote: 7, commit },
            entries,
            ..Batch::default()
        });
    }

    fn install(&mut self, term: u64) {
        let index = self.state().last_index() + 5;
        let file = snapshot(index, term);
        self.push(Batch {
            hard_state: HardState { term, vote: 0, commit: index },
            trim: Trim::Whole(file.meta.at),
            members: Some((index, file.meta.members.clone())),
            snapshot: Some(file),
            ..Batch::default()
        });
    }

    fn entries(&self, after: u64, term: u64, count: u64, size: u64) -> Vec<Entry> {
        let data = |index: u64| {
            (0..size).map(|at| (index * 31 + at * 7 + term).to_le_bytes()[0]).collect()
        };
        (after + 1..=after + count)
            .map(|index| Entry { index, term, data: data(index), ..Entry::default() })
            .collect()
    }

    fn committed(&self) -> Position {
        self.position(self.state().hard_state.commit)
    }

    fn position(&self, index: u64) -> Position {
        Position { index, term: self.state().term(index).expect("the log holds it") }
    }

    fn push(&mut self, mut batch: Batch) {
        let mut state = self.state().clone();
        batch.seq = self.batches.len() as u64 + 1;
        if batch.hard_state == HardState::default() {
            batch.hard_state = state.hard_state.clone();
        }
        state.apply(&batch);
        assert_eq!(state.validate(), Ok(()), "the scenario is a legal one");
        self.batches.push(batch);
        self.states.push(state);
    }

    /// Runs on `disk` as far as it allows; returns how many batches were acknowledged, or `None`
    /// if not even the bootstrap was.
    pub(crate) fn run(&self, disk: &SimDisk) -> (Option<usize>, Result<(), Error>) {
        let begun =
            Store::bootstrap(Arc::new(disk.clone()), &data_dir(), &marker(), snapshot(1, 1));
        let mut store = match begun {
            Ok((store, _)) => store,
            Err(error) => return (None, Err(error)),
        };
        disk.acknowledge(0);
        for (n, batch) in self.batches.iter().enumerate() {
            if let Err(error) = store.persist(batch) {
                return (Some(n), Err(error));
            }
            disk.acknowledge(n + 1);
        }
        (Some(self.batches.len()), Ok(()))
    }

    /// Opens `disk` and checks it against the model: all that was acknowledged is there, and at
    /// most the one batch after it, whole.
    pub(crate) fn check(&self, disk: &SimDisk, acknowledged: Option<usize>) -> Result<(), String> {
        let opened = Store::open(Arc::new(disk.clone()), &data_dir());
        let opened = opened.map_err(|error| format!("does not open: {error:?}"))?;
        let Some((_store, loaded)) = opened else {
            return match acknowledged {
                None => Ok(()),
                Some(n) => Err(format!("empty after {n} acknowledged batches")),
            };
        };
        if loaded.marker != marker() {
            return Err(format!("another marker: {:?}", loaded.marker));
        }
        let n = acknowledged.unwrap_or(0);
        let allowed = [self.states.get(n), self.states.get(n + 1)];
        if !allowed.into_iter().flatten().any(|state| *state == loaded.durable) {
            return Err(format!("neither {n} nor {} batches, but {:?}", n + 1, loaded.durable));
        }
        let at = loaded.durable.snapshot.at;
        if *loaded.snapshot != *snapshot(at.index, at.term).data {
            return Err(format!("other bytes in the snapshot at {at:?}"));
        }
        let config = jaco_raft_core::Config::new(42, 1);
        jaco_raft_core::RaftCore::new(config, loaded.durable).map(drop).map_err(|e| e.to_string())
    }
}

fn bootstrapped() -> DurableLog {
    let file = snapshot(1, 1);
    DurableLog {
        hard_state: HardState { term: 1, vote: 0, commit: 1 },
        members: (1, file.meta.members.clone()),
        truncated: file.meta.at,
        snapshot: file.meta,
        entries: Vec::new(),
    }
}

pub(crate) fn database_path() -> PathBuf {
    Path::new("/data/raft/log.redb").to_owned()
}
