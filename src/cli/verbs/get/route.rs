//! `jaco get routes` and `jaco get route`.

use crate::cli::client::{Call, Client};
use crate::cli::output::{Table, show};
use crate::cli::{Globals, Outcome};
use argh::{ArgsInfo, FromArgs};
use jaco_model::view::{RouteRow, RouteView};

/// list routes
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "routes")]
pub(super) struct Routes {
    /// only of this domain
    #[argh(option)]
    domain: Option<String>,
}

/// show the routes of a domain, in the order in which they are tried
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "route")]
pub(super) struct Route {
    /// domain, such as shop.example.com
    #[argh(positional)]
    domain: String,
}

pub(super) fn list(globals: &Globals, client: &Client, verb: Routes) -> Outcome {
    let rows: Vec<RouteRow> =
        client.call(&Call::get("/v1/routes").with_some("domain", verb.domain))?;
    show(globals, &rows, || {
        let headings = ["DOMAIN", "PATH", "DEPLOYMENT", "SERVICE", "PORT", "TLS", "STRIP_PATH"];
        let mut table = Table::new(&headings);
        for row in &rows {
            table.row([
                row.domain.clone(),
                row.path.clone(),
                row.deployment.clone(),
                row.service.clone(),
                port(row),
                row.tls.clone(),
                yes(row.strip_path),
            ]);
        }
        table.fit(globals.width())
    });
    Ok(0)
}

pub(super) fn one(globals: &Globals, client: &Client, verb: &Route) -> Outcome {
    let path = format!("/v1/routes/{}", verb.domain);
    let view: RouteView = client.call(&Call::get(path))?;
    show(globals, &view, || {
        let mut table =
            Table::new(&["PATH", "SERVICE", "PORT", "TLS", "STRIP", "FALLBACK", "READY"]);
        for entry in &view.routes {
            let row = &entry.row;
            table.row([
                row.path.clone(),
                row.service.clone(),
                port(row),
                row.tls.clone(),
                yes(row.strip_path),
                yes(entry.catch_all),
                format!("{}/{}", row.ready_replicas, row.total_replicas),
            ]);
        }
        format!("Routes for {}:\n{}", view.domain, table.fit(globals.width()))
    });
    Ok(0)
}

fn port(row: &RouteRow) -> String {
    row.port.map(|port| port.to_string()).unwrap_or_default()
}

fn yes(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}
