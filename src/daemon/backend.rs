//! What the API asks of the daemon, answered from other threads.

use crate::daemon::config::Config;
use crate::daemon::hub::{Boards, overloaded};
use crate::daemon::join::Joined;
use crate::daemon::why;
use jaco_api::{
    Asker, Backend, BoxFuture, Contacts, LogQuery, LogStream, Membership, ResolvedImage,
};
use jaco_kit::Clock;
use jaco_model::command::{ApplyDeployment, Envelope, Reply};
use jaco_model::entity::Instance;
use jaco_model::spec::PullPolicy;
use jaco_model::view::{
    InitView, JoinRequest, JoinTokenView, JoinView, PlanView, VersionView, WhyQuestion, WhyView,
};
use jaco_model::{ErrorCode, Fault, InstanceId, NodeId, NodeName, WallMs};
use jaco_peers::NodeFiles;
use jaco_runtime::DriverHandle;
use jaco_state::State;
use jaco_why::{Case, Facts, Known, Look};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// A request to the main thread.
pub(crate) enum Request {
    /// Write a command.
    Propose(Box<Envelope>, oneshot::Sender<Result<Reply, Fault>>),
    /// Become the first member of a new cluster.
    Init(Option<String>, oneshot::Sender<Result<InitView, Fault>>),
    /// Wait for everything acknowledged so far.
    Read(oneshot::Sender<Result<u64, Fault>>),
    /// Make a join token.
    IssueToken(Asker, Duration, oneshot::Sender<Result<JoinTokenView, Fault>>),
    /// Join a cluster, or without a wish join the own one again.
    Join(Option<JoinRequest>, oneshot::Sender<Result<JoinView, Fault>>),
    /// The files of a member that joined are complete: run it.
    Begin(Result<Box<Joined>, Fault>, oneshot::Sender<Result<JoinView, Fault>>),
    /// Look at this node's own network, or a container.
    Look(Box<Look>, oneshot::Sender<Result<Facts, Fault>>),
    /// This node has a certificate now.
    OpenPorts(NodeFiles),
}

/// Requests that may wait for the main thread.
pub(crate) const REQUESTS_MAX: usize = 1_024;

/// Shared by all threads of the API.
pub(crate) struct DaemonBackend {
    requests: mpsc::Sender<Request>,
    boards: Boards,
    engine: Arc<OnceLock<DriverHandle>>,
    clock: Clock,
    bind_paths: Vec<String>,
    dns_providers: Vec<String>,
    /// Whether what is counted is shown.
    counts: bool,
}

impl DaemonBackend {
    /// `engine` is set once this daemon is a member.
    pub(crate) fn new(
        requests: mpsc::Sender<Request>,
        boards: Boards,
        engine: Arc<OnceLock<DriverHandle>>,
        clock: Clock,
        config: &Config,
    ) -> DaemonBackend {
        let (bind_paths, counts) = (config.admission.bind_paths.clone(), config.metrics.enabled);
        let dns_providers = config.acme_dns.keys().cloned().collect();
        DaemonBackend { requests, boards, engine, clock, bind_paths, dns_providers, counts }
    }

    /// This node, once it is a member.
    fn me(&self) -> Option<NodeId> {
        match &*self.boards.membership.borrow() {
            Membership::Member { node, .. } => Some(node.clone()),
            _ => None,
        }
    }

    /// Hands a request over and waits for its answer.
    fn ask<T: Send + 'static>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, Fault>>) -> Request,
    ) -> BoxFuture<Result<T, Fault>> {
        let (sender, receiver) = oneshot::channel();
        let sent = self.requests.try_send(request(sender));
        Box::pin(async move {
            sent.map_err(|_| overloaded())?;
            receiver.await.unwrap_or_else(|_| Err(stopping()))
        })
    }
}

/// The daemon ended before it answered.
pub(crate) fn stopping() -> Fault {
    Fault::new(ErrorCode::NoLeader, "the daemon is stopping; it is not known what was written")
        .with("outcome", "unknown")
}

/// The engine was asked before it ever answered.
fn engine_away() -> Fault {
    Fault::new(ErrorCode::DockerError, "the Docker Engine does not answer").with("op", "connect")
}

impl Backend for DaemonBackend {
    fn version(&self) -> VersionView {
        let view = crate::version::view();
        VersionView { server_version: Some(view.version.clone()), ..view }
    }

    fn membership(&self) -> watch::Receiver<Membership> {
        self.boards.membership.subscribe()
    }

    fn state(&self) -> watch::Receiver<Arc<State>> {
        self.boards.state.subscribe()
    }

    fn now(&self) -> WallMs {
        WallMs(self.clock.wall().0)
    }

    fn init(&self, name: Option<String>) -> BoxFuture<Result<InitView, Fault>> {
        self.ask(|answer| Request::Init(name, answer))
    }

    fn join(&self, request: JoinRequest) -> BoxFuture<Result<JoinView, Fault>> {
        self.ask(|answer| Request::Join(Some(request), answer))
    }

    fn rejoin(&self) -> BoxFuture<Result<JoinView, Fault>> {
        self.ask(|answer| Request::Join(None, answer))
    }

    fn issue_join_token(
        &self,
        asker: Asker,
        ttl: Duration,
    ) -> BoxFuture<Result<JoinTokenView, Fault>> {
        self.ask(|answer| Request::IssueToken(asker, ttl, answer))
    }

    fn read(&self) -> BoxFuture<Result<u64, Fault>> {
        self.ask(Request::Read)
    }

    fn contacts(&self) -> Contacts {
        let suspects = self.boards.suspects.borrow().clone();
        let peers = self.boards.peers.borrow().clone();
        let nodes: Vec<NodeId> = self.boards.state.borrow().nodes.keys().cloned().collect();
        let heard = |node: NodeId| Some((node.clone(), peers.as_ref()?.silence(&node)?));
        let mesh = self.boards.mesh.borrow();
        let paths = mesh.paths.iter().map(|path| (path.node.clone(), path.condition.as_str()));
        let paths = paths.collect();
        Contacts { suspects, ages: nodes.into_iter().filter_map(heard).collect(), paths }
    }

    fn propose(&self, envelope: Envelope) -> BoxFuture<Result<Reply, Fault>> {
        self.ask(|answer| Request::Propose(Box::new(envelope), answer))
    }

    fn resolve_image(
        &self,
        reference: String,
        policy: PullPolicy,
        platform: Option<String>,
    ) -> BoxFuture<Result<ResolvedImage, Fault>> {
        let engine = self.engine.get().and_then(DriverHandle::engine);
        Box::pin(async move {
            let engine = engine.ok_or_else(engine_away)?;
            let found = engine.resolve_image(&reference, policy, platform.as_deref()).await;
            let found = found.map_err(|fault| {
                Fault::new(ErrorCode::ImagePullFailed, format!("{reference}: {}", fault.message))
                    .with("image", &reference)
                    .with("reason", fault.reason.as_str())
            })?;
            Ok(ResolvedImage { pin: found.pin, warning: found.warning })
        })
    }

    fn plan(
        &self,
        state: &State,
        wish: ApplyDeployment,
        without_nodes: Vec<NodeName>,
    ) -> Result<PlanView, Fault> {
        let without_nodes = without_nodes.into_iter().collect();
        jaco_scheduler::preview(state, &jaco_scheduler::Preview { wish, without_nodes })
    }

    fn why(&self, state: Arc<State>, question: WhyQuestion) -> BoxFuture<Result<WhyView, Fault>> {
        let case = match Case::open(state.clone(), &question) {
            Ok(case) => case,
            Err(fault) => return Box::pin(async { Err(fault) }),
        };
        let looks = case.looks().into_iter();
        let me = self.me();
        let peers = self.boards.peers.borrow().clone();
        let seen = looks.map(|(node, look)| match me.as_ref() == Some(&node) {
            true => {
                let own = self.ask(|answer| Request::Look(Box::new(look), answer));
                why::here(node, own)
            }
            false => why::there(node, peers.as_ref(), &look),
        });
        let seen: Vec<_> = seen.collect();
        let suspects = self.boards.suspects.borrow().clone();
        let now = WallMs(self.clock.wall().0);
        let host = case.host().map(str::to_owned);
        let own_certificate = host.as_ref().and_then(|host| jaco_api::own_end(&state, host));
        Box::pin(async move {
            let resolved = why::resolve(host.as_deref());
            let (facts, resolved) = tokio::join!(futures_util::future::join_all(seen), resolved);
            let facts = facts.into_iter().collect();
            Ok(case.explain(&Known { facts, suspects, resolved, own_certificate, now }))
        })
    }

    fn logs(&self, instance: &Instance, host: &str, query: LogQuery) -> LogStream {
        if self.me().is_some_and(|me| me != instance.node) {
            let peers = self.boards.peers.borrow().clone();
            return crate::daemon::logs::elsewhere(peers.as_ref(), instance, host, query);
        }
        let engine = self.engine.get().and_then(DriverHandle::engine);
        crate::daemon::logs::stream(engine, instance, host, query)
    }

    fn pull(&self, instance: &InstanceId) -> Option<String> {
        let progress = self.engine.get()?.pulls().progress(instance)?;
        Some(format!("{}/{} layers", progress.layers_done, progress.layers_total))
    }

    fn dns_providers(&self) -> Vec<String> {
        self.dns_providers.clone()
    }

    fn metrics(&self) -> Option<String> {
        self.counts.then(|| crate::daemon::metrics::text(&self.boards))
    }

    fn free_bind_paths(&self) -> Vec<String> {
        self.bind_paths.clone()
    }
}
