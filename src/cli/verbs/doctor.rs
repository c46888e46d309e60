//! `jaco doctor`: what this host has and lacks, and what the configuration means.

mod host;

use crate::cli::client::{Call, Client};
use crate::cli::output::{Table, print, show, upper};
use crate::cli::{Failure, Format, Globals, Outcome};
use crate::daemon::config::{self, Effective};
use argh::{ArgsInfo, FromArgs};
use jaco_model::view::{CertificateView, ClusterView, NodeView, VersionView};
use serde::Serialize;
use std::path::Path;

/// check this host; with --config check the daemon's configuration and print every value
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "doctor")]
pub(crate) struct Doctor {
    /// only check the configuration
    #[argh(switch)]
    config: bool,
    /// configuration file (default: /etc/jaco/jacod.yaml)
    #[argh(positional, arg_name = "PATH")]
    path: Option<String>,
}

#[derive(Debug, Serialize)]
struct Report {
    ok: bool,
    checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    id: &'static str,
    node: String,
    result: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Check {
    fn ok(id: &'static str, message: impl Into<String>) -> Check {
        Check { id, node: String::new(), result: "ok", message: message.into(), hint: None }
    }

    fn warn(id: &'static str, message: impl Into<String>, hint: &str) -> Check {
        Check { result: "warn", hint: Some(hint.to_owned()), ..Check::ok(id, message) }
    }

    fn fail(id: &'static str, message: impl Into<String>, hint: &str) -> Check {
        Check { result: "fail", hint: Some(hint.to_owned()), ..Check::ok(id, message) }
    }
}

/// Runs the verb.
pub(crate) fn run(globals: &Globals, verb: &Doctor) -> Outcome {
    if verb.config {
        return configuration(globals, verb.path.as_deref());
    }
    if verb.path.is_some() {
        return Err(Failure::usage("doctor takes a PATH only with --config"));
    }
    let mut checks = daemon(globals);
    checks.extend(host::checks());
    let report = Report { ok: checks.iter().all(|check| check.result != "fail"), checks };
    show(globals, &report, || table(&report));
    if report.ok { Ok(0) } else { Err(Failure::Silent(1)) }
}

fn table(report: &Report) -> String {
    let mut table = Table::new(&["CHECK", "NODE", "RESULT", "MESSAGE"]);
    for check in &report.checks {
        let hint = check.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        table.row([
            check.id.to_owned(),
            check.node.clone(),
            upper(check.result),
            format!("{}{hint}", check.message),
        ]);
    }
    table.text()
}

/// The daemon, its cluster and its engine, as the daemon says.
fn daemon(globals: &Globals) -> Vec<Check> {
    let answer = Client::new(globals)
        .and_then(|client| client.call::<ClusterView>(&Call::get("/v1/cluster")));
    let view = match answer {
        Ok(view) => view,
        Err(failure) => {
            let words = failure.fault().map(|fault| fault.message.clone()).unwrap_or_default();
            return vec![Check::fail("daemon", words, "start it with: systemctl start jaco")];
        }
    };
    let socket = globals.socket.display();
    let mut checks = vec![Check::ok("daemon", format!("answers on {socket}"))];
    checks.extend(version(globals));
    if !view.initialized {
        checks.push(Check::warn("cluster", "not in a cluster", "jaco cluster init"));
        return checks;
    }
    checks.push(match &view.leader {
        Some(leader) => Check::ok("leader", leader.clone()),
        None => Check::fail("leader", "there is no leader", "wait a few seconds and try again"),
    });
    checks.extend(view.nodes.iter().map(engine));
    checks.extend(view.nodes.iter().filter_map(ports));
    checks.extend(addresses(&view));
    checks.extend(certificates(globals));
    checks
}

/// From how much of the pool on its end is announced, in percent.
const POOL_NEARLY_FULL: u64 = 80;

/// How much of the pool is left.
fn addresses(view: &ClusterView) -> Option<Check> {
    let (pool, used) = (view.pool.as_ref()?, view.pool_use?);
    let message = format!("{used} % of {pool} is given out");
    Some(match used < POOL_NEARLY_FULL {
        true => Check::ok("addresses", message),
        false => {
            let hint =
                "remove deployments or networks that are not needed, or put them on fewer nodes";
            Check::warn("addresses", message, hint)
        }
    })
}

/// Certificates of the front door.
fn certificates(globals: &Globals) -> Vec<Check> {
    let answer = Client::new(globals)
        .and_then(|client| client.call::<Vec<CertificateView>>(&Call::get("/v1/certificates")));
    let rows = answer.unwrap_or_default();
    if rows.is_empty() {
        return Vec::new();
    }
    let bad: Vec<Check> = rows.iter().filter_map(certificate).collect();
    match bad.is_empty() {
        true => vec![Check::ok("certificates", format!("{} without a fault", rows.len()))],
        false => bad,
    }
}

/// What is wrong with one.
fn certificate(row: &CertificateView) -> Option<Check> {
    let hint = format!("jaco why cert {}", row.domain);
    let message = match (&row.alarm, &row.last_error) {
        (Some(alarm), _) => alarm,
        (None, Some(error)) => error,
        (None, None) => return None,
    };
    let message = format!("{}: {message}", row.domain);
    Some(match row.state == "expired" {
        true => Check::fail("certificates", message, &hint),
        false => Check::warn("certificates", message, &hint),
    })
}

/// Whether the daemon runs the version of this binary: after an update it may not yet.
fn version(globals: &Globals) -> Option<Check> {
    let client = Client::new(globals).ok()?;
    let server: VersionView = client.call(&Call::get("/v1/version")).ok()?;
    let (ours, theirs) = (crate::version::VERSION, server.version);
    Some(match theirs == ours {
        true => Check::ok("version", theirs),
        false => Check::warn(
            "version",
            format!("the daemon is {theirs}, this command line {ours}"),
            "systemctl restart jaco",
        ),
    })
}

/// Whether somebody else has an address of a node's front door.
fn ports(node: &NodeView) -> Option<Check> {
    let is_taken = node.conditions.iter().any(|word| word == PORT_IN_USE);
    let check = is_taken.then(|| {
        let message = "something else has a port of the front door";
        Check::warn("ports", message, "`jaco why node` of it names the port; `ss -ltnp` who")
    })?;
    Some(Check { node: node.hostname.clone(), ..check })
}

/// The condition that is none of the engine's.
const PORT_IN_USE: &str = "port_in_use";

/// Docker Engine of one node.
fn engine(node: &NodeView) -> Check {
    let conditions = node.conditions.iter().filter(|word| *word != PORT_IN_USE);
    let conditions: Vec<&str> = conditions.map(String::as_str).collect();
    let check = match (node.engine_version.is_empty(), conditions.is_empty()) {
        (true, _) => Check::fail(
            "engine",
            "Docker Engine does not answer",
            "is Docker running, and may the daemon use its socket?",
        ),
        (false, true) => Check::ok("engine", format!("Docker Engine {}", node.engine_version)),
        (false, false) => Check::warn("engine", conditions.join(", "), "see the daemon's log"),
    };
    Check { node: node.hostname.clone(), ..check }
}

/// `doctor --config`: every value and where it comes from.
fn configuration(globals: &Globals, path: Option<&str>) -> Outcome {
    let loaded = match config::load(path.map(Path::new), &crate::daemon::variables()) {
        Ok(loaded) => loaded,
        Err(faults) => {
            let faults = faults.into_iter().map(|fault| {
                jaco_model::Fault::new(jaco_model::ErrorCode::ValidationFailed, fault)
            });
            return Err(Failure::manifest(faults.collect()));
        }
    };
    for warning in &loaded.warnings {
        crate::cli::output::notice(globals, &format!("warning: {warning}"));
    }
    if globals.output != Format::Table {
        let values = loaded.effective.iter().map(|Effective { key, value, origin }| {
            serde_json::json!({ "key": key, "value": value, "origin": origin })
        });
        let answer = serde_json::json!({ "ok": true, "settings": values.collect::<Vec<_>>() });
        show(globals, &answer, String::new);
        return Ok(0);
    }
    let mut table = Table::new(&["KEY", "VALUE", "ORIGIN"]);
    for Effective { key, value, origin } in loaded.effective {
        table.row([key.to_owned(), value, origin]);
    }
    print(&table.text());
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_no_fault_of_the_engine() {
        let node = NodeView {
            hostname: "n1".to_owned(),
            engine_version: "28.5.1".to_owned(),
            conditions: vec![PORT_IN_USE.to_owned()],
            ..NodeView::default()
        };
        assert_eq!(engine(&node).result, "ok");
        assert_eq!(ports(&node).map(|check| (check.id, check.result)), Some(("ports", "warn")));
        let well = NodeView { conditions: vec!["suspect".to_owned()], ..node };
        assert_eq!((engine(&well).result, ports(&well).is_none()), ("warn", true));
    }

    #[test]
    fn a_certificate_is_reported_when_somebody_must_act() {
        let row = |state: &str, alarm: Option<&str>| CertificateView {
            domain: "shop.test".to_owned(),
            state: state.to_owned(),
            alarm: alarm.map(str::to_owned),
            ..CertificateView::default()
        };
        let result = |row| certificate(&row).map(|check| check.result);
        assert_eq!(result(row("active", None)), None);
        assert_eq!(result(row("active", Some("it ends in 3 days"))), Some("warn"));
        assert_eq!(result(row("expired", Some("it has expired"))), Some("fail"));
        let failed = CertificateView { last_error: Some("no".into()), ..row("failed", None) };
        assert_eq!(result(failed), Some("warn"));
    }
}
