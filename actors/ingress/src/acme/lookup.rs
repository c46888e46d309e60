//! Questions to name servers, and their answers.

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use jaco_kit_core::name_servers;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// The file of the host's own choice.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Port of name servers.
pub(super) const PORT: u16 = 53;
/// What a server says that does not know such questions.
pub(super) const NOT_IMPLEMENTED: &str = "NOTIMP";
/// Datagrams that are sent before TCP is tried.
const TRIES: u32 = 2;
/// Wait for an answer to one of them.
const DATAGRAM_WAIT: Duration = Duration::from_secs(2);
/// Wait for a whole exchange by TCP.
const STREAM_WAIT: Duration = Duration::from_secs(5);
/// Bytes of the largest datagram that is asked for; passes every path unfragmented.
const DATAGRAM_MAX: u16 = 1_232;

/// Who is asked about names of the outside.
#[derive(Clone, Debug)]
pub enum Resolvers {
    /// These, in this order.
    Listed(Vec<SocketAddr>),
    /// Those of a file as resolv.conf(5), read at each question.
    File(PathBuf),
}

impl Resolvers {
    /// The configured ones, or the host's where none are.
    pub fn chosen(configured: Vec<SocketAddr>) -> Resolvers {
        match configured.is_empty() {
            true => Resolvers::File(PathBuf::from(RESOLV_CONF)),
            false => Resolvers::Listed(configured),
        }
    }

    /// Who is asked now.
    pub(super) fn servers(&self) -> Vec<SocketAddr> {
        match self {
            Resolvers::Listed(servers) => servers.clone(),
            // A file that is not there is as one without servers, which is an error of its own.
            Resolvers::File(path) => {
                std::fs::read_to_string(path).map_or(Vec::new(), |text| name_servers(&text))
            }
        }
    }

    /// The answer of the first server that has one.
    pub(super) async fn ask(&self, name: &Name, kind: RecordType) -> Result<Message, LookupError> {
        let mut failure = LookupError::NoServer;
        for server in self.servers() {
            match ask(server, name, kind, true).await {
                Ok(answer) => return Ok(answer),
                // What a server says explains more than that another one is silent.
                Err(LookupError::Silent { .. })
                    if matches!(failure, LookupError::Refused { .. }) => {}
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Addresses of a host: those of IPv4, or where it has none those of IPv6.
    pub(super) async fn addresses(&self, host: &Name) -> Result<Vec<IpAddr>, LookupError> {
        let four = self.ask(host, RecordType::A).await.map(|answer| addresses_in(&answer));
        match four {
            Ok(found) if !found.is_empty() => Ok(found),
            _ => {
                let six = self.ask(host, RecordType::AAAA).await;
                let six = six.map(|answer| addresses_in(&answer));
                if six.as_ref().is_ok_and(|found| !found.is_empty()) { six } else { four.and(six) }
            }
        }
    }
}

fn addresses_in(answer: &Message) -> Vec<IpAddr> {
    let address = |data: &RData| match data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    };
    answer.answers.iter().filter_map(|record| address(&record.data)).collect()
}

/// Why there is no answer. That a name does not exist is one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// Nobody to ask.
    #[error("there is no name server to ask, neither in dns.forwarders nor in /etc/resolv.conf")]
    NoServer,
    /// No answer, or none that can be read.
    #[error("name server {server} does not answer: {detail}")]
    Silent {
        /// Who.
        server: SocketAddr,
        /// What happened.
        detail: String,
    },
    /// The server could not or would not say.
    #[error("name server {server} answers {code} when asked for {kind} of {name}")]
    Refused {
        /// Who.
        server: SocketAddr,
        /// Asked about.
        name: String,
        /// Type of record that was asked for.
        kind: String,
        /// Such as `SERVFAIL`.
        code: String,
    },
    /// No name of DNS.
    #[error("{0:?} is not a name")]
    NotAName(String),
}

/// A dotted text as a name.
pub(super) fn name(text: &str) -> Result<Name, LookupError> {
    let name = Name::from_ascii(text).map_err(|_| LookupError::NotAName(text.to_owned()));
    name.map(|mut name| {
        name.set_fqdn(true);
        name.to_lowercase()
    })
}

/// A name as people write it: without the last dot.
pub(super) fn text(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_owned()
}

/// The usual name of a response code.
pub(super) fn code(code: ResponseCode) -> String {
    match code {
        ResponseCode::FormErr => "FORMERR",
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::NotImp => NOT_IMPLEMENTED,
        ResponseCode::Refused => "REFUSED",
        ResponseCode::NotAuth => "NOTAUTH",
        ResponseCode::NotZone => "NOTZONE",
        other => return format!("code {}", u16::from(other)),
    }
    .to_owned()
}

/// Asks one server. With `recursive` it may ask others in turn.
pub(super) async fn ask(
    server: SocketAddr,
    name: &Name,
    kind: RecordType,
    recursive: bool,
) -> Result<Message, LookupError> {
    let silent = |detail: String| LookupError::Silent { server, detail };
    let mut question = Message::query();
    question.metadata.recursion_desired = recursive;
    question.add_query(Query::query(name.clone(), kind));
    let mut edns = Edns::new();
    edns.set_max_payload(DATAGRAM_MAX);
    question.set_edns(edns);
    let packet = question.to_vec().map_err(|error| silent(error.to_string()))?;
    let answer = exchange(server, &packet).await.map_err(silent)?;
    let answer = Message::from_vec(&answer).map_err(|error| silent(error.to_string()))?;
    let is_ours = answer.queries.iter().any(|query| query.name() == name);
    match answer.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain if is_ours => Ok(answer),
        ResponseCode::NoError | ResponseCode::NXDomain => {
            Err(silent("it answers another question".to_owned()))
        }
        other => Err(LookupError::Refused {
            server,
            name: text(name),
            kind: kind.to_string(),
            code: code(other),
        }),
    }
}

/// Sends a message and takes what answers it: by UDP, and by TCP where that is cut off or silent.
pub(super) async fn exchange(server: SocketAddr, packet: &[u8]) -> Result<Vec<u8>, String> {
    for _ in 0..TRIES {
        match timeout(DATAGRAM_WAIT, by_datagram(server, packet)).await {
            Ok(Ok(answer)) if is_truncated(&answer) => break,
            Ok(Ok(answer)) => return Ok(answer),
            // A port where nobody listens says so at once.
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => {}
        }
    }
    match timeout(STREAM_WAIT, by_stream(server, packet)).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err("no answer in time".to_owned()),
    }
}

async fn by_datagram(server: SocketAddr, packet: &[u8]) -> std::io::Result<Vec<u8>> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // A socket of its own takes a random port, and the kernel drops what others send there.
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(packet).await?;
    let mut answer = vec![0; usize::from(u16::MAX)];
    loop {
        let length = socket.recv(&mut answer).await?;
        if is_answer(packet, &answer[..length]) {
            answer.truncate(length);
            return Ok(answer);
        }
    }
}

async fn by_stream(server: SocketAddr, packet: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(packet.len()).map_err(|_| std::io::ErrorKind::InvalidInput)?;
    stream.write_all(&[&length.to_be_bytes()[..], packet].concat()).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    if is_answer(packet, &answer) {
        Ok(answer)
    } else {
        Err(std::io::ErrorKind::InvalidData.into())
    }
}

/// Whether the header is that of an answer to this message.
fn is_answer(packet: &[u8], answer: &[u8]) -> bool {
    answer.len() >= 12 && answer[..2] == packet[..2] && answer[2] & 0x80 != 0
}

fn is_truncated(answer: &[u8]) -> bool {
    answer[2] & 0x02 != 0
}

/// An update of a zone, without anything in it yet.
pub(super) fn update(zone: &Name) -> Message {
    let mut message = Message::new(Message::query().id, MessageType::Query, OpCode::Update);
    message.add_query(Query::query(zone.clone(), RecordType::SOA));
    message
}
