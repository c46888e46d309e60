//! `jaco rollback`: an earlier revision as a new one.

use crate::cli::client::{Call, Client, escape};
use crate::cli::output::show;
use crate::cli::progress::limit;
use crate::cli::verbs::apply::finish;
use crate::cli::{Failure, Globals, Outcome};
use argh::{ArgsInfo, FromArgs};
use jaco_model::view::{AppliedView, RevisionView, RollbackRequest};

/// bring the previous or a named revision back, as a new one
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "rollback")]
pub(crate) struct Rollback {
    /// deployment
    #[argh(positional, arg_name = "DEPLOYMENT")]
    deployment: String,
    /// revision to bring back (default: the one before)
    #[argh(option)]
    to: Option<u64>,
    /// only say which revision would come back
    #[argh(switch)]
    dry_run: bool,
    /// return once the change is written
    #[argh(switch, short = 'd')]
    detach: bool,
    /// longest wait; 0 is none (default: 10m)
    #[argh(option, default = "String::from(\"10m\")")]
    timeout: String,
}

/// Runs the verb.
pub(crate) fn run(globals: &Globals, verb: &Rollback) -> Outcome {
    let limit = limit(&verb.timeout)?;
    let client = Client::new(globals)?;
    if verb.dry_run {
        return preview(globals, &client, verb);
    }
    let path = format!("/v1/deployments/{}/rollback", escape(&verb.deployment));
    let request = RollbackRequest { to: verb.to, expect_revision: None };
    let applied: AppliedView = client.call(&Call::post(path, &request))?;
    let restored = applied.restored_revision.unwrap_or_default();
    let headline =
        format!("Rolled back to revision: {restored} (now revision {})", applied.revision);
    finish(globals, &client, applied, &headline, (!verb.detach).then_some(limit))
}

/// Which revision would come back, with the same checks as the server's.
fn preview(globals: &Globals, client: &Client, verb: &Rollback) -> Outcome {
    let call = Call::get(format!("/v1/deployments/{}/history", escape(&verb.deployment)));
    let revisions: Vec<RevisionView> = client.call(&call)?;
    let wanted = match verb.to {
        Some(number) => revisions.iter().find(|revision| revision.revision == number),
        None => revisions.get(1),
    };
    let Some(wanted) = wanted else {
        let code = match verb.to {
            Some(_) => jaco_model::ErrorCode::RevisionNotFound,
            None => jaco_model::ErrorCode::NoPreviousRevision,
        };
        let message = format!("deployment \"{}\" has no such revision", verb.deployment);
        return Err(Failure::from(jaco_model::Fault::new(code, message)));
    };
    let RevisionView { revision, applied_at, summary, .. } = wanted;
    show(globals, wanted, || {
        format!("Would roll back to revision: {revision} ({summary}, applied {applied_at})\n")
    });
    Ok(0)
}
