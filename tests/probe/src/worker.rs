//! Workloads without a port: a worker that never ends and a job that does.

use std::process::ExitCode;

use crate::client;
use crate::clock;
use crate::identity::Identity;
use crate::settings::Settings;

/// Prints a line in every period, with the answer of the peer when one is set.
pub(crate) fn run(settings: &Settings) -> ExitCode {
    let identity = Identity::read();
    println!("probe: worker on {} instance {}", identity.hostname, identity.instance);
    for tick in 1_u64.. {
        match &settings.peer {
            None => println!("tick {tick}"),
            Some(url) => match client::fetch(url, settings.timeout) {
                Ok(answer) => println!("tick {tick} peer {}", answer.status),
                Err(error) => println!("tick {tick} peer error: {error}"),
            },
        }
        clock::sleep_ms(settings.every_ms);
    }
    ExitCode::SUCCESS
}

/// Sleeps, then ends with the code.
pub(crate) fn job(ms: u64, code: u8) -> ExitCode {
    println!("probe: job of {ms} ms with code {code}");
    clock::sleep_ms(ms);
    println!("probe: job done");
    ExitCode::from(code)
}
