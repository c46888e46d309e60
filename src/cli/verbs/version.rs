//! `jaco version`: what this binary is, and what answers.

use crate::cli::client::{Call, Client};
use crate::cli::output::show;
use crate::cli::{Globals, Outcome};
use argh::{ArgsInfo, FromArgs};
use jaco_model::view::VersionView;

/// print the version; --full adds commit, build date and the daemon's version
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "version")]
pub(crate) struct Version {
    /// ask the daemon as well
    #[argh(switch)]
    full: bool,
}

/// Runs the verb.
pub(crate) fn run(globals: &Globals, verb: &Version) -> Outcome {
    let mut view = crate::version::view();
    if verb.full {
        let client = Client::new(globals)?;
        // A daemon that is not there has no version; that is no reason to fail.
        let server = client.call::<VersionView>(&Call::get("/v1/version"));
        view.server_version = server.ok().map(|server| server.version);
    }
    show(globals, &view, || match verb.full {
        false => format!("{}\n", view.version),
        true => format!(
            "{}\ncommit: {}\nbuilt:  {}\nserver: {}\n",
            view.version,
            view.commit,
            view.built,
            view.server_version.as_deref().unwrap_or("-"),
        ),
    });
    Ok(0)
}
