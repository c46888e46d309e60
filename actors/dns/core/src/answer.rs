//! Who gets which answer: the table of the specification as one function.

use crate::name::QueryName;
use crate::view::{Records, Target, View};
use crate::zones::{Source, Zones};
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// Types of records that are treated by name; numbers of IANA's registry.
pub mod kind {
    /// An IPv4 address.
    pub const A: u16 = 1;
    /// The start of a zone.
    pub const SOA: u16 = 6;
    /// A name for an address.
    pub const PTR: u16 = 12;
    /// What RFC 8482 §4.2 answers to ANY.
    pub const HINFO: u16 = 13;
    /// Where a service is.
    pub const SRV: u16 = 33;
    /// EDNS, RFC 6891.
    pub const OPT: u16 = 41;
    /// Incremental transfer.
    pub const IXFR: u16 = 251;
    /// Transfer of a zone.
    pub const AXFR: u16 = 252;
    /// Everything.
    pub const ANY: u16 = 255;
}

/// What is asked: class IN is understood.
#[derive(Clone, Copy, Debug)]
pub struct Question<'q> {
    /// The name, in lower case.
    pub name: &'q QueryName,
    /// The type, as a number of IANA's registry.
    pub kind: u16,
}

/// What to say. Records are borrowed from the tables.
#[derive(Debug)]
pub enum Answer<'z> {
    /// Nothing: the asker is no container of this node.
    Dropped,
    /// A records.
    Addresses(&'z [Ipv4Addr]),
    /// SRV records with their addresses.
    Services(&'z [Target]),
    /// A PTR record: a name in the form of a key.
    Pointer(&'z [u8]),
    /// The SOA record of the zone itself.
    Start,
    /// HINFO in place of everything.
    Minimal,
    /// The name exists without such a record: NOERROR, and SOA. `apex` is how many labels at the
    /// end of the name make the zone.
    Empty {
        /// Labels of the zone.
        apex: usize,
    },
    /// The name does not exist: NXDOMAIN, and SOA.
    Missing {
        /// Labels of the zone.
        apex: usize,
    },
    /// Not to be had here: REFUSED.
    Refused,
    /// A name of the world outside.
    Forward(&'z Source),
}

/// The answer to one question of the container that has the address `source`.
pub fn answer<'z>(zones: &'z Zones, source: Ipv4Addr, question: Question<'_>) -> Answer<'z> {
    let Some(source) = zones.source(source) else { return Answer::Dropped };
    let Question { name, kind } = question;
    if matches!(kind, kind::AXFR | kind::IXFR) || name.labels() == 0 {
        return Answer::Refused;
    }
    let apex = apex(name);
    if let Some(records) = source.view.find(name.as_key()) {
        return of_records(records, kind, name, apex);
    }
    if let Some(range) = reverse(name) {
        return of_range(zones, source, range, kind);
    }
    if is_ours(zones, &source.view, name) {
        return Answer::Missing { apex };
    }
    match kind {
        kind::ANY => Answer::Minimal,
        _ => Answer::Forward(source),
    }
}

fn of_records<'z>(records: &'z Records, kind: u16, name: &QueryName, apex: usize) -> Answer<'z> {
    match kind {
        kind::A if !records.addresses.is_empty() => Answer::Addresses(&records.addresses),
        kind::SRV if !records.services.is_empty() => Answer::Services(&records.services),
        kind::SOA if is_under_zone(name) && name.labels() == 2 => Answer::Start,
        kind::ANY => Answer::Minimal,
        _ => Answer::Empty { apex },
    }
}

/// Whether a name that the view does not have is one that nobody else may be asked about.
fn is_ours(zones: &Zones, view: &View, name: &QueryName) -> bool {
    let labels = name.labels();
    if labels == 1 || is_under_zone(name) || zones.closed.contains(name.tail(1)) {
        return true;
    }
    // A port that a known service does not have. Its name is ours, whatever its last label is.
    let is_protocol = matches!(name.label(1), b"_tcp" | b"_udp");
    labels > 2
        && name.label(0).starts_with(b"_")
        && is_protocol
        && view.find(name.tail(labels - 2)).is_some()
}

fn is_under_zone(name: &QueryName) -> bool {
    name.tail(2) == b"\x04jaco\x08internal"
}

/// How many labels at the end of a name of ours make its zone. Where the zone begins is of no
/// concern to stub resolvers, but it must be at or above the name.
fn apex(name: &QueryName) -> usize {
    if is_under_zone(name) { 2 } else { 1 }
}

/// The addresses that a reverse name stands for, and how many labels it has below them.
struct Reverse {
    range: Ipv4Net,
    octets: usize,
    below: bool,
}

/// Reads `d.c.b.a.in-addr.arpa`, also with fewer or more labels.
fn reverse(name: &QueryName) -> Option<Reverse> {
    let labels = name.labels();
    if name.tail(2) != b"\x07in-addr\x04arpa" || labels == 2 {
        return None;
    }
    let octets = (labels - 2).min(4);
    let mut base = [0; 4];
    for (at, octet) in base.iter_mut().enumerate().take(octets) {
        *octet = decimal(name.label(labels - 3 - at))?;
    }
    let range = Ipv4Net::new(Ipv4Addr::from(base), 8 * octets as u8).ok()?;
    Some(Reverse { range, octets, below: labels > 6 })
}

/// A number from 0 to 255 as it is written in reverse names.
fn decimal(label: &[u8]) -> Option<u8> {
    let is_plain =
        label.iter().all(u8::is_ascii_digit) && (label.len() == 1 || label.first() != Some(&b'0'));
    if !is_plain {
        return None;
    }
    std::str::from_utf8(label).ok()?.parse().ok()
}

fn of_range<'z>(zones: &'z Zones, source: &'z Source, reverse: Reverse, kind: u16) -> Answer<'z> {
    let Reverse { range, octets, below } = reverse;
    if !zones.pool.is_some_and(|pool| pool.contains(&range)) {
        return if kind == kind::ANY { Answer::Minimal } else { Answer::Forward(source) };
    }
    // Names below `10.in-addr.arpa` may be others', so the zone begins at the second octet, or
    // with the name itself.
    let apex = 2 + octets.min(2);
    if octets < 4 {
        return Answer::Empty { apex };
    }
    match source.view.reverse(range.addr()).filter(|_| !below) {
        Some(name) if kind == kind::PTR => Answer::Pointer(name),
        Some(_) if kind == kind::ANY => Answer::Minimal,
        Some(_) => Answer::Empty { apex },
        None => Answer::Missing { apex },
    }
}
