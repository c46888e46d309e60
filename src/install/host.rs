//! Users, groups and services: asked of the operating system's own tools.

use super::Error;
use crate::cli::{Globals, complain};
use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};

/// Refuses anybody but root.
pub(super) fn require_root() -> Result<(), Error> {
    if rustix::process::geteuid().is_root() { Ok(()) } else { Err(Error::NotRoot) }
}

/// Makes user and group `jaco` and adds the user to group `docker`. Gives warnings.
pub(super) fn make_user(sysusers: &str) -> Result<Vec<String>, Error> {
    match tool("systemd-sysusers", &["-"], Some(sysusers)) {
        Err(Error::Tool { .. }) | Ok(Ran::Missing) => by_shadow()?,
        Err(error) => return Err(error),
        Ok(Ran::Done) => {}
    }
    let mut warnings = vec![
        "members of group jaco are administrators of the cluster, like root on this host".into(),
    ];
    if id_of("/etc/group", "docker")?.is_some() {
        must("usermod", &["-a", "-G", "docker", "jaco"])?;
        warnings.push("user jaco is now in group docker, which equals root on this host".into());
    } else {
        warnings.push(
            "there is no group docker: give user jaco access to the Docker socket, and remove \
             SupplementaryGroups=docker with a drop-in"
                .into(),
        );
    }
    Ok(warnings)
}

/// Hosts without systemd-sysusers have the shadow tools.
fn by_shadow() -> Result<(), Error> {
    if id_of("/etc/group", "jaco")?.is_none() {
        must("groupadd", &["--system", "jaco"])?;
    }
    if id_of("/etc/passwd", "jaco")?.is_none() {
        must(
            "useradd",
            &[
                "--system",
                "--gid",
                "jaco",
                "--no-create-home",
                "--home-dir",
                "/var/lib/jaco",
                "--shell",
                "/usr/sbin/nologin",
                "jaco",
            ],
        )?;
    }
    Ok(())
}

/// Removes user and group `jaco`.
pub(super) fn remove_user() -> Result<(), Error> {
    if id_of("/etc/passwd", "jaco")?.is_some() {
        must("userdel", &["jaco"])?;
    }
    // Most systems remove a user's own group with the user.
    if id_of("/etc/group", "jaco")?.is_some() {
        must("groupdel", &["jaco"])?;
    }
    Ok(())
}

/// The id of a group that must exist.
pub(super) fn group_id(name: &str) -> Result<u32, Error> {
    let found = id_of("/etc/group", name)?;
    let missing = || io::Error::new(io::ErrorKind::NotFound, format!("no group {name}"));
    found.ok_or_else(|| Error::file(Path::new("/etc/group"), missing()))
}

/// The id that a user or group file gives a name; the third field in both.
fn id_of(file: &str, name: &str) -> Result<Option<u32>, Error> {
    let text = std::fs::read_to_string(file);
    let text = text.map_err(|error| Error::file(Path::new(file), error))?;
    Ok(find_id(&text, name))
}

fn find_id(text: &str, name: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
    })
}

/// The data directory, owned by the daemon; others may pass through, for the CA's certificate.
pub(super) fn make_state_dir(dir: &Path) -> Result<(), Error> {
    let made = std::fs::create_dir_all(dir)
        .and_then(|()| std::fs::set_permissions(dir, Permissions::from_mode(0o711)));
    made.map_err(|error| Error::file(dir, error))?;
    let user = id_of("/etc/passwd", "jaco")?;
    chown(dir, user, Some(group_id("jaco")?)).map_err(|error| Error::file(dir, error))
}

/// Starts the daemon; one that runs is restarted when something under it changed.
pub(super) fn start(changed: bool) -> Result<(), Error> {
    if changed {
        systemctl(&["try-restart", "jaco.service"])?;
    }
    systemctl(&["start", "jaco.socket", "jaco.service"])
}

/// Runs systemctl.
pub(super) fn systemctl(args: &[&str]) -> Result<(), Error> {
    must("systemctl", args)
}

/// Makes the service start at boot. Missing systemd is worth a notice, a failure a warning.
pub(crate) fn enable(globals: &Globals) -> bool {
    match tool("systemctl", &["enable", "jaco.service"], None) {
        Ok(Ran::Done) => true,
        Ok(Ran::Missing) => {
            crate::cli::notice(globals, "notice: no systemctl here; nothing starts jacod at boot");
            false
        }
        Err(error) => {
            complain(&format!("warning: jacod does not start at boot: {error}"));
            false
        }
    }
}

/// How a tool ended that did not fail.
enum Ran {
    Done,
    Missing,
}

fn must(program: &str, args: &[&str]) -> Result<(), Error> {
    match tool(program, args, None)? {
        Ran::Done => Ok(()),
        Ran::Missing => {
            Err(Error::Tool { command: program.to_owned(), reason: "not found".to_owned() })
        }
    }
}

/// Runs a tool to its end, with a text on its standard input.
fn tool(program: &str, args: &[&str], input: Option<&str>) -> Result<Ran, Error> {
    let command = || format!("{program} {}", args.join(" "));
    let failed = |reason: String| Error::Tool { command: command(), reason };
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    let child = Command::new(program)
        .args(args)
        .stdin(stdin)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ran::Missing),
        Err(error) => return Err(failed(error.to_string())),
    };
    if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
        stdin.write_all(input.as_bytes()).map_err(|error| failed(error.to_string()))?;
    }
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(Ran::Done);
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(failed(if said.is_empty() { output.status.to_string() } else { said }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_find_their_ids() {
        let text = "root:x:0:0:root:/root:/bin/sh\njaco:x:990:989::/var/lib/jaco:/bin/false\n";
        assert_eq!(find_id(text, "jaco"), Some(990));
        assert_eq!(find_id(text, "jac"), None);
    }
}
