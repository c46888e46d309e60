//! The store on a real disk, driven by the core through the disk thread.

use std::sync::Arc;
use std::sync::mpsc::channel;

use jaco_kit_core::{Core, Mono, Now, OpId};
use jaco_raft::{HostDisk, Marker, Persister, Store};
use jaco_raft_core::{
    Config, Effect, Input, Members, Payload, Position, RaftCore, Role, SnapshotFile, SnapshotMeta,
};
use jaco_wire::{SnapshotHeader, encode_snapshot};

fn marker() -> Marker {
    Marker { cluster_id: [7; 16], epoch: 1, node_id: "node-a".into(), raft_id: 5, created_at_ms: 0 }
}

fn first_snapshot() -> SnapshotFile {
    let members = Members { voters: vec![5], learners: Vec::new() };
    let header = SnapshotHeader {
        cluster_id: marker().cluster_id,
        epoch: 1,
        index: 1,
        term: 1,
        voters: members.voters.clone(),
        ..SnapshotHeader::default()
    };
    let data = Arc::new(encode_snapshot(&header, &[]).expect("an empty snapshot encodes"));
    SnapshotFile { meta: SnapshotMeta { at: Position { index: 1, term: 1 }, members }, data }
}

/// Proposes `commands` to a sole voter and drives it until `total` are applied, which it returns.
fn run(store: Store, mut core: RaftCore, commands: &[&[u8]], total: usize) -> Vec<Vec<u8>> {
    let (answers, inputs) = channel();
    let persister = Persister::spawn(store, move |input| {
        answers.send(input).expect("the test listens until the end");
    })
    .expect("a thread starts");
    let mut applied = Vec::new();
    let mut todo = commands.iter().zip(1..);
    let mut effects = core.wake(Now::default());
    loop {
        for effect in effects {
            match effect {
                Effect::Persist(batch) => persister.persist(batch),
                Effect::Apply(entries) => {
                    applied.extend(entries.into_iter().filter_map(|entry| match entry.payload {
                        Payload::Command(data) => Some(data),
                        Payload::Members(_) => None,
                    }));
                }
                Effect::Fatal(error) => panic!("{error}"),
                _ => {}
            }
        }
        let is_leader = core.status().role == Role::Leader;
        effects = match todo.next().filter(|_| is_leader) {
            Some((data, op)) => {
                let data = data.to_vec();
                core.step(Now::default(), Input::Propose { op: OpId(op), data })
            }
            None if applied.len() >= total => break,
            None => {
                let input = inputs.recv().expect("the disk answers");
                core.step(Now { mono: Mono(1), ..Now::default() }, input)
            }
        };
    }
    applied
}

#[test]
fn commands_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let disk = Arc::new(HostDisk);
    let (store, loaded) =
        Store::bootstrap(disk.clone(), &data_dir, &marker(), first_snapshot()).unwrap();
    let core = RaftCore::new(Config::new(5, 1), loaded.durable).unwrap();
    let commands: [&[u8]; 3] = [b"one", b"two", b"three"];
    assert_eq!(run(store, core, &commands, 3), commands);

    let (store, loaded) = Store::open(disk, &data_dir).unwrap().unwrap();
    assert!(store.space().unwrap().total > 0);
    let core = RaftCore::new(Config::new(5, 2), loaded.durable).unwrap();
    // The old commands come again from the log, before anything new.
    assert_eq!(run(store, core, &[b"four"], 4), [&b"one"[..], b"two", b"three", b"four"]);
}

#[test]
fn nothing_begins_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Store::open(Arc::new(HostDisk), dir.path()).unwrap().is_none());
}
