//! `jaco scale`: numbers of replicas over those of the files.

use crate::cli::client::{Call, Client, escape};
use crate::cli::output::show;
use crate::cli::progress::{Wanted, follow, limit};
use crate::cli::{Failure, Globals, Outcome};
use argh::{ArgsInfo, FromArgs};
use jaco_model::view::{ScaleRequest, ScaledView, WaitFor};
use std::collections::BTreeMap;

/// set numbers of replicas; kept until the files' own number changes
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "scale")]
pub(crate) struct Scale {
    /// deployment/service=replicas; several at once
    #[argh(positional, arg_name = "TARGET=N")]
    targets: Vec<String>,
    /// return once the change is written
    #[argh(switch, short = 'd')]
    detach: bool,
    /// longest wait; 0 is none (default: 10m)
    #[argh(option, default = "String::from(\"10m\")")]
    timeout: String,
}

/// Runs the verb.
pub(crate) fn run(globals: &Globals, verb: &Scale) -> Outcome {
    let limit = limit(&verb.timeout)?;
    let mut wanted: BTreeMap<String, BTreeMap<String, u32>> = BTreeMap::new();
    for target in &verb.targets {
        let (deployment, service, replicas) = read(target)?;
        wanted.entry(deployment).or_default().insert(service, replicas);
    }
    if wanted.is_empty() {
        return Err(Failure::usage("scale needs <deployment>/<service>=<replicas>"));
    }
    let client = Client::new(globals)?;
    for (deployment, services) in wanted {
        let path = format!("/v1/deployments/{}/scale", escape(&deployment));
        let scaled: ScaledView = client.call(&Call::post(path, &ScaleRequest { services }))?;
        let lines = scaled.services.iter().map(|service| {
            format!("Scaled {deployment}/{}: {} -> {}\n", service.name, service.from, service.to)
        });
        let lines: String = lines.collect();
        if !verb.detach {
            let wanted =
                Wanted { deployment, service: None, revision: None, goal: WaitFor::Active, limit };
            let ended = follow(globals, &client, &wanted)?;
            if let Some(error) = ended.error {
                return Err(error.into());
            }
        }
        show(globals, &scaled, || lines);
    }
    Ok(0)
}

/// Reads `<deployment>/<service>=<replicas>`.
fn read(target: &str) -> Result<(String, String, u32), Failure> {
    let parts = target.split_once('=').and_then(|(names, number)| {
        let (deployment, service) = names.split_once('/')?;
        Some((deployment.to_owned(), service.to_owned(), number.parse().ok()?))
    });
    parts
        .ok_or_else(|| Failure::usage(format!("{target} is not <deployment>/<service>=<replicas>")))
}
