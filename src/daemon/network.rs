//! This member among its peers: the transport, the door by which nodes join, and its identity.

use crate::daemon::address::Addresses;
use crate::daemon::boot::{Mailbox, offer, post};
use crate::daemon::cluster::PeerRecord;
use futures_util::stream::{BoxStream, StreamExt};
use jaco_api::{BoxFuture, Doorkeeper, LogQuery};
use jaco_model::entity::Instance;
use jaco_model::{ClusterId, ErrorCode, Fault, NodeId, WallMs};
use jaco_peers::NodeFiles;
use jaco_peers::tls::{Identity, RosterEntry, api_server_config};
use jaco_peers::transport::{Config, Handler, Limits, Peers};
use jaco_raft::Marker;
use jaco_raft_core::Input;
use jaco_raft_core::eraftpb::Message;
use jaco_runtime::DriverHandle;
use jaco_wire::peer::Method;
use serde::{Deserialize, Serialize};
use std::net::TcpListener;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};

/// What peers and newcomers want of the main thread.
pub(crate) enum PeerRequest {
    /// A call of a member.
    Call {
        /// Who, by its certificate.
        from: NodeId,
        /// What.
        method: Method,
        /// With what.
        payload: Vec<u8>,
        /// Its answer; an error is a fault as JSON.
        answer: oneshot::Sender<Result<Vec<u8>, Fault>>,
    },
    /// A whole snapshot of the leader.
    Snapshot {
        /// The raft message with it.
        message: Box<Message>,
        /// Whether it was installed.
        installed: oneshot::Sender<bool>,
    },
    /// A node asks how this one sees it.
    Standing {
        /// Its request.
        payload: Vec<u8>,
        /// The answer.
        answer: oneshot::Sender<Result<Vec<u8>, Fault>>,
    },
    /// A node at the door.
    Admit {
        /// Its request.
        payload: Vec<u8>,
        /// The answer.
        answer: oneshot::Sender<Result<Vec<u8>, Fault>>,
    },
}

/// Requests of peers that may wait for the main thread.
pub(crate) const PEER_REQUESTS_MAX: usize = 1_024;

/// Nodes that may be on their way in at once. Strangers must not use up what members need.
const ADMISSIONS_MAX: usize = 16;

/// How long a snapshot may take from its last byte until it is durable and shown.
const INSTALL_LIMIT: Duration = Duration::from_secs(120);

/// Hands what peers send to the parts of this daemon. Called on the transport's thread.
struct Ear {
    raft: Mailbox<Input>,
    requests: mpsc::Sender<PeerRequest>,
    engine: Arc<OnceLock<DriverHandle>>,
}

impl Handler for Ear {
    fn raft_message(&self, message: Message) {
        // Raft sends again what is lost, and a full mailbox is a reason to be slower.
        offer(&self.raft, Input::PeerMessage(Box::new(message)));
    }

    fn snapshot(&self, message: Message) -> futures_util::future::BoxFuture<'static, bool> {
        let (installed, outcome) = oneshot::channel();
        let message = Box::new(message);
        let sent = self.requests.try_send(PeerRequest::Snapshot { message, installed });
        Box::pin(async move {
            // Raft may drop it without a word; its sender must not wait for ever.
            let outcome = tokio::time::timeout(INSTALL_LIMIT, outcome);
            sent.is_ok() && matches!(outcome.await, Ok(Ok(true)))
        })
    }

    fn unreachable(&self, raft_id: u64) {
        offer(&self.raft, Input::PeerUnreachable { peer: raft_id });
    }

    fn snapshot_reported(&self, raft_id: u64, installed: bool) {
        // Without it the peer would hear nothing more.
        post(&self.raft, Input::SnapshotReported { peer: raft_id, installed });
    }

    fn violation(&self, raft_id: u64, what: &'static str) {
        tracing::warn!(raft_id, what, "peer violation");
    }

    fn call(
        &self,
        from: NodeId,
        method: Method,
        payload: Vec<u8>,
    ) -> futures_util::future::BoxFuture<'static, Result<Vec<u8>, String>> {
        let (answer, outcome) = oneshot::channel();
        let sent = self.requests.try_send(PeerRequest::Call { from, method, payload, answer });
        Box::pin(async move {
            let result = match sent {
                Ok(()) => outcome.await.unwrap_or_else(|_| Err(crate::daemon::backend::stopping())),
                Err(_) => Err(crate::daemon::hub::overloaded()),
            };
            result.map_err(|fault| encode_fault(&fault))
        })
    }

    fn stream(
        &self,
        _: NodeId,
        method: Method,
        payload: Vec<u8>,
    ) -> BoxStream<'static, Result<Vec<u8>, String>> {
        let wanted: Result<LogsRequest, Fault> = match method {
            Method::Logs => serde_json::from_slice(&payload).map_err(|error| {
                Fault::new(
                    ErrorCode::VersionSkew,
                    format!("the request is not understood: {error}"),
                )
            }),
            other => {
                let message = format!("{other:?} is no stream");
                Err(Fault::new(ErrorCode::VersionSkew, message))
            }
        };
        match wanted {
            Ok(wanted) => {
                let engine = self.engine.get().and_then(DriverHandle::engine);
                let LogsRequest { instance, host, follow, since, until, tail } = wanted;
                let query = LogQuery { follow, since, until, tail };
                let lines = crate::daemon::logs::stream(engine, &instance, &host, query);
                lines
                    .map(|line| {
                        let line = line.map_err(|fault| encode_fault(&fault))?;
                        serde_json::to_vec(&line).map_err(|error| error.to_string())
                    })
                    .boxed()
            }
            Err(fault) => {
                let refused = encode_fault(&fault);
                futures_util::stream::once(async { Err(refused) }).boxed()
            }
        }
    }
}

/// What a node is asked whose replica's log is wanted.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LogsRequest {
    pub(crate) instance: Instance,
    pub(crate) host: String,
    pub(crate) follow: bool,
    pub(crate) since: Option<WallMs>,
    pub(crate) until: Option<WallMs>,
    pub(crate) tail: Option<u64>,
}

/// A fault on its way to another member.
fn encode_fault(fault: &Fault) -> String {
    serde_json::to_string(fault).unwrap_or_else(|_| fault.message.clone())
}

/// A fault of another member; text that is none comes from its transport.
pub(crate) fn decode_fault(text: &str) -> Fault {
    serde_json::from_str(text).unwrap_or_else(|_| {
        Fault::new(ErrorCode::Internal, format!("the other node refused: {text}"))
    })
}

struct Door {
    requests: mpsc::Sender<PeerRequest>,
    room: Arc<Semaphore>,
}

type Reply = oneshot::Sender<Result<Vec<u8>, Fault>>;

impl Door {
    /// Hands a stranger's request over, if there is room for one more.
    fn ask(&self, request: impl FnOnce(Reply) -> PeerRequest) -> BoxFuture<Result<Vec<u8>, Fault>> {
        let (answer, outcome) = oneshot::channel();
        let Ok(permit) = self.room.clone().try_acquire_owned() else {
            return Box::pin(async { Err(crate::daemon::hub::overloaded()) });
        };
        let sent = self.requests.try_send(request(answer));
        Box::pin(async move {
            let _permit = permit;
            sent.map_err(|_| crate::daemon::hub::overloaded())?;
            outcome.await.unwrap_or_else(|_| Err(crate::daemon::backend::stopping()))
        })
    }
}

impl Doorkeeper for Door {
    fn admit(&self, payload: Vec<u8>) -> BoxFuture<Result<Vec<u8>, Fault>> {
        self.ask(|answer| PeerRequest::Admit { payload, answer })
    }

    fn standing(&self, payload: Vec<u8>) -> BoxFuture<Result<Vec<u8>, Fault>> {
        self.ask(|answer| PeerRequest::Standing { payload, answer })
    }
}

/// What the network needs of the daemon.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) raft: Mailbox<Input>,
    pub(crate) requests: mpsc::Sender<PeerRequest>,
    pub(crate) engine: Arc<OnceLock<DriverHandle>>,
}

/// The network cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Certificates or sockets of the transport.
    #[error("cannot start the transport between members")]
    Peers(#[from] jaco_peers::Error),
    /// The API port cannot be opened.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The API cannot be served there.
    #[error("cannot serve the API on TCP")]
    Serve(#[from] jaco_api::Error),
}

/// A running network.
pub(crate) struct Network {
    pub(crate) peers: Peers,
    pub(crate) identity: Identity,
    pub(crate) addresses: Addresses,
    door: actix_web::dev::ServerHandle,
}

impl Network {
    /// Opens both ports.
    pub(crate) fn start(
        addresses: &Addresses,
        marker: &Marker,
        files: &NodeFiles,
        peers: &[PeerRecord],
        around: &Surroundings,
    ) -> Result<Network, Error> {
        let identity = files.identity()?;
        let config = Config {
            listen: addresses.peer,
            cluster_id: ClusterId::new(crate::daemon::init::uuid_text(marker.cluster_id)),
            epoch: marker.epoch,
            me: NodeId::new(marker.node_id.clone()),
            raft_id: marker.raft_id,
            limits: Limits::default(),
        };
        let Surroundings { raft, requests, engine } = around.clone();
        let room = Arc::new(Semaphore::new(ADMISSIONS_MAX));
        let door = Door { requests: requests.clone(), room };
        let ear = Ear { raft, requests, engine };
        let roster = peers.iter().map(known_peer).collect();
        let peers = Peers::start(config, identity.clone(), roster, Arc::new(ear))?;
        let listen = |source| Error::Listen { address: addresses.api, source };
        let listener = TcpListener::bind(addresses.api).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let tls = api_server_config(&identity)?.as_ref().clone();
        let server = jaco_api::serve_door(Arc::new(door), listener, tls)?;
        let door = server.handle();
        actix::spawn(server);
        Ok(Network { peers, identity, addresses: addresses.clone(), door })
    }

    /// Closes both ports.
    pub(crate) async fn stop(self) {
        self.door.stop(true).await;
        // It waits for its thread, which may be in the middle of something.
        let peers = self.peers;
        let _ = tokio::task::spawn_blocking(move || peers.shutdown()).await;
    }
}

/// A member that a file tells of; which certificates it has now, only the state can say.
pub(crate) fn known_peer(record: &PeerRecord) -> RosterEntry {
    RosterEntry {
        node: record.node.clone(),
        raft_id: record.raft_id,
        address: record.address.clone(),
        serials: None,
    }
}

/// Hears nothing: the transport of a node that only asks.
pub(crate) struct Deaf;

impl Handler for Deaf {
    fn raft_message(&self, _: Message) {}

    fn snapshot(&self, _: Message) -> futures_util::future::BoxFuture<'static, bool> {
        Box::pin(async { false })
    }

    fn unreachable(&self, _: u64) {}

    fn snapshot_reported(&self, _: u64, _: bool) {}

    fn violation(&self, _: u64, _: &'static str) {}

    fn call(
        &self,
        _: NodeId,
        _: Method,
        _: Vec<u8>,
    ) -> futures_util::future::BoxFuture<'static, Result<Vec<u8>, String>> {
        let fault = Fault::new(ErrorCode::NodeFenced, "this node is joining again");
        Box::pin(async move { Err(encode_fault(&fault)) })
    }

    fn stream(
        &self,
        _: NodeId,
        _: Method,
        _: Vec<u8>,
    ) -> BoxStream<'static, Result<Vec<u8>, String>> {
        futures_util::stream::empty().boxed()
    }
}
