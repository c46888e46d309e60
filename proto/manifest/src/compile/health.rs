//! Docker's healthcheck of a service.

use super::cx::{Cx, Fields, Item};
use super::schema::{Schema, compose, h, hn};
use crate::Reason;
use jaco_model::spec::{Healthcheck, HealthcheckTest};

const HEALTHCHECK: Schema = compose(&[
    h("disable"),
    h("interval"),
    h("retries"),
    hn("start_interval", "needs engine API 1.44"),
    h("start_period"),
    h("test"),
    h("timeout"),
]);

/// Decodes `healthcheck`.
pub(super) fn decode(cx: &mut Cx, service: &Fields<'_>) -> Option<Healthcheck> {
    let item = service.get("healthcheck")?;
    let fields = item.map(cx, &HEALTHCHECK);
    if fields.is_empty() {
        return None;
    }
    let test = fields.get("test").and_then(|item| test(cx, &item));
    let disabled = fields.boolean(cx, "disable").unwrap_or_default();
    if disabled && matches!(test, Some(HealthcheckTest::Command(_) | HealthcheckTest::Shell(_))) {
        cx.fail(&item.place, Reason::Conflict, "test and disable: true exclude each other");
    }
    let test = if disabled { Some(HealthcheckTest::Disabled) } else { test };
    Some(Healthcheck {
        test: test.unwrap_or(HealthcheckTest::Inherit),
        interval: fields.duration(cx, "interval"),
        timeout: fields.duration(cx, "timeout"),
        retries: fields.count(cx, "retries", 1),
        start_period: fields.duration(cx, "start_period"),
        start_interval: fields.duration(cx, "start_interval"),
    })
}

fn test(cx: &mut Cx, item: &Item<'_>) -> Option<HealthcheckTest> {
    if item.is_scalar() {
        let line = item.word(cx)?;
        return Some(if line == "NONE" {
            HealthcheckTest::Disabled
        } else {
            HealthcheckTest::Shell(line)
        });
    }
    let words = item.strings(cx);
    let Some((kind, rest)) = words.split_first() else {
        if item.is_list() {
            cx.fail(&item.place, Reason::Format, "test must not be an empty list");
        }
        return None;
    };
    match (kind.as_str(), rest) {
        ("NONE", []) => Some(HealthcheckTest::Disabled),
        ("CMD", [_, ..]) => Some(HealthcheckTest::Command(rest.to_vec())),
        ("CMD-SHELL", [line]) => Some(HealthcheckTest::Shell(line.clone())),
        ("CMD", []) => {
            cx.fail(&item.place, Reason::Format, "CMD needs a program");
            None
        }
        ("CMD-SHELL", _) => {
            cx.fail(&item.place, Reason::Format, "CMD-SHELL takes exactly one line");
            None
        }
        _ => {
            let message = format!("a test list starts with CMD, CMD-SHELL or NONE, got \"{kind}\"");
            cx.fail(&item.place, Reason::Format, message);
            None
        }
    }
}
