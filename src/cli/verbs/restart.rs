//! `jaco restart`: the same spec in new containers, or the same containers again.

use crate::cli::client::{Call, Client};
use crate::cli::output::show;
use crate::cli::progress::{Wanted, follow, limit};
use crate::cli::{Globals, Outcome};
use argh::{ArgsInfo, FromArgs};
use jaco_model::view::{RestartRequest, RestartedView, WaitFor};

/// replace a deployment's, a service's or one replica's containers without a gap
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "restart")]
pub(crate) struct Restart {
    /// deployment, deployment/service or replica
    #[argh(positional, arg_name = "TARGET")]
    target: String,
    /// restart the containers instead of replacing them
    #[argh(switch)]
    in_place: bool,
    /// return once the change is written
    #[argh(switch, short = 'd')]
    detach: bool,
    /// longest wait; 0 is none (default: 10m)
    #[argh(option, default = "String::from(\"10m\")")]
    timeout: String,
}

/// Runs the verb.
pub(crate) fn run(globals: &Globals, verb: &Restart) -> Outcome {
    let limit = limit(&verb.timeout)?;
    let client = Client::new(globals)?;
    let request = RestartRequest { target: verb.target.clone(), in_place: verb.in_place };
    let restarted: RestartedView = client.call(&Call::post("/v1/restart", &request))?;
    if !verb.detach {
        let wanted = Wanted {
            deployment: restarted.deployment.clone(),
            service: None,
            revision: None,
            goal: WaitFor::Active,
            limit,
        };
        if let Some(error) = follow(globals, &client, &wanted)?.error {
            return Err(error.into());
        }
    }
    let done = if verb.detach { "Restarting" } else { "Restarted" };
    show(globals, &restarted, || {
        restarted.restarted.iter().map(|instance| format!("{done} {instance}\n")).collect()
    });
    Ok(0)
}
