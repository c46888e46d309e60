//! `jaco logs`: what replicas print.

use crate::cli::client::{Call, Client};
use crate::cli::output::{complain, show_item};
use crate::cli::stream::each;
use crate::cli::time::{moment, now};
use crate::cli::{Failure, Globals, Outcome};
use argh::{ArgsInfo, FromArgs};
use jaco_model::view::{ErrorBody, LogLine};
use regex_lite::Regex;
use serde::Deserialize;

/// show what replicas print
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "logs")]
pub(crate) struct Logs {
    /// a deployment, deployment/service or replica
    #[argh(positional, arg_name = "TARGET")]
    target: String,
    /// go on with new lines; new replicas join by themselves
    #[argh(switch, short = 'f')]
    follow: bool,
    /// only lines since then: a duration such as 5m, or RFC 3339
    #[argh(option)]
    since: Option<String>,
    /// only lines before then: a duration such as 5m, or RFC 3339
    #[argh(option)]
    until: Option<String>,
    /// last lines of each replica: a number or all (default: all)
    #[argh(option, short = 'n', default = "String::from(\"all\")")]
    tail: String,
    /// only lines that match this regular expression
    #[argh(option)]
    grep: Option<String>,
    /// the time of each line
    #[argh(switch, short = 't')]
    timestamps: bool,
    /// the container that ended last instead of the current one
    #[argh(switch, short = 'p')]
    previous: bool,
    /// lines without the name of the replica and its host
    #[argh(switch)]
    no_prefix: bool,
}

/// One object of the answer. A replica that cannot be read does not end the others.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Item {
    Log(LogLine),
    Failed(ErrorBody),
}

/// Runs the verb.
pub(crate) fn run(globals: &Globals, verb: Logs) -> Outcome {
    let grep = verb.grep.as_deref().map(Regex::new).transpose();
    let grep = grep.map_err(|error| Failure::usage(format!("--grep: {error}")))?;
    if verb.follow && verb.previous {
        return Err(Failure::usage("--previous reads an ended container; it cannot follow it"));
    }
    let call = call(&verb, now())?;
    let client = Client::new(globals)?;
    let mut failed = false;
    each(&client, &call, |item| match item {
        Item::Log(line) if grep.as_ref().is_none_or(|grep| grep.is_match(&line.line)) => {
            show_item(globals, &line, || text(&verb, &line));
        }
        Item::Log(_) => {}
        Item::Failed(body) => {
            failed = true;
            complain(&format!("Error: {}", body.error));
        }
    })?;
    if failed { Err(Failure::Silent(1)) } else { Ok(0) }
}

fn call(verb: &Logs, now: u64) -> Result<Call, Failure> {
    let tail = match verb.tail.as_str() {
        "all" => None,
        number => Some(number.parse::<u64>().map_err(|_| {
            Failure::usage(format!("--tail: {number} is neither a number nor all"))
        })?),
    };
    Ok(Call::get("/v1/logs")
        .with("target", &verb.target)
        .with("follow", verb.follow)
        .with("previous", verb.previous)
        .with_some("since", moment("--since", verb.since.as_deref(), now)?)
        .with_some("until", moment("--until", verb.until.as_deref(), now)?)
        .with_some("tail", tail))
}

/// `[<replica>@<host>] <text>`
fn text(verb: &Logs, line: &LogLine) -> String {
    let prefix = match verb.no_prefix {
        true => String::new(),
        false => format!("[{}@{}] ", line.replica, line.host),
    };
    let ts = if verb.timestamps { format!("{} ", line.ts) } else { String::new() };
    format!("{prefix}{ts}{}\n", line.line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Logs {
        Logs::from_args(&["logs"], args).unwrap()
    }

    #[test]
    fn lines_carry_their_replica_and_host() {
        let line = LogLine {
            ts: "2026-01-02T03:04:05.678Z".into(),
            replica: "shop-web-0".into(),
            host: "node-1".into(),
            stream: "stdout".into(),
            line: "hello".into(),
        };
        for (args, expected) in [
            (&["shop"][..], "[shop-web-0@node-1] hello\n"),
            (&["shop", "--timestamps"], "[shop-web-0@node-1] 2026-01-02T03:04:05.678Z hello\n"),
            (&["shop", "--no-prefix"], "hello\n"),
        ] {
            assert_eq!(text(&parse(args), &line), expected);
        }
    }

    #[test]
    fn a_fault_among_lines_is_told_apart() {
        let fault = r#"{"error":{"code":"docker_error","message":"x"}}"#;
        assert!(matches!(serde_json::from_str(fault).unwrap(), Item::Failed(_)));
    }

    #[test]
    fn a_tail_is_a_number_or_all() {
        assert!(call(&parse(&["shop", "--tail", "10"]), 0).is_ok());
        assert!(call(&parse(&["shop", "--tail", "ten"]), 0).is_err());
    }
}
