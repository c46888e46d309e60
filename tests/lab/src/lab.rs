//! A running lab and its life: up, attach, keep, down.

use std::iter;
use std::path::PathBuf;
use std::thread;

use anyhow::{Context, Result, bail, ensure};

use crate::engine;
use crate::host::Host;
use crate::network;
use crate::plan::{DATA_ROOT, HOSTS_MAX, LabPlan};
use crate::registry::{self, Owner, Record};
use crate::release::{self, EngineRelease};
use crate::report::report;
use crate::teardown;

/// What a lab shall be.
#[derive(Debug, Clone)]
pub struct LabOptions {
    /// What it is called in `lab status`; tests may share a name.
    pub name: String,
    /// Number of hosts, 1 to 99.
    pub hosts: u8,
    /// Parent of the directory for images and containers; a disk, not a tmpfs.
    pub data_root: PathBuf,
    /// The engines of the first hosts, which then have a mount namespace: what is mounted outside
    /// later, such as a small disk, is not there inside. All others have what is installed.
    pub engines: Vec<EngineRelease>,
}

impl LabOptions {
    /// Options of a lab with `hosts` hosts and its data in the usual place.
    #[must_use]
    pub fn new(name: &str, hosts: u8) -> Self {
        Self { name: name.to_owned(), hosts, data_root: DATA_ROOT.into(), engines: Vec::new() }
    }

    /// The same with these engines, one for each of the first hosts.
    #[must_use]
    pub fn with_engines(self, engines: &[EngineRelease]) -> Self {
        Self { engines: engines.to_vec(), ..self }
    }
}

/// A lab; dropping it removes everything it made, unless it was attached to or kept.
#[derive(Debug)]
pub struct Lab {
    record: Record,
    hosts: Vec<Host>,
    removes_on_drop: bool,
}

impl Lab {
    /// Removes the labs of dead owners, then brings up a new one and waits for its engines.
    ///
    /// # Errors
    /// When not root, a tool is missing, or an engine does not start; nothing is left then.
    pub fn up(options: LabOptions) -> Result<Self> {
        ensure!(rustix::process::geteuid().is_root(), "a lab needs root: it makes namespaces");
        ensure!((1..=HOSTS_MAX).contains(&options.hosts), "a lab has 1 to {HOSTS_MAX} hosts");
        ensure!(
            options.engines.len() <= usize::from(options.hosts),
            "more engines than hosts: {:?}",
            options.engines
        );
        release::prepare(&options.engines)?;
        let record = registry::register(&options.name, options.hosts, &options.data_root)?;
        // From here on an early return drops the lab, and that removes what exists.
        let lab = Self::from_record(record, true);
        lab.build(&options.engines).with_context(|| format!("lab {}", options.name))?;
        Ok(lab)
    }

    /// Finds a running lab by name; dropping the result leaves it as it is.
    ///
    /// # Errors
    /// When no live lab has that name.
    pub fn attach(name: &str) -> Result<Self> {
        let found = registry::list().into_iter().find(|lab| lab.name == name);
        match found.filter(|lab| lab.owner.is_alive()) {
            Some(record) => Ok(Self::of(&record)),
            None => bail!("no lab is called {name}; start one with `cargo xtask lab up`"),
        }
    }

    /// The lab of a record; dropping the result leaves it as it is.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        Self::from_record(record.clone(), false)
    }

    fn from_record(record: Record, removes_on_drop: bool) -> Self {
        let hosts = (1..=record.hosts).map(|index| Host { plan: record.plan.host(index) });
        let hosts = hosts.collect();
        Self { record, hosts, removes_on_drop }
    }

    fn build(&self, engines: &[EngineRelease]) -> Result<()> {
        // What an earlier boot may have left under the same number.
        teardown::remove_data(self.plan())?;
        network::open_bridge_filter()?;
        network::create_bridge(self.plan())?;
        thread::scope(|scope| {
            let releases = engines.iter().map(Some).chain(iter::repeat(None));
            let starts: Vec<_> = self
                .hosts
                .iter()
                .zip(releases)
                .map(|(host, release)| scope.spawn(move || self.build_host(host, release)))
                .collect();
            starts.into_iter().try_for_each(|start| match start.join() {
                Ok(outcome) => outcome,
                Err(_) => bail!("a host's start panicked"),
            })
        })
    }

    fn build_host(&self, host: &Host, release: Option<&EngineRelease>) -> Result<()> {
        network::create_host(self.plan(), &host.plan)?;
        if let Some(release) = release {
            release::install(&host.plan, *release)?;
        }
        engine::start_containerd(&host.plan)?;
        engine::start(&host.plan)?;
        engine::wait_until_ready(&host.plan)
    }

    fn plan(&self) -> &LabPlan {
        &self.record.plan
    }

    /// The lab's number: its subnet is 10.213.N.0/24, its bridge `jacolabN`.
    #[must_use]
    pub fn number(&self) -> u8 {
        self.record.number()
    }

    /// All hosts, `node-1` first.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// A host by its name.
    ///
    /// # Errors
    /// When the lab has no such host.
    pub fn host(&self, name: &str) -> Result<&Host> {
        let found = self.hosts.iter().find(|host| host.name() == name);
        found.with_context(|| format!("lab {} has no host {name}", self.record.name))
    }

    /// Lets the lab outlive this process, until [`Lab::down`].
    ///
    /// # Errors
    /// When the state file cannot be written; the lab is removed then.
    pub fn keep(mut self) -> Result<()> {
        self.record.owner = Owner::Nobody;
        self.record.write()?;
        self.removes_on_drop = false;
        Ok(())
    }

    /// Removes the lab, and tells what could not be removed.
    ///
    /// # Errors
    /// When a process, mount, link or file stays.
    pub fn down(mut self) -> Result<()> {
        self.removes_on_drop = false;
        registry::remove(self.plan())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !self.removes_on_drop {
            return;
        }
        if let Err(error) = registry::remove(self.plan()) {
            report(&format!("lab {}: {error:#}", self.record.name));
        }
    }
}
