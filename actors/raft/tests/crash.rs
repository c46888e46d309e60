//! Power fails after every single disk operation of a member's life, and disks misbehave.

mod support;

use std::sync::Arc;

use jaco_raft::{Disk, Error, Store};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use support::scenario::{Scenario, data_dir, database_path};
use support::sim_disk::{Fault, Op, Replay, SimDisk, Survival};

/// Checks every crash point of a recorded run; returns how many disks were looked at.
fn check_crashes(scenario: &Scenario, ops: &[Op], start: Replay, n_seeds: u64) -> usize {
    let mut replay = start;
    let mut n_disks = 0;
    for (at, op) in ops.iter().enumerate() {
        replay.push(op);
        if matches!(op, Op::Acknowledged(_)) {
            continue;
        }
        let seed = |n: u64| (at as u64) << 8 | n;
        let mut ways = vec![Survival::Nothing, Survival::Everything];
        for n in 0..n_seeds {
            ways.extend([Survival::Prefix(seed(n)), Survival::Subset(seed(n))]);
        }
        for way in ways {
            let disk = SimDisk::from_image(replay.crash(way));
            if let Err(reason) = scenario.check(&disk, replay.acknowledged) {
                panic!("crash after operation {at} ({}), {way:?}: {reason}", short(op));
            }
            n_disks += 1;
        }
    }
    n_disks
}

fn short(op: &Op) -> String {
    format!("{op:?}").chars().take(80).collect()
}

#[test]
fn every_crash_point_keeps_what_was_acknowledged_and_nothing_by_halves() {
    let scenario = Scenario::new(6);
    let disk = SimDisk::default();
    let (acknowledged, result) = scenario.run(&disk);
    result.unwrap();
    assert_eq!(acknowledged, Some(scenario.batches.len()));
    let ops = disk.ops();
    let n_disks = check_crashes(&scenario, &ops, Replay::default(), 3);
    let n_points = ops.iter().filter(|op| !matches!(op, Op::Acknowledged(_))).count();
    println!("{} batches, {n_points} crash points, {n_disks} disks", scenario.batches.len());
}

#[test]
fn every_crash_point_of_a_recovery_is_one_of_the_member() {
    let scenario = Scenario::new(2);
    let disk = SimDisk::default();
    scenario.run(&disk).1.unwrap();
    let mut replay = Replay::default();
    let (mut n_points, mut n_disks) = (0, 0);
    for (at, op) in disk.ops().iter().enumerate() {
        replay.push(op);
        if at % 3 != 0 {
            continue;
        }
        let crashed = replay.crash(Survival::Subset(at as u64));
        let recovering = SimDisk::from_image(crashed.clone());
        scenario.check(&recovering, replay.acknowledged).unwrap();
        let ops = recovering.ops();
        n_points += ops.len();
        let start = Replay::from_image(crashed, replay.acknowledged);
        n_disks += check_crashes(&scenario, &ops, start, 1);
    }
    println!("{n_points} crash points of recoveries, {n_disks} disks");
    assert!(n_points > 100);
}

/// The control: on a disk that forgets what it was told to sync, the check must find the loss.
#[test]
fn the_check_finds_a_disk_that_lies() {
    let scenario = Scenario::new(1);
    let disk = SimDisk::default();
    scenario.run(&disk).1.unwrap();
    let is_sync = |op: &Op| matches!(op, Op::SyncFile { .. } | Op::SyncDir { .. });
    let syncs = disk.ops().iter().filter(|op| is_sync(op)).count();
    let mut n_found = 0;
    for lie in 0..syncs {
        let (mut replay, mut seen, mut is_found) = (Replay::default(), 0, false);
        for op in disk.ops() {
            let is_lie = is_sync(&op) && seen == lie;
            seen += usize::from(is_sync(&op));
            if is_lie {
                continue;
            }
            replay.push(&op);
            let crashed = SimDisk::from_image(replay.crash(Survival::Nothing));
            is_found |= scenario.check(&crashed, replay.acknowledged).is_err();
        }
        n_found += usize::from(is_found);
    }
    println!("{n_found} of {syncs} forgotten syncs found");
    // One sync stands behind each batch; the ones that a later sync makes good are not missed.
    assert!(n_found > scenario.batches.len(), "{n_found} of {syncs}");
}

#[test]
fn a_failed_sync_stops_the_store_and_loses_nothing_acknowledged() {
    let scenario = Scenario::new(1);
    let clean = SimDisk::default();
    scenario.run(&clean).1.unwrap();
    let n_syncs = clean.n_syncs();
    for at in 0..n_syncs {
        let disk = SimDisk::default();
        disk.set_fault(Fault::Sync(at));
        let (acknowledged, result) = scenario.run(&disk);
        // The one after the last batch comes when the database closes.
        if result.is_ok() {
            assert_eq!(acknowledged, Some(scenario.batches.len()), "sync {at}");
        }
        let after = SimDisk::from_image(disk.image());
        scenario.check(&after, acknowledged).unwrap_or_else(|reason| panic!("sync {at}: {reason}"));
    }
    println!("{n_syncs} failed syncs");
}

#[test]
fn a_stopped_store_refuses_everything() {
    let scenario = Scenario::new(1);
    let disk = SimDisk::default();
    let (mut store, _) = Store::bootstrap(
        Arc::new(disk.clone()),
        &data_dir(),
        &support::scenario::marker(),
        support::scenario::snapshot(1, 1),
    )
    .unwrap();
    disk.set_fault(Fault::Sync(disk.n_syncs()));
    assert!(store.persist(&scenario.batches[0]).is_err());
    assert!(matches!(store.persist(&scenario.batches[0]), Err(Error::Stopped)));
}

#[test]
fn a_full_disk_is_named_and_loses_nothing_acknowledged() {
    let scenario = Scenario::new(1);
    let mut room = 0;
    let mut n_full = 0;
    loop {
        let disk = SimDisk::default();
        disk.set_fault(Fault::Full(room));
        let (acknowledged, result) = scenario.run(&disk);
        let after = SimDisk::from_image(disk.image());
        scenario.check(&after, acknowledged).unwrap_or_else(|r| panic!("room {room}: {r}"));
        let Err(error) = result else { break };
        assert!(error.is_disk_full(), "room {room}: {error:?}");
        n_full += 1;
        room += 1_777;
    }
    println!("{n_full} full disks");
    assert!(n_full > 20);
}

#[test]
fn only_one_process_opens_the_store() {
    let scenario = Scenario::new(1);
    let disk = SimDisk::default();
    scenario.run(&disk).1.unwrap();
    let first = Store::open(Arc::new(disk.clone()), &data_dir()).unwrap().unwrap();
    let second = Store::open(Arc::new(disk.clone()), &data_dir());
    assert!(matches!(second, Err(Error::Locked { .. })));
    drop(first);
    assert!(Store::open(Arc::new(disk), &data_dir()).unwrap().is_some());
}

#[test]
fn a_flipped_bit_in_any_file_is_named_or_harmless() {
    let scenario = Scenario::new(1);
    let disk = SimDisk::default();
    scenario.run(&disk).1.unwrap();
    let image = disk.image();
    let n_batches = Some(scenario.batches.len());
    let (mut n_named, mut n_harmless) = (0, 0);
    for path in image.paths() {
        let content = image.clone().file_mut(&path).clone();
        let used: Vec<usize> = (0..content.len()).filter(|at| content[*at] != 0).collect();
        let stride = if path == database_path() { used.len() / 400 + 1 } else { 7 };
        for at in used.into_iter().step_by(stride) {
            let mut bad = image.clone();
            bad.file_mut(&path)[at] ^= 1 << (at % 8);
            let disk = SimDisk::from_image(bad);
            match Store::open(Arc::new(disk.clone()), &data_dir()).map(drop) {
                Err(Error::StorageCorrupt { path: named, .. }) => {
                    assert_eq!(named, path, "byte {at}");
                    n_named += 1;
                }
                Err(other) => panic!("byte {at} of {}: {other:?}", path.display()),
                Ok(()) => {
                    scenario
                        .check(&disk, n_batches)
                        .unwrap_or_else(|r| panic!("byte {at} of {}: {r}", path.display()));
                    n_harmless += 1;
                }
            }
        }
    }
    println!("{n_named} flips named, {n_harmless} in unused space");
    assert!(n_named > 100);
}

#[test]
fn a_wrong_bit_in_any_stored_value_is_named() {
    const ENTRIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("entries");
    const VALUES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("values");
    let scenario = Scenario::new(1);
    let disk = SimDisk::default();
    scenario.run(&disk).1.unwrap();
    let image = disk.image();
    let open = |disk: &SimDisk| {
        Database::builder().create_with_backend(disk.database_of(&database_path())).unwrap()
    };
    let (keys, indices): (Vec<String>, Vec<u64>) = {
        let database = open(&SimDisk::from_image(image.clone()));
        let read = database.begin_read().unwrap();
        let values = read.open_table(VALUES).unwrap();
        let entries = read.open_table(ENTRIES).unwrap();
        let keys = values.iter().unwrap().map(|row| row.unwrap().0.value().to_owned()).collect();
        (keys, entries.iter().unwrap().map(|row| row.unwrap().0.value()).collect())
    };
    assert_eq!(keys.len(), 6);
    assert!(indices.len() > 5);
    let check = |disk: SimDisk, name: &str| match Store::open(Arc::new(disk), &data_dir()) {
        Err(Error::StorageCorrupt { what, .. }) => assert!(what.contains(name), "{what}"),
        other => panic!("{name}: {other:?}"),
    };
    for key in keys {
        let disk = SimDisk::from_image(image.clone());
        change(&open(&disk), VALUES, key.as_str());
        check(disk, &format!("value {key}"));
    }
    for index in indices {
        let disk = SimDisk::from_image(image.clone());
        change(&open(&disk), ENTRIES, index);
        check(disk, &format!("entry {index}"));
    }
}

/// Flips one bit of a value, in a way that the database itself takes for a legal write.
fn change<K: redb::Key + 'static>(
    database: &Database,
    definition: TableDefinition<'_, K, &'static [u8]>,
    key: K::SelfType<'_>,
) {
    let write = database.begin_write().expect("a transaction begins");
    {
        let mut table = write.open_table(definition).expect("the table exists");
        let mut value = table.get(&key).expect("readable").expect("there").value().to_vec();
        let middle = value.len() / 2;
        value[middle] ^= 4;
        table.insert(&key, value.as_slice()).expect("writable");
    }
    write.commit().expect("commits");
}

#[test]
fn a_marker_and_a_log_belong_together() {
    let scenario = Scenario::new(1);
    let disk = SimDisk::default();
    scenario.run(&disk).1.unwrap();
    let open = |lost: &[&str]| {
        let disk = SimDisk::from_image(disk.image());
        for path in lost {
            disk.remove(std::path::Path::new(path)).unwrap();
        }
        Store::open(Arc::new(disk), &data_dir()).map(|found| found.is_some())
    };
    let index = scenario.states.last().unwrap().snapshot.at;
    let newest = format!("/data/raft/snap-{}-{}.snap", index.index, index.term);
    for lost in ["/data/node/id", "/data/raft/log.redb", newest.as_str()] {
        match open(&[lost]) {
            Err(Error::StorageIncomplete { missing, .. }) => {
                assert_eq!(missing, std::path::Path::new(lost));
            }
            other => panic!("without {lost}: {other:?}"),
        }
    }
    assert!(open(&[]).unwrap());
}

/// A joiner's first files and a rejoin, cut at every disk operation: either the member before or the
/// new one, or a marker without its log, which asks for the rejoin again.
#[test]
fn a_joiner_and_a_rejoin_are_one_member_or_the_other_at_every_crash_point() {
    let disk = SimDisk::default();
    let first = support::scenario::marker();
    let second = jaco_raft::Marker { raft_id: 43, ..first.clone() };
    let shared = || Arc::new(disk.clone());
    disk.create_dir(&data_dir()).unwrap();
    let (store, loaded) = Store::bootstrap_empty(shared(), &data_dir(), &first).unwrap();
    assert_eq!(loaded.durable, jaco_raft_core::DurableLog::default());
    assert!(loaded.snapshot.is_empty());
    drop(store);
    let born = disk.ops().len();
    drop(Store::replace(shared(), &data_dir(), &second).unwrap());
    let mut replay = Replay::default();
    let mut seen = std::collections::BTreeSet::new();
    for (at, op) in disk.ops().iter().enumerate() {
        replay.push(op);
        for way in [Survival::Nothing, Survival::Everything, Survival::Subset(at as u64)] {
            let disk = SimDisk::from_image(replay.crash(way));
            let found = match Store::open(Arc::new(disk.clone()), &data_dir()) {
                Ok(None) => "nothing",
                Ok(Some((_, loaded))) if loaded.marker.raft_id == 42 => "first",
                Ok(Some(_)) => "second",
                Err(Error::StorageIncomplete { .. } | Error::StorageCorrupt { .. })
                    if at > born =>
                {
                    let again = Store::replace(Arc::new(disk), &data_dir(), &second);
                    assert_eq!(again.unwrap().1.marker.raft_id, 43);
                    "between"
                }
                Err(error) => panic!("operation {at} ({}), {way:?}: {error}", short(op)),
            };
            assert!(at < born || found != "nothing", "the member is gone after operation {at}");
            seen.insert(found);
        }
    }
    assert!(seen.is_superset(&["nothing", "first", "second"].into()), "{seen:?}");
}
