//! What the API, this daemon's own tasks and the peers ask of the main thread.

use super::Daemon;
use crate::daemon::backend::Request;
use crate::daemon::hub::{Hub, Written};
use crate::daemon::network::PeerRequest;
use crate::daemon::{boot, calls, cluster, identity, init, join, logging};
use jaco_api::Membership;
use jaco_model::command::Reply;
use jaco_model::view::{InitView, JoinRequest, JoinView};
use jaco_model::{ErrorCode, Fault};
use jaco_peers::NodeFiles;
use jaco_runtime::DriverHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// Exit code of a daemon whose node was removed; started again it is one without a cluster
/// (`EX_TEMPFAIL`).
pub(super) const EXIT_REMOVED: u8 = 75;

/// How long a removed node waits for its containers to be taken down.
const CLEAR_OUT: Duration = Duration::from_secs(45);

impl Daemon {
    /// What a peer wants; gives the exit code of a node that was removed.
    pub(super) async fn peer_request(&mut self, request: PeerRequest) -> Option<u8> {
        let member = self.member.as_ref()?;
        match calls::take(&member.hub, request) {
            calls::Outcome::Handled => None,
            calls::Outcome::Removed => {
                self.leave().await;
                Some(EXIT_REMOVED)
            }
        }
    }

    /// Takes down what runs here and forgets the cluster.
    pub(super) async fn leave(&mut self) {
        let Some(member) = self.member.take() else { return };
        self.boards.membership.send_replace(Membership::Failed(
            Fault::new(ErrorCode::NodeFenced, "this node was removed from its cluster")
                .with("hint", "the daemon ends and starts again as one without a cluster"),
        ));
        member.hub.clear_out();
        let engine = self.engine.get().and_then(DriverHandle::engine);
        if let Some(engine) = engine {
            let cluster = init::uuid_text(member.marker.cluster_id);
            let gone = async {
                while engine.runs_any_of(&cluster).await {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            };
            if tokio::time::timeout(CLEAR_OUT, gone).await.is_err() {
                tracing::warn!("containers of the cluster still run on this node");
            }
        }
        // Only once nothing runs that they keep apart.
        if let Some(mesh) = member.hub.netmesh()
            && let Err(error) = mesh.remove().await
        {
            tracing::warn!(error = logging::chain(&error), "the mesh's interface stays");
        }
        // Or it would be put back.
        member.hub.equip(|overlay| overlay.firewall = None);
        if let Err(error) = jaco_firewall::remove_table() {
            tracing::warn!(error = logging::chain(&error), "the packet filter stays");
        }
        self.supervisor.shutting_down();
        if let Err(error) = identity::forget(&self.config.data_dir) {
            tracing::error!(%error, "cannot remove the old data of this node");
        }
    }

    pub(super) fn request(&mut self, request: Request) {
        match request {
            Request::Propose(envelope, answer) => match self.hub() {
                Ok(hub) => {
                    let (sender, outcome) = oneshot::channel();
                    hub.submit(&envelope, sender);
                    relay(outcome, answer);
                }
                // A caller that went away does not want the answer any more.
                Err(fault) => drop(answer.send(Err(fault))),
            },
            Request::Read(answer) => match self.hub() {
                Ok(hub) => hub.read(false, answer),
                Err(fault) => drop(answer.send(Err(fault))),
            },
            Request::IssueToken(asker, ttl, answer) => match self.hub() {
                Ok(hub) => {
                    let network = self.member.as_ref().and_then(|member| member.network.as_ref());
                    let addresses = network.map(|network| network.addresses.clone());
                    actix::spawn(async move {
                        let made = cluster::issue_token(&hub, asker, ttl, addresses.as_ref()).await;
                        let _ = answer.send(made);
                    });
                }
                Err(fault) => drop(answer.send(Err(fault))),
            },
            Request::Look(look, answer) => match self.hub() {
                Ok(hub) => {
                    let seen = hub.look(*look);
                    actix::spawn(async move { drop(answer.send(Ok(seen.await))) });
                }
                Err(fault) => drop(answer.send(Err(fault))),
            },
            Request::Init(name, answer) => drop(answer.send(self.init(name))),
            Request::Join(wish, answer) => self.join(wish, answer),
            Request::Begin(joined, answer) => {
                self.is_joining = false;
                let begun = joined.and_then(|joined| {
                    self.start(joined.store).map_err(|error| failed(&error))?;
                    Ok(joined.view)
                });
                let _ = answer.send(begun);
            }
            Request::OpenPorts(files) => self.open_ports(&files),
        }
    }

    fn hub(&self) -> Result<Hub, Fault> {
        match (&self.member, &*self.boards.membership.borrow()) {
            (Some(member), _) => Ok(member.hub.clone()),
            (None, Membership::Failed(fault)) => Err(fault.clone()),
            (None, _) => {
                let message = "this node is not in a cluster yet";
                let fault = Fault::new(ErrorCode::ClusterUninitialized, message);
                Err(fault.with("hint", "jaco cluster init"))
            }
        }
    }

    /// `cluster init` on this node.
    fn init(&mut self, name: Option<String>) -> Result<InitView, Fault> {
        self.check_unborn()?;
        let alone = !self.options.listens;
        let begun = init::begin(&self.config, &self.supervisor.clock(), name, alone)
            .map_err(|error| failed(&error))?;
        self.start(begun.store).map_err(|error| failed(&error))?;
        Ok(begun.view)
    }

    fn check_unborn(&self) -> Result<(), Fault> {
        if self.is_joining {
            let message = "this node is joining a cluster at the moment";
            return Err(Fault::new(ErrorCode::Conflict, message).with("operation", "join"));
        }
        let is_unborn = matches!(*self.boards.membership.borrow(), Membership::Uninitialized);
        if self.member.is_none() && is_unborn {
            return Ok(());
        }
        let state = self.boards.state.borrow().clone();
        let cluster = state.cluster.as_ref().map(|cluster| cluster.cluster_id.to_string());
        let message = "this node is in a cluster already";
        Err(Fault::new(ErrorCode::ClusterAlreadyInitialized, message)
            .with("cluster_id", cluster.unwrap_or_default()))
    }

    /// `node join`, or `node rejoin` without a wish; the network's part runs beside the daemon.
    fn join(
        &mut self,
        wish: Option<JoinRequest>,
        answer: oneshot::Sender<Result<JoinView, Fault>>,
    ) {
        let allowed = match (&wish, &*self.boards.membership.borrow()) {
            (Some(_), _) => self.check_unborn(),
            (None, Membership::Failed(_)) if !self.is_joining => Ok(()),
            (None, _) if self.is_joining => {
                let message = "this node is joining its cluster again at the moment";
                Err(Fault::new(ErrorCode::Conflict, message).with("operation", "rejoin"))
            }
            (None, Membership::Uninitialized) => {
                let message = "this node is in no cluster";
                let fault = Fault::new(ErrorCode::ClusterUninitialized, message);
                Err(fault.with("hint", "jaco cluster init, or jaco node join"))
            }
            // No reason to try again: nothing will be wrong with it in a moment.
            (None, _) => {
                let message = "this node's log is sound; there is nothing to rejoin for";
                Err(Fault::new(ErrorCode::NodeAlreadyMember, message))
            }
        };
        if let Err(fault) = allowed {
            return drop(answer.send(Err(fault)));
        }
        self.is_joining = true;
        let (config, clock) = (self.config.clone(), self.supervisor.clock());
        let requests = self.requests.clone();
        actix::spawn(async move {
            let joined = match wish {
                Some(wish) => join::join(&config, &clock, wish).await,
                None => join::rejoin(&config, &clock).await,
            };
            // The daemon that ends does not need a new member any more.
            let _ = requests.send(Request::Begin(joined.map(Box::new), answer)).await;
        });
    }

    fn open_ports(&mut self, files: &NodeFiles) {
        let Some(member) = &mut self.member else { return };
        if let Err(error) = files.write(&self.config.data_dir) {
            return tracing::error!(%error, "cannot keep this node's certificate");
        }
        let Some(addresses) = boot::addresses(&self.config) else { return };
        match member.open_ports(&self.config, &addresses) {
            Ok(()) => self.watch_certificate(),
            Err(error) => {
                tracing::error!(error = logging::chain(&error), "cannot open this node's ports");
            }
        }
    }
}

fn failed(error: &boot::Error) -> Fault {
    if let boot::Error::Pool { pool, other } = error {
        return Fault::new(ErrorCode::PoolConflict, error.to_string())
            .with("pool", pool)
            .with("interface", &other.interface)
            .with("hint", "set ipam_pool in jacod.yaml to a prefix that no host uses");
    }
    Fault::new(ErrorCode::StorageFailed, logging::chain(error))
}

/// Passes the outcome of a command on, without its place in the log.
fn relay(outcome: oneshot::Receiver<Written>, answer: oneshot::Sender<Result<Reply, Fault>>) {
    actix::spawn(async move {
        let result = match outcome.await {
            Ok((_, result)) => result,
            Err(_) => Err(crate::daemon::backend::stopping()),
        };
        // A caller that went away does not want the answer any more.
        let _ = answer.send(result);
    });
}
