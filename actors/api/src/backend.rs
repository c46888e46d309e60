//! What the API needs from the rest of the daemon.

use futures_util::Stream;
use jaco_model::command::{ApplyDeployment, Envelope, Reply};
use jaco_model::entity::{ImagePin, Instance};
use jaco_model::spec::PullPolicy;
use jaco_model::view::{
    InitView, JoinRequest, JoinTokenView, JoinView, LogLine, PlanView, VersionView, WhyQuestion,
    WhyView,
};
use jaco_model::{Fault, Identity, InstanceId, NodeId, NodeName, WallMs};
use jaco_state::State;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A future that may move between threads.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Log lines as they come; the stream ends when there is nothing more to follow.
pub type LogStream = Pin<Box<dyn Stream<Item = Result<LogLine, Fault>> + Send>>;

/// Whether this daemon is part of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Membership {
    /// No marker file: `cluster init` comes first.
    Uninitialized,
    /// A member that does not yet know again all that it knew before it was restarted.
    CatchingUp,
    /// A member whose durable state cannot be used; `node rejoin` is the way out.
    Failed(Fault),
    /// A member.
    Member {
        /// This node.
        node: NodeId,
        /// The leader, while there is one.
        leader: Option<NodeId>,
    },
}

/// An image that was looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedImage {
    /// The pin.
    pub pin: ImagePin,
    /// What the user should know, such as that the registry could not be asked.
    pub warning: Option<String>,
}

/// Which log lines are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Go on with new lines.
    pub follow: bool,
    /// Only lines from then on.
    pub since: Option<WallMs>,
    /// Only lines before then.
    pub until: Option<WallMs>,
    /// Only the last lines; `None` is all.
    pub tail: Option<u64>,
}

/// What this node knows of the others by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contacts {
    /// Nodes that this node or most observers cannot reach.
    pub suspects: BTreeSet<NodeId>,
    /// How long ago each other node was last heard.
    pub ages: BTreeMap<NodeId, Duration>,
    /// What packets of containers find on the way to each other node: `ok`, `one_way` or `dead`.
    pub paths: BTreeMap<NodeId, &'static str>,
}

/// Who asks for a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker {
    /// Who asks.
    pub identity: Identity,
    /// The local user.
    pub os_user: Option<String>,
}

/// The rest of the daemon. One value serves all requests, from any thread.
pub trait Backend: Send + Sync + 'static {
    /// The daemon's version.
    fn version(&self) -> VersionView;

    /// Whether this daemon is part of a cluster, and changes of that.
    fn membership(&self) -> watch::Receiver<Membership>;

    /// The replicated state, and every new one.
    fn state(&self) -> watch::Receiver<Arc<State>>;

    /// The wall clock.
    fn now(&self) -> WallMs;

    /// Makes this daemon the first member of a new cluster.
    fn init(&self, name: Option<String>) -> BoxFuture<Result<InitView, Fault>>;

    /// Joins the cluster of a peer.
    fn join(&self, request: JoinRequest) -> BoxFuture<Result<JoinView, Fault>>;

    /// Begins again with an empty log under the identity that this node has.
    fn rejoin(&self) -> BoxFuture<Result<JoinView, Fault>>;

    /// Makes a join token.
    fn issue_join_token(
        &self,
        asker: Asker,
        ttl: Duration,
    ) -> BoxFuture<Result<JoinTokenView, Fault>>;

    /// Waits until the state shown here holds everything that was acknowledged anywhere before the
    /// call; gives the index.
    fn read(&self) -> BoxFuture<Result<u64, Fault>>;

    /// What this node knows of the others.
    fn contacts(&self) -> Contacts;

    /// Writes a command and answers once it is durable and applied.
    fn propose(&self, envelope: Envelope) -> BoxFuture<Result<Reply, Fault>>;

    /// Looks an image reference up.
    fn resolve_image(
        &self,
        reference: String,
        policy: PullPolicy,
        platform: Option<String>,
    ) -> BoxFuture<Result<ResolvedImage, Fault>>;

    /// What an apply would do to `state`, as if some nodes were down.
    fn plan(
        &self,
        state: &State,
        wish: ApplyDeployment,
        without_nodes: Vec<NodeName>,
    ) -> Result<PlanView, Fault>;

    /// Why something in `state` is as it is, with what the nodes concerned see now.
    fn why(&self, state: Arc<State>, question: WhyQuestion) -> BoxFuture<Result<WhyView, Fault>>;

    /// Log lines of one instance.
    fn logs(&self, instance: &Instance, host: &str, query: LogQuery) -> LogStream;

    /// How far the pull is that an instance waits for, in a few words.
    fn pull(&self, instance: &InstanceId) -> Option<String>;

    /// What this node counts, as text for Prometheus; `None` when that is switched off.
    fn metrics(&self) -> Option<String>;

    /// Host directories that a service may bind without the privileged gate.
    fn free_bind_paths(&self) -> Vec<String>;

    /// Names of the configured providers of DNS-01.
    fn dns_providers(&self) -> Vec<String>;
}
