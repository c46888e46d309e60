//! Commands inside running containers: hooks and exec probes.

use crate::engine::Engine;
use crate::error::{fault, last_512};
use bollard::exec::StartExecResults;
use bollard::models::ExecConfig;
use futures_util::StreamExt as _;
use jaco_model::Millis;
use jaco_model::spec::Hook;
use jaco_runtime_core::{EngineFault, ExecOutcome};
use rustix::process::{Pid, Signal, kill_process};

/// Output kept while a command runs; enough for the last 512 bytes that are reported.
const KEPT: usize = 4096;

impl Engine {
    /// Runs a command to its end, or kills it after `timeout`.
    pub(crate) async fn exec(
        &self,
        container: &str,
        hook: &Hook,
        timeout: Millis,
    ) -> Result<ExecOutcome, EngineFault> {
        let environment = hook.environment.iter().map(|(name, value)| format!("{name}={value}"));
        let config = ExecConfig {
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(hook.command.clone()),
            user: hook.user.clone(),
            privileged: Some(hook.privileged),
            working_dir: hook.working_dir.clone(),
            env: Some(environment.collect()),
            ..ExecConfig::default()
        };
        let made = self.asking().create_exec(container, config).await;
        let exec = made.map_err(|error| fault("exec", &error))?.id;
        let mut output = Vec::new();
        match tokio::time::timeout(timeout.std(), self.run_exec(&exec, &mut output)).await {
            Ok(ran) => ran?,
            Err(_) => {
                self.kill_exec(container, &exec).await;
                let output = last_512(&String::from_utf8_lossy(&output));
                return Err(EngineFault {
                    op: "exec",
                    reason: format!("timed out after {timeout} {output}").trim_end().to_owned(),
                    retry: true,
                });
            }
        }
        let ended = self.asking().inspect_exec(&exec).await;
        let ended = ended.map_err(|error| fault("exec", &error))?;
        Ok(ExecOutcome {
            exit_code: ended.exit_code.unwrap_or_default(),
            output: last_512(&String::from_utf8_lossy(&output)),
        })
    }

    /// Starts the command and reads until it closes its output.
    async fn run_exec(&self, exec: &str, output: &mut Vec<u8>) -> Result<(), EngineFault> {
        let started = self.ordering().start_exec(exec, None).await;
        let started = started.map_err(|error| fault("exec", &error))?;
        let StartExecResults::Attached { output: mut frames, input: _open } = started else {
            return Ok(());
        };
        while let Some(frame) = frames.next().await {
            let frame = frame.map_err(|error| fault("exec", &error))?;
            output.extend_from_slice(&frame.into_bytes());
            if output.len() > 2 * KEPT {
                output.drain(..output.len() - KEPT);
            }
        }
        Ok(())
    }

    /// The engine has no way to end an exec, so its process is killed on the host, once it is sure
    /// that the process belongs to the container: the engine may live in another PID namespace,
    /// where the number means another process.
    async fn kill_exec(&self, container: &str, exec: &str) {
        let Ok(state) = self.asking().inspect_exec(exec).await else { return };
        let pid = state.pid.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        let Some(pid) = pid.filter(|_| state.running == Some(true)) else { return };
        let cgroup = format!("/proc/{}/cgroup", pid.as_raw_nonzero());
        let cgroup = tokio::fs::read_to_string(cgroup).await.unwrap_or_default();
        if cgroup.contains(container)
            && let Err(error) = kill_process(pid, Signal::KILL)
        {
            tracing::warn!(container, %error, "command outlives its time limit");
        }
    }
}
