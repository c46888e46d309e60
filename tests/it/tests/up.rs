//! `jaco up`: a project's containers for as long as the command runs.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jaco_it::{Container, Node, Stack, probe, with_node};
use jaco_lab::until;
use serde_json::json;

const SOON: Duration = Duration::from_secs(60);

/// `jaco up` in the foreground of somebody.
struct Up {
    child: Child,
    out: BufReader<ChildStdout>,
    err: BufReader<ChildStderr>,
}

impl Up {
    fn start(c: &Node, stack: &Stack, flags: &[&str]) -> Result<Up> {
        let mut command: Command = c.command(&["up", &stack.path()]);
        let state = stack.dir().join("state").display().to_string();
        command.args(["--data-dir", &state]).args(flags).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let out = BufReader::new(child.stdout.take().context("no stdout")?);
        let err = BufReader::new(child.stderr.take().context("no stderr")?);
        Ok(Up { child, out, err })
    }

    /// Reads what it says of itself until it follows the logs.
    fn follows(&mut self) -> Result<String> {
        let mut said = String::new();
        while !said.contains("Following the logs") {
            let n = self.err.read_line(&mut said)?;
            ensure!(n > 0, "jaco up ended: {said}");
        }
        Ok(said)
    }

    /// The next line of the containers.
    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.out.read_line(&mut line)?;
        Ok(line)
    }

    /// Ctrl-C, and the exit code.
    fn interrupt(mut self) -> Result<Option<i32>> {
        let pid = self.child.id().to_string();
        ensure!(Command::new("kill").args(["-INT", &pid]).status()?.success());
        let status = until("jaco up to end", SOON, || Ok(self.child.try_wait()?))?;
        Ok(status.code())
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // It may have ended; the lab removes what it leaves.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn containers_live_as_long_as_the_command() -> Result<()> {
    with_node("up", |c| {
        // The host's own daemon knows nothing of it, and it knows nothing of the host's daemon.
        let compose = json!({
            "services": { "web": probe(json!({ "volumes": ["data:/data"] })) },
            "volumes": { "data": {} },
        });
        let stack = Stack::new("play", compose)?;
        let containers = |c: &Node| Container::of_deployment(&c.engine(), "play");

        let mut up = Up::start(c, &stack, &[])?;
        let said = up.follows()?;
        ensure!(said.contains("jaco.sock") && said.contains("Applied revision: 1"), "{said}");
        ensure!(up.line()?.starts_with("[play-web-0"), "no log line");
        ensure!(containers(c)?.len() == 1);
        ensure!(up.interrupt()? == Some(0), "an ended session is no error");
        ensure!(containers(c)?.is_empty(), "containers stay after Ctrl-C");
        let volumes = c.engine().get("/volumes")?.to_string();
        ensure!(volumes.contains("jaco_play_data"), "the volume is gone");

        let mut up = Up::start(c, &stack, &["--keep"])?;
        up.follows()?;
        let kept = containers(c)?;
        ensure!(kept.len() == 1 && up.interrupt()? == Some(0));
        ensure!(containers(c)? == kept, "--keep did not keep");

        let mut up = Up::start(c, &stack, &[])?;
        up.follows()?;
        ensure!(containers(c)? == kept, "the containers were not adopted");
        ensure!(up.interrupt()? == Some(0));
        ensure!(containers(c)?.is_empty(), "adopted containers stay");
        ensure!(c.ok(&["status"])?["deployments"] == json!([]), "the host's daemon saw it");
        Ok(())
    })
}
