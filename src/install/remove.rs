//! Taking JACO off a host again.

use super::place::remove as remove_file;
use super::{Error, Target, host, network};
use serde::Serialize;
use std::fs;
use std::io;
use std::path::Path;

/// What was taken away.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Removed {
    /// Always true; there is no half of it.
    pub(crate) uninstalled: bool,
    /// Paths, in the order of work.
    pub(crate) removed: Vec<String>,
    /// Whether configuration, data and user went too.
    pub(crate) purged: bool,
    /// What the user should know.
    pub(crate) warnings: Vec<String>,
}

/// Whether a cluster's state is in a data directory.
pub(crate) fn is_member(data_dir: &Path) -> bool {
    data_dir.join("node/id").try_exists().unwrap_or(true)
}

/// Stops the service and removes what `install` wrote; with `purge` the configuration, the data
/// directory and the user as well.
///
/// # Errors
/// When the caller is not root or a step fails; running it again goes on from there.
pub(crate) fn remove(
    target: &Target,
    data_dir: &Path,
    purge: bool,
    step: &mut dyn FnMut(&str),
) -> Result<Removed, Error> {
    let mut done = Removed { uninstalled: true, purged: purge, ..Removed::default() };
    let units = ["/etc/systemd/system/jaco.service", "/etc/systemd/system/jaco.socket"];
    let has_units = units.iter().any(|unit| target.at(unit).try_exists().unwrap_or(false));
    if target.is_live() {
        host::require_root()?;
        if target.systemd && has_units {
            step("Stopping the service");
            host::systemctl(&["disable", "--now", "jaco.service", "jaco.socket"])?;
        }
    }
    step("Removing the binary and the units");
    let prefix = target.prefix.display();
    let binaries = ["jacod", "jaco", "jaco.prev"].map(|name| format!("{prefix}/{name}"));
    for path in units.iter().map(ToString::to_string).chain(binaries) {
        if remove_file(&target.at(&path))? {
            done.removed.push(path);
        }
    }
    if target.is_live() && target.systemd && has_units {
        host::systemctl(&["daemon-reload"])?;
    }
    if purge {
        if target.is_live() {
            step("Removing the mesh and the packet filter");
            done.warnings.extend(network::take_down(data_dir));
        }
        step("Removing configuration and data");
        for dir in [Path::new("/etc/jaco"), data_dir, Path::new("/run/jaco")] {
            if remove_tree(&target.at(dir))? {
                done.removed.push(dir.display().to_string());
            }
        }
        if target.is_live() {
            step("Removing user and group jaco");
            host::remove_user()?;
        }
    }
    Ok(done)
}

fn remove_tree(dir: &Path) -> Result<bool, Error> {
    match fs::remove_dir_all(dir) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::file(dir, error)),
    }
}
