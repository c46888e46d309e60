//! Moments on the command line: RFC 3339 and "this long ago" in, "for how long" out.

use super::Failure;
use jaco_kit::Clock;
use jaco_manifest::parse_duration;

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
    let Some(since) = parse(since) else { return String::new() };
    match now.saturating_sub(since) {
        ms if ms < MINUTE => format!("{}s", ms / SECOND),
        ms if ms < HOUR => format!("{}m", ms / MINUTE),
        ms if ms < DAY => format!("{}h", ms / HOUR),
        ms => format!("{}d", ms / DAY),
    }
}

/// An RFC 3339 moment in milliseconds since the Unix epoch; finer fractions are dropped.
fn parse(text: &str) -> Option<u64> {
    let (date, rest) = text.split_once(['T', 't', ' '])?;
    let zone_at = rest.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = rest.split_at(zone_at);
    let [year, month, day] = numbers(date, '-')?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let [hour, minute, second] = numbers(clock, ':')?;
    let legal = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60
        && !fraction.is_empty()
        && fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !legal {
        return None;
    }
    let millis: u64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let of_day = hour * HOUR + minute * MINUTE + second * SECOND + millis;
    (days_before(year, month, day) * DAY + of_day).checked_add_signed(-offset(zone)?)
}

/// Three numbers with a separator between them.
fn numbers(text: &str, separator: char) -> Option<[u64; 3]> {
    let mut parts = text.split(separator).map(|part| {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| part.parse().ok()).flatten()
    });
    let three = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(three)
}

/// `Z`, `+02:00` or `-05:30` in milliseconds east of UTC.
fn offset(zone: &str) -> Option<i64> {
    if matches!(zone, "Z" | "z") {
        return Some(0);
    }
    let (sign, rest) = zone.split_at_checked(1)?;
    let (hours, minutes) = rest.split_once(':')?;
    let ms = hours.parse::<u64>().ok()? * HOUR + minutes.parse::<u64>().ok()? * MINUTE;
    let ms = i64::try_from(ms).ok()?;
    Some(if sign == "-" { -ms } else { ms })
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date.
fn days_before(year: u64, month: u64, day: u64) -> u64 {
    let years: u64 = (1970..year).map(|year| if is_leap(year) { 366 } else { 365 }).sum();
    let months: u64 = (1..month).map(|month| days_in(year, month)).sum();
    years + months + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_3339_is_read_with_fractions_and_zones() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T00:00:00Z", 951_782_400_000),
            ("2026-11-23T09:09:19.999123456Z", 1_795_424_959_999),
            ("2026-11-23T11:09:19+02:00", 1_795_424_959_000),
            ("2026-11-23T03:39:19.5-05:30", 1_795_424_959_500),
        ] {
            assert_eq!(parse(text), Some(ms), "{text}");
        }
        for text in ["2026-02-29T00:00:00Z", "2026-01-01", "2026-01-01T25:00:00Z", "soon", ""] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

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
    }
}
