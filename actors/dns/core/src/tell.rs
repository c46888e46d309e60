//! The answer to a question in words, for people who ask why.

use crate::answer::{Answer, Question, answer, kind};
use crate::name::QueryName;
use crate::zones::Zones;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// What a container is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The text is no name.
    NoName,
    /// Nothing: the asker is no container of this node.
    Stranger,
    /// Addresses.
    Addresses(Vec<Ipv4Addr>),
    /// Ports and the names they are at.
    Services(Vec<(u16, String)>),
    /// The name of an address.
    Pointer(String),
    /// The name exists without such a record.
    Empty,
    /// The name does not exist.
    Missing,
    /// Not to be had here.
    Refused,
    /// Others are asked: those of the container's service, or the node's choice.
    Forward(Option<Arc<[SocketAddr]>>),
}

/// What the container at `source` is told about a name: its ports when it begins with `_`, its
/// name when it is a reverse one, else its addresses.
pub fn tell(zones: &Zones, source: Ipv4Addr, name: &str) -> Told {
    let Some(asked) = QueryName::from_text(name) else { return Told::NoName };
    let kind = match asked.tail(2) {
        b"\x07in-addr\x04arpa" => kind::PTR,
        _ if asked.label(0).starts_with(b"_") => kind::SRV,
        _ => kind::A,
    };
    match answer(zones, source, Question { name: &asked, kind }) {
        Answer::Dropped => Told::Stranger,
        Answer::Addresses(addresses) => Told::Addresses(addresses.to_vec()),
        Answer::Services(targets) => {
            Told::Services(targets.iter().map(|one| (one.port, text(&one.name))).collect())
        }
        Answer::Pointer(name) => Told::Pointer(text(name)),
        Answer::Start | Answer::Minimal | Answer::Empty { .. } => Told::Empty,
        Answer::Missing { .. } => Told::Missing,
        Answer::Refused => Told::Refused,
        Answer::Forward(source) => Told::Forward(source.forwarders().cloned()),
    }
}

/// A key with dots between its labels.
fn text(mut key: &[u8]) -> String {
    let mut text = String::new();
    while let Some((length, rest)) = key.split_first() {
        let (label, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(&label.escape_ascii().to_string());
        key = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_shown_with_dots() {
        assert_eq!(text(b"\x03web\x04shop"), "web.shop");
        assert_eq!(text(b""), "");
        assert_eq!(text(b"\x09cut"), "cut");
    }

    #[test]
    fn nobody_is_told_by_empty_tables() {
        let zones = Zones::default();
        assert_eq!(tell(&zones, Ipv4Addr::LOCALHOST, "web"), Told::Stranger);
        assert_eq!(tell(&zones, Ipv4Addr::LOCALHOST, "a..b"), Told::NoName);
    }
}
