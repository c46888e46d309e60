//! Who reaches whom: every pair of containers, and what they must never reach, tried for real.

use std::net::Ipv4Addr;
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};

use crate::cluster::Cluster;
use crate::run::Run;

/// Where the probe echoes; the same in every container of the matrix.
pub const TCP_PORT: u16 = 9_001;
/// As [`TCP_PORT`], for datagrams.
pub const UDP_PORT: u16 = 9_002;

/// A container with an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    /// Who may talk to it: a deployment and its network.
    pub scope: String,
    /// The node it is on.
    pub node: usize,
    /// The engine's id.
    pub id: String,
    /// The replica, for messages.
    pub replica: String,
    /// Its address.
    pub address: Ipv4Addr,
}

/// Something that is tried from a container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Try {
    protocol: &'static str,
    to: String,
    what: String,
    is_allowed: bool,
}

/// All containers of these deployments, each of one network.
///
/// # Errors
/// When an engine does not answer, or a container has no address.
pub fn spots(c: &Cluster, deployments: &[&str]) -> Result<Vec<Spot>> {
    let mut all = Vec::new();
    for deployment in deployments {
        for (node, one) in c.containers(deployment)? {
            let address = one.address.parse().with_context(|| format!("{one:?}"))?;
            let (scope, replica, id) = ((*deployment).to_owned(), one.replica, one.id);
            all.push(Spot { scope, node, id, replica, address });
        }
    }
    all.sort();
    Ok(all)
}

/// Tries every pair by TCP and UDP, and that nobody gets to what only the host may: reachable is
/// what is allowed, exactly.
///
/// # Errors
/// With all pairs for which that is not so.
pub fn check_matrix(c: &Cluster, spots: &[Spot]) -> Result<()> {
    ensure!(spots.len() > 1, "nobody to reach: {spots:#?}");
    let forbidden = forbidden(c)?;
    let wrong: Vec<String> = thread::scope(|scope| {
        let runs: Vec<_> =
            spots.iter().map(|from| scope.spawn(|| from_one(c, from, spots, &forbidden))).collect();
        let mut wrong = Vec::new();
        for run in runs {
            wrong.extend(run.join().map_err(|_| anyhow!("a trial panicked"))??);
        }
        Ok::<_, anyhow::Error>(wrong)
    })?;
    ensure!(wrong.is_empty(), "{} trials went wrong:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

/// Ports of the nodes themselves that answer, by their underlay and mesh addresses.
fn forbidden(c: &Cluster) -> Result<Vec<Try>> {
    let mut tries = Vec::new();
    for node in c.nodes() {
        let mesh = mesh_address(c, node.name())?;
        for (address, port) in
            [(node.host().address(), 7000), (node.host().address(), 7001), (mesh, 7000)]
        {
            let what = format!("{}'s own port", node.name());
            let to = format!("{address}:{port}");
            tries.push(Try { protocol: "tcp", to, what, is_allowed: false });
        }
    }
    Ok(tries)
}

/// A node's address in the mesh, as its interface has it.
///
/// # Errors
/// When it has none.
pub fn mesh_address(c: &Cluster, name: &str) -> Result<Ipv4Addr> {
    let host = c.lab().host(name)?;
    let shown = Run::of(host.command("ip").args(["-4", "-o", "addr", "show", "dev", "wg-jaco"]))?;
    let shown = shown.exits(0)?.stdout;
    let words: Vec<&str> = shown.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "inet").context("no mesh address")?;
    let net = words.get(at + 1).context("no mesh address")?;
    net.split('/').next().unwrap_or_default().parse().with_context(|| shown.clone())
}

fn from_one(c: &Cluster, from: &Spot, spots: &[Spot], forbidden: &[Try]) -> Result<Vec<String>> {
    let to_spot = |to: &Spot, protocol, port| Try {
        protocol,
        to: format!("{}:{port}", to.address),
        what: to.replica.clone(),
        is_allowed: to.scope == from.scope,
    };
    let others = spots.iter().filter(|to| to.id != from.id);
    let mut tries: Vec<Try> = others
        .flat_map(|to| [to_spot(to, "tcp", TCP_PORT), to_spot(to, "udp", UDP_PORT)])
        .collect();
    tries.extend_from_slice(forbidden);
    let node = c.node(from.node);
    let mut wrong = Vec::new();
    for one in tries {
        let run = node.exec(&from.id, &["client", "dial", one.protocol, &one.to, "hello"])?;
        if (run.code == Some(0)) != one.is_allowed {
            let Try { protocol, to, what, is_allowed } = one;
            let (source, said) = (&from.replica, run.stderr.trim());
            let should = if is_allowed { "cannot reach" } else { "reaches" };
            wrong.push(format!("{source} {should} {what} at {protocol} {to}: {said}"));
        }
    }
    Ok(wrong)
}
