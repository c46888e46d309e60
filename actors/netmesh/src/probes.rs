//! The socket of the probes, bound to the mesh address alone.

use crate::Error;
use jaco_netmesh_core::{PROBE_PORT, Probe};
use rustix::net::sockopt::{Ipv4PathMtuDiscovery, set_ip_mtu_discover};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::task::AbortHandle;

/// Larger than any probe.
const PACKET: usize = 65_536;

/// A socket that receives until it is dropped.
#[derive(Debug)]
pub(crate) struct Probes {
    socket: Arc<UdpSocket>,
    receiving: AbortHandle,
}

impl Probes {
    /// Opens the socket and hands on each probe with its sender's address.
    pub(crate) async fn open(
        address: Ipv4Addr,
        heard: impl Fn(Ipv4Addr, Probe) + Send + 'static,
    ) -> Result<Probes, Error> {
        let socket = UdpSocket::bind((address, PROBE_PORT)).await;
        let socket = Arc::new(socket.map_err(Error::io("open the socket of probes"))?);
        // Whole or not at all: a full-size probe in two parts would prove nothing.
        set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::PROBE)
            .map_err(|error| Error::io("forbid fragments")(error.into()))?;
        let receiving = tokio::spawn(receive(socket.clone(), heard)).abort_handle();
        Ok(Probes { socket, receiving })
    }

    /// Sends a probe; one that does not go is lost like any other.
    pub(crate) fn send(&self, to: Ipv4Addr, probe: &Probe, size: Option<u16>) {
        let sent = self.socket.try_send_to(&probe.to_bytes(size), (to, PROBE_PORT).into());
        if let Err(error) = sent {
            tracing::trace!(%to, %error, "probe not sent");
        }
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.receiving.abort();
    }
}

async fn receive(socket: Arc<UdpSocket>, heard: impl Fn(Ipv4Addr, Probe)) {
    let mut packet = vec![0; PACKET];
    loop {
        match socket.recv_from(&mut packet).await {
            Ok((length, from)) if from.port() == PROBE_PORT => {
                let probe = packet.get(..length).and_then(Probe::from_bytes);
                if let (IpAddr::V4(ip), Some(probe)) = (from.ip(), probe) {
                    heard(ip, probe);
                }
            }
            Ok(_) => {}
            // An answer of the network to an earlier probe, such as "unreachable".
            Err(error) => {
                tracing::trace!(%error, "probes");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}
