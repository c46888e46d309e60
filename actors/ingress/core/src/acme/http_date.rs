//! Times in HTTP headers (RFC 9110 §5.6.7, §10.2.3).

use jaco_model::WallMs;
use std::time::Duration;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Reads `Sun, 06 Nov 1994 08:49:37 GMT`. The obsolete forms, which nobody sends any more, and
/// times before 1970 are not understood.
pub fn http_date(text: &str) -> Option<WallMs> {
    let (_, rest) = text.trim().split_once(", ")?;
    let mut words = rest.split(' ');
    let day = number(words.next()?, 1..=31)?;
    let month = words.next().and_then(|name| MONTHS.iter().position(|month| *month == name))?;
    let year = number(words.next()?, 1970..=9999)?;
    let mut time = words.next()?.split(':');
    let mut part = |max| number(time.next()?, 0..=max);
    let (hour, minute, second) = (part(23)?, part(59)?, part(60)?);
    if time.next().is_some() || words.next() != Some("GMT") || words.next().is_some() {
        return None;
    }
    let days = days_before(year) + month_days(year).iter().take(month).sum::<u64>() + day - 1;
    Some(WallMs((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000))
}

/// How long `Retry-After` asks to wait: seconds, or until a time, counted from the `Date` of the
/// same answer, since the two clocks may differ.
pub fn retry_after(value: &str, date: Option<&str>) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|digit| digit.is_ascii_digit()) {
        // More seconds than fit are as good as the most that do.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::from(u32::MAX))));
    }
    let (until, now) = (http_date(value)?, http_date(date?)?);
    Some(Duration::from_millis(until.0.saturating_sub(now.0)))
}

fn number(text: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    let number = is_number.then(|| text.parse().ok())??;
    range.contains(&number).then_some(number)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn month_days(year: u64) -> [u64; 12] {
    let february = if is_leap(year) { 29 } else { 28 };
    [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
}

/// Days from 1970 to the start of a year.
fn days_before(year: u64) -> u64 {
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    (year - 1970) * 365 + leaps(year - 1) - leaps(1969)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read() {
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Tue, 29 Feb 2000 23:59:60 GMT", 951_868_800),
            ("Fri, 01 Mar 2024 00:00:00 GMT", 1_709_251_200),
            ("Thu, 26 Nov 2026 10:00:00 GMT", 1_795_687_200),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799),
        ] {
            assert_eq!(http_date(text), Some(WallMs(seconds * 1000)), "{text}");
        }
        for text in [
            "",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 32 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT x",
            "Sun, 06 Nov 1900 08:49:37 GMT",
            "Sun, 06 Nov -199 08:49:37 GMT",
        ] {
            assert_eq!(http_date(text), None, "{text}");
        }
    }

    #[test]
    fn waits_are_seconds_or_counted_from_the_answer() {
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        for (value, date, seconds) in [
            (" 120 ", None, Some(120)),
            ("0", date, Some(0)),
            ("99999999999999999999", None, Some(u64::from(u32::MAX))),
            ("Sun, 06 Nov 1994 08:50:37 GMT", date, Some(60)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", date, Some(0)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", None, None),
            ("", date, None),
            ("-1", date, None),
            ("soon", date, None),
        ] {
            assert_eq!(retry_after(value, date), seconds.map(Duration::from_secs), "{value}");
        }
    }
}
