//! Questions by UDP on one gateway: taken and answered together as far as they came together.

use crate::shared::{Shared, Taken};
use jaco_dns_core::Transport;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// A question is never longer; one that is gets a format error.
const PACKET_MAX: usize = 4_096;
/// Questions taken by one call, and answered before others on the thread get their turn.
const BATCH: usize = 16;
/// After an error that is not about one packet.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers until it is aborted.
pub(crate) async fn serve(shared: Rc<Shared>, socket: UdpSocket) {
    let socket = Rc::new(socket);
    let mut batch = Batch::default();
    loop {
        let taken = match socket.readable().await {
            Ok(()) => batch.take(&socket),
            Err(error) => Err(error),
        };
        match taken {
            Ok(()) => {
                batch.answer(&shared, &socket);
                tokio::task::yield_now().await;
            }
            Err(error) => {
                tracing::debug!(%error, "dns socket failed");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Questions that came together, and their answers.
struct Batch {
    packets: Vec<[u8; PACKET_MAX]>,
    /// Length and sender of each packet that was taken.
    taken: Vec<(usize, SocketAddrV4)>,
    answers: Vec<Vec<u8>>,
    /// For whom each answer is.
    askers: Vec<Option<SockaddrIn>>,
}

impl Default for Batch {
    fn default() -> Batch {
        Batch {
            packets: vec![[0; PACKET_MAX]; BATCH],
            taken: Vec::with_capacity(BATCH),
            answers: vec![Vec::new(); BATCH],
            askers: Vec::with_capacity(BATCH),
        }
    }
}

impl Batch {
    /// Takes what is there, up to a batch.
    fn take(&mut self, socket: &UdpSocket) -> io::Result<()> {
        self.taken.clear();
        let Batch { packets, taken, .. } = self;
        let received = socket.try_io(Interest::READABLE, || {
            let mut slices: Vec<_> = packets.iter_mut().map(|p| [IoSliceMut::new(p)]).collect();
            let mut headers = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
            let (fd, flags) = (socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
            let messages = recvmmsg(fd, &mut headers, slices.iter_mut(), flags, None)?;
            // One without a sender is passed over by its port of 0.
            let nobody = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
            taken.extend(messages.map(|message| {
                (message.bytes, message.address.map_or(nobody, SocketAddrV4::from))
            }));
            Ok(())
        });
        match received {
            // An earlier answer did not arrive.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            other => other,
        }
    }

    /// Answers what was taken; what others have to be asked about is answered later.
    fn answer(&mut self, shared: &Rc<Shared>, socket: &Rc<UdpSocket>) {
        self.askers.clear();
        for (packet, (length, peer)) in self.packets.iter().zip(&self.taken) {
            let (peer, asker) = (SocketAddr::V4(*peer), SockaddrIn::from(*peer));
            let Some(source) = container(peer) else { continue };
            let out = &mut self.answers[self.askers.len()];
            match shared.take(source, &packet[..*length], Transport::Udp, out) {
                Taken::Silence => {}
                Taken::Answered => self.askers.push(Some(asker)),
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
        self.send(socket);
    }

    /// A full buffer drops answers, as the network would; the containers ask again.
    fn send(&self, socket: &UdpSocket) {
        let slices: Vec<_> = self.answers.iter().map(|answer| [IoSlice::new(answer)]).collect();
        let mut sent = 0;
        while sent < self.askers.len() {
            let (slices, askers) = (&slices[sent..self.askers.len()], &self.askers[sent..]);
            let mut headers = MultiHeaders::preallocate(askers.len(), None);
            let (fd, flags) = (socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
            match sendmmsg(fd, &mut headers, slices, askers, [], flags) {
                Ok(results) => sent += results.count().max(1),
                Err(Errno::EAGAIN) => return,
                // About the first of them, or an earlier one that did not arrive.
                Err(_) => sent += 1,
            }
        }
    }
}

/// The address of one that an answer can be sent to.
pub(crate) fn container(peer: SocketAddr) -> Option<Ipv4Addr> {
    match peer.ip() {
        IpAddr::V4(address) if peer.port() != 0 => Some(address),
        _ => None,
    }
}
