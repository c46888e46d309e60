//! UDP sessions of one listener.

use super::copy::silence;
use super::counters::add;
use super::header::header;
use super::listener::{Listener, Seat};
use jaco_model::spec::{Protocol, ProxyVersion};
use nix::libc::{in_addr, in_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt,
    sockopt,
};
use socket2::SockRef;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

const PACKET_MAX: usize = 65_536;
const SESSIONS_MAX: u64 = 65_536;
const PER_SOURCE_MAX: u32 = 1_024;
const IDLE: Duration = Duration::from_secs(30);
/// Datagrams taken before others get their turn.
const TURN: usize = 32;
const PAUSE: Duration = Duration::from_millis(100);

/// Opens a socket that tells which address was asked.
///
/// # Errors
/// When the address is not there or somebody else has the port.
pub(super) fn open(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
    UdpSocket::from_std(socket)
}

/// Who asks, and which of this node's addresses.
type Ends = (SocketAddrV4, Ipv4Addr);

struct Session {
    socket: Rc<UdpSocket>,
    seat: Rc<Seat>,
    moves: Rc<Cell<u64>>,
    replies: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.replies.abort();
    }
}

#[derive(Default)]
struct Sessions {
    open: BTreeMap<Ends, Session>,
    by_source: BTreeMap<Ipv4Addr, u32>,
}

impl Sessions {
    fn remove(&mut self, ends: Ends) -> Option<Session> {
        let gone = self.open.remove(&ends)?;
        if let Some(count) = self.by_source.get_mut(ends.0.ip()) {
            *count -= 1;
            if *count == 0 {
                self.by_source.remove(ends.0.ip());
            }
        }
        Some(gone)
    }
}

struct Port {
    listener: Rc<Listener>,
    socket: UdpSocket,
    sessions: RefCell<Sessions>,
}

/// Forwards until it is aborted; its sessions end with it.
pub(super) async fn serve(listener: Rc<Listener>, socket: UdpSocket) {
    let port = Rc::new(Port { listener, socket, sessions: RefCell::default() });
    let mut packet = vec![0; PACKET_MAX];
    loop {
        if port.socket.readable().await.is_err() {
            tokio::time::sleep(PAUSE).await;
        }
        for _ in 0..TURN {
            match port.take(&mut packet) {
                Ok((length, Some(ends))) => port.forward(ends, &packet[..length]),
                Ok((_, None)) => {}
                Err(_) => break,
            }
        }
        tokio::task::yield_now().await;
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.sessions.get_mut().open.clear();
    }
}

impl Port {
    fn take(&self, packet: &mut [u8]) -> io::Result<(usize, Option<Ends>)> {
        self.socket.try_io(Interest::READABLE, || {
            let mut control = nix::cmsg_space!(in_pktinfo);
            let mut slices = [IoSliceMut::new(packet)];
            let (fd, flags) = (self.socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
            let message = recvmsg::<SockaddrIn>(fd, &mut slices, Some(&mut control), flags)?;
            let asked = message.cmsgs()?.find_map(|control| match control {
                ControlMessageOwned::Ipv4PacketInfo(info) => {
                    Some(Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes()))
                }
                _ => None,
            });
            let client = message.address.map(SocketAddrV4::from).filter(|at| at.port() != 0);
            Ok((message.bytes, client.zip(asked)))
        })
    }

    fn forward(self: &Rc<Self>, ends: Ends, packet: &[u8]) {
        let counters = &self.listener.counters;
        let mut sessions = self.sessions.borrow_mut();
        let session = sessions.open.get(&ends);
        if session.is_some_and(|session| session.seat.is_leaving()) {
            drop(sessions.remove(ends));
        }
        let sent = if let Some(session) = sessions.open.get(&ends) {
            session.moves.set(session.moves.get() + 1);
            SockRef::from(&*session.socket).send(packet)
        } else {
            match self.begin(&mut sessions, ends) {
                // The event loop does not know yet that it is writable.
                Some((session, header)) => {
                    SockRef::from(&*session).send(&[&header, packet].concat())
                }
                None => return,
            }
        };
        if sent.is_ok() {
            add(&counters.received, packet.len());
        }
    }

    /// A session of a client that had none, and what goes before its first datagram.
    fn begin(
        self: &Rc<Self>,
        sessions: &mut Sessions,
        ends: Ends,
    ) -> Option<(Rc<UdpSocket>, Vec<u8>)> {
        let (client, asked) = ends;
        let counters = &self.listener.counters;
        let Some((target, service)) = self.listener.target() else {
            add(&counters.no_upstream, 1);
            return None;
        };
        let options = &target.options;
        let most = options.max_connections.map_or(SESSIONS_MAX, u64::from).min(SESSIONS_MAX);
        let of_source = sessions.by_source.get(client.ip()).copied().unwrap_or_default();
        if sessions.open.len() as u64 >= most || of_source >= PER_SOURCE_MAX {
            add(&counters.refused, 1);
            return None;
        }
        let source = IpAddr::V4(*client.ip());
        let Some(endpoint) = self.listener.choose(&target, &service, source, &[]) else {
            add(&counters.no_upstream, 1);
            return None;
        };
        let Ok(socket) = connected(SocketAddrV4::new(endpoint.address, target.port)) else {
            add(&counters.no_upstream, 1);
            return None;
        };
        let (socket, moves) = (Rc::new(socket), Rc::new(Cell::new(0)));
        let seat = Rc::new(self.listener.sit(&endpoint.instance));
        let idle = options.idle_timeout.map_or(IDLE, |idle| idle.std());
        let replies = replies(Rc::downgrade(self), ends, socket.clone(), moves.clone(), idle);
        let replies = tokio::task::spawn_local(replies);
        let session = Session { socket: socket.clone(), seat, moves, replies };
        sessions.open.insert(ends, session);
        *sessions.by_source.entry(*client.ip()).or_default() += 1;
        add(&counters.connections, 1);
        let asked = SocketAddrV4::new(asked, self.listener.key.address.port());
        let header =
            options.proxy_protocol.map(|_| header(ProxyVersion::V2, Protocol::Udp, client, asked));
        Some((socket, header.unwrap_or_default()))
    }

    /// Sends to the client from the address it asked. A full buffer drops, as the network would.
    fn reply(&self, (client, asked): Ends, packet: &[u8]) {
        let address = in_addr { s_addr: u32::from_ne_bytes(asked.octets()) };
        let nowhere = in_addr { s_addr: 0 };
        let info = in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: address, ipi_addr: nowhere };
        let control = [ControlMessage::Ipv4PacketInfo(&info)];
        let (fd, flags) = (self.socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
        let to = SockaddrIn::from(client);
        if sendmsg(fd, &[IoSlice::new(packet)], &control, flags, Some(&to)).is_ok() {
            add(&self.listener.counters.sent, packet.len());
        }
    }
}

fn connected(to: SocketAddrV4) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    // Only this replica is heard.
    socket.connect(to)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

async fn replies(
    port: std::rc::Weak<Port>,
    ends: Ends,
    socket: Rc<UdpSocket>,
    moves: Rc<Cell<u64>>,
    idle: Duration,
) {
    let forward = async {
        let mut packet = Vec::with_capacity(2_048);
        loop {
            packet.clear();
            packet.reserve(PACKET_MAX);
            // An error tells that an earlier datagram did not arrive.
            let Ok(_) = socket.recv_buf(&mut packet).await else { continue };
            packet.shrink_to(2_048);
            moves.set(moves.get() + 1);
            let Some(port) = port.upgrade() else { return };
            port.reply(ends, &packet);
        }
    };
    tokio::select! {
        () = forward => {}
        () = silence(&moves, idle) => {}
    }
    if let Some(port) = port.upgrade() {
        let gone = port.sessions.borrow_mut().remove(ends);
        drop(gone);
    }
}
