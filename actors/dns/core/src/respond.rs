//! From the bytes of a question to the bytes of its answer.

use crate::answer::{Answer, Question, answer, kind};
use crate::dice::Dice;
use crate::message::{CLASS_IN, Edns, HEADER, Request, Unreadable, flag, rcode};
use crate::view::Target;
use crate::zones::{Source, Zones};
use std::net::Ipv4Addr;

/// Records in one answer, so that one without EDNS fits into 512 bytes.
pub(crate) const RECORDS_MAX: usize = 25;
/// The largest UDP message sent, and said to be taken, in bytes.
pub(crate) const EDNS_SIZE: u16 = 1_232;
/// The largest UDP message to one who says nothing about it, in bytes.
const PLAIN_SIZE: usize = 512;
/// Seconds that the absence of a name or record may be remembered.
const NEGATIVE_TTL: u32 = 1;
/// Where a name of the question is, as a compressed name.
const POINTER: u16 = 0xc000;

/// How a question came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// One datagram; the answer may have to be cut.
    Udp,
    /// A stream, without its length prefix.
    Tcp,
}

/// What became of a question.
#[derive(Debug)]
pub enum Response<'z> {
    /// Nobody of this node asked, or nothing was asked: no answer.
    Silence,
    /// The answer was written.
    Written,
    /// Others are to be asked, by the container at this source.
    Forward(&'z Source),
}

/// Answers a message from the container at `source`; `out` is replaced by the answer.
pub fn respond<'z>(
    zones: &'z Zones,
    source: Ipv4Addr,
    packet: &[u8],
    transport: Transport,
    dice: &mut Dice,
    out: &mut Vec<u8>,
) -> Response<'z> {
    out.clear();
    if zones.source(source).is_none() {
        return Response::Silence;
    }
    let request = match Request::read(packet) {
        Ok(request) => request,
        Err(Unreadable::Silence) => return Response::Silence,
        Err(Unreadable::Refuse { id, flags, rcode }) => {
            write_header(out, id, response_flags(flags) | rcode, [0; 4]);
            return Response::Written;
        }
    };
    if let Some(rcode) = request.refusal() {
        request.write_error(rcode, out);
        return Response::Written;
    }
    let question = Question { name: &request.name, kind: request.kind };
    match answer(zones, source, question) {
        Answer::Dropped => return Response::Silence,
        Answer::Forward(source) => return Response::Forward(source),
        Answer::Refused => request.write_error(rcode::REFUSED, out),
        found => {
            let room = request.room(transport);
            Writer { out, request: &request, zones, dice }.write(&found, room);
        }
    }
    Response::Written
}

/// The answer to a message from names of this cluster alone, in a buffer of its own: `None` for
/// silence and for names that others would be asked about.
pub fn respond_alone(
    zones: &Zones,
    source: Ipv4Addr,
    packet: &[u8],
    transport: Transport,
) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(PLAIN_SIZE);
    let mut dice =
        Dice::new(packet.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31) ^ u64::from(*byte)));
    match respond(zones, source, packet, transport, &mut dice, &mut out) {
        Response::Written => Some(out),
        Response::Silence | Response::Forward(_) => None,
    }
}

impl Request<'_> {
    /// Why it gets no answer whatever its name is.
    fn refusal(&self) -> Option<u16> {
        match self.edns {
            Some(edns) if edns.version > 0 => Some(rcode::BADVERS),
            _ if self.class != CLASS_IN => Some(rcode::REFUSED),
            _ => None,
        }
    }

    /// Bytes that an answer may have.
    pub(crate) fn room(&self, transport: Transport) -> usize {
        let largest = usize::from(EDNS_SIZE);
        match (transport, self.edns) {
            (Transport::Tcp, _) => usize::from(u16::MAX),
            (Transport::Udp, Some(edns)) => usize::from(edns.udp_size).clamp(PLAIN_SIZE, largest),
            (Transport::Udp, None) => PLAIN_SIZE,
        }
    }

    /// Whether it asks for answers by asking others.
    pub fn wants_recursion(&self) -> bool {
        self.flags & flag::RECURSION_DESIRED != 0
    }

    /// An answer that only says what went wrong.
    pub fn write_error(&self, rcode: u16, out: &mut Vec<u8>) {
        out.clear();
        let additional = u16::from(self.edns.is_some());
        let flags = response_flags(self.flags) | rcode & flag::RCODE;
        write_header(out, self.id, flags, [1, 0, 0, additional]);
        out.extend_from_slice(self.question);
        self.write_edns(rcode, out);
    }

    /// The OPT record of an answer, if the question had one.
    pub(crate) fn write_edns(&self, rcode: u16, out: &mut Vec<u8>) {
        if let Some(edns) = self.edns {
            write_opt(out, rcode, edns);
        }
    }
}

/// What of a question's flags comes back: recursion is offered, RD and CD are copied (RFC 4035
/// §3.2.2), AD and the reserved bit are not.
pub(crate) fn response_flags(flags: u16) -> u16 {
    let copied = flag::OPCODE | flag::RECURSION_DESIRED | flag::CHECKING_DISABLED;
    flags & copied | flag::RESPONSE | flag::RECURSION_AVAILABLE
}

pub(crate) fn write_header(out: &mut Vec<u8>, id: u16, flags: u16, counts: [u16; 4]) {
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(&flags.to_be_bytes());
    for count in counts {
        out.extend_from_slice(&count.to_be_bytes());
    }
}

/// An OPT record without options. Of the flags only DO is known, and copied.
pub(crate) fn write_opt(out: &mut Vec<u8>, rcode: u16, edns: Edns) {
    out.push(0);
    out.extend_from_slice(&kind::OPT.to_be_bytes());
    out.extend_from_slice(&EDNS_SIZE.to_be_bytes());
    out.extend_from_slice(&[(rcode >> 4) as u8, 0, u8::from(edns.dnssec_ok) << 7, 0, 0, 0]);
}

/// An answer under way.
struct Writer<'a, 'p> {
    out: &'a mut Vec<u8>,
    request: &'a Request<'p>,
    zones: &'a Zones,
    dice: &'a mut Dice,
}

impl Writer<'_, '_> {
    /// Writes the answer, or only its beginning with the sign to ask by TCP.
    fn write(&mut self, answer: &Answer<'_>, room: usize) {
        let is_missing = matches!(answer, Answer::Missing { .. });
        let rcode = if is_missing { rcode::NXDOMAIN } else { rcode::NOERROR };
        let flags = response_flags(self.request.flags) | flag::AUTHORITATIVE | rcode;
        write_header(self.out, self.request.id, flags, [1, 0, 0, 0]);
        self.out.extend_from_slice(self.request.question);
        let start = self.out.len();
        let opt = if self.request.edns.is_some() { 11 } else { 0 };
        let mut counts = self.sections(answer, room.saturating_sub(opt));
        if self.out.len() + opt > room {
            self.out.truncate(start);
            counts = [0; 3];
            let flags = flags | flag::TRUNCATED;
            self.out[2..4].copy_from_slice(&flags.to_be_bytes());
        }
        counts[2] += u16::from(self.request.edns.is_some());
        for (at, count) in counts.into_iter().enumerate() {
            self.out[6 + 2 * at..8 + 2 * at].copy_from_slice(&count.to_be_bytes());
        }
        self.request.write_edns(rcode, self.out);
    }

    /// Writes the records and counts them: answer, authority, additional.
    fn sections(&mut self, answer: &Answer<'_>, room: usize) -> [u16; 3] {
        match answer {
            Answer::Addresses(addresses) => {
                let picked = self.dice.pick::<RECORDS_MAX>(addresses.len());
                for at in picked.as_slice() {
                    self.address(&POINTER_TO_NAME, addresses[*at]);
                }
                [picked.as_slice().len() as u16, 0, 0]
            }
            Answer::Services(targets) => self.services(targets, room),
            Answer::Pointer(name) => {
                self.record(&POINTER_TO_NAME, kind::PTR, self.zones.ttl);
                self.content(&[name, &[0]]);
                [1, 0, 0]
            }
            Answer::Start => {
                self.start_of_zone(&POINTER_TO_NAME, self.zones.ttl);
                [1, 0, 0]
            }
            Answer::Minimal => {
                self.record(&POINTER_TO_NAME, kind::HINFO, self.zones.ttl);
                self.content(&[b"\x07RFC8482", &[0]]);
                [1, 0, 0]
            }
            Answer::Empty { apex } | Answer::Missing { apex } => {
                let apex = HEADER + self.request.name.tail_start(*apex);
                self.start_of_zone(&(POINTER | apex as u16).to_be_bytes(), NEGATIVE_TTL);
                [0, 1, 0]
            }
            Answer::Dropped | Answer::Refused | Answer::Forward(_) => [0; 3],
        }
    }

    /// SRV records, and the addresses of their targets as far as there is room.
    fn services(&mut self, targets: &[Target], room: usize) -> [u16; 3] {
        let picked = self.dice.pick::<RECORDS_MAX>(targets.len());
        let mut names = [0; RECORDS_MAX];
        for (at, name_at) in picked.as_slice().iter().zip(&mut names) {
            let target = &targets[*at];
            self.record(&POINTER_TO_NAME, kind::SRV, self.zones.ttl);
            let fixed = [0, 0, 0, 1, (target.port >> 8) as u8, target.port as u8];
            *name_at = self.out.len() + 2 + fixed.len();
            // Not compressed: RFC 2782.
            self.content(&[&fixed, &target.name, &[0]]);
        }
        let mut additional = 0;
        for (at, name_at) in picked.as_slice().iter().zip(names) {
            // A pointer reaches 16 KiB far; 25 records never get there.
            if self.out.len() + 16 > room {
                break;
            }
            let owner = (POINTER | name_at as u16).to_be_bytes();
            self.address(&owner, targets[*at].address);
            additional += 1;
        }
        [picked.as_slice().len() as u16, 0, additional]
    }

    fn address(&mut self, owner: &[u8], address: Ipv4Addr) {
        self.record(owner, kind::A, self.zones.ttl);
        self.content(&[&address.octets()]);
    }

    fn start_of_zone(&mut self, owner: &[u8], ttl: u32) {
        self.record(owner, kind::SOA, ttl);
        let mut numbers = [0; 20];
        // Serial, refresh, retry, expire, and how long the absence of a name may be remembered.
        let values = [self.zones.serial, 5, 5, 60, NEGATIVE_TTL];
        for (bytes, value) in numbers.chunks_exact_mut(4).zip(values) {
            bytes.copy_from_slice(&value.to_be_bytes());
        }
        let server = b"\x02ns\x04jaco\x08internal\0";
        let mailbox = b"\x0ahostmaster\x04jaco\x08internal\0";
        self.content(&[server, mailbox, &numbers]);
    }

    fn record(&mut self, owner: &[u8], kind: u16, ttl: u32) {
        self.out.extend_from_slice(owner);
        self.out.extend_from_slice(&kind.to_be_bytes());
        self.out.extend_from_slice(&CLASS_IN.to_be_bytes());
        self.out.extend_from_slice(&ttl.to_be_bytes());
    }

    fn content(&mut self, parts: &[&[u8]]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        self.out.extend_from_slice(&(length as u16).to_be_bytes());
        for part in parts {
            self.out.extend_from_slice(part);
        }
    }
}

/// The name of the question, which begins right after the header.
const POINTER_TO_NAME: [u8; 2] = (POINTER | HEADER as u16).to_be_bytes();
