//! Files that containers are given: one for each, named after it, gone with it.

use std::path::{Path, PathBuf};

/// The directory of these files.
#[derive(Debug)]
pub(crate) struct Files(PathBuf);

impl Files {
    /// Files in a directory that need not be there yet.
    pub(crate) fn new(directory: PathBuf) -> Files {
        Files(directory)
    }

    /// Writes the file of a container, which may be there already, and returns its path.
    ///
    /// # Errors
    /// What went wrong, for people.
    pub(crate) async fn write(&self, container: &str, text: &str) -> Result<String, String> {
        let path = self.0.join(container);
        let (told, text) = (path.display().to_string(), text.to_owned());
        let written = tokio::task::spawn_blocking(move || replace(&path, &text)).await;
        let written = written.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        written.map_err(|error| format!("cannot write {told}: {error}"))?;
        Ok(told)
    }

    /// Removes the file of a container, if it has one.
    pub(crate) async fn remove(&self, container: &str) {
        let path = self.0.join(container);
        // One that stays is overwritten or does no harm.
        let _ended = tokio::task::spawn_blocking(move || std::fs::remove_file(path)).await;
    }
}

/// Another container of that name may have the old file mounted: it keeps what it has.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let new = path.with_extension("new");
    std::fs::write(&new, text)?;
    std::fs::rename(new, path)
}
