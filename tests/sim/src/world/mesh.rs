//! The mesh: a tunnel that is what the mesh's core makes of it, and probes that travel where both
//! ends of a tunnel agree.

use super::World;
use crate::event::{Event, HostId, Life};
use crate::queue::MILLI;
use jaco_model::entity::{MeshFacts, MeshKind};
use jaco_netmesh_core::{Effect, Input, MeshFault, Probe, PublicKey};
use jaco_wiring::Delivery;
use std::net::{IpAddr, Ipv4Addr};

/// UDP port of every tunnel.
pub(crate) const WIREGUARD_PORT: u16 = 51820;

/// MTU of the network between hosts, in bytes.
const UNDERLAY: u32 = 1500;

impl World {
    /// An order of the mesh's core.
    pub(crate) fn mesh_order(&mut self, life: Life, effect: Effect) {
        match effect {
            Effect::Observe { .. } | Effect::Apply { .. } | Effect::Listen { .. } => {
                let delay = match self.random.weighted(&[90, 10]) {
                    0 => self.random.between(100, 5 * MILLI),
                    _ => self.random.between(5 * MILLI, 500 * MILLI),
                };
                self.after(delay, Event::Tunnel(life, Box::new(effect)));
            }
            Effect::SendProbe { to, probe, .. } => self.send_probe(life.host, to, probe),
            Effect::Notify(_) => {}
            Effect::Show(view) => {
                let facts =
                    view.path_mtu.zip(self.mesh_key(life.host)).map(|(mtu, key)| MeshFacts {
                        public_key: key.to_string(),
                        port: WIREGUARD_PORT,
                        kind: MeshKind::Userspace,
                        mtu,
                    });
                let Some(process) = self.process_mut(life.host) else { return };
                process.mesh = view;
                let input = facts.map(jaco_runtime_core::Input::Mesh);
                input.into_iter().for_each(|input| process.mail.push(Delivery::Runtime(input)));
            }
        }
    }

    /// The key of a data directory.
    fn mesh_key(&self, host: HostId) -> Option<PublicKey> {
        let disk = self.host(host).disk.as_ref()?;
        let mut bytes = [0; 32];
        for (at, byte) in disk.raft_id.to_le_bytes().into_iter().enumerate() {
            bytes[at] = byte;
        }
        Some(PublicKey(bytes))
    }

    /// The kernel carries out an order of a daemon that still lives.
    pub(crate) fn tunnel_works(&mut self, life: Life, effect: &Effect) {
        let refuses = self.random.chance(self.plan.engine_faults);
        let fault = || MeshFault { op: "order", reason: "no memory".to_owned() };
        let tunnel = &mut self.host_mut(life.host).kernel.tunnel;
        let input = match effect {
            Effect::Observe { op, .. } => {
                tunnel.underlay_mtu = Some(UNDERLAY);
                let result = if refuses { Err(fault()) } else { Ok(tunnel.clone()) };
                Input::Observed { op: *op, result }
            }
            Effect::Apply { op, changes } => {
                // One that is refused leaves those before it done.
                let count = if refuses { changes.len() / 2 } else { changes.len() };
                let mut applied = changes.iter().take(count).map(|change| tunnel.apply(change));
                let result = match applied.find_map(Result::err) {
                    Some(refused) => Err(MeshFault { op: "order", reason: refused.0.to_owned() }),
                    None if refuses => Err(fault()),
                    None => Ok(()),
                };
                Input::Applied { op: *op, result }
            }
            Effect::Listen { op, .. } => {
                let result = if refuses { Err(fault()) } else { Ok(()) };
                Input::Listening { op: *op, result }
            }
            Effect::SendProbe { .. } | Effect::Notify(_) | Effect::Show(_) => return,
        };
        let delay = self.random.between(10, MILLI);
        self.after(delay, Event::Tell(life, Box::new(Delivery::Netmesh(input))));
    }

    /// A probe arrives when the sender's tunnel leads there, the network passes it, and the
    /// receiver's tunnel takes its source from the sender.
    fn send_probe(&mut self, from: HostId, to: Ipv4Addr, probe: Probe) {
        let Some(own) = self.mesh_key(from) else { return };
        let tunnel = &self.host(from).kernel.tunnel;
        let Some(source) = tunnel.addresses.iter().map(|net| net.addr()).next() else { return };
        let peer =
            tunnel.peers.iter().find(|(_, peer)| peer.allowed.iter().any(|n| n.contains(&to)));
        let Some((key, Some(endpoint))) = peer.map(|(key, peer)| (*key, peer.endpoint)) else {
            return;
        };
        let there = |host: &&crate::host::Host| IpAddr::V4(host.id.address()) == endpoint.ip();
        let Some(there) = self.hosts.iter().find(there).map(|host| host.id) else { return };
        let takes = |net: &ipnet::Ipv4Net| net.contains(&source);
        let is_known = self.mesh_key(there) == Some(key)
            && self
                .host(there)
                .kernel
                .tunnel
                .peers
                .get(&own)
                .is_some_and(|peer| peer.allowed.iter().any(takes));
        if !is_known || !self.passes(from, there) {
            return;
        }
        let (delay, life) = (self.delay(), self.host(there).alive());
        let input = Delivery::Netmesh(Input::Probed { from: source, probe });
        self.after(delay, Event::Tell(life, Box::new(input)));
    }

    /// Somebody deletes the interface.
    pub(crate) fn drop_tunnel(&mut self, host: HostId) {
        let life = self.host(host).alive();
        self.host_mut(host).kernel.tunnel.lose_device();
        let delay = self.random.between(100, 100 * MILLI);
        let changed = Delivery::Netmesh(Input::KernelChanged);
        self.after(delay, Event::Tell(life, Box::new(changed)));
    }
}
