//! Takes connections of other members.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jaco_model::NodeId;
use jaco_wire::peer::{Frame, Purpose, Refusal};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsStream};

use crate::pki::PeerId;
use crate::tls::PEER_ALPN;
use crate::transport::counters::count;
use crate::transport::dial::Connection;
use crate::transport::frames::Broken;
use crate::transport::gate::{Gate, Ticket};
use crate::transport::shared::{Shared, lock};
use crate::transport::socket::{Bounded, PROMPT, tune};
use crate::transport::{hello, raft_in, serve_calls, snapshot_in};

/// After a failure to accept, usually for lack of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Connections of one member for one purpose. It needs one; the others are those that broke
/// without a word.
const OPEN: usize = 16;

/// The place of one connection among those of its member.
struct Place<'s> {
    shared: &'s Shared,
    whose: (NodeId, Purpose),
}

impl<'s> Place<'s> {
    fn take(shared: &'s Shared, node: &NodeId, purpose: Purpose) -> Option<Place<'s>> {
        let whose = (node.clone(), purpose);
        let mut incoming = lock(&shared.incoming);
        let open = incoming.entry(whose.clone()).or_default();
        (*open < OPEN).then(|| {
            *open += 1;
            Place { shared, whose }
        })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut incoming = lock(&self.shared.incoming);
        if let Some(open) = incoming.get_mut(&self.whose) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                incoming.remove(&self.whose);
            }
        }
    }
}

/// Accepts until the runtime ends.
pub(super) async fn run(shared: Arc<Shared>, listener: TcpListener, config: Arc<ServerConfig>) {
    let limits = &shared.config.limits;
    let gate = Gate::new(limits.handshakes_per_address, limits.handshakes);
    let acceptor = TlsAcceptor::from(config);
    loop {
        let (socket, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a peer connection");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        match gate.enter(address.ip()) {
            Some(ticket) => {
                tokio::spawn(welcome(shared.clone(), acceptor.clone(), socket, address, ticket));
            }
            None => count(&shared.tally.turned_away),
        }
    }
}

/// Authenticates a connection and serves it.
async fn welcome(
    shared: Arc<Shared>,
    acceptor: TlsAcceptor,
    socket: TcpStream,
    address: SocketAddr,
    ticket: Ticket,
) {
    let mut connection = match authenticate(&shared, &acceptor, socket).await {
        Ok(connection) => connection,
        Err(reason) => {
            count(&shared.tally.refused_handshakes);
            tracing::debug!(%address, reason, "peer connection refused");
            return;
        }
    };
    // The roster may have changed since the handshake.
    let Ok(raft_id) = shared.roster.admit(&connection.id) else {
        count(&shared.tally.refused_handshakes);
        return;
    };
    let id = connection.id.clone();
    let ended = tokio::select! {
        ended = converse(&shared, &mut connection, raft_id, ticket) => ended,
        () = shared.dismissed(&id, None) => Err(Broken::Closed),
    };
    if let Err(broken) = ended {
        if broken.is_violation() {
            count(&shared.tally.broken_frames);
            shared.violation(raft_id, "a malformed frame");
        }
        tracing::debug!(node = %id.node_id, %address, error = %broken, "peer connection ended");
    }
}

/// The TLS handshake, in which everybody but members is refused.
async fn authenticate(
    shared: &Shared,
    acceptor: &TlsAcceptor,
    socket: TcpStream,
) -> Result<Connection, String> {
    let limits = &shared.config.limits;
    tune(&socket, PROMPT).map_err(|error| error.to_string())?;
    let handshake = acceptor.accept(Bounded::new(socket, limits.handshake_bytes));
    let mut stream = timeout(limits.handshake_timeout, handshake)
        .await
        .map_err(|_| "too slow".to_owned())?
        .map_err(|error| error.to_string())?;
    let (_, session) = stream.get_ref();
    if session.alpn_protocol() != Some(PEER_ALPN) {
        return Err("another protocol".into());
    }
    let leaf = session.peer_certificates().and_then(<[_]>::first).ok_or("no certificate")?;
    let id = PeerId::from_der(leaf).map_err(|error| error.to_string())?;
    stream.get_mut().0.lift();
    Ok(Connection::new(TlsStream::Server(stream), id))
}

/// The hellos and what they agree on.
async fn converse(
    shared: &Arc<Shared>,
    connection: &mut Connection,
    raft_id: u64,
    ticket: Ticket,
) -> Result<(), Broken> {
    let patience = shared.config.limits.handshake_timeout;
    let first = timeout(patience, connection.reader.next()).await.unwrap_or(Err(Broken::Closed))?;
    let purpose = match &first {
        Frame::Hello(hello) => hello::check(&shared.config, hello, raft_id),
        _ => Err(Refusal::Malformed),
    };
    let agreed = purpose.and_then(|purpose| {
        let place = Place::take(shared, &connection.id.node_id, purpose);
        place.map(|place| (purpose, place)).ok_or(Refusal::TooMany)
    });
    let (purpose, _place) = match agreed {
        Ok(agreed) => agreed,
        Err(why) => {
            count(&shared.tally.refused_hellos);
            connection.writer.write(hello::refusal(&shared.config, why)).await?;
            // The other side closes once it knows why.
            let _ = timeout(patience, connection.reader.next()).await;
            return Ok(());
        }
    };
    connection.writer.write(Frame::Hello(hello::mine(&shared.config, purpose))).await?;
    drop(ticket);
    count(&shared.tally.accepted);
    shared.heard(&connection.id.node_id);
    if let Some(peer) = shared.peer(&connection.id.node_id) {
        peer.alive.notify_waiters();
    }
    // A member that joins again gets another raft id, by a call that must still be answered.
    let id = connection.id.clone();
    let outdated = shared.dismissed(&id, Some(raft_id));
    match purpose {
        Purpose::Calls => serve_calls::serve(shared, connection).await,
        Purpose::Raft => tokio::select! {
            ended = raft_in::serve(shared, connection, raft_id) => ended,
            () = outdated => Err(Broken::Closed),
        },
        Purpose::Snapshot => tokio::select! {
            ended = snapshot_in::serve(shared, connection, raft_id) => ended,
            () = outdated => Err(Broken::Closed),
        },
    }
}
