//! Moments on the command line: RFC 3339 and "this long ago" in, "for how long" out.

use super::Failure;
use jaco_kit::Clock;
use jaco_manifest::parse_duration;
use jaco_model::WallMs;

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Now, in milliseconds since the Unix epoch.
pub(crate) fn now() -> u64 {
    Clock::new().wall().0
}

/// Reads the value of `--since` or `--until`: a duration before `now`, or an RFC 3339 moment.
/// Gives milliseconds since the Unix epoch.
pub(crate) fn moment(flag: &str, text: Option<&str>, now: u64) -> Result<Option<u64>, Failure> {
    let Some(text) = text else { return Ok(None) };
    let ago = parse_duration(text).map(|ago| now.saturating_sub(ago.0));
    ago.or_else(|| parse(text)).map(Some).ok_or_else(|| {
        Failure::usage(format!(
            "{flag}: {text} is neither a duration such as 5m nor a time such as \
             2026-01-31T12:00:00Z"
        ))
    })
}

/// For how long something has lasted, in its largest unit: `12s`, `5m`, `3h`, `2d`.
pub(crate) fn lasted(since: &str, now: u64) -> String {
    parse(since).map(|since| length(now.saturating_sub(since))).unwrap_or_default()
}

/// How far a moment is from `now`: `in 9d`, `5m ago`.
pub(crate) fn distance(at: &str, now: u64) -> String {
    match parse(at) {
        Some(at) if at > now => format!("in {}", length(at - now)),
        Some(at) => format!("{} ago", length(now - at)),
        None => String::new(),
    }
}

fn length(ms: u64) -> String {
    match ms {
        ms if ms < MINUTE => format!("{}s", ms / SECOND),
        ms if ms < HOUR => format!("{}m", ms / MINUTE),
        ms if ms < DAY => format!("{}h", ms / HOUR),
        ms => format!("{}d", ms / DAY),
    }
}

/// An RFC 3339 moment in milliseconds since the Unix epoch.
fn parse(text: &str) -> Option<u64> {
    WallMs::parse_rfc3339(text).map(|moment| moment.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_back_from_now() {
        assert_eq!(moment("--since", Some("5m"), 1_000_000).unwrap(), Some(700_000));
        assert_eq!(moment("--since", None, 1_000_000).unwrap(), None);
        assert!(moment("--since", Some("yesterday"), 0).is_err());
    }

    #[test]
    fn how_long_is_said_in_the_largest_unit() {
        let since = "1970-01-01T00:00:00Z";
        for (now, text) in [(0, "0s"), (59_999, "59s"), (3_600_000, "1h"), (200_000_000, "2d")] {
            assert_eq!(lasted(since, now), text);
        }
        assert_eq!(distance("1970-01-01T01:00:00Z", 0), "in 1h");
        assert_eq!(distance(since, 120_000), "2m ago");
    }
}
