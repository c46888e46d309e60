//! Jobs and schedules: checked in full, run by no version yet.

use super::cx::{Cx, Fields, Item, Spot};
use super::schema::{Schema, closed, h};
use crate::Reason;

const JOB: Schema =
    closed(&[h("active_deadline"), h("history"), h("max_attempts"), h("max_concurrent")]);
const MACROS: [&str; 4] = ["@hourly", "@daily", "@weekly", "@monthly"];
const MONTHS: &[&str] =
    &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Decodes `schedule` and the keys that only make sense with it.
pub(super) fn decode(cx: &mut Cx, fields: &Fields<'_>) -> Option<Spot<()>> {
    let schedule = fields.get("schedule");
    for key in ["schedule_timezone", "concurrency", "starting_deadline"] {
        if let Some(item) = fields.get(key).filter(|_| schedule.is_none()) {
            cx.fail(&item.place, Reason::Required, format!("{key} needs schedule"));
        }
    }
    fields.choice(cx, "concurrency", &[("forbid", ()), ("allow", ()), ("replace", ())]);
    fields.duration(cx, "starting_deadline");
    if let Some(item) = fields.get("schedule_timezone") {
        check_timezone(cx, &item);
    }
    let item = schedule?;
    if let Some(text) = item.text(cx)
        && let Err(message) = check_cron(text)
    {
        cx.fail(&item.place, Reason::Format, message);
    }
    cx.later(&item.place, "a schedule");
    Some(item.spot(()))
}

/// Decodes `job`.
pub(super) fn decode_job(cx: &mut Cx, item: &Item<'_>) -> Option<()> {
    let fields = item.map(cx, &JOB);
    fields.count(cx, "max_concurrent", 1);
    fields.count(cx, "max_attempts", 1);
    fields.count(cx, "history", 0);
    fields.duration(cx, "active_deadline");
    cx.later(&item.place, "a job");
    Some(())
}

fn check_timezone(cx: &mut Cx, item: &Item<'_>) {
    let Some(text) = item.word(cx) else { return };
    let legal = |c: char| c.is_ascii_alphanumeric() || "/_+-".contains(c);
    let shaped = text == "UTC" || (text.contains('/') && text.chars().all(legal));
    if !shaped {
        let message = format!("expected UTC or a zone such as Europe/Berlin, got \"{text}\"");
        cx.fail(&item.place, Reason::Format, message);
    }
}

/// Five fields, or one of four words.
fn check_cron(text: &str) -> Result<(), String> {
    if text.starts_with('@') {
        let known = MACROS.contains(&text);
        return if known {
            Ok(())
        } else {
            Err(format!("\"{text}\" is none of {}", MACROS.join(", ")))
        };
    }
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() != 5 {
        let count = fields.len();
        return Err(format!(
            "a schedule has five fields (minute hour day month weekday), got {count}"
        ));
    }
    let none: &[&str] = &[];
    let rules = [
        ("minute", 0, 59, none),
        ("hour", 0, 23, none),
        ("day", 1, 31, none),
        ("month", 1, 12, MONTHS),
        ("weekday", 0, 7, DAYS),
    ];
    for (field, (what, least, most, names)) in fields.iter().zip(rules) {
        let legal = field.split(',').all(|part| is_cron_part(part, least, most, names));
        if !legal {
            return Err(format!("\"{field}\" is no {what} ({least} to {most})"));
        }
    }
    Ok(())
}

fn is_cron_part(part: &str, least: u32, most: u32, names: &[&str]) -> bool {
    let value = |text: &str| {
        let lower = text.to_ascii_lowercase();
        let named = names.iter().position(|name| *name == lower);
        let named = named
            .and_then(|index| u32::try_from(index).ok())
            .map(|index| if most == 12 { index + 1 } else { index });
        named.or_else(|| text.parse().ok()).filter(|value| (least..=most).contains(value))
    };
    let (range, step) = part.split_once('/').map_or((part, None), |(r, s)| (r, Some(s)));
    let stepped = step.is_none_or(|step| step.parse::<u32>().is_ok_and(|step| step > 0));
    let ranged = range == "*"
        || match range.split_once('-') {
            Some((from, to)) => value(from).zip(value(to)).is_some_and(|(from, to)| from <= to),
            None => value(range).is_some(),
        };
    stepped && ranged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules() {
        for good in ["@daily", "0 3 * * *", "*/5 0-6,22 1 jan-mar mon", "0 0 * * 7"] {
            assert_eq!(check_cron(good), Ok(()), "{good}");
        }
        for bad in ["@never", "0 3 * *", "60 * * * *", "*/0 * * * *", "5-1 * * * *", "x * * * *"] {
            assert!(check_cron(bad).is_err(), "{bad}");
        }
    }
}
