//! Processes as /proc shows them: who lives, and who is inside a lab.
//!
//! A lab's processes are found by their network namespace and control group, never by name or by
//! a remembered id, so no process of anybody else can be hit.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

/// A process and the name of its program.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) program: String,
}

/// Start time in clock ticks since boot; `None` when the process is gone or only waits to be
/// collected by its parent.
pub(crate) fn start_time(pid: u32) -> Option<u64> {
    parse_start_time(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The program's name stands in brackets and may hold any byte, so fields count from the last one.
fn parse_start_time(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    match fields.first()? {
        &"Z" | &"X" => None,
        _ => fields.get(19)?.parse().ok(),
    }
}

/// The process that started this one, or adopted it.
pub(crate) fn parent(pid: i32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// Identity of a namespace: what its file in /proc and its bind mount have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Namespace {
    device: u64,
    inode: u64,
}

impl Namespace {
    /// The namespace that is mounted on a file; `None` when nothing is mounted there.
    ///
    /// The caller's own namespace is never returned: no mistake may end all processes of the
    /// machine.
    pub(crate) fn mounted_on(file: &Path) -> Option<Self> {
        let found = Self::of(file)?;
        let own = Self::of(Path::new("/proc/self/ns/net"))?;
        (found.device == own.device && found != own).then_some(found)
    }

    fn of(file: &Path) -> Option<Self> {
        let metadata = fs::metadata(file).ok()?;
        Some(Self { device: metadata.dev(), inode: metadata.ino() })
    }

    /// Live processes whose network is this namespace.
    pub(crate) fn processes(self) -> Vec<Process> {
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid| Self::of(Path::new(&format!("/proc/{pid}/ns/net"))) == Some(self))
            .filter_map(live)
            .collect()
    }
}

/// Control groups called `name` directly below each hierarchy.
pub(crate) fn control_groups(name: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    hierarchies
        .chain([root.to_owned()])
        .map(|hierarchy| hierarchy.join(name))
        .filter(|group| group.is_dir())
        .collect()
}

/// Live processes in a control group and all below it.
pub(crate) fn processes_below(group: &Path) -> BTreeSet<Process> {
    let pids = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let mut found: BTreeSet<Process> =
        pids.lines().filter_map(|pid| pid.parse().ok()).filter_map(live).collect();
    for child in directories_in(group) {
        found.extend(processes_below(&child));
    }
    found
}

/// Sub-directories of a directory; none when it is gone.
pub(crate) fn directories_in(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect()
}

fn live(pid: i32) -> Option<Process> {
    start_time(pid.try_into().ok()?)?;
    let program = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(Process { pid, program: program.trim().to_owned() })
}

/// Sends a signal; a process that has just ended is no error.
pub(crate) fn signal(process: &Process, signal: Signal) {
    if let Some(pid) = Pid::from_raw(process.pid) {
        let _already_gone = kill_process(pid, signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_times_survive_odd_program_names() {
        let fields: Vec<String> = (3..=30).map(|field| field.to_string()).collect();
        let stat = format!("7 (a ) R b) S {}", fields[1..].join(" "));
        assert_eq!(parse_start_time(&stat), Some(22));
        assert_eq!(parse_start_time(&stat.replace(") S", ") Z")), None);
        assert_eq!(parse_start_time("nonsense"), None);
    }

    #[test]
    fn the_own_namespace_is_never_a_target() {
        assert_eq!(Namespace::mounted_on(Path::new("/proc/self/ns/net")), None);
        assert_eq!(Namespace::mounted_on(Path::new("/proc/self/stat")), None);
    }
}
