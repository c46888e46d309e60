//! A responder with one gateway, containers that ask, and upstreams that do as they are told.
//!
//! Each test process has a /24 of loopback addresses of its own, so that tests run side by side.

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record};
use jaco_dns::{Config, Driver, DriverHandle};
use jaco_dns_core::{Attachment, ContainerEntry, Description, Effect, Input, ServiceEntry, Zones};
use jaco_kit::Clock;
use jaco_kit_core::OpId;
use jaco_model::DeploymentName;
use jaco_model::entity::Scope;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

/// Where the responder of a test listens.
pub(crate) const PORT: u16 = 10_053;
/// Long enough for a machine that does much else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// An address of this process.
pub(crate) fn own(last: u8) -> Ipv4Addr {
    let pid = std::process::id();
    Ipv4Addr::new(127, 64 + (pid >> 8 & 127) as u8, pid as u8, last)
}

/// The container that asks.
pub(crate) fn web() -> Ipv4Addr {
    own(2)
}

/// Lets time pass for others.
#[expect(clippy::disallowed_methods, reason = "threads of a test, no arbiter")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// A responder and what it delivered.
pub(crate) struct World {
    pub(crate) handle: DriverHandle,
    pub(crate) inputs: mpsc::Receiver<Input>,
}

pub(crate) fn zones(forwarders: &[SocketAddr]) -> Arc<Zones> {
    let scope = Scope::new(DeploymentName::new("webshop"), "default");
    let container = |index: u8, is_ready| ContainerEntry {
        replica: format!("webshop-web-{index}"),
        deployment: DeploymentName::new("webshop"),
        service: "web".to_owned(),
        networks: [(
            scope.clone(),
            Attachment { address: Some(own(2 + index)), aliases: Vec::new() },
        )]
        .into(),
        ports: Vec::new(),
        is_running: true,
        is_ready,
        is_local: true,
        is_lodger: false,
        forwarders: forwarders.to_vec(),
    };
    let service = ServiceEntry {
        deployment: DeploymentName::new("webshop"),
        name: "web".to_owned(),
        networks: [(scope.clone(), Vec::new())].into(),
        ports: Vec::new(),
    };
    let description = Description {
        // Upstreams of the tests are at 128 and above.
        pool: Some(format!("{}/25", own(0)).parse().unwrap()),
        deployments: [DeploymentName::new("webshop")].into(),
        services: vec![service],
        containers: vec![container(0, true), container(1, true), container(2, false)],
        ..Description::default()
    };
    Arc::new(Zones::build(&description, 1))
}

impl World {
    /// A responder that listens and asks these upstreams.
    pub(crate) fn new(forwarders: &[SocketAddr]) -> World {
        let clock = Clock::new();
        World::with(Config { port: PORT, forwarders: forwarders.to_vec(), ..Config::new(clock) })
    }

    pub(crate) fn with(config: Config) -> World {
        let (sender, inputs) = mpsc::channel();
        let handle = Driver::spawn(config, move |input| drop(sender.send(input))).unwrap();
        let world = World { handle, inputs };
        world.handle.run(Effect::Serve(zones(&[])));
        // The thread of a world that was just dropped may be about to close its sockets.
        let taken = |result: &Result<(), String>| {
            result.as_ref().is_err_and(|why| why.contains("Address already in use"))
        };
        let mut listening = world.listen("lo", own(1));
        for _ in 0..1_000 {
            if !taken(&listening) {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(10));
            listening = world.listen("lo", own(1));
        }
        listening.unwrap();
        world
    }

    /// Orders to listen and waits for the outcome.
    pub(crate) fn listen(&self, bridge: &str, gateway: Ipv4Addr) -> Result<(), String> {
        let op = OpId(u64::from(u32::from(gateway)));
        self.handle.run(Effect::Listen { op, bridge: bridge.to_owned(), gateway });
        match self.inputs.recv_timeout(PATIENCE).unwrap() {
            Input::Listening { op: answered, result } if answered == op => result,
            other => panic!("{other:?}"),
        }
    }
}

/// A socket of a container to the gateway.
pub(crate) fn socket(source: Ipv4Addr) -> UdpSocket {
    let socket = UdpSocket::bind((source, 0)).unwrap();
    socket.connect((own(1), PORT)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// A connection of a container to the gateway.
pub(crate) fn stream(source: Ipv4Addr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect_timeout(&SocketAddr::from((own(1), PORT)).into(), PATIENCE).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A question in the form `name TYPE`.
pub(crate) fn question(id: u16, text: &str) -> Message {
    let (name, kind) = text.split_once(' ').unwrap();
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    let mut name = Name::from_ascii(name).unwrap();
    name.set_fqdn(true);
    message.add_query(Query::query(name, kind.parse().unwrap()));
    message
}

/// Asks once by UDP.
pub(crate) fn ask(source: Ipv4Addr, text: &str) -> Message {
    let socket = socket(source);
    socket.send(&question(7, text).to_vec().unwrap()).unwrap();
    receive(&socket)
}

pub(crate) fn receive(socket: &UdpSocket) -> Message {
    let mut packet = [0; 4096];
    let length = socket.recv(&mut packet).unwrap();
    Message::from_vec(&packet[..length]).unwrap()
}

pub(crate) fn write_framed(stream: &mut TcpStream, messages: &[Message]) {
    let mut bytes = Vec::new();
    for message in messages {
        let message = message.to_vec().unwrap();
        bytes.extend((message.len() as u16).to_be_bytes());
        bytes.extend(message);
    }
    stream.write_all(&bytes).unwrap();
}

pub(crate) fn read_framed(stream: &mut TcpStream) -> Message {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut packet = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut packet).unwrap();
    Message::from_vec(&packet).unwrap()
}

/// The code and the sorted A records of an answer.
pub(crate) fn told(message: &Message) -> (ResponseCode, Vec<Ipv4Addr>) {
    let address = |record: &Record| match record.data {
        RData::A(address) => Some(address.0),
        _ => None,
    };
    let mut addresses: Vec<Ipv4Addr> = message.answers.iter().filter_map(address).collect();
    addresses.sort();
    (message.metadata.response_code, addresses)
}

/// What an upstream sends for a question, each a message of its own.
pub(crate) type Script = dyn Fn(&Message, &[u8]) -> Vec<Vec<u8>> + Send + Sync;

/// An upstream on the loopback interface, by UDP and TCP.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    pub(crate) asked: Arc<AtomicU64>,
    pub(crate) asked_by_tcp: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Upstream {
    /// `by_udp` and `by_tcp` say what is sent back. Probes for circles are not counted.
    pub(crate) fn new(
        address: (Ipv4Addr, u16),
        by_udp: impl Fn(&Message, &[u8]) -> Vec<Vec<u8>> + Send + Sync + 'static,
        by_tcp: impl Fn(&Message, &[u8]) -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) -> Upstream {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let udp = UdpSocket::bind(address).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (asked, asked_by_tcp) = (Arc::default(), Arc::default());
        let threads = vec![
            std::thread::spawn({
                let (stop, asked) = (stop.clone(), Arc::clone(&asked));
                move || serve_udp(&udp, &by_udp, &asked, &stop)
            }),
            std::thread::spawn({
                let (stop, asked) = (stop.clone(), Arc::clone(&asked_by_tcp));
                move || serve_tcp(&listener, &by_tcp, &asked, &stop)
            }),
        ];
        Upstream { address, asked, asked_by_tcp, stop, threads }
    }

    /// An upstream that answers each question by UDP with an address.
    pub(crate) fn good(last: u8) -> Upstream {
        Upstream::new((own(last), 0), move |m, _| vec![address(m, last)], |_, _| Vec::new())
    }

    /// An upstream that says nothing.
    pub(crate) fn silent(last: u8) -> Upstream {
        Upstream::new((own(last), 0), |_, _| Vec::new(), |_, _| Vec::new())
    }

    /// An upstream that answers each question with a code.
    pub(crate) fn failing(last: u8, code: ResponseCode) -> Upstream {
        let script =
            move |m: &Message, _: &[u8]| vec![response(m, |m| m.metadata.response_code = code)];
        Upstream::new((own(last), 0), script, |_, _| Vec::new())
    }

    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the one that accepts.
        drop(TcpStream::connect(self.address));
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

fn is_probe(message: &Message) -> bool {
    message.queries[0].name().to_string().contains(".loop.jaco.internal")
}

fn serve_udp(socket: &UdpSocket, script: &Script, asked: &AtomicU64, stop: &AtomicBool) {
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut packet = [0; 4096];
    while !stop.load(Ordering::SeqCst) {
        let Ok((length, peer)) = socket.recv_from(&mut packet) else { continue };
        let message = Message::from_vec(&packet[..length]).unwrap();
        if !is_probe(&message) {
            asked.fetch_add(1, Ordering::SeqCst);
        }
        for reply in script(&message, &packet[..length]) {
            drop(socket.send_to(&reply, peer));
        }
    }
}

fn serve_tcp(listener: &TcpListener, script: &Script, asked: &AtomicU64, stop: &AtomicBool) {
    while let Ok((mut stream, _)) = listener.accept() {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        asked.fetch_add(1, Ordering::SeqCst);
        let mut length = [0; 2];
        if stream.read_exact(&mut length).is_err() {
            continue;
        }
        let mut packet = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut packet).unwrap();
        let message = Message::from_vec(&packet).unwrap();
        for reply in script(&message, &packet) {
            stream.write_all(&(reply.len() as u16).to_be_bytes()).unwrap();
            stream.write_all(&reply).unwrap();
        }
    }
}

/// An answer to a question.
pub(crate) fn response(asked: &Message, fill: impl FnOnce(&mut Message)) -> Vec<u8> {
    let mut message = asked.clone();
    message.metadata.message_type = MessageType::Response;
    message.metadata.recursion_available = true;
    fill(&mut message);
    message.to_vec().unwrap()
}

/// An answer with one address, good for a minute.
pub(crate) fn address(asked: &Message, last: u8) -> Vec<u8> {
    address_for(asked, last, 60)
}

pub(crate) fn address_for(asked: &Message, last: u8, ttl: u32) -> Vec<u8> {
    response(asked, |message| {
        let name = message.queries[0].name().clone();
        message.add_answer(Record::from_rdata(name, ttl, RData::A(A::new(192, 0, 2, last))));
    })
}
