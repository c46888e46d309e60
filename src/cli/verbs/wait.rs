//! `jaco wait`: until a deployment is where it should be.

use crate::cli::client::Client;
use crate::cli::output::{print, show};
use crate::cli::progress::{Wanted, follow, limit};
use crate::cli::{Failure, Format, Globals, Outcome};
use argh::{ArgsInfo, FromArgs};
use jaco_model::view::WaitFor;

/// wait until a deployment or one of its services is where it should be
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "wait")]
pub(crate) struct Wait {
    /// deployment or deployment/service
    #[argh(positional, arg_name = "TARGET")]
    target: String,
    /// active, running, healthy, completed, deleted or revision=N (default: active)
    #[argh(option, long = "for", default = "String::from(\"active\")")]
    condition: String,
    /// longest wait; 0 is none (default: 10m)
    #[argh(option, default = "String::from(\"10m\")")]
    timeout: String,
}

/// Runs the verb.
pub(crate) fn run(globals: &Globals, verb: &Wait) -> Outcome {
    let (goal, revision) = condition(&verb.condition)?;
    let (deployment, service) = match verb.target.split_once('/') {
        Some((deployment, service)) => (deployment, Some(service.to_owned())),
        None => (verb.target.as_str(), None),
    };
    let wanted = Wanted {
        deployment: deployment.to_owned(),
        service,
        revision,
        goal,
        limit: limit(&verb.timeout)?,
    };
    let client = Client::new(globals)?;
    let ended = follow(globals, &client, &wanted)?;
    let answer = serde_json::json!({
        "target": verb.target, "condition": verb.condition, "reached": ended.error.is_none(),
        "status": ended.status, "code": ended.error.as_ref().map(|fault| fault.code),
    });
    let code = ended.code();
    match (globals.output, ended.error) {
        (Format::Table, Some(error)) => return Err(error.into()),
        (Format::Table, None) => print(&format!("{}: {}\n", verb.target, ended.status)),
        (Format::Json | Format::Yaml, _) => show(globals, &answer, String::new),
    }
    if code == 0 { Ok(0) } else { Err(Failure::Silent(code)) }
}

/// Reads `--for`.
fn condition(text: &str) -> Result<(WaitFor, Option<u64>), Failure> {
    let goal = match text {
        "active" => WaitFor::Active,
        "running" => WaitFor::Running,
        "healthy" => WaitFor::Healthy,
        "completed" => WaitFor::Completed,
        "deleted" => WaitFor::Deleted,
        _ => {
            let revision = text.strip_prefix("revision=").and_then(|number| number.parse().ok());
            let Some(revision) = revision else {
                return Err(Failure::usage(format!(
                    "--for: {text} is not active, running, healthy, completed, deleted or \
                     revision=N"
                )));
            };
            return Ok((WaitFor::Active, Some(revision)));
        }
    };
    Ok((goal, None))
}
