//! `jaco delete`: remove deployments.

use crate::cli::client::{Call, Client, escape};
use crate::cli::output::{complain, show};
use crate::cli::progress::{Wanted, follow, limit};
use crate::cli::verbs::apply::yes;
use crate::cli::{Failure, Globals, Outcome};
use argh::{ArgsInfo, FromArgs};
use jaco_model::view::WaitFor;
use std::io::IsTerminal;

/// remove deployments; their volumes stay unless --volumes is given
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "delete")]
pub(crate) struct Delete {
    /// deployments
    #[argh(positional, arg_name = "DEPLOYMENT")]
    deployments: Vec<String>,
    /// remove their volumes and data as well
    #[argh(switch)]
    volumes: bool,
    /// return once the change is written
    #[argh(switch, short = 'd')]
    detach: bool,
    /// longest wait; 0 is none (default: 5m)
    #[argh(option, default = "String::from(\"5m\")")]
    timeout: String,
}

/// Runs the verb.
pub(crate) fn run(globals: &Globals, verb: &Delete) -> Outcome {
    if verb.deployments.is_empty() {
        return Err(Failure::usage("delete needs at least one deployment"));
    }
    let limit = limit(&verb.timeout)?;
    confirm(globals, verb)?;
    let client = Client::new(globals)?;
    for name in &verb.deployments {
        let call = Call::delete(format!("/v1/deployments/{}", escape(name)));
        let mut answer: serde_json::Value = client.call(&call.with("volumes", verb.volumes))?;
        if !verb.detach {
            let wanted = Wanted {
                deployment: name.clone(),
                service: None,
                revision: None,
                goal: WaitFor::Deleted,
                limit,
            };
            if let Some(error) = follow(globals, &client, &wanted)?.error {
                return Err(error.into());
            }
        }
        answer["deleted"] = serde_json::Value::Bool(!verb.detach);
        let done = if verb.detach { "Deleting" } else { "Deleted" };
        show(globals, &answer, || format!("{done} deployment: {name}\n"));
    }
    Ok(0)
}

fn confirm(globals: &Globals, verb: &Delete) -> Result<(), Failure> {
    if globals.yes {
        return Ok(());
    }
    let names = verb.deployments.join(", ");
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        // Losing data needs a word from somebody; the rest proceeds without a terminal.
        return match verb.volumes {
            true => Err(Failure::usage("delete --volumes needs --yes without a terminal")),
            false => Ok(()),
        };
    }
    let what = if verb.volumes { " and the data in its volumes" } else { "" };
    if yes(&format!("Delete {names}{what}?")) {
        return Ok(());
    }
    complain("Nothing was deleted.");
    Err(Failure::Silent(1))
}
