//! A daemon that is not in a cluster, for tests of routes and refusals.

use crate::backend::{
    Asker, Backend, BoxFuture, Contacts, LogQuery, LogStream, Membership, ResolvedImage,
};
use jaco_model::command::{ApplyDeployment, Envelope, Reply};
use jaco_model::entity::Instance;
use jaco_model::spec::PullPolicy;
use jaco_model::view::{
    InitView, JoinRequest, JoinTokenView, JoinView, PlanView, VersionView, WhyQuestion, WhyView,
};
use jaco_model::{ErrorCode, Fault, InstanceId, NodeName, WallMs};
use jaco_state::State;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Refuses everything.
pub(crate) struct Unborn {
    membership: watch::Sender<Membership>,
    state: watch::Sender<Arc<State>>,
}

impl Default for Unborn {
    fn default() -> Unborn {
        let membership = watch::Sender::new(Membership::Uninitialized);
        Unborn { membership, state: watch::Sender::new(Arc::default()) }
    }
}

fn refused<T: Send + 'static>() -> BoxFuture<Result<T, Fault>> {
    Box::pin(async { Err(Fault::new(ErrorCode::ClusterUninitialized, "not in a cluster")) })
}

impl Backend for Unborn {
    fn version(&self) -> VersionView {
        VersionView::default()
    }

    fn membership(&self) -> watch::Receiver<Membership> {
        self.membership.subscribe()
    }

    fn state(&self) -> watch::Receiver<Arc<State>> {
        self.state.subscribe()
    }

    fn now(&self) -> WallMs {
        WallMs(0)
    }

    fn init(&self, _: Option<String>) -> BoxFuture<Result<InitView, Fault>> {
        refused()
    }

    fn join(&self, _: JoinRequest) -> BoxFuture<Result<JoinView, Fault>> {
        refused()
    }

    fn rejoin(&self) -> BoxFuture<Result<JoinView, Fault>> {
        refused()
    }

    fn issue_join_token(&self, _: Asker, _: Duration) -> BoxFuture<Result<JoinTokenView, Fault>> {
        refused()
    }

    fn read(&self) -> BoxFuture<Result<u64, Fault>> {
        refused()
    }

    fn contacts(&self) -> Contacts {
        Contacts::default()
    }

    fn propose(&self, _: Envelope) -> BoxFuture<Result<Reply, Fault>> {
        refused()
    }

    fn resolve_image(
        &self,
        _: String,
        _: PullPolicy,
        _: Option<String>,
    ) -> BoxFuture<Result<ResolvedImage, Fault>> {
        refused()
    }

    fn plan(&self, _: &State, _: ApplyDeployment, _: Vec<NodeName>) -> Result<PlanView, Fault> {
        Err(Fault::new(ErrorCode::ClusterUninitialized, "not in a cluster"))
    }

    fn why(&self, _: Arc<State>, _: WhyQuestion) -> BoxFuture<Result<WhyView, Fault>> {
        refused()
    }

    fn logs(&self, _: &Instance, _: &str, _: LogQuery) -> LogStream {
        Box::pin(futures_util::stream::empty())
    }

    fn pull(&self, _: &InstanceId) -> Option<String> {
        None
    }

    fn dns_providers(&self) -> Vec<String> {
        vec!["zone".to_owned()]
    }

    fn metrics(&self) -> Option<String> {
        Some("# nothing\n".to_owned())
    }

    fn free_bind_paths(&self) -> Vec<String> {
        Vec::new()
    }
}
