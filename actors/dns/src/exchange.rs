//! One question to one upstream.

use jaco_dns_core::{Query, Reply, Transport, Unfit};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// Larger than any answer that was asked for.
const PACKET_MAX: usize = 4_096;

/// Asks by UDP, and by TCP when the answer was cut or its letters were changed.
///
/// # Errors
/// When nothing that fits came within `wait`.
pub(crate) async fn ask(upstream: SocketAddr, query: &Query, wait: Duration) -> io::Result<Reply> {
    let asked = async {
        match by_udp(upstream, query).await? {
            Ok(reply) => Ok(reply),
            Err(Unfit::Broken | Unfit::Foreign) => Err(broken()),
            Err(Unfit::Truncated) => by_tcp(upstream, query).await,
            Err(Unfit::Case) => match by_tcp(upstream, query).await {
                Ok(reply) => Ok(reply),
                // Some boxes change letters and know no TCP. Port and id must still be guessed.
                Err(_) => by_udp(upstream, &query.lowered()).await?.map_err(|_| broken()),
            },
        }
    };
    timeout(wait, asked).await.unwrap_or_else(|_| Err(timed_out()))
}

/// The first message that belongs to the question. A socket of its own for each question takes a
/// random port, and the kernel drops what others send there.
async fn by_udp(upstream: SocketAddr, query: &Query) -> io::Result<Result<Reply, Unfit>> {
    let socket = UdpSocket::bind(any_port(upstream)).await?;
    socket.connect(upstream).await?;
    socket.send(query.as_bytes()).await?;
    let mut packet = [0; PACKET_MAX];
    loop {
        let length = socket.recv(&mut packet).await?;
        match Reply::read(query, &packet[..length], Transport::Udp) {
            Err(Unfit::Foreign) => {}
            read => return Ok(read),
        }
    }
}

async fn by_tcp(upstream: SocketAddr, query: &Query) -> io::Result<Reply> {
    let mut stream = TcpStream::connect(upstream).await?;
    let length = u16::try_from(query.as_bytes().len()).map_err(|_| broken())?;
    stream.write_all(&[&length.to_be_bytes()[..], query.as_bytes()].concat()).await?;
    let length = stream.read_u16().await?;
    let mut packet = vec![0; usize::from(length)];
    stream.read_exact(&mut packet).await?;
    Reply::read(query, &packet, Transport::Tcp).map_err(|_| broken())
}

/// Sends a question and waits for nothing.
///
/// # Errors
/// When it could not be sent.
pub(crate) async fn tell(upstream: SocketAddr, query: &Query) -> io::Result<()> {
    let socket = UdpSocket::bind(any_port(upstream)).await?;
    socket.send_to(query.as_bytes(), upstream).await.map(|_| ())
}

fn any_port(upstream: SocketAddr) -> SocketAddr {
    match upstream {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the answer cannot be read")
}
