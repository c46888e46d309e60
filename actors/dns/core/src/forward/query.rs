//! What an upstream is asked.

use crate::answer::kind;
use crate::message::{Edns, HEADER, Request, flag};
use crate::respond::{write_header, write_opt};

/// A question to an upstream, and what its answer must repeat.
#[derive(Clone, Debug)]
pub struct Query {
    bytes: Vec<u8>,
    question_end: usize,
}

impl Query {
    /// The same question with an id and letter case of our own, which an answer must repeat: what
    /// a stranger would have to guess. `case` has one bit for each letter, used again and again.
    pub fn new(request: &Request<'_>, id: u16, case: u128) -> Query {
        let mut bytes = Vec::with_capacity(HEADER + request.question.len() + 11);
        let checking = request.flags & flag::CHECKING_DISABLED;
        write_header(&mut bytes, id, flag::RECURSION_DESIRED | checking, [1, 0, 0, 1]);
        bytes.extend_from_slice(request.question);
        let question_end = bytes.len();
        let mut at = HEADER;
        let mut bit = 0;
        // The question was read before, so its labels are whole.
        while let Some(length) = bytes.get(at).map(|length| usize::from(*length)) {
            let Some(label) = bytes.get_mut(at + 1..at + 1 + length).filter(|_| length > 0) else {
                break;
            };
            for letter in label.iter_mut().filter(|byte| byte.is_ascii_alphabetic()) {
                match case >> (bit % 128) & 1 {
                    0 => letter.make_ascii_lowercase(),
                    _ => letter.make_ascii_uppercase(),
                }
                bit += 1;
            }
            at += 1 + length;
        }
        let dnssec_ok = request.edns.is_some_and(|edns| edns.dnssec_ok);
        write_opt(&mut bytes, 0, Edns { version: 0, udp_size: 0, dnssec_ok });
        Query { bytes, question_end }
    }

    /// The same question in small letters, for an upstream that makes them small.
    #[must_use]
    pub fn lowered(&self) -> Query {
        let mut lowered = self.clone();
        // The name; what follows it, four bytes of type and class, holds no letter of a name.
        let name_end = self.question_end.saturating_sub(4).max(HEADER);
        lowered.bytes[HEADER..name_end].make_ascii_lowercase();
        lowered
    }

    /// A question for the addresses of a name that must never come back here.
    pub fn probe(name: &str, id: u16) -> Option<Query> {
        let name = crate::name::key(name)?;
        let mut bytes = Vec::new();
        write_header(&mut bytes, id, flag::RECURSION_DESIRED, [1, 0, 0, 0]);
        bytes.extend_from_slice(&name);
        bytes.push(0);
        bytes.extend_from_slice(&kind::A.to_be_bytes());
        bytes.extend_from_slice(&crate::message::CLASS_IN.to_be_bytes());
        let question_end = bytes.len();
        Some(Query { bytes, question_end })
    }

    /// The message.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn id(&self) -> &[u8] {
        &self.bytes[..2]
    }

    pub(crate) fn question(&self) -> &[u8] {
        &self.bytes[HEADER..self.question_end]
    }
}
