//! A host that loses its power and comes back: what is only in memory is gone, what is on disk
//! stays.

use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;
use serde_json::Value;

use crate::engine;
use crate::host::{Host, enter};
use crate::network;
use crate::process::{self, Namespace, Process};
use crate::run::{run, run_with_input};
use crate::teardown::{remove_directory, unmount_below};
use crate::wait::until;

/// How long killed processes may take to disappear.
const KILL_LIMIT: Duration = Duration::from_secs(30);

impl Host {
    /// Ends everything that runs on the host at once and removes what a reboot would: links,
    /// addresses, routes, packet filters, the engine's runtime state. The caller's own children on
    /// the host stay: it has ended its daemon before.
    ///
    /// # Errors
    /// When a process does not die, or something cannot be removed.
    pub fn power_off(&self) -> Result<()> {
        let containers = self.container_processes();
        let mine = std::process::id();
        until("the host's processes to die", KILL_LIMIT, || {
            let namespace = Namespace::mounted_on(&self.plan.net_namespace());
            let mut left = namespace.map(Namespace::processes).unwrap_or_default();
            left.retain(|process| process::parent(process.pid) != Some(mine));
            left.extend(containers.iter().filter(|one| is_alive(one)).cloned());
            left.iter().for_each(|process| process::signal(process, Signal::KILL));
            Ok(left.is_empty().then_some(()))
        })?;
        for directory in ["exec", "containerd"].map(|name| self.plan.run_dir.join(name)) {
            unmount_below(&directory)?;
            remove_directory(&directory)?;
        }
        unmount_below(&self.plan.data_dir.join("docker"))?;
        self.forget_network()
    }

    /// Starts the engine after [`Host::power_off`] and waits until it answers.
    ///
    /// # Errors
    /// When it does not.
    pub fn power_on(&self) -> Result<()> {
        engine::start_containerd(&self.plan)?;
        self.start_engine()
    }

    /// First processes of the containers that run; none when the engine does not answer.
    fn container_processes(&self) -> Vec<Process> {
        let engine = self.engine();
        let ids = engine.containers().unwrap_or_default();
        let ids = ids.iter().filter_map(|one| one["Id"].as_str().map(str::to_owned));
        let process = |id: String| {
            let pid = engine.inspect(&id).ok()?["State"]["Pid"].as_i64().filter(|pid| *pid > 0)?;
            Some(Process { pid: i32::try_from(pid).ok()?, program: id })
        };
        ids.filter_map(process).collect()
    }

    /// Flushes every packet filter of the host; the lab's own, which refuses name servers outside,
    /// is set again.
    ///
    /// # Errors
    /// When nft fails.
    pub fn flush_ruleset(&self) -> Result<()> {
        run(enter(&self.plan, "nft").args(["flush", "ruleset"]))?;
        network::refuse_name_servers(&self.plan)
    }

    fn forget_network(&self) -> Result<()> {
        for link in self.links()? {
            // The other end of a pair goes with the first.
            let _gone = run(enter(&self.plan, "ip").args(["link", "delete", &link]));
        }
        // Those of a link are gone with it; the connected one of the cable stays.
        let kept = "route flush proto 201\nroute flush type unreachable\n";
        run_with_input(enter(&self.plan, "ip").args(["-force", "-batch", "-"]), kept).ok();
        run(enter(&self.plan, "sh").args(["-c", "echo 0 > /proc/sys/net/ipv4/ip_forward"]))?;
        self.flush_ruleset()
    }

    /// Links besides the loopback and the cable.
    fn links(&self) -> Result<Vec<String>> {
        let shown = enter(&self.plan, "ip").args(["-j", "link", "show"]).output()?;
        let rows: Value = serde_json::from_slice(&shown.stdout)?;
        let names = rows.as_array().into_iter().flatten().filter_map(|row| row["ifname"].as_str());
        let names = names.filter(|name| !["lo", "eth0"].contains(name));
        Ok(names.map(str::to_owned).collect())
    }
}

fn is_alive(process: &Process) -> bool {
    u32::try_from(process.pid).is_ok_and(|pid| process::start_time(pid).is_some())
}
