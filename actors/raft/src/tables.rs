//! The log database: what is in it, how a batch changes it, how it is read back.

use std::path::{Path, PathBuf};

use jaco_raft_core::eraftpb::Entry;
use jaco_raft_core::{Batch, DurableLog, Members, Position, SnapshotMeta, Trim};
use prost_raft::Message;
use redb::{Database, ReadableDatabase, ReadableTable, Table, TableDefinition, TableError};

use crate::codec::{self, Value};
use crate::disk::Disk;
use crate::error::Error;
use crate::marker::Marker;

const FORMAT: u64 = 1;
/// The log is mirrored in memory, so the cache only has to hold the tree above the leaves.
const CACHE_BYTES: usize = 4 << 20;

const ENTRIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("entries");
const VALUES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("values");

const KEY_FORMAT: &str = "format";
const KEY_RAFT_ID: &str = "raft_id";
const KEY_HARD_STATE: &str = "hard_state";
const KEY_MEMBERS: &str = "members";
const KEY_SNAPSHOT: &str = "snapshot";
const KEY_TRUNCATED: &str = "truncated";

/// The open database of one node.
#[derive(Debug)]
pub(crate) struct Tables {
    path: PathBuf,
    database: Database,
}

impl Tables {
    /// Opens the database in the raft directory `dir`, or makes an empty one.
    pub(crate) fn open(disk: &dyn Disk, dir: &Path) -> Result<Tables, Error> {
        let path = Tables::path(dir);
        let backend = disk.database(&path).map_err(Error::io("open", &path))?;
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            // A page that changed since it was written is an error here, not a surprise later.
            .set_check_integrity_on_open(true)
            .create_with_backend(backend::Boxed(backend))
            .map_err(|error| database_error("open", &path, error))?;
        Ok(Tables { path, database })
    }

    pub(crate) fn path(dir: &Path) -> PathBuf {
        dir.join("log.redb")
    }

    /// Writes the first batch together with the identity of the database.
    pub(crate) fn create(&self, marker: &Marker, batch: &Batch) -> Result<(), Error> {
        self.write(
            |values, _| {
                put(values, KEY_FORMAT, &FORMAT)?;
                put(values, KEY_RAFT_ID, &marker.raft_id)?;
                // What an empty log has; a batch with a snapshot says better.
                put(values, KEY_MEMBERS, &(0, Members::default()))?;
                put(values, KEY_SNAPSHOT, &SnapshotMeta::default())?;
                put(values, KEY_TRUNCATED, &Position::default())
            },
            batch,
        )
    }

    /// Writes a batch: durable as a whole when this returns, or not at all.
    pub(crate) fn persist(&self, batch: &Batch) -> Result<(), Error> {
        self.write(|_, _| Ok(()), batch)
    }

    fn write(
        &self,
        first: impl FnOnce(&mut ValueTable<'_>, &mut EntryTable<'_>) -> Result<(), redb::Error>,
        batch: &Batch,
    ) -> Result<(), Error> {
        let run = || -> Result<(), redb::Error> {
            // The default durability of a transaction is immediate: commit returns after the sync.
            let transaction = self.database.begin_write()?;
            {
                let mut values = transaction.open_table(VALUES)?;
                let mut entries = transaction.open_table(ENTRIES)?;
                first(&mut values, &mut entries)?;
                write_values(&mut values, batch)?;
                write_entries(&mut entries, batch)?;
            }
            Ok(transaction.commit()?)
        };
        run().map_err(|error| database_error("write", &self.path, error))
    }

    /// Reads everything back, checking each value.
    pub(crate) fn load(&self, marker: &Marker) -> Result<DurableLog, Error> {
        let fail = |error: redb::Error| database_error("read", &self.path, error);
        let transaction = self.database.begin_read().map_err(|error| fail(error.into()))?;
        let values = transaction.open_table(VALUES).map_err(|error| self.missing(error))?;
        let entries = transaction.open_table(ENTRIES).map_err(|error| self.missing(error))?;
        self.expect(self.value(&values, KEY_FORMAT)?, FORMAT, KEY_FORMAT)?;
        self.expect(self.value(&values, KEY_RAFT_ID)?, marker.raft_id, KEY_RAFT_ID)?;
        let mut durable = DurableLog {
            hard_state: self.value(&values, KEY_HARD_STATE)?,
            snapshot: self.value(&values, KEY_SNAPSHOT)?,
            members: self.value(&values, KEY_MEMBERS)?,
            truncated: self.value(&values, KEY_TRUNCATED)?,
            entries: Vec::new(),
        };
        for row in entries.iter().map_err(|error| fail(error.into()))? {
            let (index, stored) = row.map_err(|error| fail(error.into()))?;
            let index = index.value();
            let entry = codec::open(&index.to_le_bytes(), stored.value())
                .and_then(|body| Entry::decode(body).ok())
                .filter(|entry| entry.index == index)
                .ok_or_else(|| self.corrupt(format!("entry {index}"), "a matching checksum"))?;
            durable.entries.push(entry);
        }
        Ok(durable)
    }

    fn value<V: Value>(
        &self,
        table: &impl ReadableTable<&'static str, &'static [u8]>,
        key: &str,
    ) -> Result<V, Error> {
        let stored = table.get(key).map_err(|error| database_error("read", &self.path, error))?;
        let stored = stored.ok_or_else(|| self.corrupt(format!("no value {key}"), "one"))?;
        codec::open(key.as_bytes(), stored.value())
            .and_then(V::decode)
            .ok_or_else(|| self.corrupt(format!("value {key}"), "a matching checksum"))
    }

    fn expect(&self, found: u64, expected: u64, key: &str) -> Result<(), Error> {
        if found == expected {
            return Ok(());
        }
        Err(self.corrupt(format!("{key} {found}"), &expected.to_string()))
    }

    fn missing(&self, error: TableError) -> Error {
        match error {
            TableError::TableDoesNotExist(name) => self.corrupt(format!("no table {name}"), "one"),
            other => database_error("read", &self.path, other),
        }
    }

    fn corrupt(&self, what: String, expected: &str) -> Error {
        Error::StorageCorrupt { path: self.path.clone(), what, expected: expected.into() }
    }
}

type ValueTable<'a> = Table<'a, &'static str, &'static [u8]>;
type EntryTable<'a> = Table<'a, u64, &'static [u8]>;

fn write_values(values: &mut ValueTable<'_>, batch: &Batch) -> Result<(), redb::Error> {
    put(values, KEY_HARD_STATE, &batch.hard_state)?;
    if let Some(members) = &batch.members {
        put(values, KEY_MEMBERS, members)?;
    }
    if let Some(file) = &batch.snapshot {
        put(values, KEY_SNAPSHOT, &file.meta)?;
    }
    match batch.trim {
        Trim::Keep => Ok(()),
        Trim::Prefix(to) | Trim::Whole(to) => put(values, KEY_TRUNCATED, &to),
    }
}

fn write_entries(entries: &mut EntryTable<'_>, batch: &Batch) -> Result<(), redb::Error> {
    match batch.trim {
        Trim::Keep => {}
        Trim::Prefix(to) => entries.retain_in(..=to.index, |_, _| false)?,
        Trim::Whole(_) => entries.retain_in::<u64, _>(.., |_, _| false)?,
    }
    if let Some(first) = batch.entries.first() {
        // New entries replace the whole suffix, also where it was longer.
        entries.retain_in(first.index.., |_, _| false)?;
    }
    for entry in &batch.entries {
        let stored = codec::seal(&entry.index.to_le_bytes(), &entry.encode_to_vec());
        entries.insert(entry.index, stored.as_slice())?;
    }
    Ok(())
}

fn put(values: &mut ValueTable<'_>, key: &str, value: &impl Value) -> Result<(), redb::Error> {
    let stored = codec::seal(key.as_bytes(), &value.encode());
    values.insert(key, stored.as_slice())?;
    Ok(())
}

/// Tells corruption from a disk that refuses.
fn database_error(action: &'static str, path: &Path, error: impl Into<redb::Error>) -> Error {
    let path = path.to_owned();
    match error.into() {
        redb::Error::Corrupted(what) => {
            Error::StorageCorrupt { path, what, expected: "an intact database".into() }
        }
        redb::Error::Io(source) if source.kind() == std::io::ErrorKind::InvalidData => {
            let expected = "an intact database".into();
            Error::StorageCorrupt { path, what: source.to_string(), expected }
        }
        redb::Error::UpgradeRequired(version) => Error::StorageCorrupt {
            path,
            what: format!("database file format {version}"),
            expected: "one that this version reads".into(),
        },
        source => Error::Database { action, path, source: Box::new(source) },
    }
}

mod backend {
    //! redb wants its port by value; the disk hands it out behind a pointer.

    use std::io;

    use redb::StorageBackend;

    #[derive(Debug)]
    pub(super) struct Boxed(pub(super) Box<dyn StorageBackend>);

    impl StorageBackend for Boxed {
        fn len(&self) -> io::Result<u64> {
            self.0.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.0.read(offset, out)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.0.set_len(len)
        }

        fn sync_data(&self) -> io::Result<()> {
            self.0.sync_data()
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.0.write(offset, data)
        }

        fn close(&self) -> io::Result<()> {
            self.0.close()
        }
    }
}
