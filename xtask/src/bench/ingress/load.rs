//! Clients: wrk and h2load, and what they say.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::peers::{NAME, Proxy};
use super::stage::Stage;
use crate::bench::measure::percentile;

/// Connections, and with HTTP/2 connections times streams.
const CLIENTS: usize = 64;
const H2_CLIENTS: usize = 16;
/// Requests per second at which the time of an answer is measured.
const CALM: usize = 5_000;
/// They ask all at once, so more of them would measure how long a burst takes.
const CALM_CLIENTS: usize = 10;
/// Before anything counts: connections, handshakes.
const WARM_UP: Duration = Duration::from_secs(1);

/// What clients speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speech {
    Http1,
    Https,
    Http2,
}

impl Speech {
    pub(super) const ALL: [Speech; 3] = [Speech::Http1, Speech::Https, Speech::Http2];

    /// For people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Speech::Http1 => "HTTP/1.1",
            Speech::Https => "HTTPS",
            Speech::Http2 => "HTTP/2",
        }
    }

    fn url(self, proxy: Proxy) -> String {
        match self {
            Speech::Http1 => format!("http://{NAME}:{}/", proxy.http()),
            Speech::Https | Speech::Http2 => format!("https://{NAME}:{}/", proxy.https()),
        }
    }
}

/// Answers in some time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    pub(super) requests: f64,
    pub(super) per_second: f64,
}

/// As much as the proxy can: so many clients that ask again as soon as they were answered.
/// `script` chooses what wrk asks for.
pub(super) fn flood(
    stage: &Stage,
    proxy: Proxy,
    speech: Speech,
    length: Duration,
    script: Option<&Path>,
) -> Result<Rate> {
    let seconds = length.as_secs();
    if speech == Speech::Http2 {
        let mut command = h2load(stage, speech);
        command.args(["-c", &H2_CLIENTS.to_string(), "-m", &(CLIENTS / H2_CLIENTS).to_string()]);
        command.args(["-D", &seconds.to_string(), &speech.url(proxy)]);
        return of_h2load(&stage.output(command)?);
    }
    let mut command = stage.programs.wrk.command();
    command.args(["-t1", &format!("-c{CLIENTS}"), &format!("-d{seconds}s")]);
    if let Some(script) = script {
        command.arg("-s").arg(script);
    }
    command.arg(speech.url(proxy));
    of_wrk(&stage.output(command)?)
}

/// The times of answers at a rate that all proxies can bear, and how many requests failed.
pub(super) fn calm(stage: &Stage, proxy: Proxy, speech: Speech, length: Duration) -> Result<Times> {
    let log = stage.directory.join("times");
    // It appends.
    let _absent = fs::remove_file(&log);
    let output = stage.output(calm_command(stage, proxy, speech, length, &log))?;
    let rate = of_h2load(&output)?;
    ensure!(rate.requests > 0.0, "nothing was answered");
    Times::read(&log)
}

/// The command of [`calm`].
pub(super) fn calm_command(
    stage: &Stage,
    proxy: Proxy,
    speech: Speech,
    length: Duration,
    log: &Path,
) -> Command {
    let mut command = h2load(stage, speech);
    let each = CALM / CALM_CLIENTS;
    command.args(["-c", &CALM_CLIENTS.to_string(), "--rps", &each.to_string()]);
    command.args(["--warm-up-time", &WARM_UP.as_secs().to_string()]);
    command.args(["-D", &length.as_secs().to_string()]);
    command.arg("--log-file").arg(log).arg(speech.url(proxy));
    command
}

fn h2load(stage: &Stage, speech: Speech) -> Command {
    let mut command = stage.programs.h2load.command();
    command.arg("-t1");
    if speech != Speech::Http2 {
        command.arg("--h1");
    }
    command
}

/// So many connections that ask once and then stay, until this is stopped. They come at a pace that
/// all proxies can follow, or memory of the rush would be counted too.
pub(super) fn idle_command(stage: &Stage, proxy: Proxy, speech: Speech, clients: usize) -> Command {
    let mut command = h2load(stage, speech);
    command.args(["-c", &clients.to_string(), "-n", &(2 * clients).to_string()]);
    command.args(["-r", "10", "--rate-period", "10ms", "--rps", "0.01"]);
    command.arg(speech.url(proxy));
    command
}

/// How long answers took.
#[derive(Debug, Default)]
pub(super) struct Times {
    took: Vec<Duration>,
    pub(super) failed: usize,
}

impl Times {
    /// What h2load logged.
    pub(super) fn read(log: &Path) -> Result<Times> {
        Times::parse(&fs::read_to_string(log).context("h2load wrote no log")?)
    }

    fn parse(text: &str) -> Result<Times> {
        let mut times = Times::default();
        for line in text.lines() {
            let mut words = line.split('\t');
            let (status, micros) = (words.nth(1), words.next());
            let status: i32 = status.context("no status")?.parse()?;
            times.took.push(Duration::from_micros(micros.context("no time")?.parse()?));
            if status != 200 {
                times.failed += 1;
            }
        }
        ensure!(!times.took.is_empty(), "nothing was answered");
        Ok(times)
    }

    /// The time within which 99 % were answered.
    pub(super) fn p99(&mut self) -> Duration {
        percentile(&mut self.took, 0.99)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.took.len()
    }
}

/// The number before or after some words.
fn number(text: &str, pattern: &str) -> Option<f64> {
    let (before, after) = text.split_once(pattern)?;
    let is_after = pattern.ends_with(": ");
    let word = if is_after {
        after.split_whitespace().next()
    } else {
        before.split_whitespace().next_back()
    };
    word?.parse().ok()
}

fn of_wrk(text: &str) -> Result<Rate> {
    let is_clean = !text.contains("Non-2xx") && !text.contains("Socket errors");
    ensure!(is_clean, "not all requests were answered well: {text}");
    let requests = number(text, " requests in").context("no number of requests")?;
    let words = text.replace("Requests/sec:", "Requests/sec: ");
    let per_second = number(&words, "Requests/sec: ").context("no rate")?;
    Ok(Rate { requests, per_second })
}

fn of_h2load(text: &str) -> Result<Rate> {
    let good = number(text, " succeeded,");
    // What was answered during the warm-up has a status, but is not among the requests.
    let is_clean = text.contains(" 0 failed, 0 errored, 0 timeout")
        && text.contains(" 2xx, 0 3xx, 0 4xx, 0 5xx");
    ensure!(is_clean, "not all requests were answered well: {text}");
    let per_second = number(text, " req/s,").context("no rate")?;
    Ok(Rate { requests: good.context("no number of requests")?, per_second })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_says_is_understood() {
        let text = "  79870 requests in 1.10s, 17.29MB read\nRequests/sec:  72376.63\n";
        let rate = of_wrk(text).unwrap();
        assert!((rate.requests - 79_870.0).abs() < 1e-9);
        assert!((rate.per_second - 72_376.63).abs() < 1e-9);
        assert!(of_wrk(&format!("{text}  Non-2xx or 3xx responses: 1\n")).is_err());
    }

    #[test]
    fn what_h2load_says_is_understood() {
        let text = "finished in 2.01s, 47482.00 req/s, 6.16MB/s\n\
                    requests: 9 total, 9 started, 9 done, 9 succeeded, 0 failed, 0 errored, 0 timeout\n\
                    status codes: 9 2xx, 0 3xx, 0 4xx, 0 5xx\n";
        let rate = of_h2load(text).unwrap();
        assert!((rate.per_second - 47_482.0).abs() < 1e-9);
        assert!(of_h2load(&text.replace("0 5xx", "1 5xx")).is_err());
    }

    #[test]
    fn a_log_tells_times_and_failures() {
        let mut times = Times::parse("1\t200\t1500\n2\t502\t500\n").unwrap();
        assert_eq!((times.len(), times.failed), (2, 1));
        assert_eq!(times.p99(), Duration::from_micros(1_500));
        assert!(Times::parse("").is_err());
    }
}
