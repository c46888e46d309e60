//! `jaco history`: the kept revisions of a deployment.

use crate::cli::client::{Call, Client, escape};
use crate::cli::output::{Table, show, state};
use crate::cli::{Globals, Outcome};
use argh::{ArgsInfo, FromArgs};
use jaco_model::view::RevisionView;

/// list the kept revisions of a deployment, newest first
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "history")]
pub(crate) struct History {
    /// deployment
    #[argh(positional, arg_name = "DEPLOYMENT")]
    deployment: String,
}

/// Runs the verb.
pub(crate) fn run(globals: &Globals, verb: &History) -> Outcome {
    let client = Client::new(globals)?;
    let call = Call::get(format!("/v1/deployments/{}/history", escape(&verb.deployment)));
    let revisions: Vec<RevisionView> = client.call(&call)?;
    show(globals, &revisions, || {
        let mut table = Table::new(&["REVISION", "APPLIED_AT", "IDENTITY", "STATUS", "CHANGE"]);
        for revision in &revisions {
            table.row([
                revision.revision.to_string(),
                revision.applied_at.clone(),
                revision.identity.clone(),
                state(globals, &revision.status),
                revision.summary.clone(),
            ]);
        }
        table.text()
    });
    Ok(0)
}
