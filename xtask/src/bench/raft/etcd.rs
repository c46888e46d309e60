//! etcd on the hosts of a lab: the peer for commits per second.
//!
//! It is Debian's package with its defaults, and with TLS between members, which JACO always has.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use jaco_lab::{Host, until};

use super::grpc::{Grpc, bytes, number, put_bytes};
use super::load::Writer;
use crate::bench::debian::Program;

/// Longest time until a new cluster has a leader.
const START_LIMIT: Duration = Duration::from_secs(30);

const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;

/// A running cluster with an empty store; dropping it ends the processes.
#[derive(Debug)]
pub(super) struct Etcd {
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    process: Child,
    address: SocketAddr,
    data_dir: PathBuf,
}

impl Etcd {
    /// Where the program is. It is not installed, since its package would start a server.
    pub(super) fn fetch() -> Result<PathBuf> {
        Ok(Program::fetch("etcd-server", "etcd")?.path().to_owned())
    }

    /// Starts one member on each of the hosts and waits until they have a leader.
    pub(super) fn start(binary: &Path, hosts: &[Host]) -> Result<Etcd> {
        let cluster = hosts.iter().map(|host| format!("{}={}", host.name(), peer_url(host)));
        let cluster = cluster.collect::<Vec<_>>().join(",");
        let mut etcd = Etcd { members: Vec::new() };
        for host in hosts {
            etcd.members.push(start_member(binary, host, &cluster)?);
        }
        until("a leader of etcd", START_LIMIT, || Ok(etcd.leader().ok().flatten()))?;
        Ok(etcd)
    }

    /// Which member leads: the index of its host.
    fn leader(&self) -> Result<Option<usize>> {
        let mut leads = None;
        for (index, member) in self.members.iter().enumerate() {
            let mut connection = Grpc::connect(member.address)?;
            let status = connection.call("/etcdserverpb.Maintenance/Status", &[])?;
            let (own, leader) = (number(bytes(&status, 1)?, 2)?, number(&status, 4)?);
            if leader == 0 {
                return Ok(None);
            }
            leads = if own == leader { Some(index) } else { leads };
        }
        Ok(leads)
    }

    /// Clients of the leader, or of one member that follows it.
    pub(super) fn writers(
        &self,
        clients: usize,
        value_bytes: usize,
        follows: bool,
    ) -> Result<Vec<Box<dyn Writer>>> {
        let leader = self.leader()?.context("etcd has no leader")?;
        let index = if follows { (leader + 1) % self.members.len() } else { leader };
        let member = self.members.get(index).context("no such member")?;
        let writer = |client| -> Result<Box<dyn Writer>> {
            let mut put = Vec::new();
            put_bytes(&mut put, 1, format!("/bench/{client:04}").as_bytes());
            put_bytes(&mut put, 2, &vec![b'v'; value_bytes]);
            Ok(Box::new(Put { connection: Grpc::connect(member.address)?, put }))
        };
        (0..clients).map(writer).collect()
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for member in &mut self.members {
            // What could not be ended or removed goes with the lab.
            let _ended = member.process.kill().and_then(|()| member.process.wait());
            let _removed = fs::remove_dir_all(&member.data_dir);
        }
    }
}

fn start_member(binary: &Path, host: &Host, cluster: &str) -> Result<Member> {
    let data_dir = host.data_dir().join("etcd");
    let log = File::create(host.data_dir().join("etcd.log"))?;
    let client_url = format!("http://{}:{CLIENT_PORT}", host.address());
    let peer_url = peer_url(host);
    let process = host
        .command(binary)
        .args(["--name", host.name(), "--initial-cluster", cluster])
        .arg("--data-dir")
        .arg(&data_dir)
        .args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url])
        .args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url])
        .args(["--peer-auto-tls", "--logger", "zap", "--log-level", "error"])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("cannot start etcd")?;
    let address = SocketAddr::new(host.address().into(), CLIENT_PORT);
    Ok(Member { process, address, data_dir })
}

fn peer_url(host: &Host) -> String {
    format!("https://{}:{PEER_PORT}", host.address())
}

/// A client that puts the same key again and again.
struct Put {
    connection: Grpc,
    put: Vec<u8>,
}

impl Writer for Put {
    fn write(&mut self) -> Result<()> {
        self.connection.call("/etcdserverpb.KV/Put", &self.put).map(drop)
    }
}
