//! Rulesets as text, for people: golden files, logs and audit lines.

use crate::expr::{Compare, CtKey, Expr, HeaderBase, MetaKey, Verdict};
use crate::ruleset::{Chain, ChainKind, Field, Hook, Rule, Ruleset, Set};
use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

impl fmt::Display for Ruleset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for counter in &self.counters {
            writeln!(f, "counter {counter}")?;
        }
        for (name, set) in &self.sets {
            let fields: Vec<&str> = set.fields.iter().map(|field| field_name(*field)).collect();
            writeln!(f, "set {name}: {}", fields.join(" . "))?;
            for element in &set.elements {
                writeln!(f, "    {}", element_text(set, element))?;
            }
        }
        for (name, chain) in &self.chains {
            writeln!(f, "chain {name}: {chain}")?;
            for rule in &chain.rules {
                writeln!(f, "    {rule}")?;
            }
        }
        for foreign in &self.foreign {
            writeln!(f, "foreign {foreign}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ChainKind::Filter => "filter",
            ChainKind::Nat => "nat",
        };
        let hook = match self.hook {
            Hook::Prerouting => "prerouting",
            Hook::Input => "input",
            Hook::Forward => "forward",
            Hook::Output => "output",
            Hook::Postrouting => "postrouting",
        };
        write!(f, "{kind} {hook} {}", self.priority)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut loaded: BTreeMap<u8, String> = BTreeMap::new();
        let mut words = Vec::new();
        for expr in &self.0 {
            step(expr, &mut loaded, &mut words);
        }
        f.write_str(&words.join(", "))
    }
}

/// Remembers what a slot holds, or says what the expression does with it.
fn step(expr: &Expr, loaded: &mut BTreeMap<u8, String>, words: &mut Vec<String>) {
    let held = |loaded: &BTreeMap<u8, String>, slot: u8| {
        loaded.get(&slot).cloned().unwrap_or_else(|| format!("slot {slot}"))
    };
    match expr {
        Expr::Meta { key, to } => {
            loaded.insert(to.0, meta_name(*key).to_owned());
        }
        Expr::Payload { base, offset, len, to } => {
            loaded.insert(to.0, payload_name(*base, *offset, *len));
        }
        Expr::Ct { key, to } => {
            let name = match key {
                CtKey::State => "ct state",
                CtKey::Status => "ct status",
            };
            loaded.insert(to.0, name.to_owned());
        }
        Expr::Mask { at, mask } => {
            let name = held(loaded, at.0);
            let text = format!("{name} & {}", value_text(&name, mask));
            loaded.insert(at.0, text);
        }
        Expr::Cmp { at, with, value } => {
            let sign = match with {
                Compare::Equal => "=",
                Compare::Differ => "!=",
            };
            let name = held(loaded, at.0);
            words.push(format!("{name} {sign} {}", value_text(&name, value)));
        }
        Expr::Lookup { set, at, inverted } => {
            let parts: Vec<&str> = loaded.range(at.0..).map(|(_, text)| text.as_str()).collect();
            let word = if *inverted { "not in" } else { "in" };
            words.push(format!("{} {word} {set}", parts.join(" . ")));
            loaded.clear();
        }
        Expr::Count(name) => words.push(format!("count {name}")),
        Expr::Masquerade { random: false } => words.push("masquerade".to_owned()),
        Expr::Masquerade { random: true } => words.push("masquerade random".to_owned()),
        Expr::RouteSegment { to } => {
            loaded.insert(to.0, "route mss".to_owned());
        }
        Expr::ToNetworkOrder { .. } => {}
        Expr::ClampSegment { at } => words.push(format!("clamp mss to {}", held(loaded, at.0))),
        Expr::Verdict(Verdict::Accept) => words.push("accept".to_owned()),
        Expr::Verdict(Verdict::Drop) => words.push("drop".to_owned()),
        Expr::Foreign(what) => words.push(format!("foreign {what}")),
    }
}

fn meta_name(key: MetaKey) -> &'static str {
    match key {
        MetaKey::InName => "in",
        MetaKey::OutName => "out",
        MetaKey::Family => "family",
        MetaKey::Protocol => "protocol",
    }
}

fn payload_name(base: HeaderBase, offset: u32, len: u32) -> String {
    match (base, offset, len) {
        (HeaderBase::Network, 12, 4) => "source".to_owned(),
        (HeaderBase::Network, 16, 4) => "destination".to_owned(),
        (HeaderBase::Transport, 2, 2) => "port".to_owned(),
        (HeaderBase::Transport, 0, 1) => "icmp type".to_owned(),
        (HeaderBase::Transport, 13, 1) => "tcp flags".to_owned(),
        (base, offset, len) => format!("{base:?} {offset}+{len}"),
    }
}

fn value_text(name: &str, value: &[u8]) -> String {
    match (name.split(' ').next(), value) {
        (Some("in" | "out"), name) => {
            let is_whole = name.len() == 16;
            let text = String::from_utf8_lossy(name);
            let text = text.trim_end_matches('\0');
            if is_whole { text.to_owned() } else { format!("{text}*") }
        }
        (Some("source" | "destination"), &[a, b, c, d]) => Ipv4Addr::new(a, b, c, d).to_string(),
        (Some("ct"), &[a, b, c, d]) => format!("{:#x}", u32::from_ne_bytes([a, b, c, d])),
        (Some("family"), [2]) => "IPv4".to_owned(),
        (Some("family"), [10]) => "IPv6".to_owned(),
        (_, &[one]) => one.to_string(),
        (_, &[a, b]) => u16::from_be_bytes([a, b]).to_string(),
        (_, bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

fn field_name(field: Field) -> &'static str {
    match field {
        Field::Address => "address",
        Field::Interface => "interface",
        Field::Port => "port",
    }
}

/// An element as its parts.
pub(crate) fn element_text(set: &Set, element: &[u8]) -> String {
    let mut rest = element;
    let mut parts = Vec::new();
    for field in &set.fields {
        let (part, behind) = rest.split_at(field.width().min(rest.len()));
        rest = behind.get(field.width().next_multiple_of(4) - field.width()..).unwrap_or_default();
        let name = match field {
            Field::Address => "source",
            Field::Interface => "in",
            Field::Port => "port",
        };
        parts.push(value_text(name, part));
    }
    parts.join(" . ")
}
