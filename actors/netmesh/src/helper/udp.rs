//! The tunnel's socket: packets for one peer leave together.
//!
//! Packets of equal length to one place are given to the kernel as one message that it cuts
//! (`UDP_SEGMENT` of udp(7)), as late as the interface allows. What came in together is taken in
//! the same form (`UDP_GRO`).

use gotatun::packet::{Packet, PacketBufPool};
use gotatun::udp::socket::{UdpSocket, UdpSocketFactory};
use gotatun::udp::{UdpRecv, UdpSend, UdpTransportFactory, UdpTransportFactoryParams};
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmsg,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::Interest;

/// Packets in one message (`UDP_MAX_SEGMENTS` of the oldest kernels that know it).
const PACKETS_MAX: usize = 64;
/// Bytes in one message, with room for headers.
const BYTES_MAX: usize = 65_000;
/// Messages taken by one call, and the longest one. A call costs what it could take, so few.
const MESSAGES_MAX: usize = 8;
const MESSAGE_MAX: usize = 65_536;
/// Bytes of packets that may wait in the kernel, each way.
const BUFFER: usize = 4 << 20;

/// Opens sockets.
pub(super) struct Sockets(UdpSocketFactory);

impl Sockets {
    pub(super) fn new() -> Sockets {
        Sockets(UdpSocketFactory { recv_buffer_size: Some(BUFFER), send_buffer_size: Some(BUFFER) })
    }
}

impl UdpTransportFactory for Sockets {
    type Send = Sender;
    type Recv = Receiver;

    async fn bind(&mut self, params: &UdpTransportFactoryParams) -> io::Result<(Sender, Receiver)> {
        let (sender, receiver) = self.0.bind(params).await?;
        let sender = Sender { socket: sender, cuts: Arc::new(AtomicBool::new(true)) };
        Ok((sender, Receiver(receiver)))
    }
}

/// The receiving side of a socket.
pub(super) struct Receiver(UdpSocket);

/// Room for messages.
pub(super) struct Room(Vec<Vec<u8>>);

impl Default for Room {
    fn default() -> Room {
        Room(vec![vec![0; MESSAGE_MAX]; MESSAGES_MAX])
    }
}

impl UdpRecv for Receiver {
    type RecvManyBuf = Room;

    async fn recv_from(&mut self, pool: &mut PacketBufPool) -> io::Result<(Packet, SocketAddr)> {
        self.0.recv_from(pool).await
    }

    async fn recv_many_from(
        &mut self,
        Room(room): &mut Room,
        pool: &mut PacketBufPool,
        packets: &mut Vec<(Packet, SocketAddr)>,
    ) -> io::Result<()> {
        let socket = self.0.socket();
        let take = || {
            let mut slices: Vec<_> = room.iter_mut().map(|one| [IoSliceMut::new(one)]).collect();
            let told = Some(nix::cmsg_space!(i32));
            let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(MESSAGES_MAX, told);
            let (fd, flags) = (socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
            for message in recvmmsg(fd, &mut headers, slices.iter_mut(), flags, None)? {
                let Some(from) = message.address.as_ref().and_then(source) else { continue };
                let size = message.cmsgs().into_iter().flatten().find_map(|told| match told {
                    ControlMessageOwned::UdpGroSegments(size) => usize::try_from(size).ok(),
                    _ => None,
                });
                let bytes = message.iovs().next().unwrap_or_default();
                for part in bytes.chunks(size.unwrap_or(MESSAGE_MAX).max(1)) {
                    let mut packet = pool.get();
                    packet.buf_mut().clear();
                    packet.buf_mut().extend_from_slice(part);
                    packets.push((packet, from));
                }
            }
            Ok(())
        };
        socket.async_io(Interest::READABLE, take).await
    }
}

/// Who sent a message. A socket for both families shows IPv4 as IPv6.
fn source(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|found| SocketAddr::V4((*found).into()));
    let found = v4.or_else(|| address.as_sockaddr_in6().map(|it| SocketAddr::V6((*it).into())))?;
    Some(SocketAddr::new(found.ip().to_canonical(), found.port()))
}

/// The sending side of a socket.
#[derive(Clone)]
pub(super) struct Sender {
    socket: UdpSocket,
    /// Whether the kernel cuts messages, as far as is known.
    cuts: Arc<AtomicBool>,
}

impl Sender {
    /// Sends packets of equal length, but for the last, as one message.
    async fn send_together(&self, packets: &[(Packet, SocketAddr)]) -> io::Result<()> {
        let Some((first, to)) = packets.first() else { return Ok(()) };
        let size = u16::try_from(first.len()).map_err(io::Error::other)?;
        let to = SockaddrStorage::from(*to);
        let socket = self.socket.socket();
        let send = || {
            let slices: Vec<IoSlice<'_>> = packets.iter().map(|(p, _)| IoSlice::new(p)).collect();
            let cut = [ControlMessage::UdpGsoSegments(&size)];
            sendmsg(socket.as_raw_fd(), &slices, &cut, MsgFlags::MSG_DONTWAIT, Some(&to))
                .map_err(io::Error::from)
        };
        socket.async_io(Interest::WRITABLE, send).await.map(drop)
    }
}

impl UdpSend for Sender {
    type SendManyBuf = <UdpSocket as UdpSend>::SendManyBuf;

    async fn send_to(&self, packet: Packet, destination: SocketAddr) -> io::Result<()> {
        self.socket.send_to(packet, destination).await
    }

    fn max_number_of_packets_to_send(&self) -> usize {
        self.socket.max_number_of_packets_to_send()
    }

    async fn send_many_to(
        &self,
        buffer: &mut Self::SendManyBuf,
        packets: &mut Vec<(Packet, SocketAddr)>,
    ) -> io::Result<()> {
        while self.cuts.load(Ordering::Relaxed) && !packets.is_empty() {
            let count = together(packets);
            if count == 1 && packets.len() == 1 {
                break;
            }
            match self.send_together(&packets[..count]).await {
                Ok(()) => drop(packets.drain(..count)),
                Err(error) => {
                    if error.raw_os_error() == Some(Errno::EIO as i32) {
                        tracing::info!("the kernel cuts no UDP messages here");
                        self.cuts.store(false, Ordering::Relaxed);
                    }
                    // Such as a packet that is larger than the path takes; one by one they may go.
                    break;
                }
            }
        }
        if packets.is_empty() {
            return Ok(());
        }
        self.socket.send_many_to(buffer, packets).await
    }

    fn local_addr(&self) -> io::Result<Option<SocketAddr>> {
        UdpSend::local_addr(&self.socket)
    }

    fn set_fwmark(&self, mark: u32) -> io::Result<()> {
        self.socket.set_fwmark(mark)
    }
}

/// How many of the first packets may leave as one message.
fn together(packets: &[(Packet, SocketAddr)]) -> usize {
    let Some((first, to)) = packets.first() else { return 0 };
    let (mut count, mut bytes) = (0, 0);
    for (packet, its) in packets.iter().take(PACKETS_MAX) {
        if its != to || packet.len() > first.len() || bytes + packet.len() > BYTES_MAX {
            break;
        }
        (count, bytes) = (count + 1, bytes + packet.len());
        // Only the last may be shorter.
        if packet.len() < first.len() {
            break;
        }
    }
    count.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_of_one_length_to_one_place_leave_together() {
        let to = |port| SocketAddr::from(([10, 0, 0, 1], port));
        let list = |packets: &[(usize, u16)]| {
            let packet = |length| Packet::copy_from(vec![0_u8; length].as_slice());
            let made: Vec<_> =
                packets.iter().map(|(len, port)| (packet(*len), to(*port))).collect();
            together(&made)
        };
        assert_eq!(list(&[]), 0);
        assert_eq!(list(&[(100, 1)]), 1);
        assert_eq!(list(&[(100, 1), (100, 1), (100, 2)]), 2);
        assert_eq!(list(&[(100, 1), (90, 1), (90, 1)]), 2);
        assert_eq!(list(&[(100, 1), (110, 1)]), 1);
        assert_eq!(list(&[(100, 1); 90]), PACKETS_MAX);
        assert_eq!(list(&[(1_400, 1); 90]), 46);
    }

    #[tokio::test]
    async fn what_leaves_together_is_taken_together() {
        let params = UdpTransportFactoryParams { addr: None, port: 0, fwmark: None };
        let (sender, mut receiver) = Sockets::new().bind(&params).await.unwrap();
        let port = UdpSend::local_addr(&sender).unwrap().unwrap().port();
        let to = SocketAddr::from(([127, 0, 0, 1], port));
        let lengths: Vec<usize> = [[700; 50].as_slice(), &[31], &[900; 40]].concat();
        let packet = |length: &usize| (Packet::copy_from(vec![7; *length].as_slice()), to);
        let mut packets: Vec<_> = lengths.iter().map(packet).collect();
        sender.send_many_to(&mut Default::default(), &mut packets).await.unwrap();
        let (mut room, mut pool, mut taken) = (Room::default(), PacketBufPool::new(4), Vec::new());
        while taken.len() < lengths.len() {
            let more = receiver.recv_many_from(&mut room, &mut pool, &mut taken);
            tokio::time::timeout(std::time::Duration::from_secs(20), more).await.unwrap().unwrap();
        }
        assert_eq!(taken.iter().map(|(packet, _)| packet.len()).collect::<Vec<_>>(), lengths);
        assert!(taken.iter().all(|(_, from)| *from == to));
    }

    #[tokio::test]
    async fn what_leaves_together_arrives_one_by_one() {
        let params =
            UdpTransportFactoryParams { addr: Some([127, 0, 0, 1].into()), port: 0, fwmark: None };
        let (sender, _receiver) = Sockets::new().bind(&params).await.unwrap();
        let other = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        other.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        let to = other.local_addr().unwrap();
        let lengths = [900, 900, 900, 40, 1_200, 1_200, 7];
        let packet = |length: usize| (Packet::copy_from(vec![length as u8; length].as_slice()), to);
        let mut packets = Vec::from(lengths.map(packet));
        sender.send_many_to(&mut Default::default(), &mut packets).await.unwrap();
        assert!(packets.is_empty());
        let mut buffer = [0; 2_048];
        for length in lengths {
            assert_eq!(other.recv(&mut buffer).unwrap(), length);
            assert!(buffer[..length].iter().all(|byte| *byte == length as u8));
        }
    }
}
