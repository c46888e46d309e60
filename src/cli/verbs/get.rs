//! `jaco get`: what is stored, thing by thing.

mod cert;
mod deployment;
mod replica;
mod route;

use crate::cli::client::{Call, Client};
use crate::cli::output::{Table, show, state};
use crate::cli::{Globals, Outcome};
use argh::{ArgsInfo, FromArgs};
use jaco_model::view::{DeploymentSummary, NetworkView, ReplicaRow, VolumeView};

/// show stored deployments, replicas, routes, certificates, volumes and networks
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "get")]
pub(crate) struct Get {
    #[argh(subcommand)]
    kind: Kind,
}

#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand)]
enum Kind {
    Deployments(Deployments),
    Deployment(deployment::Deployment),
    Replicas(Replicas),
    Replica(replica::Replica),
    Volumes(Volumes),
    Networks(Networks),
    Routes(route::Routes),
    Route(route::Route),
    Certs(cert::Certs),
    Cert(cert::Cert),
}

/// list deployments
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "deployments")]
struct Deployments {}

/// list replicas
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "replicas")]
struct Replicas {
    /// only of this deployment
    #[argh(option)]
    deployment: Option<String>,
    /// only of this service
    #[argh(option)]
    service: Option<String>,
    /// only on this node
    #[argh(option)]
    node: Option<String>,
    /// only in this state
    #[argh(option)]
    state: Option<String>,
    /// stopped ones as well
    #[argh(switch)]
    all: bool,
}

/// list volumes
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "volumes")]
struct Volumes {}

/// list networks
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "networks")]
struct Networks {}

/// Runs the verb.
pub(crate) fn run(globals: &Globals, verb: Get) -> Outcome {
    let client = Client::new(globals)?;
    match verb.kind {
        Kind::Deployments(Deployments {}) => deployments(globals, &client),
        Kind::Deployment(verb) => deployment::run(globals, &client, &verb),
        Kind::Replicas(verb) => replicas(globals, &client, verb),
        Kind::Replica(verb) => replica::run(globals, &client, &verb),
        Kind::Volumes(Volumes {}) => volumes(globals, &client),
        Kind::Networks(Networks {}) => networks(globals, &client),
        Kind::Routes(verb) => route::list(globals, &client, verb),
        Kind::Route(verb) => route::one(globals, &client, &verb),
        Kind::Certs(cert::Certs {}) => cert::list(globals, &client),
        Kind::Cert(verb) => cert::one(globals, &client, &verb),
    }
}

fn deployments(globals: &Globals, client: &Client) -> Outcome {
    let rows: Vec<DeploymentSummary> = client.call(&Call::get("/v1/deployments"))?;
    show(globals, &rows, || {
        let headings = ["DEPLOYMENT", "REVISION", "PREVIOUS", "STATUS", "SERVICES"];
        let mut table = Table::new(&headings);
        for row in &rows {
            table.row([
                row.name.clone(),
                row.applied_revision.to_string(),
                row.previous_revision.map(|revision| revision.to_string()).unwrap_or_default(),
                state(globals, &row.status),
                row.services.join(", "),
            ]);
        }
        table.fit(globals.width())
    });
    Ok(0)
}

fn replicas(globals: &Globals, client: &Client, verb: Replicas) -> Outcome {
    let call = Call::get("/v1/replicas")
        .with_some("deployment", verb.deployment)
        .with_some("service", verb.service)
        .with_some("node", verb.node)
        .with_some("state", verb.state)
        .with("all", verb.all);
    let rows: Vec<ReplicaRow> = client.call(&call)?;
    show(globals, &rows, || {
        let headings =
            ["REPLICA_ID", "DEPLOYMENT", "SERVICE", "STATE", "HOST", "RESTARTS", "IMAGE"];
        let mut table = Table::new(&headings);
        for row in &rows {
            table.row([
                row.id.clone(),
                row.deployment.clone(),
                row.service.clone(),
                state(globals, &row.state),
                row.host.clone(),
                row.restart_count.to_string(),
                row.image.clone(),
            ]);
        }
        table.fit(globals.width())
    });
    Ok(0)
}

fn volumes(globals: &Globals, client: &Client) -> Outcome {
    let rows: Vec<VolumeView> = client.call(&Call::get("/v1/volumes"))?;
    show(globals, &rows, || {
        let mut table = Table::new(&["VOLUME", "DEPLOYMENT", "NODE", "DRIVER", "IN_USE"]);
        for row in &rows {
            table.row([
                row.name.clone(),
                row.deployment.clone(),
                row.host.clone(),
                row.driver.clone(),
                row.in_use_by.join(", "),
            ]);
        }
        table.fit(globals.width())
    });
    Ok(0)
}

fn networks(globals: &Globals, client: &Client) -> Outcome {
    let rows: Vec<NetworkView> = client.call(&Call::get("/v1/networks"))?;
    show(globals, &rows, || {
        // Docker chooses the subnets of a single node; the column waits for those that JACO does.
        let mut table = Table::new(&["NETWORK", "DEPLOYMENT", "NODE", "SUBNET", "USED"]);
        for row in &rows {
            table.row([
                row.name.clone(),
                row.deployment.clone(),
                row.host.clone(),
                String::new(),
                row.used.to_string(),
            ]);
        }
        table.fit(globals.width())
    });
    Ok(0)
}

/// A block of keys and values, the values in one column; empty ones are a dash.
fn block(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(key, _)| key.len()).max().unwrap_or_default() + 1;
    let lines = pairs.iter().map(|(key, value)| {
        let value = if value.is_empty() { "-" } else { value };
        format!("{:<width$}  {value}\n", format!("{key}:"))
    });
    lines.collect()
}
