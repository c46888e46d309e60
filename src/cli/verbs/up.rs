//! `jaco up`: a daemon of one's own, an apply, and the logs, in the foreground.

use super::apply::Apply;
use crate::cli::client::{Call, Client, escape};
use crate::cli::manifest::{self, accept, warn_more};
use crate::cli::output::{complain, notice, print};
use crate::cli::progress::{Wanted, follow, limit};
use crate::cli::{Failure, Globals, Outcome};
use crate::daemon::config::{self, Config};
use crate::daemon::{Options, run as serve};
use argh::{ArgsInfo, FromArgs};
use jaco_manifest::Problems;
use jaco_model::view::{AppliedView, ApplyRequest, LogLine, WaitFor};
use jaco_model::{ErrorCode, Fault, Millis};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// run a compose file on this machine, without installing or configuring anything
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "up")]
pub(crate) struct Up {
    /// directory, compose file or jaco.yaml (default: .)
    #[argh(positional, arg_name = "PATH")]
    path: Option<String>,
    /// leave the containers running at the end
    #[argh(switch)]
    keep: bool,
    /// where the state is kept (default: below $XDG_STATE_HOME/jaco/up)
    #[argh(option)]
    data_dir: Option<PathBuf>,
    /// start from empty state
    #[argh(switch)]
    fresh: bool,
}

/// Longest time until the embedded daemon serves.
const START_LIMIT: Duration = Duration::from_secs(30);
/// Longest time for the removal of the containers at the end.
const STOP_LIMIT: Millis = Millis::secs(300);

/// Runs the verb.
pub(crate) fn run(globals: &Globals, verb: Up) -> Outcome {
    let checked = accept(globals, &Apply::of(verb.path.clone()))?;
    let dir = state_dir(&verb, &checked.loaded.compose_dir)?;
    if verb.fresh {
        empty(&dir)?;
    }
    let config = config(&dir)?;
    let socket = config.unix_socket.clone();
    let daemon = Embedded::start(config)?;
    notice(globals, &format!("Socket: {} (jaco --socket {0} …)", socket.display()));
    notice(globals, "One node: no mesh; the packet filter keeps networks apart.");
    let globals = globals.at(socket);
    let client = Client::new(&globals)?;
    let origin = manifest::origin(&checked);
    let name = checked.documents.name.clone();
    let request = ApplyRequest { documents: checked.documents, origin, ..ApplyRequest::default() };
    let outcome = session(&globals, &client, &checked.outcome.problems, &request);
    let removed = if verb.keep { Ok(()) } else { remove(&globals, &client, &name) };
    daemon.stop();
    removed.and(outcome)
}

/// Applies, follows the change, then the logs until Ctrl-C.
fn session(
    globals: &Globals,
    client: &Client,
    local: &Problems,
    request: &ApplyRequest,
) -> Outcome {
    let name = &request.documents.name;
    wait_for_engine(client)?;
    let applied: AppliedView = client.call(&Call::post("/v1/deployments", request))?;
    warn_more(globals, local, &applied.warnings);
    let headline = match applied.changed {
        true => format!("Applied revision: {}", applied.revision),
        false => "No changes".to_owned(),
    };
    notice(globals, &headline);
    let wanted = Wanted {
        deployment: name.to_owned(),
        service: None,
        revision: Some(applied.revision),
        goal: WaitFor::Active,
        limit: limit("10m")?,
    };
    let ended = match follow(globals, client, &wanted) {
        Err(Failure::Silent(_)) => return Ok(0),
        other => other?,
    };
    if let Some(error) = ended.error {
        return Err(error.into());
    }
    notice(globals, "Following the logs; Ctrl-C stops and removes the containers.");
    client.block_on(async {
        tokio::select! {
            end = follow_logs(client, name) => end,
            _ = tokio::signal::ctrl_c() => Ok(0),
        }
    })
}

async fn follow_logs(client: &Client, name: &str) -> Outcome {
    let call = Call::get("/v1/logs").with("target", name).with("follow", true).with("tail", 20);
    let mut lines = client.lines(&call).await?;
    while let Some(line) = lines.next::<LogLine>().await? {
        print(&format!("[{}] {}\n", line.replica, line.line));
    }
    Ok(0)
}

/// The embedded daemon answers before its engine does.
fn wait_for_engine(client: &Client) -> Result<(), Failure> {
    let ready = |view: &serde_json::Value| {
        let mut nodes = view["nodes"].as_array().into_iter().flatten();
        nodes.any(|node| node["status"] == "ready")
    };
    for _ in 0..100 {
        let view: serde_json::Value = client.call(&Call::get("/v1/cluster"))?;
        if ready(&view) {
            return Ok(());
        }
        client.block_on(async { tokio::time::sleep(Duration::from_millis(100)).await });
    }
    Err(Fault::new(ErrorCode::DockerError, "the Docker Engine does not answer")
        .with("op", "connect")
        .with("hint", "is Docker running, and may this user use its socket?")
        .into())
}

/// Stops and removes the containers; volumes and state stay. A second Ctrl-C ends it at once.
fn remove(globals: &Globals, client: &Client, name: &str) -> Result<(), Failure> {
    notice(globals, "Stopping and removing the containers…");
    let call = Call::delete(format!("/v1/deployments/{}", escape(name)));
    match client.call::<serde_json::Value>(&call) {
        Ok(_) => {}
        // Nothing was applied, so nothing is left.
        Err(Failure::Fault(body)) if body.error.code == ErrorCode::DeploymentNotFound => {
            return Ok(());
        }
        Err(failure) => return Err(failure),
    }
    let wanted = Wanted {
        deployment: name.to_owned(),
        service: None,
        revision: None,
        goal: WaitFor::Deleted,
        limit: STOP_LIMIT,
    };
    let ended = follow(globals, client, &wanted)?;
    ended.error.map_or(Ok(()), |error| Err(error.into()))
}

/// A daemon on a thread of its own.
struct Embedded {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<u8>,
}

impl Embedded {
    fn start(config: Config) -> Result<Embedded, Failure> {
        let (ready, is_ready) = channel();
        let (stop, stopped) = oneshot::channel();
        let options = Options {
            file: None,
            init: Some("dev".to_owned()),
            ready: Some(ready),
            stop: Some(stopped),
            signals: false,
            listens: false,
        };
        let spawned = std::thread::Builder::new().name("jacod".into());
        let thread = spawned.spawn(move || {
            crate::daemon::log(&config);
            serve(config, options)
        });
        let thread = thread.map_err(|error| Failure::internal(error.to_string()))?;
        match is_ready.recv_timeout(START_LIMIT) {
            Ok(()) => Ok(Embedded { stop, thread }),
            Err(RecvTimeoutError::Disconnected) => {
                let _ = thread.join();
                Err(Failure::internal("the embedded daemon could not start; see above"))
            }
            Err(RecvTimeoutError::Timeout) => {
                Err(Failure::internal("the embedded daemon did not start within 30 s"))
            }
        }
    }

    fn stop(self) {
        // A daemon that has ended already needs no word.
        let _ = self.stop.send(());
        if self.thread.join().is_err() {
            complain("the embedded daemon panicked");
        }
    }
}

/// `$XDG_STATE_HOME/jaco/up/<directory>`: one state per project directory.
fn state_dir(verb: &Up, project: &Path) -> Result<PathBuf, Failure> {
    if let Some(dir) = &verb.data_dir {
        return std::path::absolute(dir).map_err(|error| Failure::usage(error.to_string()));
    }
    let home = || std::env::var("HOME").map(|home| format!("{home}/.local/state"));
    let base = std::env::var("XDG_STATE_HOME").or_else(|_| home()).map_err(|_| {
        Failure::usage("neither XDG_STATE_HOME nor HOME is set; name a place with --data-dir")
    })?;
    let name = project.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = jaco_model::name::normalise_deployment_name(&name.unwrap_or_default());
    // Two projects may have directories of one name; the digest keeps them apart.
    let digest = Sha256::digest(project.as_os_str().as_encoded_bytes());
    let digest: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let name = name.map_or_else(|| digest.clone(), |name| format!("{name}-{digest}"));
    Ok(PathBuf::from(base).join("jaco/up").join(name))
}

/// Forgets everything that an earlier `jaco up` knew; its volumes stay in Docker.
fn empty(dir: &Path) -> Result<(), Failure> {
    match std::fs::remove_dir_all(dir) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::internal(format!("{}: {error}", dir.display()))),
    }
}

/// The defaults of development mode; `DOCKER_HOST` is honoured as by Docker's own tools.
fn config(dir: &Path) -> Result<Config, Failure> {
    let mut variables = BTreeMap::from([
        ("JACO_DATA_DIR", dir.join("data").display().to_string()),
        ("JACO_SOCKET", dir.join("jaco.sock").display().to_string()),
        ("JACO_SOCKET_GROUP", String::new()),
        ("JACO_LOG", "warn".to_owned()),
        ("JACO_LOG_FORMAT", "text".to_owned()),
    ]);
    if let Ok(host) = std::env::var("DOCKER_HOST") {
        variables.insert("JACO_DOCKER_HOST", host);
    }
    let variables = variables.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let empty = Path::new("/dev/null");
    let loaded = config::load(Some(empty), &variables);
    Ok(loaded.map_err(|faults| Failure::usage(faults.join("\n")))?.config)
}
