//! Opens connections to members.

use std::io;

use jaco_wire::peer::{Frame, Purpose, Refusal};
use rustls::pki_types::ServerName;
use tokio::io::{ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsConnector, TlsStream};

use crate::pki::{PeerId, dns_name};
use crate::tls::{PEER_ALPN, peer_client_config};
use crate::transport::counters::count;
use crate::transport::frames::{Broken, FrameReader, FrameWriter};
use crate::transport::hello;
use crate::transport::peer::Peer;
use crate::transport::shared::Shared;
use crate::transport::socket::{Bounded, PATIENT, PROMPT, tune};

/// An authenticated connection after both hellos.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) reader: FrameReader<ReadHalf<TlsStream<Bounded>>>,
    pub(super) writer: FrameWriter<WriteHalf<TlsStream<Bounded>>>,
    /// The names in the certificate of the other side.
    pub(super) id: PeerId,
}

impl Connection {
    pub(super) fn new(stream: TlsStream<Bounded>, id: PeerId) -> Connection {
        let (read, write) = tokio::io::split(stream);
        Connection { reader: FrameReader::new(read), writer: FrameWriter::new(write), id }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    #[error("no answer in time")]
    Timeout,
    #[error("the TLS handshake failed")]
    Handshake(#[source] io::Error),
    #[error("cannot set up TLS")]
    Setup(#[source] crate::Error),
    #[error("the other side is not a member")]
    Stranger,
    #[error("refused: {why:?}")]
    Refused { why: Refusal },
    #[error("the hello failed")]
    Hello(#[source] Broken),
}

/// Connects to a peer, checks that it is the one, and agrees on the purpose.
pub(super) async fn dial(
    shared: &Shared,
    peer: &Peer,
    purpose: Purpose,
) -> Result<Connection, DialError> {
    let dialled = attempt(shared, peer, purpose).await;
    match &dialled {
        Ok(_) => {
            count(&shared.tally.dialled);
            peer.heard(shared.clock.mono());
        }
        Err(error) => {
            count(&shared.tally.failed_dials);
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::debug!(node = %peer.node, address = %peer.address, %error, cause, "cannot dial");
            if let DialError::Refused { .. } = error {
                peer.heard(shared.clock.mono());
            }
        }
    }
    dialled
}

async fn attempt(shared: &Shared, peer: &Peer, purpose: Purpose) -> Result<Connection, DialError> {
    let limits = &shared.config.limits;
    let socket = timeout(limits.connect_timeout, TcpStream::connect(peer.address.as_str()))
        .await
        .map_err(|_| DialError::Timeout)?
        .map_err(DialError::Connect)?;
    let patience = if purpose == Purpose::Snapshot { PATIENT } else { PROMPT };
    tune(&socket, patience).map_err(DialError::Connect)?;
    let config = peer_client_config(&shared.identity, &shared.roster, &peer.node)
        .map_err(DialError::Setup)?;
    let name = ServerName::try_from(dns_name(&shared.config.cluster_id))
        .map_err(|_| DialError::Stranger)?;
    let bounded = Bounded::new(socket, limits.handshake_bytes);
    let handshake = TlsConnector::from(config).connect(name, bounded);
    let mut stream = timeout(limits.handshake_timeout, handshake)
        .await
        .map_err(|_| DialError::Timeout)?
        .map_err(DialError::Handshake)?;
    let (_, session) = stream.get_ref();
    let leaf = session.peer_certificates().and_then(<[_]>::first);
    let id = leaf.and_then(|der| PeerId::from_der(der).ok()).ok_or(DialError::Stranger)?;
    if session.alpn_protocol() != Some(PEER_ALPN) {
        return Err(DialError::Stranger);
    }
    stream.get_mut().0.lift();
    let mut connection = Connection::new(TlsStream::Client(stream), id);
    let hellos =
        timeout(limits.handshake_timeout, exchange(shared, peer, purpose, &mut connection));
    hellos.await.map_err(|_| DialError::Timeout)??;
    Ok(connection)
}

async fn exchange(
    shared: &Shared,
    peer: &Peer,
    purpose: Purpose,
    connection: &mut Connection,
) -> Result<(), DialError> {
    let mine = hello::mine(&shared.config, purpose);
    connection.writer.write(Frame::Hello(mine)).await.map_err(DialError::Hello)?;
    match connection.reader.next().await.map_err(DialError::Hello)? {
        Frame::Hello(theirs) => match hello::check(&shared.config, &theirs, peer.raft_id) {
            Ok(agreed) if agreed == purpose => Ok(()),
            Ok(_) => Err(DialError::Refused { why: Refusal::Malformed }),
            Err(why) => Err(DialError::Refused { why }),
        },
        Frame::Refused { reason, epoch, .. } => {
            let why = Refusal::from_number(reason).unwrap_or(Refusal::Malformed);
            shared.handler.refused(&peer.node, why, epoch);
            Err(DialError::Refused { why })
        }
        _ => Err(DialError::Hello(Broken::OutOfPlace("no hello"))),
    }
}
