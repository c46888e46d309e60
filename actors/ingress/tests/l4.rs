//! Published ports on loopback: back-ends at addresses of their own, real sockets.

use jaco_ingress::{L4, PortCounts};
use jaco_ingress_core::{Endpoint, ListenKey, ListenKind, PortTarget, Service, Table};
use jaco_kit::Clock;
use jaco_model::spec::{PortOptions, Protocol, ProxyVersion};
use jaco_model::{DeploymentName, Millis, NodeId, ServiceName, WallMs};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);
/// Until a datagram is sent again.
const AGAIN: Duration = Duration::from_millis(100);

struct World {
    l4: L4,
    key: ListenKey,
    port: u16,
    options: PortOptions,
}

impl World {
    /// A balancer that listens at 127.0.0.1; back-ends use `port` at other addresses.
    fn new(protocol: Protocol, options: PortOptions) -> World {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        drop(listener);
        let key = ListenKey { kind: ListenKind::Port(protocol), address };
        let l4 = L4::start().expect("a balancer");
        let world = World { l4, key, port: address.port(), options };
        world.serve(&[]);
        world.open();
        world
    }

    fn open(&self) {
        let (tell, told) = mpsc::channel();
        self.l4.open(self.key, move |result| tell.send(result).expect("somebody waits"));
        told.recv_timeout(PATIENCE).expect("an answer").expect("a socket");
    }

    fn serve(&self, backends: &[u8]) {
        self.serve_and_drain(backends, Millis(300));
    }

    fn serve_and_drain(&self, backends: &[u8], drain_timeout: Millis) {
        let (deployment, name) = (DeploymentName::new("shop"), ServiceName::new("web"));
        let endpoint = |last: &u8| Endpoint {
            instance: format!("shop-web-{last}.g1").parse().expect("an instance"),
            address: Ipv4Addr::new(127, 0, 0, *last),
            node: NodeId::new("n1"),
            is_local: *last == 2,
            ready_since: WallMs(0),
        };
        let service = Service {
            deployment,
            name,
            endpoints: backends.iter().map(endpoint).collect(),
            wanted: 2,
            drain_timeout,
        };
        let target = PortTarget {
            deployment: service.deployment.clone(),
            service: service.name.clone(),
            port: self.port,
            options: self.options.clone(),
        };
        let mut table = Table::default();
        let key = (service.deployment.clone(), service.name.clone());
        table.services.insert(key, Arc::new(service));
        table.ports.insert(self.key, Arc::new(target));
        self.l4.serve(Arc::new(table));
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.key.address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    fn counts(&self) -> PortCounts {
        self.l4.counts()[&self.key]
    }

    /// A back-end that says its number, then gives back what it gets; after the end of it `!`.
    fn echo(&self, last: u8) {
        let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, last), self.port));
        let listener = listener.expect("a back-end");
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                thread::spawn(move || {
                    let _ = stream.write_all(&[last]);
                    let mut buffer = vec![0; 65_536];
                    while let Ok(read @ 1..) = stream.read(&mut buffer) {
                        if stream.write_all(&buffer[..read]).is_err() {
                            return;
                        }
                    }
                    let _ = stream.write_all(b"!");
                });
            }
        });
    }

    fn udp(&self, last: u8) -> UdpSocket {
        let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, last), self.port)).expect("udp");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket
    }
}

fn said(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).expect("an answer");
    bytes
}

#[test]
fn bytes_go_both_ways_and_each_direction_ends_by_itself() {
    let world = World::new(Protocol::Tcp, PortOptions::default());
    world.echo(2);
    world.serve(&[2]);
    let mut stream = world.connect();
    let mut writer = stream.try_clone().expect("a clone");
    let sent: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    let expected = [&[2], sent.as_slice(), b"!"].concat();
    let writing = thread::spawn(move || {
        writer.write_all(&sent).expect("room");
        writer.shutdown(Shutdown::Write).expect("half an end");
    });
    let mut got = Vec::new();
    stream.read_to_end(&mut got).expect("all of it");
    writing.join().expect("a writer");
    assert!(got == expected, "{} of {} bytes", got.len(), expected.len());
    assert_eq!(world.counts().received, 3_000_000);
}

#[test]
fn a_dead_replica_is_passed_over_and_none_is_a_reset() {
    let world = World::new(Protocol::Tcp, PortOptions::default());
    world.echo(3);
    // The local one goes first and refuses.
    world.serve(&[2, 3]);
    assert_eq!(said(&mut world.connect(), 1), [3]);
    world.serve(&[]);
    let error = world.connect().read(&mut [0]).expect_err("no end of stream");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(world.counts().no_upstream, 1);
}

#[test]
fn a_connection_beyond_the_limit_is_reset() {
    let options = PortOptions { max_connections: Some(1), ..PortOptions::default() };
    let world = World::new(Protocol::Tcp, options);
    world.echo(2);
    world.serve(&[2]);
    let mut first = world.connect();
    said(&mut first, 1);
    let error = world.connect().read(&mut [0]).expect_err("no end of stream");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(world.counts().refused, 1);
}

#[test]
fn silence_ends_a_connection() {
    let options = PortOptions { idle_timeout: Some(Millis(200)), ..PortOptions::default() };
    let world = World::new(Protocol::Tcp, options);
    world.echo(2);
    world.serve(&[2]);
    let mut stream = world.connect();
    said(&mut stream, 1);
    let error = stream.read(&mut [0]).expect_err("no end of stream");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn the_replica_is_told_who_its_client_is() {
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let options = PortOptions { proxy_protocol: Some(version), ..PortOptions::default() };
        let world = World::new(Protocol::Tcp, options);
        world.echo(2);
        world.serve(&[2]);
        let mut stream = world.connect();
        let SocketAddr::V4(me) = stream.local_addr().expect("an address") else { panic!("v4") };
        let expected = match version {
            ProxyVersion::V1 => {
                let (from, to) = (me.port(), world.port);
                format!("PROXY TCP4 127.0.0.1 127.0.0.1 {from} {to}\r\n").into_bytes()
            }
            ProxyVersion::V2 => [
                b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01".as_slice(),
                &me.port().to_be_bytes(),
                &world.port.to_be_bytes(),
            ]
            .concat(),
        };
        let got = said(&mut stream, 1 + expected.len());
        assert_eq!(got[1..], expected);
    }
}

#[test]
fn connections_go_on_for_a_while_when_their_replica_or_listener_goes() {
    let world = World::new(Protocol::Tcp, PortOptions::default());
    world.echo(2);
    world.echo(3);
    world.serve(&[2]);
    let mut old = world.connect();
    assert_eq!(said(&mut old, 1), [2]);
    world.serve(&[3]);
    let mut new = world.connect();
    assert_eq!(said(&mut new, 1), [3]);
    let error = old.read(&mut [0]).expect_err("the time is over");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    new.write_all(b"x").expect("room");
    assert_eq!(said(&mut new, 1), b"x");
    world.l4.close(world.key);
    assert_eq!(new.read(&mut [0]).expect_err("closed").kind(), ErrorKind::ConnectionReset);
    world.open();
    assert_eq!(said(&mut world.connect(), 1), [3]);
}

#[test]
fn two_hundred_connections_live_through_changes_of_the_table() {
    let world = World::new(Protocol::Tcp, PortOptions::default());
    world.echo(2);
    world.echo(3);
    world.serve(&[2, 3]);
    let mut streams: Vec<TcpStream> = (0..200).map(|_| world.connect()).collect();
    for (round, stream) in streams.iter_mut().enumerate() {
        // Gone for less than the drain timeout, and back.
        if round % 50 == 0 {
            world.serve(&[3]);
            world.serve(&[3, 2]);
        }
        said(stream, 1);
        stream.write_all(&[7; 1_000]).expect("room");
        assert_eq!(said(stream, 1_000), [7; 1_000]);
    }
    assert_eq!(world.counts().connections, 200);
}

#[test]
fn datagrams_come_back_from_the_address_that_was_asked_and_move_with_their_replica() {
    let options = PortOptions { proxy_protocol: Some(ProxyVersion::V2), ..PortOptions::default() };
    let mut world = World::new(Protocol::Udp, options);
    // A listener on all addresses, at a port where the back-ends' own addresses are free.
    world.l4.close(world.key);
    world.key.address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, world.port));
    world.port = world.port.checked_sub(1).expect("a port");
    let (two, three) = (world.udp(2), world.udp(3));
    world.serve(&[2]);
    world.open();
    let client = UdpSocket::bind("127.0.0.1:0").expect("udp");
    client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let asked = SocketAddr::from(([127, 0, 0, 9], world.key.address.port()));
    let mut buffer = [0; 100];
    client.send_to(b"one", asked).expect("sent");
    let (length, session) = two.recv_from(&mut buffer).expect("a datagram");
    assert_eq!(buffer[12..16], [0x21, 0x12, 0, 12]);
    assert_eq!(buffer[20..24], [127, 0, 0, 9]);
    assert_eq!(&buffer[28..length], b"one");
    two.send_to(b"back", session).expect("sent");
    // Another one than the replica is not heard.
    three.send_to(b"stranger", session).expect("sent");
    assert_eq!(client.recv_from(&mut buffer).expect("a reply"), (4, asked));
    client.send_to(b"two", asked).expect("sent");
    assert_eq!(two.recv_from(&mut buffer).expect("a datagram"), (3, session));
    world.serve(&[3]);
    // The table is taken a moment later; until then the one before is used.
    three.set_read_timeout(Some(AGAIN)).expect("a timeout");
    let heard = (0..PATIENCE.as_millis() / AGAIN.as_millis()).find_map(|_| {
        client.send_to(b"three", asked).expect("sent");
        let got = three.recv_from(&mut buffer).ok()?;
        buffer[..got.0].ends_with(b"three").then_some(got)
    });
    let (_, session) = heard.expect("a datagram");
    three.send_to(b"here", session).expect("sent");
    let (length, from) = client.recv_from(&mut buffer).expect("a reply");
    assert_eq!((&buffer[..length], from), (b"here".as_slice(), asked));
    assert_eq!(world.counts().connections, 2);
}

#[test]
fn one_source_has_at_most_1024_sessions() {
    let mut world = World::new(Protocol::Udp, PortOptions::default());
    world.port = world.port.checked_sub(1).expect("a port");
    let two = world.udp(2);
    world.serve(&[2]);
    let mut buffer = [0; 10];
    let clients: Vec<UdpSocket> = (0..1_025)
        .map(|n| {
            let client = UdpSocket::bind("127.0.0.1:0").expect("udp");
            client.send_to(b"x", world.key.address).expect("sent");
            if n < 1_024 {
                two.recv_from(&mut buffer).expect("a datagram");
            }
            client
        })
        .collect();
    two.set_read_timeout(Some(Duration::from_millis(500))).expect("a timeout");
    two.recv_from(&mut buffer).expect_err("nothing for the last one");
    assert_eq!((clients.len(), world.counts().refused), (1_025, 1));
}

#[test]
fn a_stop_waits_for_connections_and_takes_no_new_ones() {
    let world = World::new(Protocol::Tcp, PortOptions::default());
    world.echo(2);
    world.serve_and_drain(&[2], Millis::secs(600));
    let mut stream = world.connect();
    assert_eq!(said(&mut stream, 1), [2]);
    let l4 = world.l4.clone();
    let stopping = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(l4.stop(Duration::from_secs(3_600)));
    });
    let clock = Clock::new();
    let began = clock.mono();
    let is_late = || clock.mono().since(began) > PATIENCE;
    while TcpStream::connect(world.key.address).is_ok() {
        assert!(!is_late(), "it is closed");
    }
    stream.write_all(b"on").expect("it goes on");
    assert_eq!(said(&mut stream, 2), b"on");
    assert!(!stopping.is_finished());
    drop(stream);
    while !stopping.is_finished() {
        assert!(!is_late(), "it ends with the last connection");
        thread::yield_now();
    }
}
