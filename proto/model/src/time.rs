//! Times and durations as the replicated state stores them.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// A length of time in milliseconds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// A duration of whole seconds.
    pub const fn secs(secs: u64) -> Millis {
        Millis(secs * 1_000)
    }

    /// The same length as a standard duration.
    pub const fn std(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

/// The largest unit first, without zero parts: `1h30m`, `2s`, `500ms`, `0s`.
impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (unit, size) in
            [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)]
        {
            if rest >= size {
                write!(f, "{}{unit}", rest / size)?;
                rest %= size;
            }
        }
        Ok(())
    }
}

/// A moment in milliseconds since the Unix epoch, UTC. Prints as RFC 3339 with seconds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct WallMs(pub u64);

impl fmt::Display for WallMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.0 / 86_400_000);
        let secs = self.0 / 1_000 % 86_400;
        let (hour, minute, second) = (secs / 3_600, secs / 60 % 60, secs % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

impl WallMs {
    /// Reads an RFC 3339 moment from 1970 on; fractions finer than milliseconds are dropped.
    pub fn parse_rfc3339(text: &str) -> Option<WallMs> {
        let (date, rest) = text.split_once(['T', 't', ' '])?;
        let (clock, zone) = rest.split_at(rest.find(['Z', 'z', '+', '-'])?);
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
        let digits = fraction.bytes().zip([100, 10, 1]);
        let ms: u64 = digits.map(|(digit, weight)| u64::from(digit - b'0') * weight).sum();
        let secs = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
        secs.checked_add_signed(-zone_seconds(zone)?)?
            .checked_mul(1_000)?
            .checked_add(ms)
            .map(WallMs)
    }
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

/// `Z`, `+02:00` or `-05:30` in seconds east of UTC.
fn zone_seconds(zone: &str) -> Option<i64> {
    if matches!(zone, "Z" | "z") {
        return Some(0);
    }
    let (sign, rest) = zone.split_at_checked(1)?;
    let (hours, minutes) = rest.split_once(':')?;
    let secs = u32::from(hours.parse::<u16>().ok()?) * 3_600
        + u32::from(minutes.parse::<u16>().ok()?) * 60;
    Some(if sign == "-" { -i64::from(secs) } else { i64::from(secs) })
}

fn days_in(year: u64, month: u64) -> u64 {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Howard Hinnant's `days_from_civil` for years from 1970 on.
fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year / 400;
    let year_of_era = year % 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Howard Hinnant's `civil_from_days`, for days since 1970-01-01 (Gregorian, proleptic).
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let mp = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_print_like_people_write_them() {
        for (ms, text) in [(0, "0s"), (500, "500ms"), (90_000, "1m30s"), (5_400_000, "1h30m")] {
            assert_eq!(Millis(ms).to_string(), text);
        }
    }

    #[test]
    fn moments_print_as_rfc_3339() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_795_424_959_999, "2026-11-23T09:09:19Z"),
        ] {
            assert_eq!(WallMs(ms).to_string(), text);
        }
    }

    #[test]
    fn rfc_3339_is_read_with_fractions_and_zones() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T00:00:00Z", 951_782_400_000),
            ("2026-11-23T09:09:19.999123456Z", 1_795_424_959_999),
            ("2026-11-23T11:09:19+02:00", 1_795_424_959_000),
            ("2026-11-23T03:39:19.5-05:30", 1_795_424_959_500),
        ] {
            assert_eq!(WallMs::parse_rfc3339(text), Some(WallMs(ms)), "{text}");
        }
        for text in ["2026-02-29T00:00:00Z", "2026-01-01", "2026-01-01T25:00:00Z", "soon", ""] {
            assert_eq!(WallMs::parse_rfc3339(text), None, "{text}");
        }
    }
}
