//! A host with two bridges, containers behind them, a mesh and a neighbour.

use crate::fixture::{BRIDGE_A, BRIDGE_B};
use crate::namespace::{Namespace, PATIENCE};
use jaco_firewall::drop_counters;
use jaco_kit::Clock;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

/// Where echo servers listen.
pub(crate) const ECHO: u16 = 5_000;

pub(crate) struct Wires {
    /// The host: 10.81.0.1 and 10.81.0.129 on bridges, 10.80.0.1 in the mesh, 192.168.7.1 outside.
    pub(crate) host: Namespace,
    /// Containers of scope a, 10.81.0.2, and of scope b, 10.81.0.130.
    pub(crate) a: Namespace,
    pub(crate) b: Namespace,
    /// Another node's side of the mesh: 10.80.0.2, and a container of scope a, 10.81.0.66.
    pub(crate) remote: Namespace,
    /// A neighbour, 192.168.7.9, who is also the node 192.168.7.2 and has a route to the pool.
    pub(crate) outside: Namespace,
}

impl Wires {
    pub(crate) fn new() -> Wires {
        let host = Namespace::new();
        let (a, b) = (Namespace::new(), Namespace::new());
        let (remote, outside) = (Namespace::new(), Namespace::new());
        for (container, bridge, port, gateway, address) in [
            (&a, BRIDGE_A, "vetha", "10.81.0.1", "10.81.0.2/26"),
            (&b, BRIDGE_B, "vethb", "10.81.0.129", "10.81.0.130/26"),
        ] {
            host.ip(&format!("link add {bridge} type bridge"));
            host.ip(&format!("address add {gateway}/26 dev {bridge}"));
            host.ip(&format!("link set {bridge} up"));
            host.link(port, container, "eth0");
            host.ip(&format!("link set {port} master {bridge}"));
            container.ip(&format!("address add {address} dev eth0"));
            container.ip(&format!("route add default via {gateway}"));
        }
        // A plain cable with the name of the mesh: the filter sees no difference.
        host.link("wg-jaco", &remote, "wg-jaco");
        host.ip("address add 10.80.0.1/32 dev wg-jaco");
        host.ip("route add 10.80.0.0/12 dev wg-jaco src 10.80.0.1");
        for address in ["10.80.0.2/32", "10.81.0.66/32", "172.16.0.1/32"] {
            remote.ip(&format!("address add {address} dev wg-jaco"));
        }
        remote.ip("route add 10.80.0.1 dev wg-jaco");
        remote.ip("route add default via 10.80.0.1");
        host.link("eth0", &outside, "eth0");
        host.ip("address add 192.168.7.1/24 dev eth0");
        outside.ip("address add 192.168.7.9/24 dev eth0");
        outside.ip("address add 192.168.7.2/24 dev eth0");
        outside.ip("route add 10.80.0.0/12 via 192.168.7.1");
        host.set("ipv4/ip_forward", "1");
        for namespace in [&host, &a, &b, &remote, &outside] {
            // Sources are checked by our rules here, not by the routing table.
            for interface in ["all", "default"] {
                namespace.set(&format!("ipv4/conf/{interface}/rp_filter"), "0");
            }
        }
        for namespace in [&host, &a, &b, &outside] {
            echo(namespace, "0.0.0.0", ECHO);
        }
        // It answers from the address that was asked.
        for address in ["10.80.0.2", "10.81.0.66"] {
            echo(&remote, address, ECHO);
        }
        for interface in [BRIDGE_A, BRIDGE_B, "wg-jaco", "eth0"] {
            host.set(&format!("ipv4/conf/{interface}/rp_filter"), "0");
        }
        Wires { host, a, b, remote, outside }
    }

    /// Whether a datagram from this source reaches an echo server, and whom it saw. Ends when there
    /// is an answer, or when the host has counted a drop.
    pub(crate) fn send(
        &self,
        from: &Namespace,
        source: &str,
        to: &str,
    ) -> Result<SocketAddr, Vec<String>> {
        let before = self.drops();
        let (source, to) = (format!("{source}:0"), to.to_owned());
        let socket = from.run(move || {
            let socket = UdpSocket::bind(&source).unwrap_or_else(|e| panic!("{source}: {e}"));
            socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            socket
        });
        let clock = Clock::new();
        let mut received = [0; 64];
        while clock.mono().since(jaco_kit_core::Mono(0)) < PATIENCE {
            let sent = socket.send_to(b"who am I", &to);
            if let Ok((len, from)) = socket.recv_from(&mut received) {
                assert_eq!(from.to_string(), to, "another address answers");
                return Ok(std::str::from_utf8(&received[..len]).unwrap().parse().unwrap());
            }
            let after = self.drops();
            let grown = after.iter().filter(|(reason, count)| {
                before.iter().find(|(r, _)| r == reason).is_none_or(|(_, old)| old < count)
            });
            let grown: Vec<String> = grown.map(|(reason, _)| reason.clone()).collect();
            if !grown.is_empty() {
                return Err(grown);
            }
            drop(sent);
        }
        Err(vec!["silence".to_owned()])
    }

    fn drops(&self) -> Vec<(String, u64)> {
        let counted = self.host.run(|| drop_counters().unwrap());
        counted.into_iter().map(|(reason, counted)| (reason, counted.packets)).collect()
    }
}

/// Tells everyone who sends a datagram which address it came from. Ends with the process.
pub(crate) fn echo(namespace: &Namespace, address: &'static str, port: u16) {
    let socket = namespace.run(move || UdpSocket::bind((address, port)).unwrap());
    std::thread::spawn(move || {
        let mut received = [0; 64];
        while let Ok((_, from)) = socket.recv_from(&mut received) {
            let _lost = socket.send_to(from.to_string().as_bytes(), from);
        }
    });
}
