//! What a host must have before anything is changed on it.

use super::{Error, Target};
use std::path::Path;

/// Checks the host. What prevents JACO from running is an error; the rest are warnings.
pub(super) fn run(target: &Target) -> Result<Vec<String>, Error> {
    let mut warnings = Vec::new();
    if target.systemd && !is_dir("/run/systemd/system") {
        return Err(Error::Unfit("systemd does not run here; use --no-systemd".to_owned()));
    }
    if !is_there("/var/run/docker.sock") {
        warnings.push(
            "Docker Engine does not run here; jacod starts without it and waits for it".to_owned(),
        );
    }
    if !is_there("/sys/fs/cgroup/cgroup.controllers") {
        warnings.push("this kernel has no cgroup v2; limits of containers hold less well".into());
    }
    Ok(warnings)
}

fn is_there(path: &str) -> bool {
    Path::new(path).try_exists().unwrap_or(false)
}

fn is_dir(path: &str) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.is_dir())
}
