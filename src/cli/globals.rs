//! Flags that every command takes, wherever they stand.

use super::Failure;
use jaco_manifest::parse_duration;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// One document, two-space indent; one object per line when streaming.
    Json,
    /// The same data as YAML.
    Yaml,
}

/// Values of the global flags, after the environment.
#[derive(Clone, Debug)]
pub(crate) struct Globals {
    /// The local API.
    pub(crate) socket: PathBuf,
    /// How results are printed.
    pub(crate) output: Format,
    /// Whether output is coloured; `None` asks the terminal.
    color: Option<bool>,
    /// Only results and errors.
    pub(crate) quiet: bool,
    /// More of everything.
    pub(crate) verbose: bool,
    /// Limit of one call that is not a wait or a stream.
    pub(crate) request_timeout: Duration,
    /// Answer yes to confirmations.
    pub(crate) yes: bool,
}

/// Global options that take a value, and their short forms.
pub(crate) const OPTIONS: &[(&str, Option<char>)] =
    &[("--socket", None), ("--output", Some('o')), ("--color", None), ("--request-timeout", None)];

/// Global switches and their short forms.
pub(crate) const SWITCHES: &[(&str, Option<char>)] =
    &[("--quiet", Some('q')), ("--verbose", Some('v')), ("--yes", Some('y'))];

impl Globals {
    /// The same with a longer limit for one call, if the user's is shorter.
    pub(crate) fn patient(&self, limit: Duration) -> Globals {
        Globals { request_timeout: self.request_timeout.max(limit), ..self.clone() }
    }

    /// The values of the environment and the defaults.
    pub(super) fn from_environment() -> Result<Globals, Failure> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let socket = variable("JACO_SOCKET").unwrap_or_else(|| "/var/run/jaco/jaco.sock".into());
        let mut globals = Globals {
            socket: PathBuf::from(socket),
            output: Format::Table,
            color: variable("NO_COLOR").map(|_| false),
            quiet: false,
            verbose: false,
            request_timeout: Duration::from_secs(15),
            yes: false,
        };
        if let Some(format) = variable("JACO_OUTPUT") {
            globals.set("--output", &format)?;
        }
        Ok(globals)
    }

    /// Sets one option by its long form.
    pub(super) fn set(&mut self, option: &str, value: &str) -> Result<(), Failure> {
        match option {
            "--socket" => self.socket = PathBuf::from(value),
            "--output" => self.output = format(value)?,
            "--color" => self.color = color(value)?,
            _ => {
                let limit = parse_duration(value).ok_or_else(|| {
                    Failure::usage(format!("{option}: {value} is not a duration such as 15s"))
                })?;
                self.request_timeout = limit.std();
            }
        }
        Ok(())
    }

    /// Sets one switch by its long form.
    pub(super) fn switch(&mut self, switch: &str) {
        match switch {
            "--quiet" => self.quiet = true,
            "--verbose" => self.verbose = true,
            _ => self.yes = true,
        }
    }

    /// The same flags for another daemon.
    pub(crate) fn at(&self, socket: PathBuf) -> Globals {
        Globals { socket, ..self.clone() }
    }

    /// Columns of the terminal that standard output is; `None` when it is none.
    pub(crate) fn width(&self) -> Option<usize> {
        let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
        Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
    }

    /// Whether a watch may redraw the screen instead of adding to it.
    pub(crate) fn redraws(&self) -> bool {
        let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
        self.output == Format::Table && !dumb && std::io::stdout().is_terminal()
    }

    /// Whether output to standard output is coloured.
    pub(crate) fn is_coloured(&self) -> bool {
        let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
        self.color.unwrap_or_else(|| std::io::stdout().is_terminal() && !dumb)
    }

    /// Whether progress may redraw lines on standard error.
    pub(crate) fn is_live(&self) -> bool {
        let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
        self.output == Format::Table && !self.quiet && !dumb && std::io::stderr().is_terminal()
    }
}

fn format(value: &str) -> Result<Format, Failure> {
    match value {
        "table" => Ok(Format::Table),
        "json" => Ok(Format::Json),
        "yaml" => Ok(Format::Yaml),
        _ => Err(Failure::usage(format!("--output: {value} is not table, json or yaml"))),
    }
}

fn color(value: &str) -> Result<Option<bool>, Failure> {
    match value {
        "auto" => Ok(None),
        "always" => Ok(Some(true)),
        "never" => Ok(Some(false)),
        _ => Err(Failure::usage(format!("--color: {value} is not auto, always or never"))),
    }
}

#[cfg(test)]
impl Globals {
    /// Tables without colour, for tests.
    pub(crate) fn plain() -> Globals {
        Globals {
            socket: PathBuf::from("/nonexistent/jaco.sock"),
            output: Format::Table,
            color: Some(false),
            quiet: false,
            verbose: false,
            request_timeout: Duration::from_secs(1),
            yes: false,
        }
    }
}
