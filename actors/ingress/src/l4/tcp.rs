//! TCP connections of one listener.

use super::copy;
use super::counters::add;
use super::header::header;
use super::listener::{Listener, Seat};
use jaco_ingress_core::{PortTarget, Service};
use jaco_model::spec::Protocol;
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const BACKLOG: i32 = 1_024;
const KEEPALIVE: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(2);
/// The first replica and two others.
const TRIES: usize = 3;
const IDLE: Duration = Duration::from_secs(3_600);
/// After an error of the listener, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Opens a listening socket.
///
/// # Errors
/// When the address is not there or somebody else has the port.
pub(super) fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // Connections of a listener that closed a moment ago may linger.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts until it is aborted; connections go on.
pub(super) async fn serve(listener: Rc<Listener>, socket: TcpListener) {
    loop {
        match socket.accept().await {
            Ok((stream, peer)) => {
                tokio::task::spawn_local(talk(listener.clone(), stream, peer));
            }
            Err(error) => {
                tracing::debug!(%error, "connection to a port not accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn talk(listener: Rc<Listener>, client: TcpStream, peer: SocketAddr) {
    let counters = listener.counters.clone();
    let Some((target, service)) = listener.target() else {
        add(&counters.no_upstream, 1);
        return reset(&client);
    };
    let most = target.options.max_connections.map_or(u64::MAX, u64::from);
    if listener.active() >= most {
        add(&counters.refused, 1);
        return reset(&client);
    }
    let Some((mut upstream, seat)) = connect(&listener, &target, &service, peer.ip()).await else {
        add(&counters.no_upstream, 1);
        return reset(&client);
    };
    add(&counters.connections, 1);
    let idle = target.options.idle_timeout.map_or(IDLE, |idle| idle.std());
    let ended = async {
        prepare(&client)?;
        prepare(&upstream)?;
        if let (Some(version), SocketAddr::V4(peer), SocketAddr::V4(asked)) =
            (target.options.proxy_protocol, peer, client.local_addr()?)
        {
            upstream.write_all(&header(version, Protocol::Tcp, peer, asked)).await?;
        }
        tokio::select! {
            ended = copy::both(&client, &upstream, &counters, idle) => ended,
            () = seat.over() => Err(io::ErrorKind::TimedOut.into()),
        }
    };
    if ended.await.is_err() {
        reset(&client);
        reset(&upstream);
    }
}

/// Connects to one replica after the other.
async fn connect(
    listener: &Rc<Listener>,
    target: &PortTarget,
    service: &Service,
    client: IpAddr,
) -> Option<(TcpStream, Seat)> {
    let mut tried = Vec::new();
    for _ in 0..TRIES {
        let endpoint = listener.choose(target, service, client, &tried)?;
        // It counts from here, so that a burst does not all go to one.
        let seat = listener.sit(&endpoint.instance);
        match timeout(CONNECT, TcpStream::connect((endpoint.address, target.port))).await {
            Ok(Ok(stream)) => return Some((stream, seat)),
            Ok(Err(_)) | Err(_) => tried.push(endpoint.instance),
        }
    }
    None
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// The connection ends with a reset when it is dropped.
fn reset(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
