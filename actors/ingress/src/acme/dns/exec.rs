//! A program of the node publishes: `COMMAND… present|cleanup FQDN VALUE`, through no shell.

use super::{Action, DnsError};
use rustix::process::{Pid, Signal, kill_process_group};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::time::timeout;

/// Longest run, as manifests.md §2.6 promises.
const LIMIT: Duration = Duration::from_secs(60);
/// Wait for the end of its output once it has ended; others may have it open.
const OUTPUT_WAIT: Duration = Duration::from_secs(1);
/// Bytes of its complaints that are kept: the last ones.
const COMPLAINT_MAX: usize = 1_024;

#[derive(Debug)]
pub(super) struct Exec {
    program: String,
    arguments: Vec<String>,
    limit: Duration,
}

impl Exec {
    pub(super) fn new(command: &[String]) -> Result<Exec, DnsError> {
        match command {
            [program, arguments @ ..] if program.starts_with('/') => {
                let (program, arguments) = (program.clone(), arguments.to_vec());
                Ok(Exec { program, arguments, limit: LIMIT })
            }
            [program, ..] => {
                Err(DnsError::Settings(format!("the program {program:?} is no absolute path")))
            }
            [] => Err(DnsError::Settings("the command is empty".to_owned())),
        }
    }

    pub(super) async fn call(
        &self,
        action: Action,
        name: &str,
        value: &str,
    ) -> Result<(), DnsError> {
        let program = &self.program;
        let mut command = Command::new(program);
        command.args(&self.arguments).args([action.name(), name, value]).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.process_group(0);
        let child = command.spawn();
        let mut child = child
            .map_err(|error| DnsError::Settings(format!("{program} cannot be started: {error}")))?;
        // Ends all that it started, also when nobody waits for it any more.
        let group = Group(child.id());
        let mut complaint = Complaint::default();
        let ended = async {
            let Some(stderr) = child.stderr.take() else { return child.wait().await };
            let reading = complaint.read(stderr);
            tokio::pin!(reading);
            let status = tokio::select! {
                () = &mut reading => return child.wait().await,
                status = child.wait() => status,
            };
            drop(group);
            // What it left behind may hold its output open.
            let _ = timeout(OUTPUT_WAIT, reading).await;
            status
        };
        let ended = timeout(self.limit, ended).await;
        let complaint = complaint.text();
        match ended {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(DnsError::Refused(self.failed(action, status, &complaint))),
            Ok(Err(error)) => Err(DnsError::Away(format!("{program}: {error}"))),
            Err(_) => {
                let seconds = self.limit.as_secs();
                let action = action.name();
                let text = format!("{program} {action} has not ended in {seconds} s{complaint}");
                Err(DnsError::Away(text))
            }
        }
    }

    fn failed(&self, action: Action, status: ExitStatus, complaint: &str) -> String {
        format!("{} {}: {status}{complaint}", self.program, action.name())
    }
}

/// A process group that ends with its guard.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        let id = self.0.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(id) = id {
            // It is gone already when all of it has ended.
            let _ = kill_process_group(id, Signal::KILL);
        }
    }
}

/// The end of what a program complains about.
#[derive(Default)]
struct Complaint {
    tail: Vec<u8>,
}

impl Complaint {
    async fn read(&mut self, mut from: impl AsyncRead + Unpin) {
        let mut part = [0; COMPLAINT_MAX];
        while let Ok(length @ 1..) = from.read(&mut part).await {
            self.tail.extend_from_slice(&part[..length]);
            let surplus = self.tail.len().saturating_sub(COMPLAINT_MAX);
            self.tail.drain(..surplus);
        }
    }

    /// As the end of an error's text; control characters would break the line.
    fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.tail);
        let words: Vec<&str> = text.split(|c: char| c.is_whitespace() || c.is_control()).collect();
        let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
        if words.is_empty() { String::new() } else { format!(": {}", words.join(" ")) }
    }
}
