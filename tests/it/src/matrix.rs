//! The matrix of the network under faults: each fault with a watch over it, and everybody tried
//! before and after.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jaco_lab::until;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::ground::Ground;
use crate::holes::{Verdict, Watch};
use crate::reach::{Extent, TCP_PORT, UDP_PORT, check_matrix};
use crate::run::Run;
use crate::stack::probe;
use crate::ways::ways;

/// Longest time until what was broken works again.
const REPAIR: Duration = Duration::from_secs(60);

/// A cluster's network, what is known of it, and what was seen.
#[derive(Debug)]
pub struct Matrix<'c> {
    /// The cluster.
    pub cluster: &'c mut Cluster,
    /// Who is where.
    pub ground: Ground,
    /// What was seen, a line for each fault.
    pub lines: Vec<String>,
    /// Targets that the next watches leave out.
    pub exempt: BTreeSet<Ipv4Addr>,
    trials: Extent,
}

/// A service with echoes for both protocols.
#[must_use]
pub fn echo(more: &Value) -> Value {
    let mut service = probe(json!({
        "environment": {
            "PROBE_TCP_PORT": TCP_PORT.to_string(),
            "PROBE_UDP_PORT": UDP_PORT.to_string(),
        },
        // Many containers on few processors: each check is a program that starts.
        "healthcheck": { "interval": "2s" },
    }));
    for (key, value) in more.as_object().into_iter().flatten() {
        service[key] = value.clone();
    }
    service
}

impl<'c> Matrix<'c> {
    /// Surveys the network of these deployments and waits until everybody reaches whom it may.
    ///
    /// # Errors
    /// When that does not come true.
    pub fn new(
        cluster: &'c mut Cluster,
        members: &[usize],
        deployments: &[&str],
    ) -> Result<Matrix<'c>> {
        let mut matrix = Matrix::survey(cluster, members, deployments)?;
        matrix.settle()?;
        Ok(matrix)
    }

    /// Surveys the network of these deployments.
    ///
    /// # Errors
    /// When it is not there yet.
    pub fn survey(
        cluster: &'c mut Cluster,
        members: &[usize],
        deployments: &[&str],
    ) -> Result<Matrix<'c>> {
        let ground = Ground::survey(cluster, members, deployments)?;
        let (lines, trials, exempt) = (Vec::new(), Extent::default(), BTreeSet::new());
        let matrix = Matrix { cluster, ground, lines, exempt, trials };
        matrix.teach_the_neighbour()?;
        Ok(matrix)
    }

    /// The neighbour knows a route to every block and every mesh address.
    fn teach_the_neighbour(&self) -> Result<()> {
        let Some((name, _)) = &self.ground.neighbour else { return Ok(()) };
        let host = self.cluster.lab().host(name)?;
        let route = |to: String, via: Ipv4Addr| {
            let via = via.to_string();
            Run::of(host.command("ip").args(["route", "replace", &to, "via", &via]))?.exits(0)
        };
        for place in &self.ground.places {
            route(format!("{}/32", place.mesh), place.underlay)?;
            for bridge in self.ground.bridges.iter().filter(|bridge| bridge.node == place.node) {
                let block = u32::from(bridge.last()) & (u32::MAX << (32 - bridge.length));
                route(format!("{}/{}", Ipv4Addr::from(block), bridge.length), place.underlay)?;
            }
        }
        Ok(())
    }

    /// Waits until what is allowed works, and checks that nothing else does.
    ///
    /// # Errors
    /// When it does not become so in time.
    pub fn settle(&mut self) -> Result<()> {
        let wanted = self.ground.spots.len();
        let mut last = Ok(Extent::default());
        until("the matrix to hold", REPAIR, || {
            // Interfaces and containers may be away for a moment.
            last = self.ground.again(self.cluster).and_then(|found| {
                let count = found.spots.len();
                ensure!(count == wanted, "{count} of {wanted} containers run");
                let held = check_matrix(self.cluster, &found)?;
                self.ground = found;
                Ok(held)
            });
            Ok(last.is_ok().then_some(()))
        })
        .with_context(|| format!("{last:?}"))?;
        let held = last?;
        self.trials.allowed += held.allowed;
        self.trials.forbidden += held.forbidden;
        Ok(())
    }

    /// Tries everybody once, without names: for a cluster whose daemons are away.
    ///
    /// # Errors
    /// When the matrix does not hold at once.
    pub fn holds_without_names(&mut self) -> Result<()> {
        let ground = Ground { has_names: false, ..self.ground.clone() };
        let held = check_matrix(self.cluster, &ground)?;
        self.trials.allowed += held.allowed;
        self.trials.forbidden += held.forbidden;
        Ok(())
    }

    /// Lets something break under a watch and waits until all is well again; nothing may arrive
    /// where it must not, or for so many milliseconds at most.
    ///
    /// # Errors
    /// When there is a hole, or it does not become well.
    pub fn under_watch(
        &mut self,
        fault: &str,
        hole_limit_ms: u64,
        act: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<Verdict> {
        let verdict = self.watched(fault, |matrix| {
            act(matrix).and_then(|()| matrix.settle()).with_context(|| fault.to_owned())
        })?;
        verdict.has_holes_below(hole_limit_ms).with_context(|| fault.to_owned())?;
        Ok(verdict)
    }

    /// Lets something happen under a watch.
    ///
    /// # Errors
    /// When it fails, or the watch does.
    pub fn watched(
        &mut self,
        fault: &str,
        act: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<Verdict> {
        let mut ways = ways(&self.ground);
        ways.retain(|way| !self.exempt.contains(&way.target));
        let watch = Watch::start(self.cluster, &self.ground, ways)?;
        act(self)?;
        let verdict = watch.stop(self.cluster, &self.ground.spots)?;
        self.lines.push(verdict.line(fault));
        Ok(verdict)
    }

    /// Nothing breaks for a while.
    ///
    /// # Errors
    /// As [`Matrix::under_watch`].
    pub fn rest(&mut self, time: Duration) -> Result<Verdict> {
        self.under_watch("nothing", 0, |_| {
            crate::pause::pause(time);
            Ok(())
        })
    }

    /// All that was seen.
    #[must_use]
    pub fn summary(&self) -> String {
        let Extent { allowed, forbidden } = self.trials;
        let count = self.ground.spots.len();
        let lines = self.lines.join("\n");
        format!("{count} containers, {allowed} allowed and {forbidden} forbidden trials\n{lines}")
    }

    /// A watch that calls one allowed way forbidden must report it, and only that.
    ///
    /// # Errors
    /// When it does not see it.
    pub fn a_watch_sees_a_hole(&self) -> Result<()> {
        let mut ways = ways(&self.ground);
        let way = ways.iter_mut().find(|way| way.is_answered).context("nothing is allowed")?;
        way.may_reach = BTreeSet::from([way.from.clone()]);
        let told = way.to_string();
        let watch = Watch::start(self.cluster, &self.ground, ways)?;
        crate::pause::pause(Duration::from_secs(1));
        let verdict = watch.stop(self.cluster, &self.ground.spots)?;
        let is_seen = verdict.holes.len() == 1 && verdict.holes[0].starts_with(&told);
        ensure!(is_seen, "{told} is no hole: {verdict:?}");
        ensure!(verdict.silent == 0, "allowed ways are silent: {verdict:?}");
        Ok(())
    }
}
