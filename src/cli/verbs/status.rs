//! `jaco status`: deployments, replicas, routes and certificates as they are.

use crate::cli::client::{Call, Client};
use crate::cli::output::{Table, notice, print, short_id, show, state, yaml};
use crate::cli::stream::each;
use crate::cli::{Format, Globals, Outcome};
use argh::{ArgsInfo, FromArgs};
use jaco_model::view::{CertificateView, DeploymentRow, ReplicaStatusRow, StatusView};
use std::collections::BTreeMap;

/// show deployments, replicas, routes and certificates as they are
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "status")]
pub(crate) struct Status {
    /// a deployment, deployment/service or replica (default: everything)
    #[argh(positional, arg_name = "TARGET")]
    target: Option<String>,
    /// show every change until Ctrl-C
    #[argh(switch, short = 'w')]
    watch: bool,
    /// stopped replicas as well
    #[argh(switch)]
    all: bool,
    /// ask the leader first, so that nothing acknowledged before is missing
    #[argh(switch)]
    consistent: bool,
}

/// Runs the verb.
pub(crate) fn run(globals: &Globals, verb: Status) -> Outcome {
    let client = Client::new(globals)?;
    let call = Call::get("/v1/status").with_some("target", verb.target).with("all", verb.all);
    let call = call.with("consistent", verb.consistent);
    if !verb.watch {
        let view: StatusView = client.call(&call)?;
        show(globals, &view, || text(globals, &view));
        for alarm in alarms(&view.certs) {
            notice(globals, &format!("warning: {alarm}"));
        }
        return Ok(0);
    }
    let mut first = true;
    each(&client, &call.with("watch", true), |view: StatusView| {
        snapshot(globals, &view, first);
        first = false;
    })
}

/// One snapshot of a watch.
fn snapshot(globals: &Globals, view: &StatusView, first: bool) {
    match globals.output {
        Format::Json => show(globals, view, String::new),
        Format::Yaml => print(&format!("---\n{}", yaml(view))),
        Format::Table if globals.redraws() => {
            // From the top left, each line cleared to its end, then what is left of the last one.
            let clear = if first { "\u{1b}[2J" } else { "" };
            let lines = text(globals, view).replace('\n', "\u{1b}[K\n");
            print(&format!("{clear}\u{1b}[H{lines}\u{1b}[J"));
        }
        Format::Table => {
            let line = if first { "" } else { "---\n" };
            print(&format!("{line}{}", text(globals, view)));
        }
    }
}

/// The tables, each under its name.
fn text(globals: &Globals, view: &StatusView) -> String {
    let width = globals.width();
    let mut deployments =
        Table::new(&["DEPLOYMENT", "REVISION", "PREVIOUS", "STATUS", "DETAILS", "REPLICAS"]);
    for row in &view.deployments {
        deployments.row(deployment(globals, row));
    }
    let headings = ["REPLICA_ID", "STATE", "HOST", "CONTAINER_ID", "LAST_HEALTH_AT", "REASON"];
    let mut replicas = Table::new(&headings);
    for row in &view.replicas {
        replicas.row(replica(globals, row));
    }
    let headings = ["DOMAIN", "PATH", "DEPLOYMENT", "SERVICE", "PORT", "TLS", "READY"];
    let mut routes = Table::new(&headings);
    for row in &view.routes {
        routes.row([
            row.domain.clone(),
            row.path.clone(),
            row.deployment.clone(),
            row.service.clone(),
            row.port.map(|port| port.to_string()).unwrap_or_default(),
            row.tls.clone(),
            format!("{}/{}", row.ready_replicas, row.total_replicas),
        ]);
    }
    let certs = match view.certs.is_empty() {
        true => String::new(),
        false => format!("\nCerts:\n{}", certs(globals, &view.certs).fit(width)),
    };
    format!(
        "Deployments:\n{}\nReplicas:\n{}\nRoutes:\n{}{certs}",
        deployments.fit(width),
        replicas.fit(width),
        routes.fit(width)
    )
}

fn certs(globals: &Globals, rows: &[CertificateView]) -> Table {
    let mut table =
        Table::new(&["DOMAIN", "ENVIRONMENT", "NOT_AFTER", "LAST_RENEWAL_AT", "STATE", "REASON"]);
    for row in rows {
        table.row([
            row.domain.clone(),
            row.environment.clone(),
            row.not_after.clone().unwrap_or_default(),
            row.last_renewal_at.clone().unwrap_or_default(),
            state(globals, &row.state),
            row.last_error.clone().unwrap_or_default(),
        ]);
    }
    table
}

/// What certificates need somebody for.
pub(super) fn alarms(certs: &[CertificateView]) -> impl Iterator<Item = String> {
    certs.iter().filter_map(|row| {
        let alarm = row.alarm.as_ref()?;
        Some(format!("certificate of {}: {alarm} (jaco why cert {})", row.domain, row.domain))
    })
}

fn deployment(globals: &Globals, row: &DeploymentRow) -> [String; 6] {
    let mut details = details(&row.status_details);
    if let Some(rollout) = &row.rollout {
        let step = format!("rollout={}/{}", rollout.step, rollout.total);
        details = if details.is_empty() { step } else { format!("{details} {step}") };
    }
    [
        row.name.clone(),
        row.applied_revision.to_string(),
        row.previous_revision.map(|revision| revision.to_string()).unwrap_or_default(),
        state(globals, &row.status),
        details,
        format!("{}/{}", row.running, row.wanted),
    ]
}

/// The reason first and by itself, then the other details by name.
fn details(details: &BTreeMap<String, String>) -> String {
    let reason = details.get("reason").cloned();
    let others = details.iter().filter(|(key, _)| *key != "reason");
    let others = others.map(|(key, value)| format!("{key}={value}"));
    reason.into_iter().chain(others).collect::<Vec<_>>().join(" ")
}

fn replica(globals: &Globals, row: &ReplicaStatusRow) -> [String; 6] {
    [
        row.id.clone(),
        state(globals, &row.state),
        row.host.clone(),
        short_id(globals, &row.container_id),
        row.last_health_at.clone().unwrap_or_default(),
        reason(row.code.as_deref(), row.message.as_deref(), &row.details),
    ]
}

/// `<code>`, `<code> (exit N)` or `<code>: <message>`.
pub(super) fn reason(
    code: Option<&str>,
    message: Option<&str>,
    details: &BTreeMap<String, String>,
) -> String {
    let Some(code) = code else { return String::new() };
    match (details.get("exit_code"), message) {
        (Some(exit), _) => format!("{code} (exit {exit})"),
        (None, Some(message)) if !message.is_empty() => format!("{code}: {message}"),
        (None, _) => code.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn view() -> StatusView {
        let shop = DeploymentRow {
            name: "shop".into(),
            applied_revision: 4,
            previous_revision: Some(3),
            status: "pending".into(),
            status_details: map(&[("missing", "node-2"), ("reason", "unschedulable")]),
            wanted: 2,
            running: 1,
            rollout: None,
        };
        let web = ReplicaStatusRow {
            id: "shop-web-0".into(),
            state: "running".into(),
            host: "node-1".into(),
            container_id: "0123456789abcdef".into(),
            last_health_at: Some("2026-01-02T03:04:05Z".into()),
            ..ReplicaStatusRow::default()
        };
        let job = ReplicaStatusRow {
            id: "shop-job-0".into(),
            state: "failed".into(),
            host: "node-1".into(),
            code: Some("container_exited".into()),
            message: Some("it ended".into()),
            details: map(&[("exit_code", "3")]),
            ..ReplicaStatusRow::default()
        };
        StatusView { deployments: vec![shop], replicas: vec![web, job], ..StatusView::default() }
    }

    #[test]
    fn tables_stand_under_their_names() {
        assert_eq!(
            text(&Globals::plain(), &view()),
            "\
Deployments:
DEPLOYMENT  REVISION  PREVIOUS  STATUS   DETAILS                       REPLICAS
shop        4         3         PENDING  unschedulable missing=node-2  1/2

Replicas:
REPLICA_ID  STATE    HOST    CONTAINER_ID      LAST_HEALTH_AT        REASON
shop-web-0  RUNNING  node-1  0123456789abcdef  2026-01-02T03:04:05Z  -
shop-job-0  FAILED   node-1  -                 -                     container_exited (exit 3)

Routes:
DOMAIN  PATH  DEPLOYMENT  SERVICE  PORT  TLS  READY
"
        );
    }

    #[test]
    fn certificates_have_a_table_when_there_are_any() {
        let row = CertificateView {
            domain: "shop.test".into(),
            environment: "custom".into(),
            state: "pending".into(),
            last_error: Some("no such host".into()),
            alarm: Some("it ends in 3 days".into()),
            ..CertificateView::default()
        };
        let view = StatusView { certs: vec![row], ..view() };
        let text = text(&Globals::plain(), &view);
        let wanted = "
Certs:
DOMAIN     ENVIRONMENT  NOT_AFTER  LAST_RENEWAL_AT  STATE    REASON
shop.test  custom       -          -                PENDING  no such host
";
        assert!(text.ends_with(wanted), "{text}");
        let alarms: Vec<_> = alarms(&view.certs).collect();
        assert_eq!(
            alarms,
            ["certificate of shop.test: it ends in 3 days (jaco why cert shop.test)"]
        );
    }

    #[test]
    fn tables_without_rows_show_their_headings() {
        let text = text(&Globals::plain(), &StatusView::default());
        assert_eq!(text.lines().count(), 8, "{text}");
    }
}
