//! A disk that can be full: a small file system of its own for a host's daemon.
//!
//! It is an image file beside the host's data and is mounted below it, so that the teardown of
//! the lab, also of one whose owner died, unmounts it; the kernel then gives the loop device back.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::host::Host;
use crate::run::run;

/// The smallest that has room for a journal.
const BYTES_MIN: u64 = 8 << 20;

/// Name of the file that fills the disk.
const FILLER: &str = "filler";

/// Sizes of the writes that fill: large ones first, then the blocks that are left.
const CHUNKS: [usize; 2] = [1 << 20, 4096];

/// A mounted ext4 of fixed size; it stays until [`SmallDisk::remove`] or the end of the lab.
#[derive(Debug)]
pub struct SmallDisk {
    mount_point: PathBuf,
    image: PathBuf,
}

impl Host {
    /// Puts a small ext4 file system where the host's daemon keeps its state, which must not have
    /// been started yet.
    ///
    /// # Errors
    /// When `bytes` is under 8 MiB, the directory is in use, or the kernel has no loop device.
    pub fn small_disk(&self, bytes: u64) -> Result<SmallDisk> {
        ensure!(bytes >= BYTES_MIN, "a disk has at least {BYTES_MIN} bytes");
        let mount_point = self.daemon_data_dir();
        fs::create_dir_all(&mount_point)?;
        let is_empty = fs::read_dir(&mount_point)?.next().is_none();
        ensure!(is_empty, "{} is in use", mount_point.display());
        let image = self.data_dir().join("disk.img");
        let file = File::create_new(&image).with_context(|| format!("{}", image.display()))?;
        file.set_len(bytes)?;
        // All is laid out now, and no block is kept for root: the disk is as full as it says.
        run(Command::new("mkfs.ext4")
            .args(["-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0"])
            .arg(&image))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&mount_point))?;
        // A daemon may want an empty directory.
        fs::remove_dir(mount_point.join("lost+found"))?;
        Ok(SmallDisk { mount_point, image })
    }
}

impl SmallDisk {
    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.mount_point
    }

    /// Takes all space that is left: whoever writes next gets "no space left on device".
    ///
    /// # Errors
    /// When writing fails for another reason.
    pub fn fill(&self) -> Result<()> {
        let path = self.mount_point.join(FILLER);
        let mut file = File::options().create(true).append(true).open(&path)?;
        for size in CHUNKS {
            let chunk = vec![0; size];
            loop {
                match file.write(&chunk) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => return Err(error).context("fill the disk"),
                }
            }
        }
        file.sync_all().context("fill the disk")
    }

    /// Gives back what [`SmallDisk::fill`] took.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn free(&self) -> Result<()> {
        match fs::remove_file(self.mount_point.join(FILLER)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error).context("filler"),
            _ => Ok(()),
        }
    }

    /// Unmounts the disk and forgets what was on it.
    ///
    /// # Errors
    /// When a process still uses it.
    pub fn remove(self) -> Result<()> {
        run(Command::new("umount").arg(&self.mount_point))?;
        fs::remove_file(&self.image).context("disk image")
    }
}
