//! Putting the binary, its units and its configuration on a host, and taking them away again.
//!
//! Everything that is written comes out of the binary itself, so that it works offline and twice
//! in a row. What belongs to the operating system (users, services) is asked of its own tools.

mod checks;
mod host;
mod network;
mod place;
mod remove;

pub(crate) use host::enable;
pub(crate) use remove::{is_member, remove};

use place::{Action, Owner, Placed, Placer};
use serde::Serialize;
use std::io;
use std::path::{Path, PathBuf};

/// The files that are written, as they are in the repository.
mod dist {
    /// The daemon's unit.
    pub(super) const SERVICE: &str = include_str!("../../dist/systemd/jaco.service");
    /// The unit of its socket.
    pub(super) const SOCKET: &str = include_str!("../../dist/systemd/jaco.socket");
    /// User and group.
    pub(super) const SYSUSERS: &str = include_str!("../../dist/sysusers.d/jaco.conf");
    /// The default configuration.
    pub(super) const CONFIG: &str = include_str!("../../dist/jacod.yaml");
}

/// The directory that the units name.
pub(crate) const PREFIX: &str = "/usr/local/bin";

/// Where things go.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// `/`, or the directory of a packager.
    pub(crate) root: PathBuf,
    /// Directory of the binary, below the root.
    pub(crate) prefix: PathBuf,
    /// Whether units are written and services started.
    pub(crate) systemd: bool,
}

impl Target {
    /// Whether this is the running system, whose users and services are changed too.
    pub(crate) fn is_live(&self) -> bool {
        self.root == Path::new("/")
    }

    /// A path of the target.
    pub(crate) fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }
}

/// What was done.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Installed {
    /// Files and links, in the order of work.
    pub(crate) installed: Vec<Placed>,
    /// Whether the service runs now.
    pub(crate) started: bool,
    /// What the user should know.
    pub(crate) warnings: Vec<String>,
}

/// It could not be done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Only root may.
    #[error("only root may change the system")]
    NotRoot,
    /// A check failed.
    #[error("this host cannot run JACO: {0}")]
    Unfit(String),
    /// The operating system refuses.
    #[error("{path}: {source}")]
    File {
        /// The path.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A tool of the operating system failed.
    #[error("{command}: {reason}")]
    Tool {
        /// The command line.
        command: String,
        /// What it said.
        reason: String,
    },
    /// The node is in a cluster.
    #[error("this node is in a cluster; its state is in {0}")]
    Member(String),
}

impl Error {
    fn file(path: &Path, source: io::Error) -> Error {
        Error::File { path: path.display().to_string(), source }
    }
}

/// Installs, updates or repairs. `binary` is the file that is copied; `step` is told what is done
/// before it is done.
///
/// # Errors
/// When the host is not fit, the caller is not root, or a step fails. What was done before stays;
/// running it again goes on from there.
pub(crate) fn install(
    target: &Target,
    binary: &Path,
    start: bool,
    step: &mut dyn FnMut(&str),
) -> Result<Installed, Error> {
    let mut done = Installed::default();
    if target.is_live() {
        host::require_root()?;
        step("Checking the host");
        done.warnings.extend(checks::run(target)?);
        step("Making user and group jaco");
        done.warnings.extend(host::make_user(dist::SYSUSERS)?);
    }
    let mut placer = Placer::new(target);
    step("Copying the binary");
    let prefix = target.at(&target.prefix);
    placer.copy(binary, &prefix.join("jaco"))?;
    placer.link("jaco", &prefix.join("jacod"))?;
    step("Writing the configuration");
    placer.keep("/etc/jaco/jacod.yaml", dist::CONFIG, 0o640, Owner::RootJaco)?;
    if target.is_live() {
        host::make_state_dir(Path::new("/var/lib/jaco"))?;
    }
    if target.systemd {
        step("Writing the units");
        placer.write("/etc/systemd/system/jaco.service", &service(target), 0o644)?;
        placer.write("/etc/systemd/system/jaco.socket", dist::SOCKET, 0o644)?;
    }
    done.installed = placer.done();
    if target.systemd && target.is_live() {
        host::systemctl(&["daemon-reload"])?;
        if start {
            step("Starting the service");
            let changed = done.installed.iter().any(|placed| placed.action != Action::Kept);
            host::start(changed)?;
            done.started = true;
        }
    }
    Ok(done)
}

/// The daemon's unit for a prefix of the user's choice.
fn service(target: &Target) -> String {
    dist::SERVICE.replace(PREFIX, &target.prefix.display().to_string())
}

#[cfg(test)]
mod tests;
