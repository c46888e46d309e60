//! The guest: qemu, and what it says on its serial line.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, Result};

use super::packages::System;
use super::report::Report;

/// A guest that says nothing for this long hangs. Every test says something when it ends, and
/// without help of the processor all takes ten to twenty times as long.
const SILENCE: Duration = Duration::from_secs(600);

/// Ends the guest with its owner.
struct Guest(Child);

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Boots it and listens until it powers off.
pub(super) fn boot(cache: &Path, system: &System, image: &Path) -> Result<Report> {
    let mut qemu = system.command(system.file("usr/bin/qemu-system-x86_64")?);
    for place in ["usr/share/qemu", "usr/share/seabios"] {
        qemu.arg("-L").arg(system.directory(place));
    }
    qemu.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1536"])
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
        .args(["-serial", "stdio", "-kernel"])
        .arg(system.kernel())
        .arg("-initrd")
        .arg(image)
        // A guest that panics resets, which ends it.
        .args(["-append", "console=ttyS0 panic=-1 quiet mitigations=off"])
        .stdout(Stdio::piped());
    let mut guest = Guest(qemu.spawn().context("cannot start qemu")?);
    let output = guest.0.stdout.take().context("qemu has no output")?;
    let log = cache.join("serial.log");
    let mut log = File::create(&log).with_context(|| format!("make {}", log.display()))?;
    let (send, lines) = channel();
    std::thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            if send.send(text).is_err() {
                return;
            }
        }
    });
    let mut report = Report::default();
    loop {
        match lines.recv_timeout(SILENCE) {
            Ok(line) => {
                println!("{line}");
                writeln!(log, "{line}").context("write the guest's log")?;
                report.line(&line);
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(report),
            Err(RecvTimeoutError::Timeout) => {
                eprintln!("the guest is silent and is ended");
                return Ok(report);
            }
        }
    }
}
