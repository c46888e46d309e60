//! Fields of a service that go to Docker as they are: process, identity, files of /etc, hooks.

use super::cx::{Cx, Fields, Item};
use super::schema::{Schema, compose, g, h};
use crate::{Problem, Reason};
use jaco_model::Millis;
use jaco_model::spec::{ContainerSpec, Hook, Logging, PullPolicy};
use std::collections::BTreeMap;

const HOOK: Schema =
    compose(&[h("command"), h("environment"), g("privileged"), h("user"), h("working_dir")]);
const LOGGING: Schema = compose(&[h("driver"), h("options")]);

/// Default of `stop_grace_period`.
const STOP_GRACE: Millis = Millis::secs(10);

/// Decodes what needs no other part of the file; mounts, networks, health, resources and
/// security are decoded elsewhere.
pub(super) fn decode(cx: &mut Cx, fields: &Fields<'_>) -> ContainerSpec {
    check_isolation(cx, fields);
    ContainerSpec {
        image: image(cx, fields),
        pull_policy: pull_policy(cx, fields),
        platform: fields.get("platform").and_then(|item| platform(cx, &item)),
        command: fields.get("command").and_then(|item| item.command(cx)),
        entrypoint: fields.get("entrypoint").and_then(|item| item.command(cx)),
        environment: environment(cx, fields),
        labels: labels(cx, fields),
        annotations: fields.pairs(cx, "annotations"),
        user: fields.word(cx, "user"),
        group_add: fields.strings(cx, "group_add"),
        working_dir: fields.word(cx, "working_dir"),
        hostname: fields.get("hostname").and_then(|item| hostname(cx, &item)),
        domainname: fields.word(cx, "domainname"),
        init: fields.boolean(cx, "init"),
        stdin_open: fields.boolean(cx, "stdin_open").unwrap_or_default(),
        tty: fields.boolean(cx, "tty").unwrap_or_default(),
        read_only: fields.boolean(cx, "read_only").unwrap_or_default(),
        extra_hosts: extra_hosts(cx, fields),
        dns: dns(cx, fields),
        dns_opt: fields.one_or_more_strings(cx, "dns_opt"),
        dns_search: fields.one_or_more_strings(cx, "dns_search"),
        mac_address: fields.get("mac_address").and_then(|item| mac_address(cx, &item)),
        stop_signal: fields.get("stop_signal").and_then(|item| signal(cx, &item)),
        stop_grace_period: fields.duration(cx, "stop_grace_period").unwrap_or(STOP_GRACE),
        post_start: hooks(cx, fields, "post_start"),
        pre_stop: hooks(cx, fields, "pre_stop"),
        logging: logging(cx, fields),
        runtime: fields.word(cx, "runtime"),
        storage_opt: fields.pairs(cx, "storage_opt"),
        ..ContainerSpec::default()
    }
}

fn image(cx: &mut Cx, fields: &Fields<'_>) -> String {
    let Some(item) = fields.get("image") else { return String::new() };
    let text = item.word(cx).unwrap_or_default();
    let name = text.split(['@', ':']).next().unwrap_or_default();
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-/:@[]+".contains(c);
    if text.is_empty() {
        return text;
    }
    if text.starts_with("http://") || text.starts_with("https://") {
        cx.fail(&item.place, Reason::Format, "an image reference has no scheme");
    } else if !text.chars().all(legal) || text.ends_with([':', '@', '/']) || name.is_empty() {
        let message = format!("\"{text}\" is not an image reference such as nginx:1.27");
        cx.fail(&item.place, Reason::Format, message);
    } else if !text.contains('/')
        && text.chars().any(|c| c.is_ascii_uppercase())
        && name != name.to_ascii_lowercase()
    {
        let message = format!("image name \"{name}\" must be lower case");
        let suggestion = name.to_ascii_lowercase();
        cx.push(
            Problem::invalid(item.place.at, &item.place.path, Reason::Format, message)
                .suggest(text.replacen(name, &suggestion, 1)),
        );
    }
    text
}

fn pull_policy(cx: &mut Cx, fields: &Fields<'_>) -> PullPolicy {
    let Some(item) = fields.get("pull_policy") else { return PullPolicy::default() };
    let Some(text) = item.text(cx) else { return PullPolicy::default() };
    if matches!(text, "daily" | "weekly" | "refresh") || text.starts_with("every_") {
        let message = "not supported: digests are pinned; apply again to look for a newer image";
        cx.fail(&item.place, Reason::Unsupported, message);
        return PullPolicy::default();
    }
    let words = [
        ("always", PullPolicy::Always),
        ("missing", PullPolicy::Missing),
        ("if_not_present", PullPolicy::Missing),
        ("build", PullPolicy::Missing),
        ("never", PullPolicy::Never),
    ];
    item.choice(cx, &words).unwrap_or_default()
}

fn platform(cx: &mut Cx, item: &Item<'_>) -> Option<String> {
    let text = item.word(cx)?;
    let parts = text.split('/').count();
    if !(1..=3).contains(&parts) || text.split('/').any(str::is_empty) {
        let message = format!("expected os/arch such as linux/amd64, got \"{text}\"");
        cx.fail(&item.place, Reason::Format, message);
    } else if text.split('/').next() == Some("windows") {
        let message = "not supported: nodes run Linux; use a linux/… image";
        cx.fail(&item.place, Reason::Unsupported, message);
    }
    Some(text)
}

fn environment(cx: &mut Cx, fields: &Fields<'_>) -> BTreeMap<String, String> {
    let Some(item) = fields.get("environment") else { return BTreeMap::new() };
    let environment = item.pairs(cx);
    for key in environment.keys().filter(|key| key.contains([' ', '=', '\0'])) {
        let message = format!("\"{key}\" is not a variable name");
        cx.fail(&item.place, Reason::Format, message);
    }
    environment
}

/// User labels; those in the name space of the system are dropped.
fn labels(cx: &mut Cx, fields: &Fields<'_>) -> BTreeMap<String, String> {
    let Some(item) = fields.get("labels") else { return BTreeMap::new() };
    let mut labels = item.pairs(cx);
    labels.retain(|key, _| {
        let ours = key.starts_with("jaco.") && !key.starts_with("jaco.io/");
        if ours {
            cx.warn(&item.place, format!("label {key} is set by the system, yours is ignored"));
        }
        !ours
    });
    labels
}

fn hostname(cx: &mut Cx, item: &Item<'_>) -> Option<String> {
    let text = item.word(cx)?;
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if text.len() > 253 || !text.chars().all(legal) || text.starts_with(['-', '.']) {
        cx.fail(&item.place, Reason::Format, format!("\"{text}\" is not a hostname"));
    }
    Some(text)
}

/// `host:address`, `host=address`, or a map; a host may have several addresses.
fn extra_hosts(cx: &mut Cx, fields: &Fields<'_>) -> Vec<String> {
    let Some(item) = fields.get("extra_hosts") else { return Vec::new() };
    let mut hosts = Vec::new();
    if item.is_list() {
        for entry in item.list(cx) {
            let Some(text) = entry.text(cx) else { continue };
            let pair = text.split_once('=').or_else(|| text.split_once(':'));
            let Some((host, address)) = pair else {
                let message = format!("expected host:address, got \"{text}\"");
                cx.fail(&entry.place, Reason::Format, message);
                continue;
            };
            hosts.extend(extra_host(cx, &entry, host, address));
        }
        return hosts;
    }
    for (host, _, value) in item.entries(cx) {
        for address in value.one_or_more_strings(cx) {
            hosts.extend(extra_host(cx, &value, host, &address));
        }
    }
    hosts
}

fn extra_host(cx: &mut Cx, item: &Item<'_>, host: &str, address: &str) -> Option<String> {
    let bare = address.trim().trim_start_matches('[').trim_end_matches(']');
    if bare != "host-gateway" && bare.parse::<std::net::IpAddr>().is_err() {
        let message = format!("\"{bare}\" is neither an address nor host-gateway");
        cx.fail(&item.place, Reason::Format, message);
        return None;
    }
    Some(format!("{}:{bare}", host.trim()))
}

fn dns(cx: &mut Cx, fields: &Fields<'_>) -> Vec<String> {
    let Some(item) = fields.get("dns") else { return Vec::new() };
    for server in item.one_or_many() {
        let Some(text) = server.text(cx) else { continue };
        if text.parse::<std::net::IpAddr>().is_err() {
            let message = format!("a name server is an address, got \"{text}\"");
            cx.fail(&server.place, Reason::Format, message);
        }
    }
    item.one_or_many().iter().filter_map(|item| item.string(&mut Cx::default())).collect()
}

/// Six pairs of hex digits.
pub(super) fn mac_address(cx: &mut Cx, item: &Item<'_>) -> Option<String> {
    let text = item.word(cx)?;
    let parts: Vec<&str> = text.split([':', '-']).collect();
    let hex = |part: &&str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
    if parts.len() != 6 || !parts.iter().all(hex) {
        let message = format!("expected a MAC address such as 02:42:ac:11:00:02, got \"{text}\"");
        cx.fail(&item.place, Reason::Format, message);
        return None;
    }
    Some(parts.join(":").to_ascii_lowercase())
}

/// `SIGTERM`, `TERM` or a number.
fn signal(cx: &mut Cx, item: &Item<'_>) -> Option<String> {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
        "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
        "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    let text = item.word(cx)?;
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let number = text.parse::<u8>().is_ok_and(|number| (1..=64).contains(&number));
    let realtime = name.starts_with("RTMIN") || name.starts_with("RTMAX");
    if !number && !realtime && !NAMES.contains(&name) {
        let message = format!("unknown signal \"{text}\"");
        let mut problem =
            Problem::invalid(item.place.at, &item.place.path, Reason::Unknown, message);
        problem.suggestion = cx.nearest(name, NAMES).map(|name| format!("SIG{name}"));
        cx.push(problem);
        return None;
    }
    Some(text)
}

fn hooks(cx: &mut Cx, fields: &Fields<'_>, key: &str) -> Vec<Hook> {
    let Some(item) = fields.get(key) else { return Vec::new() };
    item.list(cx).iter().filter_map(|hook| decode_hook(cx, hook)).collect()
}

fn decode_hook(cx: &mut Cx, item: &Item<'_>) -> Option<Hook> {
    let fields = item.map(cx, &HOOK);
    Some(Hook {
        command: fields.require(cx, "command")?.command(cx)?,
        user: fields.word(cx, "user"),
        privileged: fields.boolean(cx, "privileged").unwrap_or_default(),
        working_dir: fields.word(cx, "working_dir"),
        environment: fields.pairs(cx, "environment"),
    })
}

fn logging(cx: &mut Cx, fields: &Fields<'_>) -> Logging {
    let Some(item) = fields.get("logging") else { return Logging::default() };
    let fields = item.map(cx, &LOGGING);
    if fields.is_empty() {
        return Logging::default();
    }
    let default = Logging::default();
    Logging {
        driver: fields.word(cx, "driver").unwrap_or(default.driver),
        options: fields.pairs(cx, "options"),
    }
}

fn check_isolation(cx: &mut Cx, fields: &Fields<'_>) {
    let Some(item) = fields.get("isolation") else { return };
    if item.text(cx).is_some_and(|text| text != "default") {
        let message = "not supported: only Windows has it; leave it out";
        cx.fail(&item.place, Reason::Unsupported, message);
    }
}
