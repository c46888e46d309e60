//! Signals: the kernel ignores the default action of a signal for process 1, so a container's
//! only process must handle what it wants to obey.

use std::io;
use std::process;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use crate::clock;
use crate::settings::OnSignal;

/// Starts a thread that treats every termination signal as `behaviour` says, and logs it.
pub(crate) fn handle(behaviour: OnSignal) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2])?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            println!("probe: got {}", name_of(signal));
            obey(behaviour);
        }
    })?;
    Ok(())
}

fn obey(behaviour: OnSignal) {
    match behaviour {
        OnSignal::Ignore => println!("probe: signal ignored"),
        OnSignal::Exit(code) => process::exit(code.into()),
        OnSignal::ExitAfter { ms } => {
            clock::sleep_ms(ms);
            process::exit(0);
        }
    }
}

fn name_of(signal: i32) -> &'static str {
    match signal {
        SIGTERM => "SIGTERM",
        SIGINT => "SIGINT",
        SIGQUIT => "SIGQUIT",
        SIGHUP => "SIGHUP",
        SIGUSR1 => "SIGUSR1",
        SIGUSR2 => "SIGUSR2",
        _ => "another signal",
    }
}
