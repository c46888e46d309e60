//! `jaco audit`: who changed what.

use crate::cli::client::{Call, Client};
use crate::cli::output::{Table, print, show, show_item};
use crate::cli::stream::each;
use crate::cli::time::{moment, now};
use crate::cli::{Failure, Format, Globals, Outcome};
use argh::{ArgsInfo, FromArgs};
use jaco_model::entity::AuditEvent;
use jaco_model::suggest::closest;
use jaco_model::{ErrorCode, Fault};
use serde::Serialize;
use std::collections::BTreeMap;

/// show who changed what, oldest first
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "audit")]
pub(crate) struct Audit {
    /// only events since then: a duration such as 1h, or RFC 3339
    #[argh(option)]
    since: Option<String>,
    /// only events before then: a duration such as 1h, or RFC 3339
    #[argh(option)]
    until: Option<String>,
    /// only these types, separated by commas
    #[argh(option, long = "type")]
    kinds: Option<String>,
    /// only of this identity
    #[argh(option)]
    identity: Option<String>,
    /// go on with new events
    #[argh(switch, short = 'f')]
    follow: bool,
}

/// Every type of event, those of later versions too: a filter for one of them finds nothing, and
/// a misspelt one is refused.
const TYPES: [&str; 60] = [
    "apply",
    "auth_denied",
    "backup_taken",
    "ca_rotated",
    "certificate_failed",
    "certificate_issued",
    "certificate_renewed",
    "cluster_config_changed",
    "cluster_init",
    "cluster_recover",
    "config_remove",
    "config_write",
    "copy_session",
    "data_key_rotated",
    "delete",
    "drill_run",
    "epoch_conflict",
    "exec_session",
    "failover_moved",
    "feature_level_raised",
    "image_prune",
    "image_push",
    "isolation_ruleset_reconciled",
    "isolation_self_test_failed",
    "isolation_unavailable",
    "job_run",
    "node_cert_rotated",
    "node_cordon",
    "node_down",
    "node_drain",
    "node_join",
    "node_label",
    "node_rejoined",
    "node_remove",
    "node_returned",
    "node_uncordon",
    "overlay_exempt_failed",
    "port_forward_session",
    "privileged_workload_admitted",
    "rebalance_moved",
    "rebalance_skipped",
    "registry_credential_remove",
    "registry_credential_upsert",
    "restart",
    "restore_completed",
    "rollback",
    "rollout_invariant_hold",
    "rollout_paused",
    "rollout_resumed",
    "rollout_rolled_back",
    "route_claimed",
    "route_released",
    "scale",
    "secret_remove",
    "secret_write",
    "snat_exempt_failed",
    "token_issue",
    "token_revoke",
    "upgrade_failed",
    "upgrade_succeeded",
];

/// An event as it is printed.
#[derive(Debug, Serialize)]
struct Row {
    #[serde(rename = "type")]
    kind: String,
    identity: String,
    ts: String,
    raft_index: u64,
    payload: BTreeMap<String, String>,
}

impl From<AuditEvent> for Row {
    fn from(event: AuditEvent) -> Row {
        Row {
            kind: event.kind,
            identity: event.identity.to_string(),
            ts: event.ts.to_string(),
            raft_index: event.raft_index,
            payload: event.payload,
        }
    }
}

/// Runs the verb.
pub(crate) fn run(globals: &Globals, verb: Audit) -> Outcome {
    check_types(verb.kinds.as_deref().unwrap_or_default())?;
    let now = now();
    let call = Call::get("/v1/audit")
        .with_some("since", moment("--since", verb.since.as_deref(), now)?)
        .with_some("until", moment("--until", verb.until.as_deref(), now)?)
        .with_some("type", verb.kinds)
        .with_some("identity", verb.identity);
    let client = Client::new(globals)?;
    if verb.follow {
        if globals.output == Format::Table {
            print(&line("TYPE", "TS", "IDENTITY", "PAYLOAD"));
        }
        return each(&client, &call.with("follow", true), |event: AuditEvent| {
            let row = Row::from(event);
            show_item(globals, &row, || line(&row.kind, &row.ts, &row.identity, &payload(&row)));
        });
    }
    let events: Vec<AuditEvent> = client.call(&call)?;
    let rows: Vec<Row> = events.into_iter().map(Row::from).collect();
    show(globals, &rows, || text(globals, &rows));
    Ok(0)
}

fn text(globals: &Globals, rows: &[Row]) -> String {
    let mut table = Table::new(&["TYPE", "TS", "IDENTITY", "PAYLOAD"]);
    for row in rows {
        table.row([row.kind.clone(), row.ts.clone(), row.identity.clone(), payload(row)]);
    }
    table.fit(globals.width())
}

/// `key=value …`, sorted.
fn payload(row: &Row) -> String {
    let pairs = row.payload.iter().map(|(key, value)| format!("{key}={value}"));
    pairs.collect::<Vec<_>>().join(" ")
}

/// A line of a table whose rows are not known beforehand.
fn line(kind: &str, ts: &str, identity: &str, payload: &str) -> String {
    let line = format!("{kind:<20}  {ts:<20}  {identity:<10}  {payload}");
    format!("{}\n", line.trim_end())
}

fn check_types(list: &str) -> Result<(), Failure> {
    let unknown = list.split(',').find(|kind| !kind.is_empty() && !TYPES.contains(kind));
    let Some(kind) = unknown else { return Ok(()) };
    let message = format!("--type: there is no type of event named \"{kind}\"");
    let fault = Fault::new(ErrorCode::Usage, message).with("flag", "--type");
    Err(match closest(kind, TYPES) {
        Some(near) => fault.with("suggestion", near).into(),
        None => fault.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jaco_model::{Identity, WallMs};

    #[test]
    fn an_event_shows_its_payload_sorted() {
        let payload = [("revision", "4"), ("deployment", "shop")];
        let event = AuditEvent {
            kind: "apply".into(),
            identity: Identity::from("local"),
            ts: WallMs(0),
            raft_index: 7,
            payload: payload.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
        };
        let row = Row::from(event);
        assert_eq!(
            text(&Globals::plain(), &[row]),
            "\
TYPE   TS                    IDENTITY  PAYLOAD
apply  1970-01-01T00:00:00Z  local     deployment=shop revision=4
"
        );
    }

    #[test]
    fn an_unknown_type_is_named() {
        assert!(check_types("apply,scale").is_ok());
        let failure = check_types("apply,scael").unwrap_err();
        let fault = failure.fault().unwrap();
        assert_eq!(fault.code.exit_code(), 2);
        assert!(fault.message.contains("scael"));
        assert_eq!(fault.detail("suggestion"), Some("scale"));
    }

    #[test]
    fn types_are_sorted_and_unique() {
        assert!(TYPES.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
