//! Logs: text, JSON lines, or journald; levels by subsystem.

mod journald;

use crate::daemon::config::Config;
use jaco_kit::Recorder;
use journald::Journald;
use std::error::Error;
use std::io::IsTerminal;
use std::sync::OnceLock;
use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, reload};

type Handle = reload::Handle<Targets, Registry>;

static LEVELS: OnceLock<Handle> = OnceLock::new();

/// Starts logging; a second call in one process changes nothing but the levels.
pub(crate) fn start(config: &Config) {
    let (filter, handle) = reload::Layer::new(targets(config));
    let sink: Box<dyn Layer<_> + Send + Sync> = match format(config) {
        Format::Journald(journald) => Box::new(journald),
        Format::Json => Box::new(fmt::layer().json().with_writer(std::io::stderr)),
        Format::Text => {
            let ansi = std::io::stderr().is_terminal();
            Box::new(fmt::layer().with_ansi(ansi).with_writer(std::io::stderr))
        }
    };
    if tracing_subscriber::registry().with(filter).with(sink).try_init().is_ok() {
        // The first start wins, and only it can get here.
        let _ = LEVELS.set(handle);
    } else {
        set_levels(config);
    }
}

/// Takes the levels of a configuration that was read again.
pub(crate) fn set_levels(config: &Config) {
    if let Some(handle) = LEVELS.get() {
        // It fails only when the subscriber is gone, and then nobody reads logs.
        let _ = handle.reload(targets(config));
    }
}

/// Where logs go.
enum Format {
    Journald(Journald),
    Json,
    Text,
}

fn format(config: &Config) -> Format {
    let under_systemd = std::env::var_os("JOURNAL_STREAM").is_some();
    let journald = || Journald::connect().map(Format::Journald);
    match config.log_format.as_str() {
        "json" => Format::Json,
        "text" => Format::Text,
        "journald" => journald().unwrap_or(Format::Json),
        _ if under_systemd => journald().unwrap_or(Format::Json),
        _ => Format::Text,
    }
}

/// What this program's own lines are filed under: its crates, and words that stand for subsystems.
const OURS: [&str; 11] = [
    "jaco",
    "jaco_raft",
    "jaco_raft_core",
    "jaco_runtime",
    "jaco_api",
    "jaco_kit",
    "jaco_ingress",
    "audit",
    "access",
    "firewall",
    "ingress",
];

/// Levels by subsystem: `raft`, `scheduler`, `runtime`, `api`, `audit`, `access`; `default` for the
/// rest.
fn targets(config: &Config) -> Targets {
    let level = |word: &str| match word {
        "debug" => LevelFilter::from_level(Level::DEBUG),
        "warn" => LevelFilter::from_level(Level::WARN),
        "error" => LevelFilter::from_level(Level::ERROR),
        _ => LevelFilter::from_level(Level::INFO),
    };
    let default = config.log_level.get("default").map_or("info", String::as_str);
    // Libraries speak only when they are in trouble; their chatter is nobody's business here.
    let mut targets = Targets::new().with_default(level("warn"));
    for ours in OURS {
        targets = targets.with_target(ours, level(default));
    }
    for (subsystem, word) in config.log_level.iter().filter(|(name, _)| *name != "default") {
        targets = targets.with_target(format!("jaco_{subsystem}"), level(word));
        targets = targets.with_target(subsystem.clone(), level(word));
    }
    targets
}

/// A panic is a bug: say what happened before it. Release builds then abort.
pub(crate) fn hook_panics(recorder: Recorder) {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        before(panic);
        crate::cli::complain(&format!("Last steps before the panic:\n{}", recorder.tail()));
    }));
}

/// Logs why the daemon could not start, and says it on standard error for the one who started it.
pub(crate) fn report(error: &dyn Error) {
    let text = chain(error);
    tracing::error!(error = text, "daemon could not start");
    if !std::io::stderr().is_terminal() {
        return;
    }
    crate::cli::complain(&format!("Error: {text}"));
}

/// An error with its causes in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::config::load;
    use std::collections::BTreeMap;

    #[test]
    fn lines_of_requests_are_not_taken_for_chatter() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let config = load(Some(file.path()), &BTreeMap::new()).unwrap().config;
        let targets = targets(&config);
        for target in ["jaco::daemon", "audit", "access", "ingress", "firewall"] {
            assert!(targets.would_enable(target, &Level::INFO), "{target}");
        }
        assert!(!targets.would_enable("hyper::proto", &Level::INFO));
    }
}
