//! Clocks, percentiles and what /proc says of a process.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// How long `work` took.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
pub(crate) fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(Duration, T)> {
    let start = Instant::now();
    let value = work()?;
    Ok((start.elapsed(), value))
}

/// A stopwatch that runs from now on.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
pub(crate) fn stopwatch() -> impl Fn() -> Duration + Sync {
    let start = Instant::now();
    move || start.elapsed()
}

/// Does nothing for so long. Parking alone may end early.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
pub(crate) fn rest(length: Duration) {
    let start = Instant::now();
    while let Some(left) = length.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}

/// The value below which `part` (0 to 1) of the samples lie.
pub(crate) fn percentile(samples: &mut [Duration], part: f64) -> Duration {
    samples.sort();
    let last = samples.len().saturating_sub(1);
    let index = (last as f64 * part).round() as usize;
    samples.get(index).copied().unwrap_or_default()
}

/// The middle of some samples.
pub(crate) fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Milliseconds with fractions.
pub(crate) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// Resident memory of a process in MB (10^6 bytes).
pub(crate) fn rss_mb(pid: u32) -> Result<f64> {
    memory_mb(pid, "VmRSS")
}

/// The most that a process has had since its start or [`reset_peak`], in MB (10^6 bytes).
pub(crate) fn peak_rss_mb(pid: u32) -> Result<f64> {
    memory_mb(pid, "VmHWM")
}

/// Forgets the peak so far.
pub(crate) fn reset_peak(pid: u32) -> Result<()> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").context("clear_refs")
}

fn memory_mb(pid: u32, what: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kib.with_context(|| format!("no {what}"))? * 1_024.0 / 1e6)
}

/// CPU time that a process has used, in seconds; clock ticks are hundredths on Linux.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
    stat_seconds(&fs::read_to_string(format!("/proc/{pid}/stat"))?)
}

/// CPU time that the threads of that name have used, in seconds.
pub(crate) fn thread_seconds(pid: u32, name: &str) -> Result<f64> {
    let mut sum = 0.0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        if stat.contains(&format!("({name})")) {
            sum += stat_seconds(&stat)?;
        }
    }
    Ok(sum)
}

fn stat_seconds(stat: &str) -> Result<f64> {
    let (_, fields) = stat.rsplit_once(") ").context("unexpected /proc/PID/stat")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok());
    let (user, system) = (ticks(11), ticks(12));
    Ok((user.context("no utime")? + system.context("no stime")?) / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_a_hundred_samples() {
        let mut samples: Vec<Duration> = (0..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&mut samples, 0.5), Duration::from_millis(50));
        assert_eq!(percentile(&mut samples, 0.99), Duration::from_millis(99));
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert!((median(&mut [3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!(median(&mut []).is_nan());
    }

    #[test]
    fn this_process_has_memory_and_time() {
        let pid = std::process::id();
        assert!(rss_mb(pid).unwrap() > 0.1);
        assert!(peak_rss_mb(pid).unwrap() > 0.1);
        assert!(cpu_seconds(pid).unwrap() >= 0.0);
        assert!(thread_seconds(pid, "no such thread").unwrap().abs() < 1e-9);
    }
}
