//! The access log: one line for each request, to the daemon's log or to a file of its own.
//!
//! A line has what the client sent in the request line and in three harmless headers. Passwords and
//! cookies are never read here.

use hyper::header::HeaderValue;
use jaco_kit_core::Mono;
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Lines in one second that are all written; of more each hundredth is.
const LINES_PER_SECOND: u64 = 10_000;
const SAMPLE: u64 = 100;
/// Lines that may wait for the disk.
const WAITING: usize = 4_096;
/// Bytes of a file, and how many files there are.
const FILE_BYTES: u64 = 64 * 1024 * 1024;
const FILES: u32 = 8;

/// What is written about one request.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub(super) ts: String,
    pub(super) request_id: &'a str,
    pub(super) client: String,
    /// What trusted proxies said about whom the request came from.
    pub(super) trusted_chain: Option<&'a HeaderValue>,
    pub(super) host: &'a str,
    pub(super) method: &'a str,
    /// Without the query, which may hold secrets.
    pub(super) path: &'a str,
    pub(super) protocol: &'static str,
    pub(super) tls_version: Option<&'static str>,
    pub(super) tls_suite: Option<&'static str>,
    pub(super) sni: Option<&'a str>,
    pub(super) status: u16,
    pub(super) reason: &'static str,
    /// Whether the answer reached its end.
    pub(super) is_whole: bool,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) duration_us: u64,
    pub(super) upstream_us: Option<u64>,
    pub(super) attempts: u32,
    pub(super) deployment: Option<String>,
    pub(super) service: Option<String>,
    pub(super) replica: Option<String>,
    /// Which node wrote it.
    pub(super) node: &'a str,
    pub(super) user_agent: Option<&'a HeaderValue>,
    pub(super) referer: Option<&'a HeaderValue>,
}

impl Line<'_> {
    fn json(&self) -> Vec<u8> {
        let mut line = json!({
            "ts": self.ts, "request_id": self.request_id, "client": self.client,
            "trusted_chain": text(self.trusted_chain), "host": self.host, "method": self.method,
            "path": self.path, "protocol": self.protocol, "tls_version": self.tls_version,
            "tls_suite": self.tls_suite, "sni": self.sni, "status": self.status,
            "reason": self.reason, "is_whole": self.is_whole, "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out, "duration_us": self.duration_us,
            "upstream_us": self.upstream_us, "attempts": self.attempts,
            "deployment": self.deployment, "service": self.service, "replica": self.replica,
            "node": self.node, "user_agent": text(self.user_agent), "referer": text(self.referer),
        });
        if let Some(fields) = line.as_object_mut() {
            fields.retain(|_, value| !value.is_null());
        }
        let mut bytes = line.to_string().into_bytes();
        bytes.push(b'\n');
        bytes
    }

    fn tell(&self) {
        tracing::info!(
            target: "access",
            request_id = self.request_id,
            client = self.client,
            trusted_chain = text(self.trusted_chain),
            host = self.host,
            method = self.method,
            path = self.path,
            protocol = self.protocol,
            tls_version = self.tls_version,
            tls_suite = self.tls_suite,
            sni = self.sni,
            status = self.status,
            reason = self.reason,
            is_whole = self.is_whole,
            bytes_in = self.bytes_in,
            bytes_out = self.bytes_out,
            duration_us = self.duration_us,
            upstream_us = self.upstream_us,
            attempts = self.attempts,
            deployment = self.deployment,
            service = self.service,
            replica = self.replica,
            node = self.node,
            user_agent = text(self.user_agent),
            referer = text(self.referer),
            "request"
        );
    }
}

fn text(value: Option<&HeaderValue>) -> Option<String> {
    value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// Where lines go.
#[derive(Debug, Default)]
pub(super) struct Access {
    file: Option<SyncSender<Vec<u8>>>,
    gate: Gate,
    skipped: AtomicU64,
}

impl Access {
    /// A log to this file; without one, or when it cannot be opened, to the daemon's log.
    pub(super) fn open(path: Option<&Path>) -> Access {
        let Some(path) = path else { return Access::default() };
        Access::to_file(path).unwrap_or_else(|error| {
            tracing::error!(%error, path = %path.display(), "no file for the access log");
            Access::default()
        })
    }

    fn to_file(path: &Path) -> io::Result<Access> {
        let rotated = Rotated::open(path.to_owned(), FILE_BYTES)?;
        let (sender, lines) = sync_channel(WAITING);
        let thread = std::thread::Builder::new().name("access-log".to_owned());
        thread.spawn(move || write_all(rotated, &lines))?;
        Ok(Access { file: Some(sender), ..Access::default() })
    }

    /// Whether one more line may be written in this second.
    pub(super) fn admits(&self, now: Mono) -> bool {
        let admitted = self.gate.admits(now);
        if !admitted {
            self.skipped.fetch_add(1, Ordering::Relaxed);
        }
        admitted
    }

    /// Writes a line. One that finds the disk too slow is left out, and counted.
    pub(super) fn write(&self, line: &Line<'_>) {
        match &self.file {
            None => line.tell(),
            Some(file) => {
                if file.try_send(line.json()).is_err() {
                    self.skipped.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Lines that were left out.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }
}

/// Lets so many through in each second, and of the rest a sample.
#[derive(Debug, Default)]
struct Gate {
    /// The second, and how many came in it: 32 bits each.
    seen: AtomicU64,
}

impl Gate {
    fn admits(&self, now: Mono) -> bool {
        let second = now.since(Mono::default()).as_secs() & u64::from(u32::MAX);
        let seen = self.seen.load(Ordering::Relaxed);
        if seen >> 32 != second {
            // Threads that come here at once count a few lines too little.
            self.seen.store(second << 32 | 1, Ordering::Relaxed);
            return true;
        }
        let count = self.seen.fetch_add(1, Ordering::Relaxed) & u64::from(u32::MAX);
        count < LINES_PER_SECOND || count.is_multiple_of(SAMPLE)
    }
}

/// Writes what comes until nobody can send any more; lines that wait are written at once.
fn write_all(mut file: Rotated, lines: &Receiver<Vec<u8>>) {
    let mut is_well = true;
    while let Ok(mut lot) = lines.recv() {
        while let Ok(line) = lines.try_recv() {
            lot.extend(line);
            if lot.len() > 256 * 1024 {
                break;
            }
        }
        let written = file.write(&lot);
        if let (Err(error), true) = (&written, is_well) {
            tracing::warn!(%error, "the access log cannot be written");
        }
        is_well = written.is_ok();
    }
}

/// A file that is put aside when it is full: `x` becomes `x.1`, that `x.2`, and the last one goes.
#[derive(Debug)]
struct Rotated {
    path: PathBuf,
    file: File,
    bytes: u64,
    most: u64,
}

impl Rotated {
    fn open(path: PathBuf, most: u64) -> io::Result<Rotated> {
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Rotated { path, file, bytes, most })
    }

    fn write(&mut self, lot: &[u8]) -> io::Result<()> {
        if self.bytes > 0 && self.bytes + lot.len() as u64 > self.most {
            self.rotate()?;
        }
        self.file.write_all(lot)?;
        self.bytes += lot.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let name = |number: u32| {
            let mut name = self.path.clone().into_os_string();
            if number > 0 {
                name.push(format!(".{number}"));
            }
            PathBuf::from(name)
        };
        for number in (0..FILES - 1).rev() {
            match std::fs::rename(name(number), name(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        *self = Rotated::open(self.path.clone(), self.most)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_full_file_is_put_aside_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        let mut file = Rotated::open(path.clone(), 10).unwrap();
        for number in 0..12 {
            file.write(format!("line {number:03}\n").as_bytes()).unwrap();
        }
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read("access.log"), "line 011\n");
        assert_eq!(
            (read("access.log.1"), read("access.log.7")),
            ("line 010\n".into(), "line 004\n".into())
        );
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 8);
        let mut again = Rotated::open(path, 20).unwrap();
        again.write(b"line 012\n").unwrap();
        assert_eq!(read("access.log"), "line 011\nline 012\n", "what is there stays");
    }

    #[test]
    fn a_flood_of_lines_is_sampled_second_by_second() {
        let gate = Gate::default();
        let second = Mono::default().plus(Duration::from_secs(7));
        let admitted = (0..20_000).filter(|_| gate.admits(second)).count();
        assert_eq!(admitted, 10_000 + 100);
        assert!(gate.admits(second.plus(Duration::from_secs(1))));
    }
}
