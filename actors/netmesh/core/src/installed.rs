//! What changes do to what is installed: the kernel and the tunnel as far as the core counts on
//! them.
//!
//! Tests and the simulator stand on it. That the real ones behave so is shown by the driver's own
//! tests.

use crate::mesh::{Device, Installed, InstalledPeer, Route, Sysctl};
use crate::plan::{Change, PeerChange};
use crate::prefixes::overlap;
use ipnet::Ipv4Net;

/// Largest packet of a new interface, in bytes.
const FRESH_MTU: u32 = 1500;

/// Value of the settings of a new interface; none of them wants it.
const FRESH_SYSCTL: u32 = 9;

/// A change that the kernel or the tunnel would refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(
    /// Why.
    pub &'static str,
);

impl Installed {
    /// Carries out one change.
    ///
    /// # Errors
    /// When something that it needs is not there, or two peers would hold one address. Then what
    /// is installed is as before, but for a peer that was already changed.
    pub fn apply(&mut self, change: &Change) -> Result<(), Refused> {
        match change {
            Change::EnsureDevice { port } => self.ensure_device(*port),
            Change::SetMtu(mtu) => self.device()?.mtu = u32::from(*mtu),
            Change::SetUp(is_up) => {
                self.device()?.is_up = *is_up;
                if !is_up {
                    self.lose_routes();
                }
            }
            Change::SetSysctl(sysctl) => {
                self.sysctls.insert(*sysctl, sysctl.wanted());
            }
            Change::AddAddress(address) => {
                self.device()?;
                self.addresses.insert(Ipv4Net::from(*address));
            }
            Change::RemoveAddress(net) => {
                self.addresses.remove(net);
            }
            Change::AddRoute(route) => self.add_route(*route)?,
            Change::RemoveRoute(route) => {
                self.routes.remove(route);
            }
            Change::Peer(change) => {
                self.device()?;
                self.change_peer(change)?;
                self.check_peers()?;
            }
        }
        Ok(())
    }

    /// The interface goes, and all that hangs on it.
    pub fn lose_device(&mut self) {
        self.device = None;
        self.addresses.clear();
        self.peers.clear();
        self.lose_routes();
    }

    fn ensure_device(&mut self, port: u16) {
        if let Some(device) = &mut self.device {
            device.port = port;
            return;
        }
        self.lose_device();
        self.device = Some(Device { port, mtu: FRESH_MTU, is_up: false });
        self.sysctls.extend(Sysctl::ALL.map(|sysctl| (sysctl, FRESH_SYSCTL)));
    }

    fn device(&mut self) -> Result<&mut Device, Refused> {
        self.device.as_mut().ok_or(Refused("there is no interface"))
    }

    /// Those into the tunnel end with it or when it is set down.
    fn lose_routes(&mut self) {
        self.routes.retain(|route| matches!(route, Route::Unreachable { .. }));
    }

    fn add_route(&mut self, route: Route) -> Result<(), Refused> {
        if let Route::Tunnel { to, source } = route {
            if !self.device()?.is_up {
                return Err(Refused("a route needs its interface up"));
            }
            if !self.addresses.contains(&Ipv4Net::from(source)) {
                return Err(Refused("a source must be an address of the host"));
            }
            // The one of the same metric to the same place is replaced.
            self.routes.retain(|r| !matches!(r, Route::Tunnel { to: other, .. } if *other == to));
        }
        self.routes.insert(route);
        Ok(())
    }

    fn change_peer(&mut self, change: &PeerChange) -> Result<(), Refused> {
        const NOBODY: Refused = Refused("there is no such peer");
        let peers = &mut self.peers;
        match change {
            PeerChange::Remove { key } => {
                peers.remove(key);
            }
            PeerChange::Replace { key, allowed } => {
                peers.get_mut(key).ok_or(NOBODY)?.allowed.clone_from(allowed);
            }
            PeerChange::Allow { key, allowed } => {
                peers.get_mut(key).ok_or(NOBODY)?.allowed.extend(allowed);
            }
            PeerChange::Aim { key, endpoint } => {
                peers.get_mut(key).ok_or(NOBODY)?.endpoint = Some(*endpoint);
            }
            PeerChange::Keepalive { key, seconds } => {
                peers.get_mut(key).ok_or(NOBODY)?.keepalive_seconds = *seconds;
            }
            PeerChange::Add { key, endpoint, allowed, keepalive_seconds } => {
                let peer = InstalledPeer {
                    endpoint: *endpoint,
                    allowed: allowed.clone(),
                    keepalive_seconds: *keepalive_seconds,
                    ..InstalledPeer::default()
                };
                peers.insert(*key, peer);
            }
        }
        Ok(())
    }

    /// No two peers hold one address. A real tunnel would silently take it from one of them.
    fn check_peers(&self) -> Result<(), Refused> {
        let held =
            self.peers.iter().flat_map(|(key, peer)| peer.allowed.iter().map(move |n| (key, n)));
        let held: Vec<_> = held.collect();
        for (at, (key, net)) in held.iter().enumerate() {
            if held[..at].iter().any(|(other, theirs)| other != key && overlap(net, theirs)) {
                return Err(Refused("two peers hold one address"));
            }
        }
        Ok(())
    }
}
