//! A disk in memory that records every operation, so that a crash after any of them can be played.
//!
//! The model is the least that POSIX promises: file content is durable after a sync of the file,
//! names after a sync of their directory. What is not yet durable may survive a crash in full, not
//! at all, as a prefix, or in part and torn at sectors.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use jaco_raft::{Disk, Lock, Space, StorageBackend};

const SECTOR: usize = 512;

/// One operation that changes the disk, or a note of the test between two of them.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Name(NameOp),
    Write {
        inode: usize,
        offset: usize,
        data: Vec<u8>,
    },
    SetLen {
        inode: usize,
        len: usize,
    },
    SyncFile {
        inode: usize,
    },
    SyncDir {
        dir: PathBuf,
    },
    /// So many batches are acknowledged.
    Acknowledged(usize),
}

#[derive(Clone, Debug)]
pub(crate) enum NameOp {
    MakeDir { path: PathBuf },
    Create { path: PathBuf, inode: usize },
    Rename { from: PathBuf, to: PathBuf },
    Remove { path: PathBuf },
}

impl NameOp {
    fn dir(&self) -> PathBuf {
        let path = match self {
            NameOp::MakeDir { path } | NameOp::Create { path, .. } | NameOp::Remove { path } => {
                path
            }
            NameOp::Rename { to, .. } => to,
        };
        path.parent().map(Path::to_owned).unwrap_or_default()
    }
}

/// What is on a disk at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Image {
    /// `None` is a directory.
    names: BTreeMap<PathBuf, Option<usize>>,
    files: BTreeMap<usize, Vec<u8>>,
}

impl Image {
    fn apply_name(&mut self, op: &NameOp) {
        match op {
            NameOp::MakeDir { path } => {
                self.names.insert(path.clone(), None);
            }
            NameOp::Create { path, inode } => {
                self.names.insert(path.clone(), Some(*inode));
            }
            NameOp::Remove { path } => {
                self.names.remove(path);
            }
            NameOp::Rename { from, to } => {
                let moved: Vec<PathBuf> =
                    self.names.keys().filter(|path| path.starts_with(from)).cloned().collect();
                for path in moved {
                    let rest = path.strip_prefix(from).expect("filtered by prefix");
                    let target =
                        if rest.as_os_str().is_empty() { to.clone() } else { to.join(rest) };
                    let node = self.names.remove(&path).expect("listed above");
                    self.names.insert(target, node);
                }
            }
        }
    }

    fn write(&mut self, inode: usize, offset: usize, data: &[u8]) {
        let file = self.files.entry(inode).or_default();
        let end = offset + data.len();
        if file.len() < end {
            file.resize(end, 0);
        }
        file[offset..end].copy_from_slice(data);
    }

    fn set_len(&mut self, inode: usize, len: usize) {
        self.files.entry(inode).or_default().resize(len, 0);
    }

    fn inode(&self, path: &Path) -> Option<usize> {
        self.names.get(path).copied().flatten()
    }

    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.names.iter().filter(|(_, node)| node.is_some()).map(|(path, _)| path.clone()).collect()
    }

    pub(crate) fn file_mut(&mut self, path: &Path) -> &mut Vec<u8> {
        let inode = self.inode(path).expect("the file exists");
        self.files.get_mut(&inode).expect("the inode exists")
    }
}

/// What survives of the operations that were not yet durable.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Survival {
    Nothing,
    Everything,
    /// The first ones, the last of them torn; drawn from the seed.
    Prefix(u64),
    /// Any of them, some torn; drawn from the seed.
    Subset(u64),
}

/// Plays a recorded run up to a crash.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    durable: Image,
    pending: Vec<Op>,
    pub(crate) acknowledged: Option<usize>,
}

impl Replay {
    /// Goes on from a disk that holds `image`.
    pub(crate) fn from_image(image: Image, acknowledged: Option<usize>) -> Replay {
        Replay { durable: image, pending: Vec::new(), acknowledged }
    }

    pub(crate) fn push(&mut self, op: &Op) {
        match op {
            Op::Acknowledged(n) => self.acknowledged = Some(*n),
            Op::SyncFile { inode } => {
                let is_synced = |op: &Op| match op {
                    Op::Write { inode: at, .. } | Op::SetLen { inode: at, .. } => at == inode,
                    _ => false,
                };
                self.settle(is_synced);
            }
            Op::SyncDir { dir } => {
                self.settle(|op| matches!(op, Op::Name(name) if name.dir() == *dir));
            }
            Op::Name(_) | Op::Write { .. } | Op::SetLen { .. } => self.pending.push(op.clone()),
        }
    }

    fn settle(&mut self, is_synced: impl Fn(&Op) -> bool) {
        for op in std::mem::take(&mut self.pending) {
            if is_synced(&op) {
                keep(&mut self.durable, &op, None);
            } else {
                self.pending.push(op);
            }
        }
    }

    /// The disk after a crash now.
    pub(crate) fn crash(&self, survival: Survival) -> Image {
        let mut image = self.durable.clone();
        let mut random = Random(match survival {
            Survival::Prefix(seed) | Survival::Subset(seed) => seed,
            Survival::Nothing | Survival::Everything => 0,
        });
        let n_pending = self.pending.len();
        let n_prefix = random.below(n_pending + 1);
        let n_names = random.below(n_pending + 1);
        for (at, op) in self.pending.iter().enumerate() {
            let survives = match (survival, op) {
                (Survival::Nothing, _) => false,
                (Survival::Everything, _) => true,
                (Survival::Prefix(_), _) => at < n_prefix,
                // A journal keeps the order of names.
                (Survival::Subset(_), Op::Name(_)) => at < n_names,
                (Survival::Subset(_), _) => random.below(2) == 0,
            };
            let is_torn = match survival {
                Survival::Prefix(_) => at + 1 == n_prefix,
                Survival::Subset(_) => random.below(4) == 0,
                Survival::Nothing | Survival::Everything => false,
            };
            if survives {
                keep(&mut image, op, is_torn.then_some(&mut random));
            }
        }
        image
    }
}

/// Lets `op` reach the disk, with some sectors missing if it is torn.
fn keep(image: &mut Image, op: &Op, torn: Option<&mut Random>) {
    match op {
        Op::Name(name) => {
            if let NameOp::Create { inode, .. } = name {
                image.files.entry(*inode).or_default();
            }
            image.apply_name(name);
        }
        Op::SetLen { inode, len } => image.set_len(*inode, *len),
        Op::Write { inode, offset, data } => match torn {
            None => image.write(*inode, *offset, data),
            Some(random) => {
                for (at, sector) in data.chunks(SECTOR).enumerate() {
                    if random.below(2) == 0 {
                        image.write(*inode, offset + at * SECTOR, sector);
                    }
                }
            }
        },
        Op::SyncFile { .. } | Op::SyncDir { .. } | Op::Acknowledged(_) => {}
    }
}

/// SplitMix64.
#[derive(Debug)]
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % n as u64).expect("below a usize")
    }
}

/// Makes operations fail.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// This sync, counted from 0, fails; the content stays in the cache, as Linux does it.
    Sync(usize),
    /// Room for so many more bytes.
    Full(usize),
}

#[derive(Debug, Default)]
struct Inner {
    image: Image,
    ops: Vec<Op>,
    next_inode: usize,
    fault: Option<Fault>,
    syncs: usize,
    written: usize,
    locked: bool,
}

impl Inner {
    fn record(&mut self, op: Op) -> io::Result<()> {
        match (&op, self.fault) {
            (Op::SyncFile { .. } | Op::SyncDir { .. }, fault) => {
                self.syncs += 1;
                if matches!(fault, Some(Fault::Sync(at)) if at + 1 == self.syncs) {
                    return Err(io::Error::other("injected sync failure"));
                }
            }
            (Op::Write { data, .. }, Some(Fault::Full(room))) => {
                self.written += data.len();
                if self.written > room {
                    return Err(io::ErrorKind::StorageFull.into());
                }
            }
            _ => {}
        }
        keep(&mut self.image, &op, None);
        self.ops.push(op);
        Ok(())
    }

    fn open(&mut self, path: &Path) -> io::Result<usize> {
        if let Some(inode) = self.image.inode(path) {
            return Ok(inode);
        }
        self.next_inode += 1;
        let inode = self.next_inode;
        self.record(Op::Name(NameOp::Create { path: path.to_owned(), inode }))?;
        Ok(inode)
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct SimDisk {
    inner: Arc<Mutex<Inner>>,
}

impl SimDisk {
    pub(crate) fn from_image(image: Image) -> SimDisk {
        let next_inode = image.files.keys().max().copied().unwrap_or(0);
        let inner = Inner { image, next_inode, ..Inner::default() };
        SimDisk { inner: Arc::new(Mutex::new(inner)) }
    }

    /// The file of a database that is there.
    pub(crate) fn database_of(&self, path: &Path) -> SimFile {
        let inode = self.inner().image.inode(path).expect("the file exists");
        SimFile { disk: self.clone(), inode }
    }

    pub(crate) fn acknowledge(&self, n_batches: usize) {
        self.inner().ops.push(Op::Acknowledged(n_batches));
    }

    pub(crate) fn ops(&self) -> Vec<Op> {
        self.inner().ops.clone()
    }

    pub(crate) fn image(&self) -> Image {
        self.inner().image.clone()
    }

    pub(crate) fn set_fault(&self, fault: Fault) {
        self.inner().fault = Some(fault);
    }

    pub(crate) fn n_syncs(&self) -> usize {
        self.inner().syncs
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no test panics while holding it")
    }
}

#[derive(Debug)]
struct SimLock(SimDisk);

impl Lock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.0.inner().locked = false;
    }
}

impl Disk for SimDisk {
    fn lock(&self, _dir: &Path) -> io::Result<Box<dyn Lock>> {
        if std::mem::replace(&mut self.inner().locked, true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimLock(self.clone())))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        if inner.image.names.contains_key(path) {
            return Ok(());
        }
        inner.record(Op::Name(NameOp::MakeDir { path: path.to_owned() }))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let inner = self.inner();
        let names = inner.image.names.keys().filter(|name| name.parent() == Some(path));
        Ok(names.filter_map(|name| Some(name.file_name()?.to_str()?.to_owned())).collect())
    }

    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        let inner = self.inner();
        Ok(inner.image.inode(path).map(|inode| inner.image.files[&inode].clone()))
    }

    fn write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        let mut inner = self.inner();
        let inode = inner.open(path)?;
        inner.record(Op::SetLen { inode, len: 0 })?;
        inner.record(Op::Write { inode, offset: 0, data: data.to_vec() })
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        let inode = inner.image.inode(path).ok_or(io::ErrorKind::NotFound)?;
        inner.record(Op::SyncFile { inode })
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.inner().record(Op::SyncDir { dir: path.to_owned() })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.inner().record(Op::Name(NameOp::Rename { from, to }))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner().record(Op::Name(NameOp::Remove { path: path.to_owned() }))
    }

    fn database(&self, path: &Path) -> io::Result<Box<dyn StorageBackend>> {
        let inode = self.inner().open(path)?;
        Ok(Box::new(SimFile { disk: self.clone(), inode }))
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        Ok(Space { available: 1 << 40, total: 1 << 40 })
    }
}

/// The file of a database.
#[derive(Debug)]
pub(crate) struct SimFile {
    disk: SimDisk,
    inode: usize,
}

impl StorageBackend for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.inner().image.files[&self.inode].len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let inner = self.disk.inner();
        let found = inner.image.files[&self.inode].get(start..start + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        self.disk.inner().record(Op::SetLen { inode: self.inode, len })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.inner().record(Op::SyncFile { inode: self.inode })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        self.disk.inner().record(Op::Write { inode: self.inode, offset, data: data.to_vec() })
    }
}
