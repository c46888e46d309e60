//! `jaco install` and `jaco uninstall`: this binary on this host.

use crate::cli::client::{Call, Client, escape};
use crate::cli::output::{complain, notice, show};
use crate::cli::progress::{Wanted, follow};
use crate::cli::verbs::apply::yes;
use crate::cli::{Failure, Globals, Outcome};
use crate::daemon::config;
use crate::install::{self, Error, Target};
use argh::{ArgsInfo, FromArgs};
use jaco_model::view::{DeploymentSummary, WaitFor};
use jaco_model::{ErrorCode, Fault, Millis};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// install, update or repair JACO on this host, and start the daemon
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "install")]
pub(crate) struct Install {
    /// directory of the binary (default: /usr/local/bin)
    #[argh(option, default = "PathBuf::from(install::PREFIX)")]
    prefix: PathBuf,
    /// do not start the service
    #[argh(switch)]
    no_start: bool,
    /// write no units and use no systemctl
    #[argh(switch)]
    no_systemd: bool,
    /// write below this directory and touch neither users nor services, for packages
    #[argh(option, default = "PathBuf::from(\"/\")")]
    root: PathBuf,
}

/// take JACO off this host; containers keep running unless --purge is given
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "uninstall")]
pub(crate) struct Uninstall {
    /// directory of the binary (default: /usr/local/bin)
    #[argh(option, default = "PathBuf::from(install::PREFIX)")]
    prefix: PathBuf,
    /// also delete all deployments, the configuration, the data and the user
    #[argh(switch)]
    purge: bool,
    /// with --purge, delete the deployments' volumes as well
    #[argh(switch)]
    volumes: bool,
    /// even though this node is in a cluster
    #[argh(switch)]
    force: bool,
    /// use no systemctl
    #[argh(switch)]
    no_systemd: bool,
    /// remove below this directory and touch neither users nor services, for packages
    #[argh(option, default = "PathBuf::from(\"/\")")]
    root: PathBuf,
}

/// Runs `jaco install`.
pub(crate) fn install(globals: &Globals, verb: &Install) -> Outcome {
    let target = target(&verb.root, &verb.prefix, !verb.no_systemd)?;
    let binary = std::env::current_exe()
        .map_err(|error| Failure::internal(format!("cannot find this binary: {error}")))?;
    let mut step = |text: &str| notice(globals, text);
    let done = install::install(&target, &binary, !verb.no_start, &mut step);
    let done = done.map_err(failure)?;
    for warning in &done.warnings {
        notice(globals, &format!("warning: {warning}"));
    }
    show(globals, &done, || {
        let lines = done.installed.iter();
        let mut text: String =
            lines.map(|placed| format!("{} {}\n", placed.action.word(), placed.path)).collect();
        if done.started {
            text.push_str("Started jaco.service. Begin a cluster with: jaco cluster init\n");
        }
        text
    });
    Ok(0)
}

/// Runs `jaco uninstall`.
pub(crate) fn uninstall(globals: &Globals, verb: &Uninstall) -> Outcome {
    if verb.volumes && !verb.purge {
        return Err(Failure::usage("--volumes goes with --purge"));
    }
    let target = target(&verb.root, &verb.prefix, !verb.no_systemd)?;
    let file = target.at("/etc/jaco/jacod.yaml");
    let file = Some(file).filter(|file| file.try_exists().unwrap_or(false));
    let loaded = config::load(file.as_deref(), &crate::daemon::variables());
    let loaded = loaded.map_err(|faults| Failure::usage(faults.join("\n")))?;
    let data_dir = loaded.config.data_dir;
    if install::is_member(&target.at(&data_dir)) && !verb.force {
        return Err(failure(Error::Member(data_dir.display().to_string())));
    }
    if verb.purge {
        confirm(globals, &data_dir)?;
    }
    let mut warnings = Vec::new();
    if verb.purge && target.is_live() {
        warnings.extend(delete_all(globals, verb.volumes)?);
    }
    let mut step = |text: &str| notice(globals, text);
    let removed = install::remove(&target, &data_dir, verb.purge, &mut step);
    let mut removed = removed.map_err(failure)?;
    removed.warnings.append(&mut warnings);
    for warning in &removed.warnings {
        notice(globals, &format!("warning: {warning}"));
    }
    show(globals, &removed, || {
        removed.removed.iter().map(|path| format!("removed {path}\n")).collect()
    });
    Ok(0)
}

/// Absolute paths, so that what is printed and written means the same from everywhere.
fn target(root: &Path, prefix: &Path, systemd: bool) -> Result<Target, Failure> {
    if !prefix.is_absolute() {
        return Err(Failure::usage("--prefix: expected an absolute path"));
    }
    let root = std::path::absolute(root);
    let root = root.map_err(|error| Failure::usage(format!("--root: {error}")))?;
    Ok(Target { root, prefix: prefix.to_owned(), systemd })
}

/// Asks before anything is lost.
fn confirm(globals: &Globals, data_dir: &Path) -> Result<(), Failure> {
    if globals.yes {
        return Ok(());
    }
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Err(Failure::usage("uninstall --purge needs --yes without a terminal"));
    }
    let dir = data_dir.display();
    if yes(&format!("Delete all deployments, the configuration, {dir} and user jaco?")) {
        return Ok(());
    }
    complain("Nothing was removed.");
    Err(Failure::Silent(1))
}

/// Longest wait for the removal of one deployment.
const DELETE_LIMIT: Millis = Millis::secs(300);

/// Deletes every deployment through the daemon, which alone knows what belongs to them.
fn delete_all(globals: &Globals, volumes: bool) -> Result<Option<String>, Failure> {
    let client = Client::new(globals)?;
    let deployments: Vec<DeploymentSummary> = match client.call(&Call::get("/v1/deployments")) {
        Ok(deployments) => deployments,
        Err(failure) => {
            let code = failure.fault().map(|fault| fault.code);
            return match code {
                Some(ErrorCode::ClusterUninitialized) => Ok(None),
                Some(ErrorCode::Unreachable) => Ok(Some(
                    "jacod does not answer, so containers and networks were left as they are"
                        .to_owned(),
                )),
                _ => Err(failure),
            };
        }
    };
    for DeploymentSummary { name, .. } in deployments {
        notice(globals, &format!("Deleting deployment {name}"));
        let call = Call::delete(format!("/v1/deployments/{}", escape(&name)));
        let _: serde_json::Value = client.call(&call.with("volumes", volumes))?;
        let wanted = Wanted {
            deployment: name,
            service: None,
            revision: None,
            goal: WaitFor::Deleted,
            limit: DELETE_LIMIT,
        };
        if let Some(error) = follow(globals, &client, &wanted)?.error {
            return Err(error.into());
        }
    }
    Ok(None)
}

/// The failure of a step in the words of the command line.
fn failure(error: Error) -> Failure {
    let message = error.to_string();
    let fault = match error {
        Error::NotRoot => {
            Fault::new(ErrorCode::PermissionDenied, message).with("hint", "run it with sudo")
        }
        Error::File { path, source } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            Fault::new(ErrorCode::PermissionDenied, message).with("path", path)
        }
        Error::Unfit(_) => Fault::new(ErrorCode::Unsupported, message),
        Error::Member(_) => Fault::new(ErrorCode::InUse, message).with("kind", "node").with(
            "hint",
            "--force removes JACO all the same; --force --purge removes the cluster's state too",
        ),
        Error::File { .. } | Error::Tool { .. } => Fault::new(ErrorCode::Internal, message),
    };
    fault.into()
}
