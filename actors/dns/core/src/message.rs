//! Questions as they come off the wire (RFC 1035 §4, RFC 6891).

use crate::answer::kind;
use crate::name::QueryName;

/// Bytes of a header.
pub(crate) const HEADER: usize = 12;
/// The class of the internet.
pub(crate) const CLASS_IN: u16 = 1;

/// Response codes; numbers of IANA's registry.
pub mod rcode {
    /// No error.
    pub const NOERROR: u16 = 0;
    /// The query cannot be read.
    pub const FORMERR: u16 = 1;
    /// The server could not find out.
    pub const SERVFAIL: u16 = 2;
    /// No such name.
    pub const NXDOMAIN: u16 = 3;
    /// Not a kind of query that is known here.
    pub const NOTIMP: u16 = 4;
    /// Not for you.
    pub const REFUSED: u16 = 5;
    /// A version of EDNS that is not known here.
    pub const BADVERS: u16 = 16;
}

/// Bits of the header's second word.
pub(crate) mod flag {
    pub(crate) const RESPONSE: u16 = 0x8000;
    pub(crate) const OPCODE: u16 = 0x7800;
    pub(crate) const AUTHORITATIVE: u16 = 0x0400;
    pub(crate) const TRUNCATED: u16 = 0x0200;
    pub(crate) const RECURSION_DESIRED: u16 = 0x0100;
    pub(crate) const RECURSION_AVAILABLE: u16 = 0x0080;
    pub(crate) const CHECKING_DISABLED: u16 = 0x0010;
    pub(crate) const RCODE: u16 = 0x000f;
}

/// A message that asks something.
#[derive(Clone, Debug)]
pub struct Request<'p> {
    /// Its id.
    pub id: u16,
    /// The second word of its header.
    pub(crate) flags: u16,
    /// The question as it was written, in its own letter case.
    pub(crate) question: &'p [u8],
    /// Its name in lower case.
    pub name: QueryName,
    /// Its type.
    pub kind: u16,
    /// Its class.
    pub(crate) class: u16,
    /// What it says about itself beyond RFC 1035.
    pub(crate) edns: Option<Edns>,
}

/// What an OPT record of a query says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edns {
    pub(crate) version: u8,
    /// The largest UDP answer that the asker takes, in bytes.
    pub(crate) udp_size: u16,
    pub(crate) dnssec_ok: bool,
}

/// A message that is no question to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Too short for a header, or an answer itself. Answering it could go on for ever.
    Silence,
    /// To be answered by a header alone.
    Refuse { id: u16, flags: u16, rcode: u16 },
}

impl<'p> Request<'p> {
    /// Reads a whole message.
    pub(crate) fn read(packet: &'p [u8]) -> Result<Request<'p>, Unreadable> {
        let (Some(id), Some(flags)) = (word(packet, 0), word(packet, 2)) else {
            return Err(Unreadable::Silence);
        };
        if packet.len() < HEADER || flags & flag::RESPONSE != 0 {
            return Err(Unreadable::Silence);
        }
        let refuse = |rcode| Unreadable::Refuse { id, flags, rcode };
        if flags & flag::OPCODE != 0 {
            return Err(refuse(rcode::NOTIMP));
        }
        Request::read_body(packet, id, flags).ok_or(refuse(rcode::FORMERR))
    }

    /// Reads a question again that was read before; `None` for what is none.
    pub fn parse(packet: &'p [u8]) -> Option<Request<'p>> {
        Request::read(packet).ok()
    }

    fn read_body(packet: &'p [u8], id: u16, flags: u16) -> Option<Request<'p>> {
        if word(packet, 4)? != 1 {
            return None;
        }
        let (name, taken) = QueryName::read(&packet[HEADER..])?;
        let end = HEADER + taken + 4;
        let kind = word(packet, end - 4)?;
        let class = word(packet, end - 2)?;
        let question = packet.get(HEADER..end)?;
        let mut records = Records::new(packet, end);
        for _ in 0..u32::from(word(packet, 6)?) + u32::from(word(packet, 8)?) {
            records.next()?;
        }
        let mut edns = None;
        for _ in 0..word(packet, 10)? {
            let record = records.next()?;
            if record.kind != kind::OPT {
                continue;
            }
            if !record.is_of_root || edns.is_some() || !are_options(record.content) {
                return None;
            }
            edns = Some(Edns {
                version: (record.ttl >> 16) as u8,
                udp_size: record.class,
                dnssec_ok: record.ttl & 0x8000 != 0,
            });
        }
        (records.at == packet.len()).then_some(Request {
            id,
            flags,
            question,
            name,
            kind,
            class,
            edns,
        })
    }
}

/// Whether the content of an OPT record is a list of options.
fn are_options(mut content: &[u8]) -> bool {
    while !content.is_empty() {
        let Some(length) = word(content, 2) else { return false };
        match content.get(4 + usize::from(length)..) {
            Some(rest) => content = rest,
            None => return false,
        }
    }
    true
}

/// One record of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'p> {
    /// Where it begins in the message.
    pub(crate) start: usize,
    /// Where its time to live is in the message.
    pub(crate) ttl_at: usize,
    pub(crate) is_of_root: bool,
    pub(crate) kind: u16,
    pub(crate) class: u16,
    pub(crate) ttl: u32,
    pub(crate) content: &'p [u8],
}

/// Walks over the records of a message.
#[derive(Debug)]
pub(crate) struct Records<'p> {
    packet: &'p [u8],
    pub(crate) at: usize,
}

impl<'p> Records<'p> {
    pub(crate) fn new(packet: &'p [u8], at: usize) -> Records<'p> {
        Records { packet, at }
    }

    /// The next record; `None` when the message ends before it does.
    pub(crate) fn next(&mut self) -> Option<Record<'p>> {
        let start = self.at;
        let name_end = skip_name(self.packet, start)?;
        let kind = word(self.packet, name_end)?;
        let class = word(self.packet, name_end + 2)?;
        let ttl = u32::from(word(self.packet, name_end + 4)?) << 16
            | u32::from(word(self.packet, name_end + 6)?);
        let content_at = name_end + 10;
        let end = content_at + usize::from(word(self.packet, name_end + 8)?);
        let content = self.packet.get(content_at..end)?;
        self.at = end;
        let is_of_root = self.packet.get(start) == Some(&0);
        Some(Record { start, ttl_at: name_end + 4, is_of_root, kind, class, ttl, content })
    }
}

/// Where a name that begins at `at` ends. A pointer ends a name and is not followed.
pub(crate) fn skip_name(packet: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *packet.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            0xc0.. => return packet.get(at + 1).map(|_| at + 2),
            _ => return None,
        }
    }
}

/// Two bytes as a number.
pub(crate) fn word(packet: &[u8], at: usize) -> Option<u16> {
    let bytes = packet.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}
