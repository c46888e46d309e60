//! Following a change: one updating block on a terminal, one line per change elsewhere.

use super::client::{Call, Client, escape};
use super::output::{complain, upper};
use super::{Failure, Globals};
use jaco_model::view::{Progress, ServiceProgress, WaitFor};
use jaco_model::{ErrorCode, Fault, Millis};
use std::io::Write;

/// How a wait ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The deployment's status.
    pub(crate) status: String,
    /// The revision whose content was restored.
    pub(crate) restored: Option<u64>,
    /// How far each service is.
    pub(crate) services: Vec<ServiceProgress>,
    /// Why the condition was not reached.
    pub(crate) error: Option<Fault>,
}

impl Ended {
    /// The exit code: 0 when the condition was reached.
    pub(crate) fn code(&self) -> u8 {
        self.error.as_ref().map_or(0, |fault| fault.code.exit_code())
    }
}

/// What to wait for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// The deployment.
    pub(crate) deployment: String,
    /// Only this service.
    pub(crate) service: Option<String>,
    /// The revision whose change is followed.
    pub(crate) revision: Option<u64>,
    /// The condition.
    pub(crate) goal: WaitFor,
    /// Longest wait; zero is none.
    pub(crate) limit: Millis,
}

/// Waits and shows progress. Ctrl-C leaves the work running.
pub(crate) fn follow(
    globals: &Globals,
    client: &Client,
    wanted: &Wanted,
) -> Result<Ended, Failure> {
    client.block_on(async {
        tokio::select! {
            ended = read(globals, client, wanted) => ended,
            _ = tokio::signal::ctrl_c() => {
                complain(&format!(
                    "The work goes on; follow it with: jaco wait {}", wanted.deployment
                ));
                Err(Failure::Silent(ErrorCode::Canceled.exit_code()))
            }
        }
    })
}

async fn read(globals: &Globals, client: &Client, wanted: &Wanted) -> Result<Ended, Failure> {
    let goal = serde_json::to_value(wanted.goal).unwrap_or_default();
    let call = Call::get(format!("/v1/deployments/{}/wait", escape(&wanted.deployment)))
        .with("for", goal.as_str().unwrap_or("active"))
        .with("timeout_ms", wanted.limit.0)
        .with_some("revision", wanted.revision)
        .with_some("service", wanted.service.clone());
    let mut lines = client.lines(&call).await?;
    let mut display = Display::new(globals);
    loop {
        let Some(progress) = lines.next::<Progress>().await? else {
            return Err(Failure::internal("the daemon ended the wait without an answer"));
        };
        match progress {
            Progress::Step { services, .. } => display.show(&services),
            Progress::Reached { status, services, .. } => {
                display.show(&services);
                return Ok(Ended { status, restored: None, services, error: None });
            }
            Progress::Ended { error, status, restored_revision, services, .. } => {
                display.show(&services);
                let restored = restored_revision;
                return Ok(Ended { status, restored, services, error: Some(error) });
            }
        }
    }
}

/// What was shown last.
struct Display {
    live: bool,
    quiet: bool,
    lines: Vec<String>,
}

impl Display {
    fn new(globals: &Globals) -> Display {
        let quiet = globals.quiet || globals.output != super::Format::Table;
        Display { live: globals.is_live(), quiet, lines: Vec::new() }
    }

    fn show(&mut self, services: &[ServiceProgress]) {
        let lines: Vec<String> = services.iter().map(line).collect();
        if self.quiet || lines == self.lines {
            return;
        }
        if self.live {
            let mut out = std::io::stderr().lock();
            let up = match self.lines.len() {
                0 => String::new(),
                n => format!("\u{1b}[{n}A"),
            };
            let text: String = lines.iter().map(|line| format!("\u{1b}[2K{line}\n")).collect();
            // A terminal that went away is no reason to end the wait.
            let _ = out.write_all(format!("{up}{text}").as_bytes());
        } else {
            lines.iter().filter(|line| !self.lines.contains(line)).for_each(|line| complain(line));
        }
        self.lines = lines;
    }
}

/// `web 2/3 running, 1 pulling node-1`.
fn line(service: &ServiceProgress) -> String {
    let ServiceProgress { name, wanted, running, failed, doing } = service;
    // Replicas of the old kind still serve while they wait for their turn.
    let replaced = doing.iter().any(|what| what.ends_with("to be replaced"));
    let verb = if replaced { "updated" } else { "running" };
    let mut text = format!("  {name} {running}/{wanted} {verb}");
    if *failed > 0 {
        text.push_str(&format!(", {failed} {}", upper("failed")));
    }
    for what in doing {
        text.push_str(&format!(", {what}"));
    }
    text
}

/// Reads `--timeout`; `0` is no limit.
pub(crate) fn limit(text: &str) -> Result<Millis, Failure> {
    if text == "0" {
        return Ok(Millis(0));
    }
    jaco_manifest::parse_duration(text).ok_or_else(|| {
        Failure::usage(format!("--timeout: {text} is not a duration such as 30s or 5m"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_is_being_replaced_counts_what_is_updated() {
        let service = |doing: &[&str]| ServiceProgress {
            name: "web".to_owned(),
            wanted: 3,
            running: 1,
            failed: 0,
            doing: doing.iter().map(|what| (*what).to_owned()).collect(),
        };
        assert_eq!(line(&service(&["2 to be replaced"])), "  web 1/3 updated, 2 to be replaced");
        assert_eq!(line(&service(&["2 starting node-1"])), "  web 1/3 running, 2 starting node-1");
    }
}
