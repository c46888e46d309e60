//! Texts with a unit: durations, sizes, cores, file modes; and the split of a command line.

use jaco_model::Millis;

/// `1h30m`, `500ms`, `1.5s`, `7d`, or a lone `0`.
pub fn duration(text: &str) -> Option<Millis> {
    if text == "0" {
        return Some(Millis(0));
    }
    let mut rest = text;
    let mut total_ns: u128 = 0;
    while !rest.is_empty() {
        let (number, unit, tail) = number_and_unit(rest)?;
        let unit_ns: u128 = match unit {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            "w" => 7 * 86_400_000_000_000,
            _ => return None,
        };
        total_ns = total_ns.checked_add(scaled(number, unit_ns)?)?;
        rest = tail;
    }
    (!text.is_empty()).then_some(())?;
    u64::try_from(total_ns / 1_000_000).ok().map(Millis)
}

/// `1g`, `512m`, `10MiB`, `1.5gb`, or bytes. Units are powers of 1024, as Docker reads them.
pub(super) fn size(text: &str) -> Option<i64> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at(digits);
    let unit = unit.trim_start();
    let shift = match unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(unit) {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    i64::try_from(scaled(number, 1 << shift)?).ok()
}

/// `0.5` cores in billionths.
pub(super) fn nano_cpus(text: &str) -> Option<i64> {
    i64::try_from(scaled(text, 1_000_000_000)?).ok()
}

/// A share from 0 to 1 in parts per million.
pub(super) fn ppm(text: &str) -> Option<u32> {
    let ppm = scaled(text, 1_000_000)?;
    u32::try_from(ppm).ok().filter(|ppm| *ppm <= 1_000_000)
}

/// `0444`, `0o444`: octal. Anything else is decimal, as in YAML.
pub(super) fn file_mode(text: &str) -> Option<u32> {
    let octal =
        text.strip_prefix("0o").or_else(|| text.strip_prefix('0').filter(|t| !t.is_empty()));
    let mode = match octal {
        Some(digits) => u32::from_str_radix(digits, 8).ok()?,
        None => text.parse().ok()?,
    };
    (mode <= 0o7777).then_some(mode)
}

fn number_and_unit(text: &str) -> Option<(&str, &str, &str)> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, rest) = text.split_at(unit_at);
    let tail_at = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
    let (unit, tail) = rest.split_at(tail_at);
    Some((number, unit, tail))
}

/// A decimal number times a whole one, without the rounding of floats.
fn scaled(number: &str, factor: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.len() <= 18 && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let parse = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u128>().ok() };
    let places = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let parts = parse(whole)?.checked_mul(places)?.checked_add(parse(fraction)?)?;
    Some(parts.checked_mul(factor)? / places)
}

/// Why a command line cannot be split into words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SplitError {
    /// A quote is opened and never closed.
    OpenQuote(char),
    /// The last character escapes nothing.
    TrailingBackslash,
}

impl std::fmt::Display for SplitError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SplitError::OpenQuote(quote) => write!(f, "quote {quote} is never closed"),
            SplitError::TrailingBackslash => f.write_str("backslash at the end escapes nothing"),
        }
    }
}

/// Splits like a POSIX shell: blanks, both quotes and backslashes; nothing is expanded.
pub(super) fn split_command(line: &str) -> Result<Vec<String>, SplitError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' => single_quoted(&mut chars, word.get_or_insert_default())?,
            '"' => double_quoted(&mut chars, word.get_or_insert_default())?,
            '\\' => match chars.next() {
                Some('\n') => {}
                Some(c) => word.get_or_insert_default().push(c),
                None => return Err(SplitError::TrailingBackslash),
            },
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

fn single_quoted(
    chars: &mut impl Iterator<Item = char>,
    word: &mut String,
) -> Result<(), SplitError> {
    for c in chars {
        if c == '\'' {
            return Ok(());
        }
        word.push(c);
    }
    Err(SplitError::OpenQuote('\''))
}

fn double_quoted(
    chars: &mut impl Iterator<Item = char>,
    word: &mut String,
) -> Result<(), SplitError> {
    while let Some(c) = chars.next() {
        match c {
            '"' => return Ok(()),
            '\\' => match chars.next() {
                Some(c @ ('"' | '\\' | '$' | '`')) => word.push(c),
                Some('\n') => {}
                Some(c) => word.extend(['\\', c]),
                None => break,
            },
            c => word.push(c),
        }
    }
    Err(SplitError::OpenQuote('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in [
            ("1h30m", Some(5_400_000)),
            ("500ms", Some(500)),
            ("1.5s", Some(1_500)),
            ("0", Some(0)),
            ("7d", Some(604_800_000)),
            ("30", None),
            ("", None),
            ("5x", None),
            ("s", None),
            ("-1s", None),
            ("99999999999999999999h", None),
        ] {
            assert_eq!(duration(text), ms.map(Millis), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("1g", Some(1 << 30)),
            ("512m", Some(512 << 20)),
            ("10MiB", Some(10 << 20)),
            ("1.5gb", Some(3 << 29)),
            ("64 k", Some(64 << 10)),
            ("100", Some(100)),
            ("10b", Some(10)),
            ("lots", None),
            ("1x", None),
            ("-1", None),
        ] {
            assert_eq!(size(text), bytes, "{text}");
        }
    }

    #[test]
    fn shares_cores_and_modes() {
        assert_eq!(nano_cpus("0.5"), Some(500_000_000));
        assert_eq!(nano_cpus(".25"), Some(250_000_000));
        assert_eq!(nano_cpus("two"), None);
        assert_eq!(ppm("0.2"), Some(200_000));
        assert_eq!(ppm("1.5"), None);
        assert_eq!(file_mode("0444"), Some(0o444));
        assert_eq!(file_mode("0o755"), Some(0o755));
        assert_eq!(file_mode("292"), Some(0o444));
        assert_eq!(file_mode("0"), Some(0));
        assert_eq!(file_mode("0999"), None);
    }

    #[test]
    fn command_lines() {
        let words = |line| split_command(line);
        assert_eq!(words("a 'b c' \"d \\\" e\" f\\ g").unwrap(), ["a", "b c", "d \" e", "f g"]);
        assert_eq!(words("sh -c '' \n x").unwrap(), ["sh", "-c", "", "x"]);
        assert_eq!(words("  ").unwrap(), Vec::<String>::new());
        assert_eq!(words("echo 'oops"), Err(SplitError::OpenQuote('\'')));
        assert_eq!(words("echo \"oops\\"), Err(SplitError::OpenQuote('"')));
        assert_eq!(words("echo \\"), Err(SplitError::TrailingBackslash));
    }
}
