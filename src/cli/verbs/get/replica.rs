//! `jaco get replica`: one replica, what it depends on, and what became of it so far.

use super::block;
use crate::cli::client::{Call, Client, escape};
use crate::cli::output::{Table, show, state, upper};
use crate::cli::verbs::status::reason;
use crate::cli::{Globals, Outcome};
use argh::{ArgsInfo, FromArgs};
use jaco_model::view::{DependencyView, ReplicaDetail, TransitionView};
use std::collections::BTreeMap;

/// show one replica with its dependencies and history
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "replica")]
pub(super) struct Replica {
    /// replica such as shop-web-0, or instance such as shop-web-0.g3
    #[argh(positional, arg_name = "REPLICA")]
    id: String,
}

/// Runs the verb.
pub(super) fn run(globals: &Globals, client: &Client, verb: &Replica) -> Outcome {
    let view: ReplicaDetail =
        client.call(&Call::get(format!("/v1/replicas/{}", escape(&verb.id))))?;
    show(globals, &view, || text(globals, &view));
    Ok(0)
}

fn text(globals: &Globals, view: &ReplicaDetail) -> String {
    let row = &view.row;
    let pairs = |map: &BTreeMap<String, String>| {
        map.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ")
    };
    let mut text = block(&[
        ("Replica", row.id.clone()),
        ("Instance", row.instance.clone()),
        ("Deployment", row.deployment.clone()),
        ("Service", row.service.clone()),
        ("State", state(globals, &row.state)),
        ("Reason", reason(row.code.as_deref(), row.message.as_deref(), &row.details)),
        ("Host", row.host.clone()),
        ("Image", row.image.clone()),
        ("Digest", view.digest.clone()),
        ("Revision", row.revision.to_string()),
        ("Container", row.container_id.clone()),
        ("Restarts", row.restart_count.to_string()),
        ("Started at", row.started_at.clone().unwrap_or_default()),
        ("Last health at", row.last_health_at.clone().unwrap_or_default()),
        ("Addresses", pairs(&row.ips)),
        ("Ports", row.ports.join(", ")),
    ]);
    if !view.placement.rejected.is_empty() {
        text.push_str("\nNo node:\n");
        for (node, why) in &view.placement.rejected {
            text.push_str(&format!("  {node}: {why}\n"));
        }
    }
    if !view.depends_on.is_empty() {
        text.push_str(&format!("\nDepends on:\n{}", dependencies(&view.depends_on)));
    }
    if !view.state_history.is_empty() {
        text.push_str(&format!("\nHistory:\n{}", history(&view.state_history)));
    }
    if !view.past.is_empty() {
        let mut table = Table::new(&["INSTANCE", "STATE", "REVISION", "REASON"]);
        for row in &view.past {
            let why = reason(row.code.as_deref(), row.message.as_deref(), &row.details);
            let revision = row.revision.to_string();
            table.row([row.instance.clone(), state(globals, &row.state), revision, why]);
        }
        text.push_str(&format!("\nEarlier instances:\n{}", table.fit(globals.width())));
    }
    text
}

fn dependencies(list: &[DependencyView]) -> String {
    let mut table = Table::new(&["SERVICE", "CONDITION", "SATISFIED", "STATE"]);
    for item in list {
        let satisfied = if item.satisfied { "yes" } else { "no" };
        table.row([
            item.service.clone(),
            item.condition.clone(),
            satisfied.to_owned(),
            upper(&item.state),
        ]);
    }
    table.fit(None)
}

fn history(list: &[TransitionView]) -> String {
    let mut table = Table::new(&["TIME", "FROM", "TO", "REASON"]);
    for step in list {
        table.row([
            step.ts.clone(),
            upper(&step.from),
            upper(&step.to),
            reason(step.code.as_deref(), step.message.as_deref(), &BTreeMap::new()),
        ]);
    }
    table.fit(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jaco_model::view::ReplicaRow;

    #[test]
    fn a_replica_shows_what_it_waits_for_and_what_it_went_through() {
        let view = ReplicaDetail {
            row: ReplicaRow {
                id: "shop-web-0".into(),
                state: "pending".into(),
                code: Some("depends_on_unmet".into()),
                message: Some("waits for db".into()),
                ..ReplicaRow::default()
            },
            depends_on: vec![DependencyView {
                service: "db".into(),
                condition: "service_healthy".into(),
                satisfied: false,
                state: "starting".into(),
            }],
            state_history: vec![TransitionView {
                ts: "2026-01-02T03:04:05Z".into(),
                from: "pending".into(),
                to: "pulling".into(),
                ..TransitionView::default()
            }],
            ..ReplicaDetail::default()
        };
        let text = text(&Globals::plain(), &view);
        assert!(text.contains("Reason:          depends_on_unmet: waits for db\n"), "{text}");
        assert!(text.contains("db       service_healthy  no         STARTING\n"), "{text}");
        assert!(text.contains("2026-01-02T03:04:05Z  PENDING  PULLING  -\n"), "{text}");
    }
}
