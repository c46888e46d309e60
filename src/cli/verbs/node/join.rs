//! `jaco node issue-join-token`, `join` and `rejoin`.

use super::list::members;
use crate::cli::client::{Call, Client};
use crate::cli::output::{complain, notice, show};
use crate::cli::progress::limit;
use crate::cli::{Failure, Format, Globals, Outcome};
use argh::{ArgsInfo, FromArgs};
use jaco_kit::Clock;
use jaco_model::view::{JoinRequest, JoinTokenRequest, JoinTokenView, JoinView, NodeView};
use jaco_model::{ErrorCode, Fault, Millis};
use std::io::{BufRead, IsTerminal, Read};
use std::path::Path;
use std::time::Duration;

/// make a token with which one new node may join
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "issue-join-token")]
pub(crate) struct IssueJoinToken {
    /// how long the token is good for (default: 24h)
    #[argh(option, default = "String::from(\"24h\")")]
    ttl: String,
    /// print the cluster's root certificate as well
    #[argh(switch)]
    show_ca: bool,
}

/// make this node a member of a cluster
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "join")]
pub(crate) struct Join {
    /// a member's API, host:port
    #[argh(option)]
    peer: String,
    /// the join token; better in JACO_JOIN_TOKEN or a file
    #[argh(option)]
    token: Option<String>,
    /// file with the join token; - is standard input
    #[argh(option)]
    token_file: Option<String>,
    /// longest wait until the node is ready; 0 is none (default: 2m)
    #[argh(option, default = "String::from(\"2m\")")]
    timeout: String,
    /// do not enable the service at boot
    #[argh(switch)]
    no_systemd_enable: bool,
}

/// begin again with an empty log, under the identity that this node has
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "rejoin")]
pub(crate) struct Rejoin {
    /// longest wait until the node is ready; 0 is none (default: 2m)
    #[argh(option, default = "String::from(\"2m\")")]
    timeout: String,
}

/// Runs `issue-join-token`.
pub(super) fn issue(globals: &Globals, verb: &IssueJoinToken) -> Outcome {
    let ttl = jaco_manifest::parse_duration(&verb.ttl).ok_or_else(|| {
        Failure::usage(format!("--ttl: {} is not a duration such as 1h or 7d", verb.ttl))
    })?;
    let client = Client::new(globals)?;
    let request = JoinTokenRequest { ttl_ms: Some(ttl.0) };
    let view: JoinTokenView = client.call(&Call::post("/v1/nodes/join-tokens", &request))?;
    show(globals, &view, || {
        let mut text = format!("Run on the new node:\n  {}\n", view.command);
        for other in &view.alternatives {
            text.push_str(&format!("  or with --peer={other}\n"));
        }
        text.push_str(&format!("Good for one node until {}.\n", view.expires_at));
        if verb.show_ca {
            text.push_str(&view.ca_pem);
        }
        text
    });
    Ok(0)
}

/// Runs `join`.
pub(super) fn join(globals: &Globals, verb: Join) -> Outcome {
    let limit = limit(&verb.timeout)?;
    let token = token(&verb)?;
    let client = Client::new(&globals.patient(JOIN_LIMIT))?;
    let request = JoinRequest { peer: verb.peer, token };
    let view: JoinView = client.call(&Call::post("/v1/cluster/join", &request))?;
    finish(globals, &view, limit)?;
    if !verb.no_systemd_enable {
        crate::install::enable(globals);
    }
    Ok(0)
}

/// A join may have to wait for an election, and a rejoin for the leader among many.
const JOIN_LIMIT: Duration = Duration::from_secs(60);

/// Runs `rejoin`.
pub(super) fn rejoin(globals: &Globals, verb: &Rejoin) -> Outcome {
    let limit = limit(&verb.timeout)?;
    let client = Client::new(&globals.patient(JOIN_LIMIT))?;
    let view: JoinView = client.call(&Call::post("/v1/cluster/rejoin", &()))?;
    finish(globals, &view, limit)?;
    Ok(0)
}

/// Waits until the node is ready, and says so.
fn finish(globals: &Globals, view: &JoinView, limit: Millis) -> Result<(), Failure> {
    let client = Client::new(globals)?;
    if globals.output == Format::Table {
        notice(globals, "Joined; waiting until this node is ready.");
    }
    let clock = Clock::new();
    loop {
        let found = members(&client).ok();
        let me = found.into_iter().flatten().find(|node| node.hostname == view.hostname);
        if let Some(me) = me.filter(|me| me.status == "ready") {
            show_joined(globals, view, &me);
            return Ok(());
        }
        if limit.0 > 0 && clock.mono().0 >= limit.0 {
            break;
        }
        client.pause(Duration::from_millis(LOOK_EVERY_MS));
    }
    let message = "this node joined, but is not ready yet; see `jaco cluster status`";
    Err(Fault::new(ErrorCode::WaitTimeout, message).with("waiting_for", "ready").into())
}

const LOOK_EVERY_MS: u64 = 100;

fn show_joined(globals: &Globals, view: &JoinView, me: &NodeView) {
    let answer = serde_json::json!({
        "hostname": view.hostname, "cluster_id": view.cluster_id,
        "suffrage": me.suffrage, "status": me.status,
    });
    show(globals, &answer, || "Joined cluster.\n".to_owned());
}

/// The token from the flag, the file, the environment or a prompt.
fn token(verb: &Join) -> Result<String, Failure> {
    if let Some(path) = &verb.token_file {
        return from_file(path);
    }
    let given = verb.token.clone().or_else(|| std::env::var("JACO_JOIN_TOKEN").ok());
    if let Some(token) = given.filter(|token| !token.trim().is_empty()) {
        return Ok(token);
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage("join needs a token: --token-file, JACO_JOIN_TOKEN or --token"));
    }
    complain("Join token:");
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    read.map_err(|error| Failure::internal(error.to_string()))?;
    Ok(line)
}

fn from_file(path: &str) -> Result<String, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::from(
            Fault::new(ErrorCode::PermissionDenied, format!("{path}: {error}")).with("path", path),
        )
    };
    if path == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(unreadable)?;
        return Ok(text);
    }
    std::fs::read_to_string(Path::new(path)).map_err(unreadable)
}
