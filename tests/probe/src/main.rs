//! The test workload: one static binary that is the only file of its container image.
//!
//! Tests steer it by arguments, environment and HTTP requests; `help.txt` is the whole interface.
//! It shares no code with the product, so that a test compares two independent implementations.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what a container prints is part of its behaviour under test"
)]

mod client;
mod clock;
mod echo;
mod http;
mod identity;
mod lines;
mod load;
mod routes;
mod serve;
mod settings;
mod signals;
mod trial;
mod watch;
mod worker;
mod ws;

use std::process::ExitCode;

use settings::Settings;

/// Exit code of a command line or environment that cannot be understood.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let settings = match Settings::from_lookup(|name| std::env::var(name).ok()) {
        Ok(settings) => settings,
        Err(error) => return usage(&error),
    };
    run(&args, &settings)
}

fn run(args: &[&str], settings: &Settings) -> ExitCode {
    match args {
        [] | ["serve"] => finish(serve::run(settings)),
        ["log", count, rest @ ..] => match lines::Plan::from_args(count, rest) {
            Ok(plan) => long_lived(settings, || plan.print()),
            Err(error) => usage(&error),
        },
        ["worker"] => long_lived(settings, || worker::run(settings)),
        ["job", ms, code] => match (ms.parse(), code.parse()) {
            (Ok(ms), Ok(code)) => long_lived(settings, || worker::job(ms, code)),
            _ => usage("job takes milliseconds and an exit code from 0 to 255"),
        },
        ["check", url] => finish(client::check(url, settings.timeout)),
        ["client", "get", url] => finish(client::get(url, settings.timeout)),
        ["client", "dial", protocol, address, text @ ..] if text.len() <= 1 => {
            let dialled = client::dial(protocol, address, text.first().copied(), settings.timeout);
            finish(dialled.map(|peer| println!("{protocol} {peer} ok")))
        }
        ["client", "load", rest @ ..] => match load::Plan::from_args(rest) {
            Ok(plan) => finish(plan.run(settings.timeout)),
            Err(error) => usage(&error),
        },
        ["client", "try", targets @ ..] => finish(trial::run(targets, settings.timeout)),
        ["watch"] => finish(watch::run(settings.every_ms, None)),
        ["watch", "beside", pid] => finish(watch::run(settings.every_ms, Some(pid))),
        ["watch", "names", server, names @ ..] => {
            finish(watch::names::run(server, settings.every_ms, names))
        }
        ["client", "resolve", name] => finish(client::resolve(name)),
        ["--help" | "-h" | "help"] => {
            print!("{}", include_str!("help.txt"));
            ExitCode::SUCCESS
        }
        _ => usage("unknown command line"),
    }
}

/// Runs a mode that signals may end before it ends by itself.
fn long_lived(settings: &Settings, mode: impl FnOnce() -> ExitCode) -> ExitCode {
    match signals::handle(settings.on_signal) {
        Ok(()) => mode(),
        Err(error) => finish(Err(error.to_string())),
    }
}

fn finish(outcome: Result<(), String>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("probe: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage(error: &str) -> ExitCode {
    eprintln!("probe: {error}; see probe --help");
    ExitCode::from(USAGE)
}
