//! What loading asks of a file system, and one in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// Nothing.
    Missing,
    /// A regular file, or a link to one.
    File,
    /// A directory, or a link to one.
    Directory,
    /// A socket, a device, a pipe.
    Other,
}

/// The files of one load. Paths are absolute and free of `.` and `..`, except `-`, which reads
/// the standard input.
pub trait Files {
    /// All bytes of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// What a path names; links are followed.
    fn kind(&self, path: &Path) -> io::Result<FileKind>;
    /// Whether a directory has no entries.
    fn is_dir_empty(&self, path: &Path) -> io::Result<bool>;
}

/// Files in memory: for the server, which has no files, and for tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemFiles {
    files: BTreeMap<PathBuf, Vec<u8>>,
    directories: BTreeSet<PathBuf>,
}

impl MemFiles {
    /// Adds a file and the directories above it.
    pub fn add(&mut self, path: impl AsRef<Path>, content: impl Into<Vec<u8>>) {
        let path = path.as_ref();
        if let Some(parent) = path.parent() {
            self.add_directory(parent);
        }
        self.files.insert(path.to_owned(), content.into());
    }

    /// Adds a directory and those above it.
    pub fn add_directory(&mut self, path: impl AsRef<Path>) {
        self.directories.extend(path.as_ref().ancestors().map(Path::to_owned));
    }
}

impl Files for MemFiles {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn kind(&self, path: &Path) -> io::Result<FileKind> {
        Ok(match (self.files.contains_key(path), self.directories.contains(path)) {
            (true, _) => FileKind::File,
            (false, true) => FileKind::Directory,
            (false, false) => FileKind::Missing,
        })
    }

    fn is_dir_empty(&self, path: &Path) -> io::Result<bool> {
        let inside = |other: &PathBuf| other.parent() == Some(path);
        Ok(!self.files.keys().any(inside) && !self.directories.iter().any(inside))
    }
}

/// `base` and `path` joined, with `.` and `..` taken out by their names alone. Links are not
/// followed: the same manifest must mean the same on every machine.
pub(crate) fn resolve(base: &Path, path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in base.join(path).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => {
                clean.push(component);
            }
        }
    }
    clean
}

/// `path` as seen from the directory `base`, both absolute and clean; starts with `./` or `../`.
pub(crate) fn relative(path: &Path, base: &Path) -> String {
    let mut above = 0;
    let mut base = base;
    let inside = loop {
        match path.strip_prefix(base) {
            Ok(inside) => break inside,
            Err(_) => {
                above += 1;
                let Some(parent) = base.parent() else {
                    break path;
                };
                base = parent;
            }
        }
    };
    let prefix = if above == 0 { "./".to_owned() } else { "../".repeat(above) };
    format!("{prefix}{}", inside.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_resolved_and_made_relative_by_name() {
        let at = |base: &str, path: &str| resolve(Path::new(base), Path::new(path));
        assert_eq!(at("/p/app", "./a/../b"), PathBuf::from("/p/app/b"));
        assert_eq!(at("/p/app", "../../../x"), PathBuf::from("/x"));
        assert_eq!(at("/p/app", "/etc/x"), PathBuf::from("/etc/x"));
        let from = |path: &str, base: &str| relative(Path::new(path), Path::new(base));
        assert_eq!(from("/p/app/sub/x", "/p/app"), "./sub/x");
        assert_eq!(from("/p/other/x", "/p/app"), "../other/x");
    }
}
