//! A host that filters between a container and another node, and packets of three kinds through it.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::policy::{block, bridge_name, host};
use crate::bench::measure::stopwatch;
use crate::bench::space::{Space, received};

/// Packets of one sample.
const PACKETS: u32 = 60_000;
/// Flows that packets are spread over, unless each is of a flow of its own.
const FLOWS: u16 = 48;
/// The first port of the other side.
const PORT: u16 = 5_000;
/// Blocks of the same scope that flows go to.
const BLOCKS: u32 = 3;
/// The address of the other node's end, so that nothing has to be asked for it.
const FAR_LINK: &str = "02:00:00:00:00:02";
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the packets of a sample are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of connections that were answered: nearly all packets there are.
    Established,
    /// Of flows without an answer: every packet goes through the rules and is looked up in the
    /// sets.
    Unanswered,
    /// Each the first of its flow, so the kernel also notes a new connection.
    New,
}

impl Kind {
    pub(super) const ALL: [Kind; 3] = [Kind::Established, Kind::Unanswered, Kind::New];

    /// For people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Established => "a packet of 48 established flows through the host",
            Kind::Unanswered => "a packet of 48 unanswered flows through the host",
            Kind::New => "the first packet of a flow through the host",
        }
    }
}

/// A container behind a bridge, a filtering host, and containers of the same scope elsewhere.
pub(super) struct Path {
    pub(super) hub: Space,
    container: Space,
    remote: Space,
}

impl Path {
    /// The container is in scope 0. The mesh is a plain cable with its name: the filter sees no
    /// difference, and no time goes into ciphers.
    pub(super) fn new() -> Result<Path> {
        let (hub, container, remote) = (Space::new()?, Space::new()?, Space::new()?);
        let (bridge, gateway) = (bridge_name(0), host(block(0, 0), 1));
        hub.ip(&format!("link add {bridge} type bridge"))?;
        hub.ip(&format!("address add {gateway}/26 dev {bridge}"))?;
        hub.ip(&format!("link set {bridge} up"))?;
        hub.link("port", &container, "eth0")?;
        hub.ip(&format!("link set port master {bridge}"))?;
        container.ip(&format!("address add {}/26 dev eth0", own()))?;
        container.ip(&format!("route add default via {gateway}"))?;
        hub.link("wg-jaco", &remote, "wg-jaco")?;
        remote.ip(&format!("link set wg-jaco address {FAR_LINK}"))?;
        hub.ip("address add 10.80.0.1/32 dev wg-jaco")?;
        hub.ip("route add 10.80.0.0/12 dev wg-jaco src 10.80.0.1")?;
        remote.ip("address add 10.80.0.2/32 dev wg-jaco")?;
        remote.ip("route add 10.80.0.1 dev wg-jaco")?;
        remote.ip("route add default via 10.80.0.1")?;
        for part in 1..=BLOCKS {
            remote.ip(&format!("address add {}/32 dev wg-jaco", answering(part)))?;
            for address in [answering(part), silent(part)] {
                let words = format!("neigh add {address} lladdr {FAR_LINK} dev wg-jaco");
                hub.ip(&words)?;
            }
        }
        hub.set("ipv4/ip_forward", "1")?;
        // Flows of a sample are forgotten soon after it, so that the kernel's table stays small.
        hub.set("netfilter/nf_conntrack_udp_timeout", "2")?;
        for (space, interface) in [
            (&hub, "all"),
            (&hub, bridge.as_str()),
            (&hub, "wg-jaco"),
            (&remote, "all"),
            (&remote, "wg-jaco"),
        ] {
            space.set(&format!("ipv4/conf/{interface}/rp_filter"), "0")?;
        }
        // One processor does all the work of a packet, and pays for it.
        container.pin(0)?;
        Ok(Path { hub, container, remote })
    }

    /// Nanoseconds for each datagram of 64 bytes that arrived.
    pub(super) fn cost(&self, kind: Kind) -> Result<f64> {
        let _answers = match kind {
            Kind::Established => Some(self.answer_once()?),
            Kind::Unanswered | Kind::New => None,
        };
        let sockets = self.container.run(move || sockets(kind))?;
        let before = self.remote.run(|| received("wg-jaco"))?;
        let took = self.container.run(move || {
            let clock = stopwatch();
            // What is lost is counted at the other end.
            match kind {
                Kind::New => first_packets(&sockets),
                Kind::Established | Kind::Unanswered => {
                    for socket in sockets.iter().cycle().take(PACKETS as usize) {
                        let _ = socket.send(&[0; 64]);
                    }
                }
            }
            Ok(clock())
        })?;
        let arrived = self.remote.run(|| received("wg-jaco"))?.saturating_sub(before);
        let least = u64::from(PACKETS) * 9 / 10;
        ensure!(arrived >= least, "{}: of {PACKETS} only {arrived} arrived", kind.name());
        Ok(took.as_secs_f64() * 1e9 / arrived as f64)
    }

    /// Answers the first packet of each flow; the ports are open as long as the result lives.
    fn answer_once(&self) -> Result<Vec<UdpSocket>> {
        self.remote.run(|| {
            let mut open = Vec::new();
            for flow in 0..FLOWS {
                let (part, port) = (1 + u32::from(flow) % BLOCKS, PORT + flow);
                let socket = UdpSocket::bind((answering(part), port))?;
                socket.set_read_timeout(Some(PATIENCE))?;
                let answering = socket.try_clone()?;
                std::thread::spawn(move || {
                    let mut packet = [0; 64];
                    // Without an answer the other side says so.
                    if let Ok((length, peer)) = answering.recv_from(&mut packet) {
                        let _ = answering.send_to(&packet[..length], peer);
                    }
                });
                open.push(socket);
            }
            Ok(open)
        })
    }
}

/// The container's sockets: one for each flow, those of answered flows answered, and a few that
/// send first packets to ever other ports.
fn sockets(kind: Kind) -> Result<Vec<UdpSocket>> {
    let count = if kind == Kind::New { BLOCKS as u16 } else { FLOWS };
    let mut sockets = Vec::new();
    for flow in 0..count {
        let part = 1 + u32::from(flow) % BLOCKS;
        let socket = UdpSocket::bind((own(), 0))?;
        let to = if kind == Kind::Established { answering(part) } else { silent(part) };
        if kind != Kind::New {
            socket.connect((to, PORT + flow))?;
        }
        if kind == Kind::Established {
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.send(&[0; 64])?;
            socket.recv(&mut [0; 64]).context("a flow was not answered")?;
        }
        sockets.push(socket);
    }
    Ok(sockets)
}

/// Each to a port of its own.
fn first_packets(sockets: &[UdpSocket]) {
    let each = PACKETS / BLOCKS;
    for port in 0..each {
        for (part, socket) in (1..).zip(sockets) {
            let _ = socket.send_to(&[0; 64], (silent(part), 10_000 + port as u16));
        }
    }
}

/// The container.
fn own() -> Ipv4Addr {
    host(block(0, 0), 2)
}

/// A container elsewhere that answers.
fn answering(part: u32) -> Ipv4Addr {
    host(block(0, part), 2)
}

/// One whose node takes its packets and drops them.
fn silent(part: u32) -> Ipv4Addr {
    host(block(0, part), 3)
}
