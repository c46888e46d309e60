//! `GET /v1/deployments/{name}/wait`: how a change goes, line by line, until it is over.

use crate::answer::Answer;
use crate::look::{Name, next_state, status_word};
use crate::server::Api;
use crate::stream::ndjson;
use crate::target::known_deployment;
use actix_web::HttpResponse;
use actix_web::web::{Data, Query};
use futures_util::stream;
use jaco_kit::Clock;
use jaco_model::entity::{Deployment, InstanceState, Replica, RevisionStatus, RolloutState};
use jaco_model::spec::ServiceSpec;
use jaco_model::view::{Progress, ServiceProgress, WaitFor};
use jaco_model::{DeploymentName, ErrorCode, Fault, Revision, ServiceName};
use jaco_state::State;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Query of the call.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WaitQuery {
    /// The revision whose change is followed; the current one when left out.
    revision: Option<u64>,
    /// What to wait for.
    #[serde(default, rename = "for")]
    goal: WaitFor,
    /// Longest wait in milliseconds; 0 is none.
    #[serde(default)]
    timeout_ms: u64,
    /// Only this service.
    service: Option<String>,
}

/// `GET /v1/deployments/{name}/wait`
pub(crate) async fn wait(
    api: Data<Api>,
    name: Name,
    query: Query<WaitQuery>,
) -> Answer<HttpResponse> {
    let state = api.state()?;
    let query = query.into_inner();
    let name = match known_deployment(&state, &name) {
        Err(_) if query.goal == WaitFor::Deleted => DeploymentName::new(name.as_str()),
        known => known?,
    };
    let current = state.deployments.get(&name).map(|deployment| deployment.revision);
    let watcher = Watcher {
        revision: query.revision.map(Revision).or(current).unwrap_or_default(),
        clock: Clock::new(),
        name,
        query,
        api: api.clone(),
        rolled_back: None,
    };
    Ok(ndjson(watcher.lines(api.backend.state())))
}

/// Follows one change of one deployment.
struct Watcher {
    name: DeploymentName,
    revision: Revision,
    query: WaitQuery,
    clock: Clock,
    api: Data<Api>,
    /// The fault of the rollout that was rolled back, once it was.
    rolled_back: Option<Fault>,
}

/// What one look at the state says.
enum Look {
    Step(Progress),
    End(Progress),
}

impl Watcher {
    /// One line for each change, the last one with how it ended.
    fn lines(
        self,
        states: watch::Receiver<Arc<State>>,
    ) -> impl futures_util::Stream<Item = Progress> {
        stream::unfold(Some((self, states, None)), |following| async move {
            let (mut watcher, mut states, mut last) = following?;
            loop {
                let state = states.borrow_and_update().clone();
                match watcher.look(&state) {
                    Look::End(progress) => return Some((progress, None)),
                    Look::Step(progress) if last.as_ref() != Some(&progress) => {
                        last = Some(progress.clone());
                        return Some((progress, Some((watcher, states, last))));
                    }
                    Look::Step(_) => {}
                }
                watcher.pause(&mut states).await?;
            }
        })
    }

    /// Until the state changes, progress of a pull is worth showing, or time is up.
    async fn pause(&self, states: &mut watch::Receiver<Arc<State>>) -> Option<()> {
        let refresh = match self.left() {
            Some(left) => left.min(Duration::from_secs(1)),
            None => Duration::from_secs(1),
        };
        match tokio::time::timeout(refresh, next_state(states)).await {
            Ok(changed) => changed,
            Err(_) => Some(()),
        }
    }

    /// Time left; `None` when there is no limit.
    fn left(&self) -> Option<Duration> {
        let limit = (self.query.timeout_ms > 0).then_some(self.query.timeout_ms)?;
        Some(Duration::from_millis(limit.saturating_sub(self.clock.mono().0)))
    }

    fn look(&mut self, state: &State) -> Look {
        let Some(deployment) = state.deployments.get(&self.name) else {
            return Look::End(self.gone());
        };
        let status = status_word(state, &deployment.name);
        let services = self.services(state, deployment);
        if let Some(error) = self.failure(state, deployment) {
            return Look::End(self.ended(error, status, deployment, services));
        }
        if self.reached(state, &services) {
            let revision = deployment.revision.0;
            return Look::End(match self.rolled_back.take() {
                Some(error) => self.ended(error, status, deployment, services),
                None => Progress::Reached { status, revision, services },
            });
        }
        if self.left() == Some(Duration::ZERO) {
            return Look::End(self.ended(self.late(&services), status, deployment, services));
        }
        Look::Step(Progress::Step { status, services })
    }

    /// The deployment does not exist any more.
    fn gone(&self) -> Progress {
        let (status, revision, services) = ("deleted".to_owned(), self.revision.0, Vec::new());
        if self.query.goal == WaitFor::Deleted {
            return Progress::Reached { status, revision, services };
        }
        let message = format!("deployment \"{}\" was deleted meanwhile", self.name);
        let error =
            Fault::new(ErrorCode::DeploymentNotFound, message).with("deployment", &self.name);
        Progress::Ended { error, status, revision, restored_revision: None, services }
    }

    fn ended(
        &self,
        error: Fault,
        status: String,
        deployment: &Deployment,
        services: Vec<ServiceProgress>,
    ) -> Progress {
        let rolled_back = error.code == ErrorCode::RolledBack;
        let restored_revision = rolled_back.then_some(deployment.revision.0);
        let revision = deployment.revision.0;
        Progress::Ended { error, status, revision, restored_revision, services }
    }

    /// Why the condition can no longer be reached.
    fn failure(&mut self, state: &State, deployment: &Deployment) -> Option<Fault> {
        if self.query.goal == WaitFor::Deleted {
            return None;
        }
        if deployment.deleting.is_some() {
            let message = format!("deployment \"{}\" is being deleted", self.name);
            return Some(Fault::new(ErrorCode::Conflict, message).with("operation", "delete"));
        }
        if deployment.revision != self.revision {
            return self.superseded(state, deployment);
        }
        let rollouts = state.rollouts.values();
        let mut paused = rollouts.filter(|rollout| {
            rollout.deployment == self.name
                && rollout.state == RolloutState::Paused
                && self.wants(&rollout.service)
        });
        let rollout = paused.next()?;
        let reason = rollout.reason.as_ref().map(Fault::to_string).unwrap_or_default();
        let message = format!("the rollout of {} stopped: {reason}", rollout.service);
        let fault = Fault::new(ErrorCode::RolloutFailed, message).with("service", &rollout.service);
        Some(match &rollout.reason {
            Some(reason) => {
                let fault = reason.details.iter().fold(fault, |f, (key, value)| f.with(key, value));
                fault.with("code", reason.code)
            }
            None => fault,
        })
    }

    /// The revision is not the current one any more: rolled back, or overtaken.
    fn superseded(&mut self, state: &State, deployment: &Deployment) -> Option<Fault> {
        let record = state.revision(&self.name, self.revision);
        if record.is_some_and(|record| record.status == RevisionStatus::RolledBack) {
            let message = format!(
                "revision {} failed; its predecessor runs again as revision {}",
                self.revision, deployment.revision
            );
            let fault = Fault::new(ErrorCode::RolledBack, message)
                .with("failed_revision", self.revision)
                .with("revision", deployment.revision);
            self.rolled_back = Some(with_cause(state, &self.name, fault));
            self.revision = deployment.revision;
            return None;
        }
        let message = format!(
            "revision {} was replaced by revision {} meanwhile",
            self.revision, deployment.revision
        );
        Some(Fault::new(ErrorCode::Conflict, message).with("operation", "apply"))
    }

    fn late(&self, services: &[ServiceProgress]) -> Fault {
        let waiting: Vec<String> = services
            .iter()
            .filter(|service| service.running < service.wanted)
            .map(|service| format!("{} {}/{}", service.name, service.running, service.wanted))
            .collect();
        let waiting = if waiting.is_empty() { self.name.to_string() } else { waiting.join(", ") };
        let limit = jaco_model::Millis(self.query.timeout_ms);
        let message = format!("not there after {limit}; the work goes on");
        Fault::new(ErrorCode::WaitTimeout, message).with("waiting_for", waiting)
    }

    fn wants(&self, service: &ServiceName) -> bool {
        self.query.service.as_deref().is_none_or(|wanted| wanted == service.as_str())
    }

    fn reached(&self, state: &State, services: &[ServiceProgress]) -> bool {
        match self.query.goal {
            WaitFor::Active => jaco_state::is_converged(state, &self.name, self.revision),
            WaitFor::Running | WaitFor::Healthy => services.iter().all(|s| s.running >= s.wanted),
            WaitFor::Completed => {
                let instances = state.instances.values().filter(|i| i.deployment == self.name);
                let mut instances = instances.filter(|i| self.wants(&i.service)).peekable();
                instances.peek().is_some()
                    && instances.all(|i| i.status.state == InstanceState::Completed)
            }
            // Reached when the deployment is gone, which `look` sees first.
            WaitFor::Deleted => false,
        }
    }

    /// How far each service is, in order of name.
    fn services(&self, state: &State, deployment: &Deployment) -> Vec<ServiceProgress> {
        let Some(record) = state.current(&self.name) else { return Vec::new() };
        let services = record.spec.services.values().filter(|service| self.wants(&service.name));
        services.map(|service| self.progress(state, deployment, service)).collect()
    }

    /// How far one service is: ready replicas of the wanted kind, and what the others do.
    fn progress(
        &self,
        state: &State,
        deployment: &Deployment,
        service: &ServiceSpec,
    ) -> ServiceProgress {
        let key = (deployment.name.clone(), service.name.clone());
        let replicas: Vec<&Arc<Replica>> = state.replicas_of(&key).collect();
        let wanted = jaco_state::wanted_count(state, deployment, service);
        let mut view =
            ServiceProgress { name: service.name.to_string(), wanted, ..Default::default() };
        let mut doing: BTreeMap<String, u32> = BTreeMap::new();
        for replica in replicas {
            let newest = state.instances_of(&replica.id).last();
            let Some(instance) = newest else {
                *doing.entry(waiting_words(replica)).or_default() += 1;
                continue;
            };
            let current = jaco_state::is_up_to_date(state, replica, instance);
            match instance.status.state {
                InstanceState::Running | InstanceState::Completed if current => view.running += 1,
                InstanceState::Running => {
                    *doing.entry("to be replaced".to_owned()).or_default() += 1
                }
                InstanceState::Failed => view.failed += 1,
                other => {
                    let host = crate::rows::hostname(state, &instance.node);
                    let pull = self.api.backend.pull(&instance.id);
                    let pull = pull.map(|pull| format!(" ({pull})")).unwrap_or_default();
                    let words = format!("{} {host}{pull}", other.as_str());
                    *doing.entry(words).or_default() += 1;
                }
            }
        }
        view.doing = doing.into_iter().map(|(what, n)| format!("{n} {what}")).collect();
        view
    }
}

/// Adds what the aborted rollout says about the failing replica.
fn with_cause(state: &State, name: &DeploymentName, fault: Fault) -> Fault {
    let mut rollouts = state.rollouts.values().filter(|rollout| rollout.deployment == *name);
    let cause = rollouts.find_map(|rollout| rollout.reason.clone());
    let Some(cause) = cause else { return fault };
    let mut fault = fault.with("code", cause.code).with("reason", &cause.message);
    for key in ["service", "replica", "exit_code", "log_tail"] {
        if let Some(value) = cause.detail(key) {
            fault = fault.with(key, value);
        }
    }
    fault
}

fn waiting_words(replica: &Replica) -> String {
    match &replica.waiting {
        Some(fault) => format!("pending ({})", fault.code),
        None => "pending".to_owned(),
    }
}
