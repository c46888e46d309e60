//! `jaco apply`: send the files, follow the change.

use crate::cli::client::{Call, Client};
use crate::cli::manifest::{self, Checked, InputFlags, accept, input_flags, warn_more};
use crate::cli::output::{complain, json, notice, print, yaml};
use crate::cli::progress::{Wanted, follow, limit};
use crate::cli::{Failure, Format, Globals, Outcome};
use argh::{ArgsInfo, FromArgs};
use jaco_model::view::{
    AppliedView, ApplyRequest, DeploymentView, ResolveImage, RollbackView, WaitFor,
};
use jaco_model::{ErrorCode, Millis};
use std::io::{BufRead, IsTerminal};
use std::path::Path;

/// make the cluster run what the files say
#[derive(Clone, Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "apply")]
pub(crate) struct Apply {
    /// directory, compose file, jaco.yaml, or - for standard input (default: .)
    #[argh(positional, arg_name = "PATH")]
    pub(crate) path: Option<String>,
    /// compose file; repeat to merge several
    #[argh(option, short = 'f')]
    pub(crate) compose: Vec<String>,
    /// overlay file
    #[argh(option)]
    pub(crate) jaco: Option<String>,
    /// deployment name
    #[argh(option)]
    pub(crate) name: Option<String>,
    /// enable a compose profile
    #[argh(option)]
    pub(crate) profile: Vec<String>,
    /// file of variables for interpolation
    #[argh(option)]
    pub(crate) env_file: Vec<String>,
    /// variable for interpolation: KEY=VALUE, or KEY from the environment
    #[argh(option)]
    pub(crate) env: Vec<String>,
    /// warnings are errors
    #[argh(switch)]
    pub(crate) strict: bool,
    /// show what would happen, change nothing
    #[argh(switch)]
    dry_run: bool,
    /// return once the change is written
    #[argh(switch, short = 'd')]
    pub(crate) detach: bool,
    /// longest wait; 0 is none (default: 10m)
    #[argh(option, default = "String::from(\"10m\")")]
    pub(crate) timeout: String,
    /// refuse unless this is the current revision
    #[argh(option)]
    expect_revision: Option<u64>,
    /// when image tags are looked up: always, changed or never (default: always)
    #[argh(option, default = "String::from(\"always\")")]
    resolve_image: String,
    /// pause instead of rolling back when the change fails
    #[argh(switch)]
    no_rollback: bool,
}

/// Runs the verb.
pub(crate) fn run(globals: &Globals, verb: Apply) -> Outcome {
    if verb.dry_run {
        return super::plan::preview(globals, &input_flags!(verb), &verb.resolve_image);
    }
    let flags = input_flags!(verb);
    let limit = limit(&verb.timeout)?;
    let checked = accept(globals, &flags)?;
    let client = Client::new(globals)?;
    confirm(globals, &client, &checked)?;
    let request = ApplyRequest {
        origin: manifest::origin(&checked),
        documents: checked.documents,
        expect_revision: verb.expect_revision,
        resolve_image: resolve_image(&verb.resolve_image)?,
        no_rollback: verb.no_rollback,
    };
    let applied: AppliedView = client.call(&Call::post("/v1/deployments", &request))?;
    warn_more(globals, &checked.outcome.problems, &applied.warnings);
    let headline = match applied.changed {
        true => format!("Applied revision: {}", applied.revision),
        false => "No changes".to_owned(),
    };
    finish(globals, &client, applied, &headline, (!verb.detach).then_some(limit))
}

/// Reads `--resolve-image`.
pub(crate) fn resolve_image(text: &str) -> Result<ResolveImage, Failure> {
    match text {
        "always" => Ok(ResolveImage::Always),
        "changed" => Ok(ResolveImage::Changed),
        "never" => Ok(ResolveImage::Never),
        _ => {
            Err(Failure::usage(format!("--resolve-image: {text} is not always, changed or never")))
        }
    }
}

/// Says what was written, and follows the change unless the user detached.
pub(crate) fn finish(
    globals: &Globals,
    client: &Client,
    mut applied: AppliedView,
    headline: &str,
    limit: Option<Millis>,
) -> Outcome {
    if globals.output == Format::Table {
        print(&format!("{headline}\n"));
    }
    let mut code = 0;
    if let Some(limit) = limit {
        let wanted = Wanted {
            deployment: applied.deployment.clone(),
            service: None,
            revision: Some(applied.revision),
            goal: WaitFor::Active,
            limit,
        };
        let clock = jaco_kit::Clock::new();
        let ended = follow(globals, client, &wanted)?;
        applied.duration_seconds += clock.mono().0 as f64 / 1_000.0;
        code = ended.code();
        applied.status.clone_from(&ended.status);
        applied.services = ended.services;
        if let Some(error) = ended.error {
            if globals.output == Format::Table {
                return Err(error.into());
            }
            complain(&serde_json::json!({ "error": error }).to_string());
            let restored = ended.restored.filter(|_| error.code == ErrorCode::RolledBack);
            applied.rollback =
                restored.map(|restored_revision| RollbackView { restored_revision, reason: error });
        }
    }
    match globals.output {
        Format::Table if limit.is_some() => notice(globals, &format!("Status: {}", applied.status)),
        Format::Table => {}
        Format::Json => print(&format!("{}\n", json(&applied))),
        Format::Yaml => print(&yaml(&applied)),
    }
    if code == 0 { Ok(0) } else { Err(Failure::Silent(code)) }
}

/// Asks before a name taken from a directory replaces a deployment of another directory or user.
fn confirm(globals: &Globals, client: &Client, checked: &Checked) -> Result<(), Failure> {
    let ask = !checked.loaded.name.explicit
        && !globals.yes
        && std::io::stdin().is_terminal()
        && std::io::stderr().is_terminal();
    if !ask {
        return Ok(());
    }
    let name = &checked.documents.name;
    let call = Call::get(format!("/v1/deployments/{name}"));
    let Ok(current) = client.call::<DeploymentView>(&call) else { return Ok(()) };
    let origin = manifest::origin(checked);
    let same = Path::new(&current.origin_directory) == Path::new(&origin.directory)
        && current.origin_user == origin.user;
    if same {
        return Ok(());
    }
    let question = format!(
        "Deployment \"{name}\" was last applied from {} by {}. Replace it?",
        current.origin_directory, current.origin_user
    );
    if yes(&question) { Ok(()) } else { Err(Failure::Silent(1)) }
}

/// Asks a question on the terminal.
pub(crate) fn yes(question: &str) -> bool {
    complain(&format!("{question} [y/N]"));
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

/// The flags of `apply` for `up`, which applies as well.
impl Apply {
    /// An apply of a path with all defaults.
    pub(crate) fn of(path: Option<String>) -> InputFlags {
        InputFlags { path, ..InputFlags::default() }
    }
}
