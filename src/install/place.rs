//! Files and links, each in one step that either happens whole or not at all.

use super::{Error, Target, host};
use serde::Serialize;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// What became of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    /// It was not there.
    Created,
    /// It was different.
    Updated,
    /// It was right, or it was edited and is the user's.
    Kept,
}

impl Action {
    /// The action as people read it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Action::Created => "created",
            Action::Updated => "updated",
            Action::Kept => "kept",
        }
    }
}

/// A path and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Placed {
    /// The path on the host, without the packager's root.
    pub(crate) path: String,
    /// What became of it.
    pub(crate) action: Action,
}

/// Who owns a file on the running system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// `root:root`.
    Root,
    /// `root:jaco`, so that the daemon may read it.
    RootJaco,
}

/// Puts files into a target and remembers what became of them.
pub(super) struct Placer<'a> {
    target: &'a Target,
    placed: Vec<Placed>,
}

impl<'a> Placer<'a> {
    /// Nothing is placed yet.
    pub(super) fn new(target: &'a Target) -> Placer<'a> {
        Placer { target, placed: Vec::new() }
    }

    /// Everything that was placed, in order.
    pub(super) fn done(self) -> Vec<Placed> {
        self.placed
    }

    /// Copies the binary; the running one may be replaced, since its name changes hands by rename.
    pub(super) fn copy(&mut self, from: &Path, to: &Path) -> Result<(), Error> {
        let bytes = fs::read(from).map_err(|error| Error::file(from, error))?;
        self.put(to, &bytes, 0o755, Owner::Root)
    }

    /// Writes a file that belongs to JACO.
    pub(super) fn write(&mut self, path: &str, text: &str, mode: u32) -> Result<(), Error> {
        self.put(&self.target.at(path), text.as_bytes(), mode, Owner::Root)
    }

    /// Writes a file that belongs to the user once it is there: a different default goes beside
    /// it.
    pub(super) fn keep(
        &mut self,
        path: &str,
        text: &str,
        mode: u32,
        owner: Owner,
    ) -> Result<(), Error> {
        let to = self.target.at(path);
        match read(&to)? {
            Some(there) if there != text.as_bytes() => {
                self.note(&to, Action::Kept);
                let beside = self.target.at(format!("{path}.new"));
                self.put(&beside, text.as_bytes(), mode, owner)
            }
            Some(_) | None => self.put(&to, text.as_bytes(), mode, owner),
        }
    }

    /// Links a name to another one in the same directory.
    pub(super) fn link(&mut self, to: &str, at: &Path) -> Result<(), Error> {
        let action = match fs::read_link(at) {
            Ok(there) if there == Path::new(to) => Action::Kept,
            Ok(_) => Action::Updated,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Action::Created,
            // Another kind of file is in its place.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Action::Updated,
            Err(error) => return Err(Error::file(at, error)),
        };
        if action != Action::Kept {
            let beside = beside(at);
            remove(&beside)?;
            symlink(to, &beside).map_err(|error| Error::file(&beside, error))?;
            fs::rename(&beside, at).map_err(|error| Error::file(at, error))?;
        }
        self.note(at, action);
        Ok(())
    }

    fn put(&mut self, to: &Path, bytes: &[u8], mode: u32, owner: Owner) -> Result<(), Error> {
        let action = match read(to)? {
            Some(there) if there == bytes => Action::Kept,
            Some(_) => Action::Updated,
            None => Action::Created,
        };
        if action != Action::Kept {
            make_parent(to)?;
            let beside = beside(to);
            fs::write(&beside, bytes).map_err(|error| Error::file(&beside, error))?;
            self.own(&beside, mode, owner)?;
            fs::rename(&beside, to).map_err(|error| Error::file(to, error))?;
        } else {
            // A repair: the content may be right and its mode or owner wrong.
            self.own(to, mode, owner)?;
        }
        self.note(to, action);
        Ok(())
    }

    fn own(&self, path: &Path, mode: u32, owner: Owner) -> Result<(), Error> {
        let set = Permissions::from_mode(mode);
        fs::set_permissions(path, set).map_err(|error| Error::file(path, error))?;
        if !self.target.is_live() {
            return Ok(());
        }
        let gid = match owner {
            Owner::Root => 0,
            Owner::RootJaco => host::group_id("jaco")?,
        };
        let owned = std::os::unix::fs::chown(path, Some(0), Some(gid));
        owned.map_err(|error| Error::file(path, error))
    }

    fn note(&mut self, path: &Path, action: Action) {
        let below = path.strip_prefix(&self.target.root).unwrap_or(path);
        let path = Path::new("/").join(below).display().to_string();
        self.placed.push(Placed { path, action });
    }
}

/// The content of a file; `None` when there is none.
fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::file(path, error)),
    }
}

fn make_parent(path: &Path) -> Result<(), Error> {
    let Some(parent) = path.parent() else { return Ok(()) };
    fs::create_dir_all(parent).map_err(|error| Error::file(parent, error))
}

/// The name under which a file is prepared.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    path.with_file_name(name)
}

/// Removes a file or link; `false` when there was none.
pub(super) fn remove(path: &Path) -> Result<bool, Error> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::file(path, error)),
    }
}
