//! Which labs exist: one directory per number under /run/jaco-lab, each with a state file.
//!
//! Numbers are given out and stale labs are removed under one file lock, so any number of test
//! processes may start labs at the same time.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::plan::{LabPlan, NUMBERS, RUN_ROOT};
use crate::process;
use crate::report::report;
use crate::teardown;

/// Who is responsible for a lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// A process, told from a later one with the same id by its start time.
    Process {
        /// Process id.
        pid: u32,
        /// Start time in clock ticks since boot.
        start: u64,
    },
    /// Nobody: the lab stays until `lab down`.
    Nobody,
}

impl Owner {
    /// The calling process.
    pub(crate) fn this_process() -> Result<Self> {
        let pid = std::process::id();
        let start = process::start_time(pid).context("cannot read the own start time")?;
        Ok(Self::Process { pid, start })
    }

    /// Whether the owner still stands for the lab.
    #[must_use]
    pub fn is_alive(self) -> bool {
        match self {
            Self::Nobody => true,
            Self::Process { pid, start } => process::start_time(pid) == Some(start),
        }
    }
}

/// One lab as its state file describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub(crate) plan: LabPlan,
    /// What the lab is called; labs of processes may share a name.
    pub name: String,
    /// Number of hosts.
    pub hosts: u8,
    /// Who is responsible for it.
    pub owner: Owner,
}

impl Record {
    /// The lab's number, which is the third byte of its subnet 10.213.N.0/24.
    #[must_use]
    pub fn number(&self) -> u8 {
        self.plan.number
    }

    /// Replaces the state file in one step.
    pub(crate) fn write(&self) -> Result<()> {
        let owner = match self.owner {
            Owner::Nobody => Value::Null,
            Owner::Process { pid, start } => json!({ "pid": pid, "start": start }),
        };
        let text = json!({
            "name": self.name,
            "hosts": self.hosts,
            "data_dir": self.plan.data_dir,
            "owner": owner,
        });
        let path = self.plan.run_dir().join("state.json");
        let new = path.with_extension("new");
        fs::write(&new, text.to_string()).with_context(|| format!("{}", new.display()))?;
        fs::rename(&new, &path).with_context(|| format!("{}", path.display()))
    }

    /// Reads a lab's state; `None` when the file is absent or no lab's state.
    fn read(number: u8) -> Option<Self> {
        let path = Path::new(RUN_ROOT).join(number.to_string()).join("state.json");
        let state: Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        let owner = match state.get("owner")? {
            Value::Null => Owner::Nobody,
            owner => Owner::Process {
                pid: owner.get("pid")?.as_u64()?.try_into().ok()?,
                start: owner.get("start")?.as_u64()?,
            },
        };
        Some(Self {
            plan: LabPlan { number, data_dir: state.get("data_dir")?.as_str()?.into() },
            name: state.get("name")?.as_str()?.to_owned(),
            hosts: state.get("hosts")?.as_u64()?.try_into().ok()?,
            owner,
        })
    }
}

/// All labs of this machine, by number.
#[must_use]
pub fn list() -> Vec<Record> {
    NUMBERS.filter_map(Record::read).collect()
}

/// Removes a lab for good; only the last step needs the lock, so labs end side by side.
pub(crate) fn remove(plan: &LabPlan) -> Result<()> {
    teardown::clear(plan)?;
    let _lock = lock()?;
    teardown::unregister(plan)
}

/// Takes the lock of the registry; it ends with the returned file.
pub(crate) fn lock() -> Result<File> {
    fs::create_dir_all(RUN_ROOT).with_context(|| format!("cannot create {RUN_ROOT}"))?;
    let path = Path::new(RUN_ROOT).join("lock");
    let file = File::options().create(true).append(true).open(&path)?;
    file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

/// Removes stale labs, then registers a new one under a free number.
///
/// A lab that cannot be removed keeps its number and its files and does not stop the new one.
pub(crate) fn register(name: &str, hosts: u8, data_root: &Path) -> Result<Record> {
    let _lock = lock()?;
    for number in NUMBERS {
        sweep(number);
    }
    for number in NUMBERS {
        let plan = LabPlan { number, data_dir: data_root.join(number.to_string()) };
        match fs::create_dir(plan.run_dir()) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error).context(format!("{}", plan.run_dir().display())),
        }
        let owner = Owner::this_process()?;
        let record = Record { plan, name: name.to_owned(), hosts, owner };
        record.write()?;
        return Ok(record);
    }
    bail!("all {} lab numbers are taken; see `cargo xtask lab status`", NUMBERS.count())
}

/// Removes one lab when nobody stands for it any more.
fn sweep(number: u8) {
    let run_dir = Path::new(RUN_ROOT).join(number.to_string());
    if !run_dir.is_dir() {
        return;
    }
    let plan = match Record::read(number) {
        Some(record) if record.owner.is_alive() => return,
        Some(record) => record.plan,
        // The owner died between making the directory and writing the state: no data exists.
        None => LabPlan { number, data_dir: run_dir.join("data") },
    };
    if let Err(error) = teardown::clear(&plan).and_then(|()| teardown::unregister(&plan)) {
        report(&format!("lab {number} of a dead owner: {error:#}"));
    }
}
