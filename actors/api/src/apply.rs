//! `POST /v1/deployments` and `POST /v1/plan`: from resolved documents to a revision.

use crate::answer::{Answer, Refusal};
use crate::change::{body, unexpected_reply};
use crate::look::status_word;
use crate::server::{Api, Request};
use actix_web::HttpResponse;
use actix_web::web::{Bytes, Data};
use jaco_manifest::node::{FileId, Node};
use jaco_manifest::{Input, Outcome, Problems, parse_document_of};
use jaco_model::command::{ApplyDeployment, Command, Reply};
use jaco_model::entity::{Documents, ImagePin, Origin};
use jaco_model::spec::{DeploymentSpec, FailureAction, PullPolicy, ServiceSpec};
use jaco_model::view::{
    AppliedView, ApplyRequest, DocumentsRequest, PlanRequest, ResolveImage, Warning,
};
use jaco_model::{DeploymentName, ErrorCode, Fault, NodeName, Revision, ServiceName, WallMs};
use jaco_state::State;
use std::collections::{BTreeMap, BTreeSet};

/// Largest document, in bytes.
const DOCUMENT_MAX: usize = 4 * 1024 * 1024;

/// `POST /v1/deployments`
pub(crate) async fn apply(api: Data<Api>, request: Request, bytes: Bytes) -> Answer<HttpResponse> {
    let wanted: ApplyRequest = body(&bytes)?;
    let started = api.backend.now();
    let state = api.state()?;
    let mut compiled = compile(&api, &wanted.documents)?;
    if wanted.no_rollback {
        compiled.spec.services.values_mut().for_each(pause_on_failure);
    }
    let mut warnings = compiled.warnings;
    let images =
        pin_images(&api, &state, &compiled.spec, wanted.resolve_image, &mut warnings).await?;
    warnings.extend(across_nodes(&state, &images));
    let deployment = compiled.spec.name.clone();
    let DocumentsRequest { compose, jaco, .. } = wanted.documents;
    let command = Command::Apply(Box::new(ApplyDeployment {
        spec: compiled.spec,
        documents: Documents { compose, jaco },
        images,
        expected_revision: wanted.expect_revision.map(Revision),
        origin: wanted.origin,
        privileged: compiled.privileged,
    }));
    let reply = api.propose(&request, command).await?;
    Ok(HttpResponse::Ok().json(applied(&api, &deployment, reply, warnings, started)?))
}

/// What a user of several nodes should know: an image that came from no registry is where it was
/// made.
fn across_nodes(state: &State, images: &BTreeMap<ServiceName, ImagePin>) -> Vec<Warning> {
    if state.nodes.len() < 2 {
        return Vec::new();
    }
    let mut warnings = Vec::new();
    let local: BTreeSet<&str> =
        images.values().filter(|pin| pin.local).map(|pin| pin.reference.as_str()).collect();
    for reference in local {
        let message = format!(
            "{reference} was not found in a registry; every node's engine must have the same image"
        );
        warnings.push(Fault::new(ErrorCode::ImagePullFailed, message).with("image", reference));
    }
    warnings
}

fn pause_on_failure(service: &mut ServiceSpec) {
    if service.update.failure_action == FailureAction::Rollback {
        service.update.failure_action = FailureAction::Pause;
    }
}

/// `POST /v1/plan`
pub(crate) async fn plan(api: Data<Api>, bytes: Bytes) -> Answer<HttpResponse> {
    let wanted: PlanRequest = body(&bytes)?;
    let state = api.state()?;
    let compiled = compile(&api, &wanted.documents)?;
    let mut warnings = compiled.warnings;
    let images =
        pin_images(&api, &state, &compiled.spec, wanted.resolve_image, &mut warnings).await?;
    warnings.extend(across_nodes(&state, &images));
    let DocumentsRequest { compose, jaco, .. } = wanted.documents;
    let wish = ApplyDeployment {
        spec: compiled.spec,
        documents: Documents { compose, jaco },
        images,
        expected_revision: None,
        origin: Origin::default(),
        privileged: compiled.privileged,
    };
    let without = wanted.without_nodes.into_iter().map(NodeName::new).collect();
    let mut view = api.backend.plan(&state, wish, without)?;
    view.warnings.extend(warnings);
    Ok(HttpResponse::Ok().json(view))
}

/// A document that passed every check of this version.
struct Accepted {
    spec: DeploymentSpec,
    privileged: BTreeMap<ServiceName, Vec<String>>,
    warnings: Vec<Warning>,
}

/// Checks the documents as the client did, and refuses what this version does not run.
fn compile(api: &Api, documents: &DocumentsRequest) -> Answer<Accepted> {
    for document in [&documents.compose, &documents.jaco] {
        if document.len() > DOCUMENT_MAX {
            let fault = Fault::new(ErrorCode::LimitExceeded, "a document is larger than 4 MiB");
            let fault = fault.with("limit", DOCUMENT_MAX).with("size", document.len());
            return Err(fault.into());
        }
    }
    let (compose, overlay) = parse(documents)?;
    let outcome = jaco_manifest::compile(&Input {
        overlay: overlay.as_ref(),
        name: Some(&documents.name),
        bind_paths: api.backend.free_bind_paths(),
        secrets: documents.secrets.clone(),
        configs: documents.configs.clone(),
        ..Input::new(&compose, FILES.map(str::to_owned).to_vec())
    });
    let Outcome { spec, problems, not_in_version, privileged, wanted, wanted_configs, .. } =
        outcome;
    let warnings = problems.warnings.iter().map(|p| p.fault(problems.file(p.at.file))).collect();
    if !problems.errors.is_empty() {
        return Err(Refusal::of_manifest(problems.faults()));
    }
    if !not_in_version.is_empty() {
        let refused = Problems { errors: not_in_version, ..problems };
        return Err(Refusal::of_manifest(refused.faults()));
    }
    if let Some(name) = wanted.keys().find(|name| !documents.secrets.contains_key(*name)) {
        let message = format!("the content of secret \"{name}\" was not sent with the documents");
        return Err(Fault::new(ErrorCode::UnknownSecret, message).with("secret", name).into());
    }
    let mut configs = wanted_configs.keys();
    if let Some(name) = configs.find(|name| !documents.configs.contains_key(*name)) {
        let message = format!("the content of config \"{name}\" was not sent with the documents");
        return Err(Fault::new(ErrorCode::UnknownConfig, message).with("config", name).into());
    }
    if let Some(spec) = &spec {
        crate::certificate::check(spec, api.backend.now())?;
    }
    match spec {
        Some(mut spec) => {
            crate::challenge::resolve(&mut spec, &api.backend.dns_providers())?;
            Ok(Accepted { spec, privileged, warnings })
        }
        None => {
            Err(Fault::new(ErrorCode::Internal, "the documents gave neither spec nor error").into())
        }
    }
}

/// What the documents are called in positions.
const FILES: [&str; 2] = ["compose.yaml", "jaco.yaml"];

/// Both documents as trees; what only a client can resolve is refused.
fn parse(documents: &DocumentsRequest) -> Answer<(Node, Option<Node>)> {
    let refused = |problems: Problems| Refusal::of_manifest(problems.faults());
    let compose = parse_document_of(&documents.compose, &FILES, FileId(0)).map_err(refused)?;
    let mut problems = Problems { files: vec![FILES[0].to_owned()], ..Problems::default() };
    jaco_manifest::check_resolved(&compose, &mut problems);
    problems.finish();
    if !problems.errors.is_empty() {
        return Err(refused(problems));
    }
    if documents.jaco.is_empty() {
        return Ok((compose, None));
    }
    let overlay = parse_document_of(&documents.jaco, &FILES, FileId(1)).map_err(refused)?;
    Ok((compose, Some(overlay)))
}

/// Pins the image of every service, each reference once.
pub(crate) async fn pin_images(
    api: &Api,
    state: &State,
    spec: &DeploymentSpec,
    resolve: ResolveImage,
    warnings: &mut Vec<Warning>,
) -> Answer<BTreeMap<ServiceName, ImagePin>> {
    let current = state.current(&spec.name);
    let known = |service: &ServiceSpec| {
        let pin = current.and_then(|record| record.images.get(&service.name));
        pin.filter(|pin| pin.reference == service.container.image).cloned()
    };
    let mut pins = BTreeMap::new();
    let mut looked_up: BTreeMap<(String, PullPolicy, Option<String>), ImagePin> = BTreeMap::new();
    for service in spec.services.values() {
        let old = known(service);
        if let (Some(pin), ResolveImage::Changed | ResolveImage::Never) = (&old, resolve) {
            pins.insert(service.name.clone(), pin.clone());
            continue;
        }
        let container = &service.container;
        let policy = match resolve {
            ResolveImage::Never => PullPolicy::Never,
            ResolveImage::Always | ResolveImage::Changed => container.pull_policy,
        };
        let key = (container.image.clone(), policy, container.platform.clone());
        let pin = match looked_up.get(&key) {
            Some(pin) => pin.clone(),
            None => look_up(api, &key, old, service, warnings).await?,
        };
        looked_up.insert(key, pin.clone());
        pins.insert(service.name.clone(), pin);
    }
    Ok(pins)
}

/// Asks the engine or its registry; an unchanged reference survives a registry that is away.
async fn look_up(
    api: &Api,
    (reference, policy, platform): &(String, PullPolicy, Option<String>),
    old: Option<ImagePin>,
    service: &ServiceSpec,
    warnings: &mut Vec<Warning>,
) -> Answer<ImagePin> {
    let looked_up = api.backend.resolve_image(reference.clone(), *policy, platform.clone()).await;
    let (pin, warning) = match (looked_up, old) {
        (Ok(resolved), _) => (resolved.pin, resolved.warning),
        (Err(fault), Some(pin)) if fault.detail("reason") == Some("network") => {
            let warning = format!("{}; keeping {}", fault.message, pin.digest);
            (pin, Some(warning))
        }
        (Err(fault), _) => return Err(fault.with("service", &service.name).into()),
    };
    if let Some(message) = warning {
        let message = format!("services.{}.image: {message}", service.name);
        warnings.push(Fault::new(ErrorCode::ImagePullFailed, message).with("image", reference));
    }
    Ok(pin)
}

/// The answer of `apply` and `rollback`.
pub(crate) fn applied(
    api: &Api,
    deployment: &DeploymentName,
    reply: Reply,
    warnings: Vec<Warning>,
    started: WallMs,
) -> Answer<AppliedView> {
    let Reply::Revised { revision, previous, changed, restored } = reply else {
        return Err(unexpected_reply());
    };
    let state = api.state()?;
    let elapsed_ms = api.backend.now().0.saturating_sub(started.0);
    Ok(AppliedView {
        deployment: deployment.to_string(),
        revision: revision.0,
        applied_revision: revision.0,
        previous_revision: previous.map(|revision| revision.0),
        changed,
        status: status_word(&state, deployment),
        rollback: None,
        restored_revision: restored.map(|revision| revision.0),
        services: Vec::new(),
        warnings,
        duration_seconds: elapsed_ms as f64 / 1_000.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::ResponseError;

    #[test]
    fn faults_of_the_overlay_point_into_the_overlay() {
        let documents = DocumentsRequest {
            name: "shop".to_owned(),
            compose: "services: {web: {image: a}}".to_owned(),
            jaco: "services:\n  - name: web\n    replicas: -1\n".to_owned(),
            ..DocumentsRequest::default()
        };
        let (compose, overlay) = parse(&documents).unwrap();
        let outcome = jaco_manifest::compile(&Input {
            overlay: overlay.as_ref(),
            name: Some(&documents.name),
            ..Input::new(&compose, FILES.map(str::to_owned).to_vec())
        });
        let faults = outcome.problems.faults();
        assert_eq!(faults[0].detail("file"), Some("jaco.yaml"), "{faults:?}");
        assert_eq!(faults[0].detail("line"), Some("3"));
    }

    #[test]
    fn what_only_a_client_can_resolve_is_refused() {
        let documents = DocumentsRequest {
            name: "shop".to_owned(),
            compose: "services: {web: {image: a, env_file: x.env}}".to_owned(),
            jaco: String::new(),
            ..DocumentsRequest::default()
        };
        let refusal = parse(&documents).unwrap_err();
        assert_eq!(refusal.status_code(), 422);
        assert!(refusal.to_string().starts_with("env_file_unresolved"), "{refusal}");
    }
}
