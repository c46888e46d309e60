//! `jaco node remove`.

use super::list::members;
use crate::cli::client::{Call, Client, escape};
use crate::cli::output::{complain, show};
use crate::cli::progress::limit;
use crate::cli::verbs::apply::yes;
use crate::cli::{Failure, Globals, Outcome};
use argh::{ArgsInfo, FromArgs};
use jaco_kit::Clock;
use jaco_model::view::RemoveNodeRequest;
use jaco_model::{ErrorCode, Fault};
use std::io::IsTerminal;
use std::time::Duration;

/// take a member out of the cluster; its replicas move away first
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "remove")]
pub(crate) struct Remove {
    /// hostname
    #[argh(positional, arg_name = "HOST")]
    host: String,
    /// at once: do not move its replicas first, and leave what only it holds
    #[argh(switch)]
    force: bool,
    /// return once the removal has begun
    #[argh(switch, short = 'd')]
    detach: bool,
    /// longest wait until the node is out; 0 is none (default: 5m)
    #[argh(option, default = "String::from(\"5m\")")]
    deadline: String,
}

/// Pause between two looks at the members.
const LOOK_EVERY_MS: u64 = 200;

/// Runs the verb.
pub(super) fn remove(globals: &Globals, verb: &Remove) -> Outcome {
    let limit = limit(&verb.deadline)?;
    let host = &verb.host;
    if verb.force && !globals.yes && std::io::stdin().is_terminal() {
        let question = format!("Remove {host} without moving its replicas first?");
        if !yes(&question) {
            complain("Nothing was removed.");
            return Err(Failure::Silent(1));
        }
    }
    let client = Client::new(globals)?;
    let call = format!("/v1/nodes/{}/remove", escape(host));
    let request = RemoveNodeRequest { force: verb.force };
    let _: serde_json::Value = client.call(&Call::post(call, &request))?;
    let mut removed = false;
    if !verb.detach {
        let clock = Clock::new();
        loop {
            // The node that answers may be the one that goes.
            removed = match members(&client) {
                Ok(nodes) => nodes.iter().all(|node| node.hostname != *host),
                Err(failure) => failure.fault().is_some_and(|fault| {
                    matches!(fault.code, ErrorCode::NodeFenced | ErrorCode::ClusterUninitialized)
                }),
            };
            if removed || (limit.0 > 0 && clock.mono().0 >= limit.0) {
                break;
            }
            client.pause(Duration::from_millis(LOOK_EVERY_MS));
        }
        if !removed {
            let message = format!("{host} is not out yet; the removal goes on");
            let fault = Fault::new(ErrorCode::WaitTimeout, message);
            return Err(fault.with("waiting_for", "removal").into());
        }
    }
    let answer = serde_json::json!({ "hostname": host, "removed": removed });
    let done = if removed { "Removed" } else { "Removing" };
    show(globals, &answer, || format!("{done} node {host}\n"));
    Ok(0)
}
