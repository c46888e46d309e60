//! What an upstream said, and what of it reaches the asker.

use crate::answer::kind;
use crate::forward::query::Query;
use crate::message::{HEADER, Records, Request, flag, rcode, skip_name, word};
use crate::respond::{Transport, response_flags, write_header};

/// The longest time that an answer is kept, in seconds.
const TTL_MAX: u32 = 300;
/// The longest time that the absence of a name or record is kept, in seconds.
const NEGATIVE_TTL_MAX: u32 = 60;
/// What an answer says of its own age once it is older than it should be, in seconds.
const STALE_TTL: u32 = 5;

/// An answer that fits its question.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The message up to the OPT record.
    bytes: Vec<u8>,
    /// Counts of the records that are left.
    counts: [u16; 3],
    /// Where each time to live is.
    ttls: Vec<usize>,
    rcode: u16,
    keep_for: Option<u32>,
}

/// Why an answer is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It belongs to another question, or comes from somebody who guessed. To be ignored.
    Foreign,
    /// The question came back in other letters: the upstream does not keep them, or somebody
    /// guessed. By TCP nobody can.
    Case,
    /// It was cut: the whole is to be had by TCP.
    Truncated,
    /// It cannot be read.
    Broken,
}

/// What an answer means for the search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the answer, also when it says that there is none.
    Final,
    /// This upstream cannot say; the next one may.
    Next,
}

impl Reply {
    /// Reads an answer to `query`. By TCP its letter case may differ.
    ///
    /// # Errors
    /// Why it is none.
    pub fn read(query: &Query, bytes: &[u8], transport: Transport) -> Result<Reply, Unfit> {
        let flags = word(bytes, 2).ok_or(Unfit::Foreign)?;
        let is_answer = flags & flag::RESPONSE != 0 && flags & flag::OPCODE == 0;
        if !bytes.starts_with(query.id()) || !is_answer {
            return Err(Unfit::Foreign);
        }
        let code = flags & flag::RCODE;
        if matches!(word(bytes, 4), Some(0)) && code != rcode::NOERROR && code != rcode::NXDOMAIN {
            // Some refuse with a header alone.
            return Ok(Reply::failure(code));
        }
        let end = HEADER + query.question().len();
        let question = bytes.get(HEADER..end).ok_or(Unfit::Foreign)?;
        if word(bytes, 4) != Some(1) || !question.eq_ignore_ascii_case(query.question()) {
            return Err(Unfit::Foreign);
        }
        if transport == Transport::Udp {
            if question != query.question() {
                return Err(Unfit::Case);
            }
            if flags & flag::TRUNCATED != 0 {
                return Err(Unfit::Truncated);
            }
        }
        Reply::read_records(bytes, end, code).ok_or(Unfit::Broken)
    }

    fn failure(rcode: u16) -> Reply {
        Reply { bytes: Vec::new(), counts: [0; 3], ttls: Vec::new(), rcode, keep_for: None }
    }

    fn read_records(bytes: &[u8], end: usize, mut code: u16) -> Option<Reply> {
        let mut records = Records::new(bytes, end);
        let mut counts = [0; 3];
        let mut ttls = Vec::new();
        let mut shortest = u32::MAX;
        let mut absence = None;
        let mut cut = None;
        for (section, kept) in counts.iter_mut().enumerate() {
            for _ in 0..word(bytes, 6 + 2 * section)? {
                let record = records.next()?;
                if record.kind == kind::OPT {
                    code |= (record.ttl >> 20) as u16 & 0xff0;
                    // Pointers lead backwards, so what is before it stands without it.
                    cut.get_or_insert(record.start);
                    continue;
                }
                if cut.is_some() {
                    continue;
                }
                *kept += 1;
                ttls.push(record.ttl_at);
                shortest = shortest.min(record.ttl);
                if section == 1 && record.kind == kind::SOA {
                    absence =
                        soa_minimum(bytes, record.ttl_at + 6).map(|least| least.min(record.ttl));
                }
            }
        }
        let keep_for = match code {
            rcode::NOERROR if counts[0] > 0 => Some(shortest.min(TTL_MAX)),
            rcode::NOERROR | rcode::NXDOMAIN => absence.map(|ttl| ttl.min(NEGATIVE_TTL_MAX)),
            _ => None,
        };
        let bytes = bytes.get(..cut.unwrap_or(records.at))?.to_vec();
        Some(Reply { bytes, counts, ttls, rcode: code, keep_for })
    }

    /// Whether the search ends here.
    pub fn verdict(&self) -> Verdict {
        match self.rcode {
            rcode::NOERROR | rcode::NXDOMAIN => Verdict::Final,
            _ => Verdict::Next,
        }
    }

    /// How long it may be kept, in seconds; `None` for not at all.
    pub fn keep_for(&self) -> Option<u32> {
        self.keep_for.filter(|ttl| *ttl > 0)
    }

    /// About how many bytes it takes.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len() + self.ttls.len() * size_of::<usize>()
    }

    /// Writes it as the answer to `request`, `age` seconds after it was heard; `is_stale` when it
    /// is older than it should be.
    pub fn write(
        &self,
        request: &Request<'_>,
        transport: Transport,
        age: u32,
        is_stale: bool,
        out: &mut Vec<u8>,
    ) {
        out.clear();
        let opt = if request.edns.is_some() { 11 } else { 0 };
        let is_cut = self.bytes.len() + opt > request.room(transport);
        let mut flags = response_flags(request.flags) | self.rcode & flag::RCODE;
        let mut counts = [1, 0, 0, 0];
        if is_cut {
            flags |= flag::TRUNCATED;
        } else {
            counts[1..].copy_from_slice(&self.counts);
        }
        counts[3] += u16::from(request.edns.is_some());
        write_header(out, request.id, flags, counts);
        out.extend_from_slice(request.question);
        if !is_cut {
            let answered = HEADER + request.question.len();
            out.extend_from_slice(self.bytes.get(answered..).unwrap_or_default());
            for at in &self.ttls {
                if let Some(bytes) = out.get_mut(*at..*at + 4) {
                    let ttl = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                    let left = if is_stale { STALE_TTL } else { ttl.saturating_sub(age) };
                    bytes.copy_from_slice(&left.to_be_bytes());
                }
            }
        }
        request.write_edns(self.rcode, out);
    }
}

/// The last number of a SOA record whose content's length is at `length_at - 2`.
fn soa_minimum(bytes: &[u8], content_at: usize) -> Option<u32> {
    let after_names = skip_name(bytes, skip_name(bytes, content_at)?)?;
    let number = bytes.get(after_names + 16..after_names + 20)?;
    Some(u32::from_be_bytes([number[0], number[1], number[2], number[3]]))
}
