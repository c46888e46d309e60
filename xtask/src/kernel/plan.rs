//! Which test binaries run in the guest, how often and with what around them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::run::cargo;

/// One run of a test binary in the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    /// What it is called in the report.
    pub(super) name: &'static str,
    /// The binary on this machine.
    pub(super) binary: PathBuf,
    /// Its environment, `NAME=value`.
    pub(super) environment: &'static str,
    /// Its arguments: a filter and the options of the test runner.
    pub(super) arguments: String,
    /// A command of the guest before it.
    pub(super) before: &'static str,
}

/// A row of the plan.
struct Row {
    name: &'static str,
    target: &'static str,
    before: &'static str,
    environment: &'static str,
    arguments: &'static str,
}

/// Packages and the test binaries of them.
const TARGETS: [(&str, &str); 3] =
    [("jaco-netmesh", "netns"), ("jaco-firewall", "kernel"), ("jaco-dns", "dns")];

/// The kernel does not load modules by itself any more, or again.
const NO_MODULES: &str = "modprobe -a bridge veth tun; echo /bin/false > /proc/sys/kernel/modprobe";
const MODULES: &str = "echo /sbin/modprobe > /proc/sys/kernel/modprobe";

/// The mesh comes first without the module, to see that it is noticed. After that nothing has
/// loaded it yet when the driver asks.
const ROWS: [Row; 7] = [
    Row {
        name: "mesh-without-module",
        target: "netns",
        before: NO_MODULES,
        environment: "JACO_TEST_MESH_OFFER=userspace",
        arguments: "choice::",
    },
    Row {
        name: "mesh-with-module",
        target: "netns",
        before: MODULES,
        environment: "JACO_TEST_MESH_OFFER=kernel",
        arguments: "choice::the_kernels_tunnel_is_chosen_where_there_is_one",
    },
    Row {
        name: "mesh-kernel",
        target: "netns",
        before: "",
        environment: "JACO_TEST_MESH=kernel JACO_TEST_MESH_OFFER=kernel",
        arguments: "--skip helper::",
    },
    Row {
        name: "mesh-kernel-userspace",
        target: "netns",
        before: "",
        environment: "JACO_TEST_MESH=kernel,userspace",
        arguments: "--skip helper:: --skip choice::",
    },
    Row {
        name: "mesh-userspace-kernel",
        target: "netns",
        before: "",
        environment: "JACO_TEST_MESH=userspace,kernel",
        arguments: "--skip helper:: --skip choice::",
    },
    Row { name: "firewall", target: "kernel", before: "", environment: "", arguments: "" },
    // Its addresses are those of a process, as tests have one each elsewhere.
    Row { name: "dns", target: "dns", before: "", environment: "", arguments: "--test-threads=1" },
];

/// Builds the test binaries and says how they are run.
pub(super) fn runs(filters: &[String]) -> Result<Vec<Run>> {
    let mut command = cargo(["test", "--no-run", "--message-format=json-render-diagnostics"])?;
    for (package, target) in TARGETS {
        command.args(["--package", package, "--test", target]);
    }
    let output = command.stderr(Stdio::inherit()).output().context("cannot start cargo")?;
    ensure!(output.status.success(), "cargo test --no-run: {}", output.status);
    let built = binaries(&String::from_utf8_lossy(&output.stdout));
    planned(&built, filters)
}

fn planned(built: &BTreeMap<String, PathBuf>, filters: &[String]) -> Result<Vec<Run>> {
    // A filter that names runs picks them; any other goes to all of them.
    let (names, tests): (Vec<&String>, Vec<&String>) =
        filters.iter().partition(|filter| ROWS.iter().any(|row| row.name == filter.as_str()));
    for test in &tests {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_:".contains(c);
        ensure!(test.chars().all(is_plain), "{test} is no part of a test's name");
    }
    let is_picked = |row: &&Row| names.is_empty() || names.iter().any(|name| *name == row.name);
    let run = |row: &Row| {
        let binary = built.get(row.target).with_context(|| format!("no test {}", row.target))?;
        let words = [row.arguments].into_iter().chain(tests.iter().map(|test| test.as_str()));
        let arguments = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
        let (name, before, environment) = (row.name, row.before, row.environment);
        Ok(Run { name, binary: binary.clone(), environment, arguments, before })
    };
    ROWS.iter().filter(is_picked).map(run).collect()
}

/// The executables in cargo's messages, by the name of their target.
fn binaries(messages: &str) -> BTreeMap<String, PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let binary = |message: Value| {
        let path = message.get("executable")?.as_str()?.into();
        Some((message.get("target")?.get("name")?.as_str()?.to_owned(), path))
    };
    messages.filter_map(binary).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built() -> BTreeMap<String, PathBuf> {
        let messages = "{\"reason\":\"compiler-artifact\",\"executable\":null}\n\
            {\"target\":{\"name\":\"netns\"},\"executable\":\"/t/netns\"}\n\
            {\"target\":{\"name\":\"kernel\"},\"executable\":\"/t/kernel\"}\n\
            {\"target\":{\"name\":\"dns\"},\"executable\":\"/t/dns\"}\n";
        binaries(messages)
    }

    #[test]
    fn every_row_has_its_binary() {
        let runs = planned(&built(), &[]).unwrap();
        assert_eq!(runs.len(), ROWS.len());
        assert_eq!(runs[0].binary, PathBuf::from("/t/netns"));
        assert!(planned(&BTreeMap::new(), &[]).is_err());
    }

    #[test]
    fn filters_pick_runs_and_tests() {
        let runs = planned(&built(), &["firewall".to_owned(), "table::".to_owned()]).unwrap();
        assert_eq!(runs.len(), 1);
        assert_eq!((runs[0].name, runs[0].arguments.as_str()), ("firewall", "table::"));
        assert!(planned(&built(), &["a; reboot".to_owned()]).is_err());
    }
}
