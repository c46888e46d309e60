//! Removing a lab, whatever state it is in.
//!
//! Every step works from the lab's number, may find its work already done, and runs even when an
//! earlier one failed. The order matters: processes hold mounts and namespaces, and a namespace
//! that something still holds would leave its veth end behind, so links go before it.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rustix::process::Signal;

use crate::network;
use crate::plan::{LabPlan, NUMBERS, RUN_ROOT};
use crate::process::{self, Namespace, Process};
use crate::run::run;
use crate::wait::until;

/// How long a daemon may take to end by itself; its containers are already dead then.
const DAEMON_LIMIT: Duration = Duration::from_secs(10);

/// How long killed processes may take to disappear.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// Programs of an engine, which end in an order of their own.
const ENGINE_PROGRAMS: [&str; 5] =
    ["dockerd", "containerd", "containerd-shim", "docker-proxy", "runc"];

/// Ends the lab's processes and removes its links, mounts, control groups and data.
pub(crate) fn clear(lab: &LabPlan) -> Result<()> {
    let steps = [
        end_processes(lab),
        remove_links(lab),
        unmount_below(&lab.run_dir()),
        unmount_below(&lab.data_dir),
        remove_control_groups(lab),
        remove_directory(&lab.data_dir),
    ];
    let failures: Vec<String> =
        steps.into_iter().filter_map(Result::err).map(|error| format!("{error:#}")).collect();
    if failures.is_empty() { Ok(()) } else { Err(anyhow!("{}", failures.join("; "))) }
}

/// Forgets a lab that has been cleared; the caller holds the lock of the registry.
///
/// A lab that could not be cleared keeps its state file, so that the next sweep tries again.
pub(crate) fn unregister(lab: &LabPlan) -> Result<()> {
    remove_directory(&lab.run_dir())?;
    let mut others = NUMBERS.map(|number| Path::new(RUN_ROOT).join(number.to_string()));
    if others.all(|run_dir| !run_dir.is_dir()) {
        network::restore_bridge_filter()?;
    }
    Ok(())
}

/// Removes only what is on disk, for a number that is taken anew.
pub(crate) fn remove_data(lab: &LabPlan) -> Result<()> {
    unmount_below(&lab.data_dir)?;
    remove_directory(&lab.data_dir)
}

fn end_processes(lab: &LabPlan) -> Result<()> {
    // The tests' own daemons first: they would restart containers. Then the containers, and only
    // then the engines, which clean up after them and leave no shim behind.
    kill(lab, |process| !is_engine(process))?;
    for program in ["dockerd", "containerd"] {
        let select = |process: &Process| process.program == program;
        for daemon in processes(lab).iter().filter(|process| select(process)) {
            process::signal(daemon, Signal::TERM);
            // A paused daemon would not see the signal.
            process::signal(daemon, Signal::CONT);
        }
        if wait_for_end(lab, DAEMON_LIMIT, select).is_err() {
            kill(lab, select)?;
        }
    }
    kill(lab, |_| true)
}

/// The kernel cuts program names to 15 bytes, so `containerd-shim-runc-v2` is matched by prefix.
fn is_engine(process: &Process) -> bool {
    ENGINE_PROGRAMS.iter().any(|program| process.program.starts_with(program))
}

fn kill(lab: &LabPlan, select: impl Fn(&Process) -> bool) -> Result<()> {
    until("killed processes to end", KILL_LIMIT, || {
        let left: Vec<_> = processes(lab).into_iter().filter(&select).collect();
        for process in &left {
            process::signal(process, Signal::KILL);
        }
        Ok(left.is_empty().then_some(()))
    })
}

fn wait_for_end(lab: &LabPlan, limit: Duration, select: impl Fn(&Process) -> bool) -> Result<()> {
    until("a daemon to end", limit, || Ok((!processes(lab).iter().any(&select)).then_some(())))
}

/// All live processes of the lab: by network namespace, and in containers by control group.
fn processes(lab: &LabPlan) -> BTreeSet<Process> {
    let hosts = process::directories_in(&lab.run_dir());
    let namespaces = hosts.iter().filter_map(|host| Namespace::mounted_on(&host.join("net")));
    let mut found: BTreeSet<Process> = namespaces.flat_map(Namespace::processes).collect();
    for group in process::control_groups(&lab.cgroup()) {
        found.extend(process::processes_below(&group));
    }
    found
}

fn remove_links(lab: &LabPlan) -> Result<()> {
    network::links(lab).iter().try_for_each(|link| network::remove_link(link))
}

/// Unmounts everything at and below a directory, the latest mount first.
pub(crate) fn unmount_below(directory: &Path) -> Result<()> {
    let table = fs::read_to_string("/proc/self/mountinfo").context("mount table")?;
    let mut points: Vec<PathBuf> = mount_points(&table).collect();
    points.reverse();
    for point in points.iter().filter(|point| point.starts_with(directory)) {
        // Lazy: a process of another mount namespace may still hold a copy.
        run(Command::new("umount").arg("--lazy").arg(point))?;
    }
    Ok(())
}

/// Mount points of a mountinfo table, in the order in which they were mounted.
fn mount_points(table: &str) -> impl Iterator<Item = PathBuf> {
    table.lines().filter_map(|line| line.split(' ').nth(4)).map(|field| {
        // The kernel writes white space and backslashes in octal.
        let plain = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
        PathBuf::from(
            plain.iter().fold(field.to_owned(), |text, (octal, byte)| text.replace(octal, byte)),
        )
    })
}

fn remove_control_groups(lab: &LabPlan) -> Result<()> {
    process::control_groups(&lab.cgroup()).iter().try_for_each(|group| remove_group(group))
}

/// Control groups are removed from the leaves up; their files are not real.
fn remove_group(group: &Path) -> Result<()> {
    process::directories_in(group).iter().try_for_each(|child| remove_group(child))?;
    absent_is_fine(fs::remove_dir(group)).with_context(|| format!("{}", group.display()))
}

pub(crate) fn remove_directory(directory: &Path) -> Result<()> {
    absent_is_fine(fs::remove_dir_all(directory))
        .with_context(|| format!("{}", directory.display()))
}

fn absent_is_fine(outcome: std::io::Result<()>) -> std::io::Result<()> {
    outcome.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_unescaped() {
        let table =
            "1 2 0:3 / /a\\040b rw - tmpfs t rw\n4 5 0:6 net:[7] /run/x/net rw - nsfs n rw\n";
        let points: Vec<_> = mount_points(table).collect();
        assert_eq!(points, [PathBuf::from("/a b"), PathBuf::from("/run/x/net")]);
    }

    #[test]
    fn engines_are_told_from_other_programs() {
        let process = |program: &str| Process { pid: 1, program: program.to_owned() };
        assert!(is_engine(&process("containerd-shim")));
        assert!(!is_engine(&process("jacod")));
    }
}
