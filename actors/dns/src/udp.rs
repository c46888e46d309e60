//! Questions by UDP on one gateway.

use crate::shared::{Shared, Taken};
use jaco_dns_core::Transport;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::UdpSocket;

/// A question is never longer; one that is gets a format error.
const PACKET_MAX: usize = 4_096;
/// Questions answered before others on the thread get their turn.
const BATCH: usize = 64;
/// After an error that is not about one packet.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers until it is aborted.
pub(crate) async fn serve(shared: Rc<Shared>, socket: UdpSocket) {
    let socket = Rc::new(socket);
    let mut packet = [0; PACKET_MAX];
    let mut out = Vec::with_capacity(PACKET_MAX);
    loop {
        let drained = match socket.readable().await {
            Ok(()) => drain(&shared, &socket, &mut packet, &mut out),
            Err(error) => Err(error),
        };
        match drained {
            Ok(()) => tokio::task::yield_now().await,
            Err(error) => {
                tracing::debug!(%error, "dns socket failed");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Answers what is there, up to a batch.
fn drain(
    shared: &Rc<Shared>,
    socket: &Rc<UdpSocket>,
    packet: &mut [u8],
    out: &mut Vec<u8>,
) -> io::Result<()> {
    for _ in 0..BATCH {
        let (length, peer) = match socket.try_recv_from(packet) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            // An earlier answer did not arrive.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
            Err(error) => return Err(error),
        };
        let Some(source) = container(peer) else { continue };
        match shared.take(source, &packet[..length], Transport::Udp, out) {
            Taken::Silence => {}
            // A full buffer drops the answer, as the network would; the container asks again.
            Taken::Answered => drop(socket.try_send_to(out, peer)),
            Taken::Forward(asked) => {
                let (shared, socket) = (shared.clone(), Rc::downgrade(socket));
                tokio::task::spawn_local(async move {
                    let answer = shared.forwarder.resolve(&shared, asked).await;
                    // A question under way keeps no socket open.
                    if let Some(socket) = socket.upgrade() {
                        drop(socket.try_send_to(&answer, peer));
                    }
                });
            }
        }
    }
    Ok(())
}

/// The address of one that an answer can be sent to.
pub(crate) fn container(peer: SocketAddr) -> Option<Ipv4Addr> {
    match peer.ip() {
        IpAddr::V4(address) if peer.port() != 0 => Some(address),
        _ => None,
    }
}
