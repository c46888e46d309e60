//! Capabilities, namespaces and kernel parameters of a service.

use super::cx::{Cx, Fields, Item, Spot};
use super::service::Join;
use crate::Reason;
use jaco_model::ServiceName;
use jaco_model::spec::{Isolation, Security};

/// Decodes the walls around a container; what weakens them is judged by admission.
pub(super) fn decode(cx: &mut Cx, fields: &Fields<'_>, joins: &mut Vec<Spot<Join>>) -> Security {
    Security {
        privileged: fields.boolean(cx, "privileged").unwrap_or_default(),
        cap_add: capabilities(cx, fields, "cap_add"),
        cap_drop: capabilities(cx, fields, "cap_drop"),
        security_opt: fields.strings(cx, "security_opt"),
        sysctls: fields.pairs(cx, "sysctls"),
        ipc: isolation(cx, fields, "ipc", joins),
        pid: isolation(cx, fields, "pid", joins),
        uts_host: host_only(cx, fields, "uts"),
        userns_host: host_only(cx, fields, "userns_mode"),
        cgroup_host: fields
            .choice(cx, "cgroup", &[("private", false), ("host", true)])
            .unwrap_or_default(),
        cgroup_parent: fields.word(cx, "cgroup_parent"),
    }
}

/// Upper case without the `CAP_` that some write.
fn capabilities(cx: &mut Cx, fields: &Fields<'_>, key: &str) -> Vec<String> {
    let Some(item) = fields.get(key) else { return Vec::new() };
    item.list(cx).iter().filter_map(|item| capability(cx, item)).collect()
}

fn capability(cx: &mut Cx, item: &Item<'_>) -> Option<String> {
    let upper = item.word(cx)?.to_ascii_uppercase();
    let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if name != "ALL" && !CAPABILITIES.contains(&name) {
        cx.unknown_capability(item, name);
    }
    Some(name.to_owned())
}

impl Cx {
    fn unknown_capability(&mut self, item: &Item<'_>, name: &str) {
        let message = format!("unknown capability \"{name}\"");
        let Spot { place, .. } = item.spot(());
        let mut problem = crate::Problem::invalid(place.at, place.path, Reason::Unknown, message);
        problem.suggestion = self.nearest(name, CAPABILITIES.iter().copied());
        self.push(problem);
    }
}

fn isolation(
    cx: &mut Cx,
    fields: &Fields<'_>,
    key: &'static str,
    joins: &mut Vec<Spot<Join>>,
) -> Isolation {
    let Some(item) = fields.get(key) else { return Isolation::Default };
    let Some(text) = item.text(cx) else { return Isolation::Default };
    if let Some(service) = joined_service(cx, &item, key, text, joins) {
        return Isolation::Service(service);
    }
    let words: &[(&str, Isolation)] = &[
        ("private", Isolation::Private),
        ("shareable", Isolation::Shareable),
        ("none", Isolation::None),
        ("host", Isolation::Host),
    ];
    // A process namespace cannot be offered or left out, only be one's own or another's.
    let words = if key == "pid" { &words[3..] } else { words };
    if text.starts_with("container:") || text.starts_with("service:") {
        return Isolation::Default;
    }
    match words.iter().find(|(word, _)| *word == text) {
        Some((_, isolation)) => isolation.clone(),
        None => {
            let mut known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            known.push("service:<name>");
            cx.unknown_word(&item.place, text, &known);
            Isolation::Default
        }
    }
}

/// Reads `service:<name>`; refuses `container:<name>`.
pub(super) fn joined_service(
    cx: &mut Cx,
    item: &Item<'_>,
    field: &'static str,
    text: &str,
    joins: &mut Vec<Spot<Join>>,
) -> Option<ServiceName> {
    if text.starts_with("container:") {
        let message = "not supported: containers come and go; use service:<name>";
        cx.fail(&item.place, Reason::Unsupported, message);
        return None;
    }
    let name = text.strip_prefix("service:")?;
    if name.is_empty() {
        cx.fail(&item.place, Reason::Format, "expected service:<name>");
        return None;
    }
    let service = ServiceName::new(name);
    joins.push(item.spot(Join { field, service: service.clone() }));
    Some(service)
}

fn host_only(cx: &mut Cx, fields: &Fields<'_>, key: &str) -> bool {
    fields.choice(cx, key, &[("host", true)]).unwrap_or_default()
}

const CAPABILITIES: &[&str] = &[
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "SYSLOG",
    "WAKE_ALARM",
];
