//! `jaco diff`: files against what runs, or two revisions.

use crate::cli::client::{Call, Client, escape};
use crate::cli::manifest::{InputFlags, accept};
use crate::cli::output::show;
use crate::cli::{Failure, Globals, Outcome};
use argh::{ArgsInfo, FromArgs};
use jaco_model::view::{DeploymentView, DiffFile, DiffView};
use similar::TextDiff;

/// compare the files with what runs, or two revisions
#[derive(Clone, Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "diff")]
pub(crate) struct Diff {
    /// files, or one or two deployment@revision (default: .)
    #[argh(positional, arg_name = "WHAT")]
    what: Vec<String>,
    /// compose file; repeat to merge several
    #[argh(option, short = 'f')]
    compose: Vec<String>,
    /// overlay file
    #[argh(option)]
    jaco: Option<String>,
    /// deployment name
    #[argh(option)]
    name: Option<String>,
    /// enable a compose profile
    #[argh(option)]
    profile: Vec<String>,
    /// file of variables for interpolation
    #[argh(option)]
    env_file: Vec<String>,
    /// variable for interpolation: KEY=VALUE, or KEY from the environment
    #[argh(option)]
    env: Vec<String>,
    /// warnings are errors
    #[argh(switch)]
    strict: bool,
    /// show values that look secret
    #[argh(switch)]
    reveal: bool,
    /// exit 5 when there is a difference
    #[argh(switch)]
    exit_code: bool,
}

/// One side of a comparison.
struct Side {
    deployment: String,
    label: String,
    compose: String,
    jaco: String,
}

/// Exit code of a check that said no.
const SAID_NO: u8 = 5;

/// Runs the verb.
pub(crate) fn run(globals: &Globals, verb: Diff) -> Outcome {
    let client = Client::new(globals)?;
    let (from, to) = match verb.what.as_slice() {
        [left, right] => {
            let left = revision(&client, left, verb.reveal)?;
            let same = right.parse::<u64>().map(|number| format!("{}@{number}", left.deployment));
            (left, revision(&client, same.as_deref().unwrap_or(right), verb.reveal)?)
        }
        [one] if one.contains('@') => {
            let left = revision(&client, one, verb.reveal)?;
            let right = revision(&client, &left.deployment.clone(), verb.reveal)?;
            (left, right)
        }
        [] | [_] => files(globals, &client, &verb)?,
        _ => {
            return Err(Failure::usage("diff takes a PATH, or one or two <deployment>@<revision>"));
        }
    };
    let view = compare(&from, &to);
    show(globals, &view, || view.files.iter().map(|file| file.diff.as_str()).collect());
    if view.differs && verb.exit_code { Err(Failure::Silent(SAID_NO)) } else { Ok(0) }
}

/// A stored revision: `<deployment>@<revision>`, or the current one of `<deployment>`.
fn revision(client: &Client, text: &str, reveal: bool) -> Result<Side, Failure> {
    let (deployment, number) = match text.split_once('@') {
        Some((deployment, number)) => {
            let number: u64 = number
                .parse()
                .map_err(|_| Failure::usage(format!("{text}: the revision is not a number")))?;
            (deployment, Some(number))
        }
        None => (text, None),
    };
    let call = Call::get(format!("/v1/deployments/{}", escape(deployment)))
        .with_some("revision", number)
        .with("reveal", reveal);
    let view: DeploymentView = client.call(&call)?;
    Ok(Side {
        deployment: view.name,
        label: view.applied_revision.to_string(),
        compose: view.compose_yaml,
        jaco: view.jaco_yaml,
    })
}

/// The current revision and the files.
fn files(globals: &Globals, client: &Client, verb: &Diff) -> Result<(Side, Side), Failure> {
    let flags = InputFlags {
        path: verb.what.first().cloned(),
        compose: verb.compose.clone(),
        jaco: verb.jaco.clone(),
        name: verb.name.clone(),
        profile: verb.profile.clone(),
        env_file: verb.env_file.clone(),
        env: verb.env.clone(),
        strict: verb.strict,
    };
    let mut checked = accept(globals, &flags)?;
    let name = checked.documents.name.clone();
    let from = match revision(client, &name, verb.reveal) {
        Ok(side) => side,
        Err(failure) if is_unknown(&failure) => Side {
            deployment: name.clone(),
            label: "0".to_owned(),
            compose: String::new(),
            jaco: String::new(),
        },
        Err(failure) => return Err(failure),
    };
    if !verb.reveal {
        jaco_manifest::mask(&mut checked.loaded.compose);
    }
    let to = Side {
        deployment: name,
        label: "files".to_owned(),
        compose: jaco_manifest::emit(&checked.loaded.compose),
        jaco: checked.documents.jaco,
    };
    Ok((from, to))
}

fn is_unknown(failure: &Failure) -> bool {
    let code = failure.fault().map(|fault| fault.code);
    code == Some(jaco_model::ErrorCode::DeploymentNotFound)
}

fn compare(from: &Side, to: &Side) -> DiffView {
    let pairs = [("compose.yaml", &from.compose, &to.compose), ("jaco.yaml", &from.jaco, &to.jaco)];
    let files: Vec<DiffFile> = pairs
        .into_iter()
        .map(|(name, old, new)| DiffFile {
            name: name.to_owned(),
            diff: TextDiff::from_lines(old.as_str(), new.as_str())
                .unified_diff()
                .context_radius(3)
                .header(&format!("{name} {}", from.label), &format!("{name} {}", to.label))
                .to_string(),
        })
        .collect();
    DiffView {
        deployment: to.deployment.clone(),
        from: from.label.clone(),
        to: to.label.clone(),
        differs: files.iter().any(|file| !file.diff.is_empty()),
        files,
    }
}
