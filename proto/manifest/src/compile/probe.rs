//! Native probes: `probe` of jaco.yaml and x-jaco.

use super::cx::{Cx, Fields, Item};
use super::schema::{Key, Schema, closed, h};
use crate::Reason;
use jaco_model::Millis;
use jaco_model::spec::{HttpProbe, Probe, ProbeCheck, ProbeSpec};

const COMMON: [Key; 10] = [
    h("exec"),
    h("failure_threshold"),
    h("grpc"),
    h("http"),
    h("interval"),
    h("start_interval"),
    h("start_period"),
    h("success_threshold"),
    h("tcp"),
    h("timeout"),
];
const SPLIT_KEYS: [Key; 12] = {
    let mut keys = [h("liveness"); 12];
    let mut index = 0;
    while index < COMMON.len() {
        keys[index] = COMMON[index];
        index += 1;
    }
    keys[10] = h("readiness");
    keys
};
const SPLIT: Schema = closed(&SPLIT_KEYS);
const ONE: Schema = closed(&COMMON);
const HTTP: Schema =
    closed(&[h("headers"), h("host"), h("path"), h("port"), h("scheme"), h("status")]);
const TCP: Schema = closed(&[h("port")]);
const GRPC: Schema = closed(&[h("port"), h("service")]);
const EXEC: Schema = closed(&[h("command")]);

/// Decodes a probe. A sub-block takes what it does not set from the block around it.
pub(super) fn decode(cx: &mut Cx, item: &Item<'_>) -> Option<ProbeSpec> {
    let fields = item.map(cx, &SPLIT);
    let blocks = ["readiness", "liveness"].map(|key| fields.get(key));
    let split = blocks.iter().any(Option::is_some);
    let outer = Draft::read(cx, &fields);
    if !split {
        let probe = outer.finish(cx, &fields)?;
        return Some(ProbeSpec { readiness: Some(probe.clone()), liveness: Some(probe) });
    }
    let [readiness, liveness] = blocks.map(|block| {
        let block = block.map(|item| item.map(cx, &ONE));
        let fields = block.as_ref().unwrap_or(&fields);
        let draft = match &block {
            Some(inner) => Draft::read(cx, inner).or(outer.clone()),
            None if outer.check.is_some() => outer.clone(),
            None => return None,
        };
        draft.finish(cx, fields)
    });
    Some(ProbeSpec { readiness, liveness })
}

#[derive(Clone, Default)]
struct Draft {
    check: Option<ProbeCheck>,
    /// A check was written, though it may have been faulty.
    named: bool,
    interval: Option<Millis>,
    start_interval: Option<Millis>,
    timeout: Option<Millis>,
    failure_threshold: Option<u32>,
    success_threshold: Option<u32>,
    start_period: Option<Millis>,
}

impl Draft {
    fn read(cx: &mut Cx, fields: &Fields<'_>) -> Draft {
        let step = Millis(100)..=Millis::secs(3_600);
        let mut duration =
            |key| fields.get(key).and_then(|item| item.duration_in(cx, step.clone()));
        let [interval, start_interval, timeout] =
            ["interval", "start_interval", "timeout"].map(&mut duration);
        let (check, named) = check(cx, fields);
        Draft {
            check,
            named,
            interval,
            start_interval,
            timeout,
            failure_threshold: fields.count(cx, "failure_threshold", 1),
            success_threshold: fields.count(cx, "success_threshold", 1),
            start_period: fields.duration(cx, "start_period"),
        }
    }

    fn or(self, outer: Draft) -> Draft {
        Draft {
            named: self.named || outer.named,
            check: if self.named { self.check } else { outer.check },
            interval: self.interval.or(outer.interval),
            start_interval: self.start_interval.or(outer.start_interval),
            timeout: self.timeout.or(outer.timeout),
            failure_threshold: self.failure_threshold.or(outer.failure_threshold),
            success_threshold: self.success_threshold.or(outer.success_threshold),
            start_period: self.start_period.or(outer.start_period),
        }
    }

    fn finish(self, cx: &mut Cx, fields: &Fields<'_>) -> Option<Probe> {
        if !self.named {
            let message = "needs exactly one of http, tcp, grpc, exec";
            cx.fail(&fields.place, Reason::Required, message);
        }
        Some(Probe {
            check: self.check?,
            interval: self.interval.unwrap_or(Millis::secs(5)),
            start_interval: self.start_interval.unwrap_or(Millis::secs(1)),
            timeout: self.timeout.unwrap_or(Millis::secs(2)),
            failure_threshold: self.failure_threshold.unwrap_or(3),
            success_threshold: self.success_threshold.unwrap_or(1),
            start_period: self.start_period.unwrap_or_default(),
        })
    }
}

/// The check, and whether one was named at all.
fn check(cx: &mut Cx, fields: &Fields<'_>) -> (Option<ProbeCheck>, bool) {
    let named: Vec<_> = ["http", "tcp", "grpc", "exec"]
        .into_iter()
        .filter_map(|key| fields.get(key).map(|item| (key, item)))
        .collect();
    if let [(first, _), (second, item), ..] = named.as_slice() {
        let message = format!("{first} and {second} exclude each other");
        cx.fail(&item.place, Reason::Conflict, message);
    }
    let check = match named.first() {
        None => None,
        Some(("http", item)) => http(cx, item),
        Some(("tcp", item)) => {
            let fields = item.map(cx, &TCP);
            port(cx, &fields).map(|port| ProbeCheck::Tcp { port })
        }
        Some(("grpc", item)) => {
            let fields = item.map(cx, &GRPC);
            let service = fields.string(cx, "service").unwrap_or_default();
            port(cx, &fields).map(|port| ProbeCheck::Grpc { port, service })
        }
        Some((_, item)) => exec(cx, item),
    };
    (check, !named.is_empty())
}

fn port(cx: &mut Cx, fields: &Fields<'_>) -> Option<u16> {
    fields.require(cx, "port")?.port(cx)
}

fn exec(cx: &mut Cx, item: &Item<'_>) -> Option<ProbeCheck> {
    let command = item.map(cx, &EXEC).require(cx, "command")?;
    let words = command.command(cx)?;
    if words.is_empty() {
        cx.fail(&command.place, Reason::Required, "the command is empty");
        return None;
    }
    Some(ProbeCheck::Exec { command: words })
}

fn http(cx: &mut Cx, item: &Item<'_>) -> Option<ProbeCheck> {
    let fields = item.map(cx, &HTTP);
    let path = fields.get("path").and_then(|item| {
        let path = item.word(cx)?;
        if !path.starts_with('/') {
            let message = format!("a path starts with /, got \"{path}\"");
            cx.fail(&item.place, Reason::Format, message);
        }
        Some(path)
    });
    let status = fields.get("status").and_then(|item| status(cx, &item));
    let (status_min, status_max) = status.unwrap_or((200, 399));
    let https = fields.choice(cx, "scheme", &[("http", false), ("https", true)]);
    Some(ProbeCheck::Http(HttpProbe {
        path: path.unwrap_or_else(|| "/".to_owned()),
        https: https.unwrap_or_default(),
        host: fields.word(cx, "host").unwrap_or_default(),
        headers: fields.pairs(cx, "headers"),
        status_min,
        status_max,
        port: port(cx, &fields)?,
    }))
}

/// `200-399`, or one status.
fn status(cx: &mut Cx, item: &Item<'_>) -> Option<(u16, u16)> {
    let text = item.text(cx)?;
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.trim().parse::<u16>().ok().filter(|n| (100..=599).contains(n));
    let range = number(from).zip(number(to)).filter(|(from, to)| from <= to);
    if range.is_none() {
        let message = format!("expected a status or a range such as 200-399, got \"{text}\"");
        cx.fail(&item.place, Reason::Format, message);
    }
    range
}
