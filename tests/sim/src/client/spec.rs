//! Small deployments for clients to apply.

use crate::authority::DOMAINS;
use jaco_model::command::{ApplyDeployment, Command};
use jaco_model::entity::{Documents, ImagePin, Origin};
use jaco_model::spec::{
    Challenge, ContainerSpec, DeploymentSpec, FailureAction, NetworkAttachment, NetworkSpec,
    NodeLossAction, NodeLossPolicy, Placement, Redirect, RestartCondition, RestartPolicy,
    RouteOptions, RouteSpec, ServiceMode, ServiceSpec, TlsMode, UpdateOrder, UpdatePolicy,
};
use jaco_model::{DeploymentName, Millis, Revision, ServiceName};
use std::collections::{BTreeMap, BTreeSet};

/// A new revision with one service `web`. `image` is what runs, `value` what the documents say.
pub(super) fn apply(
    name: &DeploymentName,
    value: u64,
    image: u64,
    replicas: u64,
    expected_revision: Option<Revision>,
) -> ApplyDeployment {
    let service = service(image, u32::try_from(replicas).unwrap_or(0));
    let pin = ImagePin {
        reference: service.container.image.clone(),
        digest: format!("sha256:{}", service.container.image),
        local: false,
    };
    ApplyDeployment {
        images: [(service.name.clone(), pin)].into(),
        spec: DeploymentSpec {
            name: name.clone(),
            services: [(service.name.clone(), service)].into(),
            networks: [("_default".to_owned(), NetworkSpec::default())].into(),
            volumes: BTreeMap::new(),
            history: Some(3),
            routes: Vec::new(),
            acme_email: None,
            acme_dns: BTreeMap::new(),
            secrets: BTreeMap::new(),
        },
        documents: Documents { compose: format!("v{value}"), jaco: String::new() },
        expected_revision,
        origin: Origin::default(),
        privileged: BTreeMap::new(),
    }
}

/// A write that changes nothing but the log: it asks whether writing works.
pub(crate) fn touch() -> Command {
    let name = DeploymentName::from("touch");
    Command::Apply(Box::new(apply(&name, 0, 0, 0, None)))
}

/// A deployment with nothing but routes, for which certificates are wanted.
pub(crate) fn door() -> Command {
    let redirect =
        Redirect { to: "/".to_owned(), status: 308, keep_path: false, keep_query: false };
    let route = |domain: &str| RouteSpec {
        domain: domain.to_owned(),
        path: String::new(),
        target: None,
        tls: TlsMode::Auto,
        challenge: Challenge::Http,
        shared_with: BTreeSet::new(),
        options: RouteOptions { redirect: Some(redirect.clone()), ..RouteOptions::default() },
    };
    let mut wish = apply(&DeploymentName::from("door"), 0, 0, 0, None);
    wish.images.clear();
    wish.spec.services.clear();
    wish.spec.networks.clear();
    wish.spec.routes = DOMAINS.map(route).into();
    Command::Apply(Box::new(wish))
}

/// The value in the documents of a revision.
pub(crate) fn value_of(documents: &Documents) -> u64 {
    documents.compose.strip_prefix('v').and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

fn service(image: u64, replicas: u32) -> ServiceSpec {
    ServiceSpec {
        name: ServiceName::from("web"),
        mode: ServiceMode::Replicated { replicas },
        placement: Placement::default(),
        container: ContainerSpec {
            image: format!("web:{image}"),
            stop_grace_period: Millis::secs(2),
            networks: vec![NetworkAttachment {
                network: "_default".to_owned(),
                ..NetworkAttachment::default()
            }],
            ..ContainerSpec::default()
        },
        probe: None,
        start_limit: Millis::secs(20),
        drain_timeout: Millis::secs(1),
        update: policy(),
        rollback: policy(),
        restart: RestartPolicy {
            condition: RestartCondition::Any,
            delay: Millis(500),
            max_attempts: None,
            window: Millis::secs(5),
        },
        depends_on: Vec::new(),
        ports: Vec::new(),
        labels: BTreeMap::new(),
        on_node_loss: NodeLossPolicy { action: NodeLossAction::Reschedule, grace: None },
        singleton: false,
        rebalance: true,
    }
}

/// Nothing but a client makes a revision: a failed rollout waits for an operator.
fn policy() -> UpdatePolicy {
    UpdatePolicy {
        parallelism: 2,
        delay: Millis(0),
        order: UpdateOrder::StartFirst,
        order_explicit: false,
        monitor: Millis::secs(1),
        failure_action: FailureAction::Pause,
        max_failure_ppm: 0,
        max_unavailable: 0,
    }
}
