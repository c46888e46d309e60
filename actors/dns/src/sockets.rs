//! Sockets on one bridge: bound to its address and to the interface itself.
//!
//! By the address alone a packet that comes in through another interface would be heard too. A
//! socket stays bound to the interface it was opened on; when a bridge of the same name takes its
//! place it is deaf, so its index is kept to compare.

use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use tokio::net::{TcpListener, UdpSocket};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;
/// Bytes of questions that may wait: a burst of all containers of a bridge.
const RECEIVE_BUFFER: usize = 1 << 20;

/// Open sockets.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) udp: UdpSocket,
    pub(crate) tcp: TcpListener,
}

/// The number the kernel gave to an interface.
///
/// # Errors
/// When there is none of that name.
pub(crate) fn interface_index(name: &str) -> io::Result<u32> {
    if_nametoindex(name).map_err(io::Error::from)
}

/// Opens both sockets.
///
/// # Errors
/// When the address or interface is not there (yet), or somebody else has the port.
pub(crate) fn open(bridge: &str, gateway: Ipv4Addr, port: u16) -> io::Result<Sockets> {
    let tcp = bound(bridge, SocketAddrV4::new(gateway, port), Type::STREAM)?;
    tcp.listen(BACKLOG)?;
    let tcp = TcpListener::from_std(tcp.into())?;
    let udp = bound(bridge, SocketAddrV4::new(gateway, port), Type::DGRAM)?;
    // The kernel gives what it may; less only loses more of a burst.
    let _ = udp.set_recv_buffer_size(RECEIVE_BUFFER);
    Ok(Sockets { udp: UdpSocket::from_std(udp.into())?, tcp })
}

fn bound(bridge: &str, address: SocketAddrV4, kind: Type) -> io::Result<Socket> {
    let is_stream = kind == Type::STREAM;
    let protocol = if is_stream { Protocol::TCP } else { Protocol::UDP };
    let socket = Socket::new(Domain::IPV4, kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    if is_stream {
        // Connections of a responder that ended a moment ago may linger.
        socket.set_reuse_address(true)?;
    }
    socket.bind_device(Some(bridge.as_bytes()))?;
    socket.bind(&SocketAddr::V4(address).into())?;
    Ok(socket)
}
