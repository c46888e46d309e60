//! Two hosts and a switch between them that sees every packet.

use crate::host::{Host, patience};
use crate::node::{Node, PORT, kind};
use ipnet::Ipv4Net;
use jaco_model::NodeId;
use jaco_model::entity::MeshKind;
use jaco_netmesh_core::{Mesh, Peer, PublicKey};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, socket};
use rtnetlink::{Handle, LinkBridge, LinkUnspec, LinkVeth};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::UdpSocket;

pub(crate) struct World {
    pub(crate) hosts: [Host; 2],
    kinds: [MeshKind; 2],
    homes: [TempDir; 2],
    switch: Host,
    wire: OwnedFd,
}

/// Mesh address of a host.
pub(crate) fn mesh_address(host: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 80, 0, u8::try_from(host + 1).unwrap())
}

fn address(host: usize) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 77, u8::try_from(host + 1).unwrap())
}

pub(crate) fn net(text: &str) -> Ipv4Net {
    text.parse().unwrap()
}

pub(crate) fn netlink() -> Handle {
    let (connection, handle, _) = rtnetlink::new_connection().unwrap();
    tokio::spawn(connection);
    handle
}

pub(crate) async fn index(netlink: &Handle, name: &str) -> Option<u32> {
    use futures_util::TryStreamExt;
    let mut found = Box::pin(netlink.link().get().match_name(name).execute());
    found.try_next().await.ok().flatten().map(|link| link.header.index)
}

async fn set_up(netlink: &Handle, name: &str) {
    let up = LinkUnspec::new_with_name(name).up().build();
    netlink.link().change(up).execute().await.unwrap();
}

impl World {
    /// With tunnels of the kind that this run is about.
    pub(crate) fn new() -> World {
        World::with([kind(0), kind(1)])
    }

    /// With tunnels of these kinds.
    pub(crate) fn with(kinds: [MeshKind; 2]) -> World {
        let hosts = [Host::new(), Host::new()];
        let switch = Host::new();
        let wire = switch.run(|| async {
            let netlink = netlink();
            netlink.link().add(LinkBridge::new("switch").build()).execute().await.unwrap();
            set_up(&netlink, "switch").await;
            let kind = SockType::Raw;
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            socket(AddressFamily::Packet, kind, flags, SockProtocol::EthAll).unwrap()
        });
        for (at, host) in hosts.iter().enumerate() {
            let namespace = host.namespace().as_raw_fd();
            switch.run(move || async move {
                let netlink = netlink();
                let port = format!("port{at}");
                let pair = LinkVeth::new(&port, "wire").build();
                netlink.link().add(pair).execute().await.unwrap();
                let away = LinkUnspec::new_with_name("wire").setns_by_fd(namespace).build();
                netlink.link().change(away).execute().await.unwrap();
                let bridge = index(&netlink, "switch").await.unwrap();
                let joined = LinkUnspec::new_with_name(&port).controller(bridge).up().build();
                netlink.link().change(joined).execute().await.unwrap();
            });
            host.run(move || async move {
                let netlink = netlink();
                set_up(&netlink, "lo").await;
                let wire = index(&netlink, "wire").await.unwrap();
                let add = netlink.address().add(wire, IpAddr::V4(address(at)), 24);
                add.execute().await.unwrap();
                set_up(&netlink, "wire").await;
            });
        }
        let homes = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        World { hosts, kinds, homes, switch, wire }
    }

    pub(crate) fn home(&self, host: usize) -> &Path {
        self.homes[host].path()
    }

    pub(crate) fn start(&self, host: usize) -> Node {
        self.start_as(host, self.kinds[host])
    }

    /// Starts a node with another kind of tunnel.
    pub(crate) fn start_as(&self, host: usize, kind: MeshKind) -> Node {
        Node::start(&self.hosts[host], self.home(host), Some(kind))
    }

    /// Whether a host's tunnel is a helper's.
    pub(crate) fn has_helper(&self, host: usize) -> bool {
        self.kinds[host] == MeshKind::Userspace
    }

    /// Both nodes, each with the other as its peer, and paths that carry packets.
    #[track_caller]
    pub(crate) fn connected(&self) -> [Node; 2] {
        let nodes = [self.start(0), self.start(1)];
        for at in [0, 1] {
            nodes[at].want(mesh(at, [peer(1 - at, nodes[1 - at].handle.public_key(), &[])]));
        }
        for node in &nodes {
            node.wait_for_paths(1);
        }
        nodes
    }

    /// The helper's process on a host.
    pub(crate) fn helper(&self, host: usize) -> i32 {
        let text = std::fs::read_to_string(self.home(host).join("mesh/helper.lock"));
        text.unwrap_or_default().trim().parse().unwrap_or(0)
    }

    /// Answers every datagram at this port of a host.
    pub(crate) fn echo(&self, host: usize, port: u16) {
        self.echo_at(host, mesh_address(host), port);
    }

    /// The same at another address of the host.
    pub(crate) fn echo_at(&self, host: usize, address: Ipv4Addr, port: u16) {
        let socket = self.hosts[host]
            .run(move || async move { UdpSocket::bind((address, port)).await.unwrap() });
        self.hosts[host].spawn(move || async move {
            let mut packet = [0; 2048];
            while let Ok((length, from)) = socket.recv_from(&mut packet).await {
                let _ = socket.send_to(&packet[..length], from).await;
            }
        });
    }

    /// Sends a text to the echo on the other host this often, 10 ms apart; says how many came back.
    pub(crate) fn ping(&self, host: usize, port: u16, text: &'static str, count: u32) -> u32 {
        self.hosts[host].run(move || async move { ping(host, port, text, count).await })
    }

    /// Everything that went over the wire since the last call.
    pub(crate) fn captured(&self) -> Vec<u8> {
        let (mut all, mut packet) = (Vec::new(), vec![0; 65_536]);
        while let Ok(length) = recv(self.wire.as_raw_fd(), &mut packet, MsgFlags::MSG_DONTWAIT) {
            all.extend_from_slice(&packet[..length]);
        }
        all
    }

    /// The number of an interface on a host.
    pub(crate) fn index(&self, host: usize, name: &'static str) -> Option<u32> {
        self.hosts[host].run(move || async move { index(&netlink(), name).await })
    }

    /// Gives a host another address on the wire or the loopback interface.
    pub(crate) fn add_address(&self, host: usize, interface: &'static str, net: Ipv4Net) {
        self.hosts[host].run(move || async move {
            let netlink = netlink();
            let to = index(&netlink, interface).await.unwrap();
            let add = netlink.address().add(to, IpAddr::V4(net.addr()), net.prefix_len());
            add.execute().await.unwrap();
        });
    }

    /// Takes the address of a host on the wire away.
    pub(crate) fn remove_wire_address(&self, host: usize) {
        self.hosts[host].run(move || async move {
            let netlink = netlink();
            let wire = index(&netlink, "wire").await.unwrap();
            let message = rtnetlink::AddressMessageBuilder::<Ipv4Addr>::new();
            let message = message.index(wire).address(address(host), 24).build();
            netlink.address().del(message).execute().await.unwrap();
        });
    }

    /// Plugs a host's wire into the switch or out of it.
    pub(crate) fn plug(&self, host: usize, is_in: bool) {
        self.switch.run(move || async move {
            let port = LinkUnspec::new_with_name(&format!("port{host}"));
            let port = if is_in { port.up() } else { port.down() };
            netlink().link().change(port.build()).execute().await.unwrap();
        });
    }

    /// Sets the MTU of the switch and of a host's wire.
    pub(crate) fn set_wire_mtu(&self, host: usize, mtu: u32) {
        self.hosts[host].run(move || async move {
            let message = LinkUnspec::new_with_name("wire").mtu(mtu).build();
            netlink().link().change(message).execute().await.unwrap();
        });
    }
}

pub(crate) async fn ping(host: usize, port: u16, text: &str, count: u32) -> u32 {
    ping_from(mesh_address(host), (mesh_address(1 - host), port).into(), text, count).await
}

/// Sends a text this often, 10 ms apart; says how many came back.
pub(crate) async fn ping_from(from: Ipv4Addr, to: SocketAddr, text: &str, count: u32) -> u32 {
    let socket = UdpSocket::bind((from, 0)).await.unwrap();
    let (mut came, mut packet) = (0, [0; 2048]);
    for _ in 0..count {
        let _ = socket.send_to(text.as_bytes(), to).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
        while socket.try_recv(&mut packet).is_ok() {
            came += 1;
        }
    }
    // The last ones may still be on their way.
    let rest = async {
        while came < count && socket.recv(&mut packet).await.is_ok() {
            came += 1;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(2), rest).await;
    came
}

/// What a host wants with these peers.
pub(crate) fn mesh(host: usize, peers: impl IntoIterator<Item = (PublicKey, Peer)>) -> Mesh {
    Mesh {
        address: mesh_address(host),
        pool: net("10.80.0.0/12"),
        port: PORT,
        mtu: 1420,
        peers: peers.into_iter().collect(),
    }
}

/// A host as the peer of another, with these blocks.
pub(crate) fn peer(host: usize, key: PublicKey, blocks: &[&str]) -> (PublicKey, Peer) {
    let own = Ipv4Net::from(mesh_address(host));
    let allowed = std::iter::once(own).chain(blocks.iter().map(|text| net(text))).collect();
    let endpoints = vec![SocketAddr::from((address(host), PORT))];
    let node = NodeId::new(format!("node-{host}"));
    (key, Peer { node, address: mesh_address(host), endpoints, allowed })
}

/// Waits until something holds; fails with what was seen last.
#[track_caller]
pub(crate) fn wait(
    what: &str,
    limit: Duration,
    mut holds: impl FnMut() -> bool,
    seen: impl Fn() -> String,
) {
    let limit = patience(limit);
    let clock = jaco_kit::Clock::new();
    let start = clock.mono();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    while !holds() {
        assert!(clock.mono().since(start) < limit, "not in {limit:?}: {what}; {}", seen());
        runtime.block_on(async { tokio::time::sleep(Duration::from_millis(10)).await });
    }
}

/// Whether a process is alive.
pub(crate) fn is_alive(pid: i32) -> bool {
    // A zombie is not.
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    text.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

impl Drop for World {
    fn drop(&mut self) {
        for home in &self.homes {
            let lock: PathBuf = home.path().join("mesh/helper.lock");
            let text = std::fs::read_to_string(lock).unwrap_or_default();
            let pid = text.trim().parse().ok().and_then(rustix::process::Pid::from_raw);
            let Some(pid) = pid else { continue };
            // Only what was started here.
            let words = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero()));
            let path = home.path().as_os_str().as_encoded_bytes().to_vec();
            if words.is_ok_and(|words| words.windows(path.len()).any(|part| part == path)) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        let _ = &self.switch;
    }
}
