//! `jaco get deployment`: one revision of a deployment, with its documents.

use super::block;
use crate::cli::client::{Call, Client, escape};
use crate::cli::output::{Table, show, state};
use crate::cli::{Globals, Outcome};
use argh::{ArgsInfo, FromArgs};
use jaco_model::view::{DeploymentView, ServiceSummary};

/// show one deployment with its services and documents
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "deployment")]
pub(super) struct Deployment {
    /// deployment
    #[argh(positional, arg_name = "DEPLOYMENT")]
    deployment: String,
    /// a kept revision (default: the current one)
    #[argh(option)]
    revision: Option<u64>,
    /// show values that look secret
    #[argh(switch)]
    reveal: bool,
}

/// Runs the verb.
pub(super) fn run(globals: &Globals, client: &Client, verb: &Deployment) -> Outcome {
    let call = Call::get(format!("/v1/deployments/{}", escape(&verb.deployment)))
        .with_some("revision", verb.revision)
        .with("reveal", verb.reveal);
    let view: DeploymentView = client.call(&call)?;
    show(globals, &view, || text(globals, &view));
    Ok(0)
}

fn text(globals: &Globals, view: &DeploymentView) -> String {
    let previous = view.previous_revision.map(|revision| revision.to_string());
    let mut text = block(&[
        ("Deployment", view.name.clone()),
        ("Revision", view.applied_revision.to_string()),
        ("Previous", previous.unwrap_or_default()),
        ("Status", state(globals, &view.status)),
        ("Applied from", view.origin_directory.clone()),
        ("Applied by", view.origin_user.clone()),
    ]);
    let headings = ["SERVICE", "REPLICAS", "PLACEMENT", "HOSTS", "NETWORKS", "IMAGE", "DIGEST"];
    let mut table = Table::new(&headings);
    for service in &view.services {
        table.row([
            service.name.clone(),
            replicas(service),
            service.placement.clone(),
            service.hosts.join(", "),
            service.networks.join(", "),
            service.image.clone(),
            service.digest.clone(),
        ]);
    }
    text.push_str(&format!("\nServices:\n{}", table.fit(globals.width())));
    for (name, document) in [("jaco.yaml", &view.jaco_yaml), ("compose.yaml", &view.compose_yaml)] {
        if !document.is_empty() {
            let masked = if view.env_masked { " (secret values masked)" } else { "" };
            text.push_str(&format!("\n{name}:{masked}\n{}\n", document.trim_end()));
        }
    }
    text
}

/// The number of a replicated service; a global one has a replica on every node.
fn replicas(service: &ServiceSummary) -> String {
    match service.mode.as_str() {
        "global" => "global".to_owned(),
        _ => service.replicas.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_is_a_block_its_services_and_its_documents() {
        let view = DeploymentView {
            name: "shop".into(),
            applied_revision: 2,
            previous_revision: Some(1),
            status: "active".into(),
            services: vec![ServiceSummary {
                name: "web".into(),
                replicas: 2,
                placement: "spread".into(),
                networks: vec!["default".into()],
                image: "nginx".into(),
                digest: "sha256:12".into(),
                mode: "replicated".into(),
                ..ServiceSummary::default()
            }],
            compose_yaml: "services:\n  web:\n    image: nginx\n".into(),
            ..DeploymentView::default()
        };
        assert_eq!(
            text(&Globals::plain(), &view),
            "\
Deployment:    shop
Revision:      2
Previous:      1
Status:        ACTIVE
Applied from:  -
Applied by:    -

Services:
SERVICE  REPLICAS  PLACEMENT  HOSTS  NETWORKS  IMAGE  DIGEST
web      2         spread     -      default   nginx  sha256:12

compose.yaml:
services:
  web:
    image: nginx
"
        );
    }
}
