//! `jaco ps`: replicas in one table.

use crate::cli::client::{Call, Client};
use crate::cli::output::{Table, show, state};
use crate::cli::time::{lasted, now};
use crate::cli::{Globals, Outcome};
use argh::{ArgsInfo, FromArgs};
use jaco_model::view::ReplicaRow;

/// list replicas with their images, ports and uptime
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "ps")]
pub(crate) struct Ps {
    /// a deployment, deployment/service or replica (default: everything)
    #[argh(positional, arg_name = "TARGET")]
    target: Option<String>,
    /// only on this node
    #[argh(option)]
    node: Option<String>,
    /// stopped replicas as well
    #[argh(switch)]
    all: bool,
}

/// Runs the verb.
pub(crate) fn run(globals: &Globals, verb: Ps) -> Outcome {
    let client = Client::new(globals)?;
    let call = Call::get("/v1/replicas")
        .with_some("target", verb.target)
        .with_some("node", verb.node)
        .with("all", verb.all);
    let rows: Vec<ReplicaRow> = client.call(&call)?;
    show(globals, &rows, || text(globals, &rows, now()));
    Ok(0)
}

fn text(globals: &Globals, rows: &[ReplicaRow], now: u64) -> String {
    let headings = ["REPLICA_ID", "SERVICE", "STATE", "HOST", "IMAGE", "UP", "RESTARTS", "PORTS"];
    let mut table = Table::new(&headings);
    for row in rows {
        table.row([
            row.id.clone(),
            row.service.clone(),
            state(globals, &row.state),
            row.host.clone(),
            row.image.clone(),
            up(row, now),
            row.restart_count.to_string(),
            row.ports.join(", "),
        ]);
    }
    table.fit(globals.width())
}

/// For how long the container has run; empty when it does not.
fn up(row: &ReplicaRow, now: u64) -> String {
    let runs =
        matches!(row.state.as_str(), "starting" | "running" | "degraded" | "updating" | "draining");
    row.started_at.as_deref().filter(|_| runs).map(|at| lasted(at, now)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_shows_how_long_it_runs() {
        let web = ReplicaRow {
            id: "shop-web-0".into(),
            service: "web".into(),
            state: "running".into(),
            host: "node-1".into(),
            image: "nginx:1.29".into(),
            started_at: Some("1970-01-01T00:00:00Z".into()),
            ports: vec!["8080->80/tcp".into(), "8443->443/tcp".into()],
            ..ReplicaRow::default()
        };
        let mut ended = web.clone();
        ended.id = "shop-web-1".into();
        ended.state = "failed".into();
        ended.ports.clear();
        assert_eq!(
            text(&Globals::plain(), &[web, ended], 300_000),
            "\
REPLICA_ID  SERVICE  STATE    HOST    IMAGE       UP  RESTARTS  PORTS
shop-web-0  web      RUNNING  node-1  nginx:1.29  5m  0         8080->80/tcp, 8443->443/tcp
shop-web-1  web      FAILED   node-1  nginx:1.29  -   0         -
"
        );
    }
}
