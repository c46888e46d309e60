//! Reads along with an HTTP/1 client and stops it where two parsers could disagree on where a
//! request ends (RFC 9112, 2.2, 5, 6, 7 and 11.2). Nothing is repaired.

/// Why a client is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It breaks the rules.
    Malformed,
    /// The target is longer than we read.
    LongTarget,
    /// The header is longer than we read, or has too many lines.
    LongHeader,
}

const TARGET: usize = 16 * 1024;
const HEADER: usize = 32 * 1024;
const LINES: usize = 100;
const CHUNK_LINE: usize = 16;
/// Chunks have no reason to be larger.
const CHUNK: u64 = 1 << 40;

/// Where in the stream of requests the client is.
#[derive(Debug, Default)]
enum At {
    /// In a header; the bytes of it so far.
    #[default]
    Header,
    Body(u64),
    ChunkLine,
    ChunkData(u64),
    /// Bytes of the CR LF after a chunk that are still to come.
    ChunkEnd(u8),
    Trailers,
}

/// Reads along with one connection, from its beginning.
#[derive(Debug, Default)]
pub struct Framing {
    at: At,
    line: Vec<u8>,
    head: Head,
    heads: u64,
}

#[derive(Debug, Default)]
struct Head {
    bytes: usize,
    lines: usize,
    is_old: bool,
    is_chunked: bool,
    hosts: usize,
    length: Option<u64>,
}

impl Framing {
    /// Complete headers so far.
    pub fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether the next byte begins a request.
    pub fn is_between(&self) -> bool {
        matches!(self.at, At::Header) && self.head.bytes == 0
    }

    /// Whether the next byte is one of a header.
    pub fn is_in_header(&self) -> bool {
        matches!(self.at, At::Header)
    }

    /// Whether what came last is the beginning of something that is known only as a whole.
    fn is_within(&self) -> bool {
        match self.at {
            At::Header => !self.is_between(),
            At::ChunkLine => !self.line.is_empty(),
            At::Body(_) | At::ChunkData(_) | At::ChunkEnd(_) | At::Trailers => false,
        }
    }

    /// Follows these bytes. Returns how many of them may be passed on: those up to a header or a
    /// chunk's size that is not complete yet, or up to the fault.
    pub fn follow(&mut self, bytes: &[u8]) -> Result<usize, (usize, Wrong)> {
        let (mut good, mut at) = (0, 0);
        while at < bytes.len() {
            at += match &mut self.at {
                At::Body(left) | At::ChunkData(left) => {
                    let here = u64::try_from(bytes.len() - at).unwrap_or(u64::MAX).min(*left);
                    *left -= here;
                    let is_over = *left == 0;
                    if is_over {
                        self.body_over();
                    }
                    usize::try_from(here).unwrap_or(usize::MAX)
                }
                At::ChunkEnd(_) => {
                    self.byte(bytes[at]).map_err(|wrong| (good, wrong))?;
                    1
                }
                At::Header | At::ChunkLine | At::Trailers => match self.whole_line(&bytes[at..]) {
                    Some(line) => {
                        self.line(line).map_err(|wrong| (good, wrong))?;
                        line.len() + 2
                    }
                    None => {
                        self.byte(bytes[at]).map_err(|wrong| (good, wrong))?;
                        1
                    }
                },
            };
            if !self.is_within() {
                good = at;
            }
        }
        Ok(good)
    }

    /// The line that begins here, when all of it is here and within bounds: the usual case, for
    /// which single bytes need not be looked at one after the other.
    fn whole_line<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        if !self.line.is_empty() {
            return None;
        }
        let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n' | 0))?;
        if bytes.get(end..end + 2)? != b"\r\n" {
            return None;
        }
        let length = end + 1;
        if matches!(self.at, At::ChunkLine) {
            return (length <= CHUNK_LINE).then(|| &bytes[..end]);
        }
        let is_long = (self.head.lines == 0 && length > TARGET)
            || self.head.bytes + length > HEADER
            || self.head.lines > LINES;
        if is_long {
            return None;
        }
        self.head.bytes += length;
        Some(&bytes[..end])
    }

    fn body_over(&mut self) {
        self.at = match self.at {
            At::ChunkData(_) => At::ChunkEnd(2),
            _ => self.next(),
        };
    }

    fn next(&mut self) -> At {
        self.head = Head::default();
        At::Header
    }

    fn byte(&mut self, byte: u8) -> Result<(), Wrong> {
        if let At::ChunkEnd(left) = &mut self.at {
            let wanted = if *left == 2 { b'\r' } else { b'\n' };
            if byte != wanted {
                return Err(Wrong::Malformed);
            }
            *left -= 1;
            if *left == 0 {
                self.at = At::ChunkLine;
            }
            return Ok(());
        }
        if self.line.last() == Some(&b'\r') {
            if byte != b'\n' {
                return Err(Wrong::Malformed);
            }
            self.line.pop();
            let line = std::mem::take(&mut self.line);
            return self.line(&line);
        }
        if byte == b'\n' || byte == 0 {
            return Err(Wrong::Malformed);
        }
        self.line.push(byte);
        self.bounds()
    }

    fn bounds(&mut self) -> Result<(), Wrong> {
        if matches!(self.at, At::ChunkLine) {
            return if self.line.len() > CHUNK_LINE { Err(Wrong::Malformed) } else { Ok(()) };
        }
        self.head.bytes += 1;
        if self.head.lines == 0 && self.line.len() > TARGET {
            return Err(Wrong::LongTarget);
        }
        if self.head.bytes > HEADER || self.head.lines > LINES {
            return Err(Wrong::LongHeader);
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Wrong> {
        match self.at {
            At::ChunkLine => {
                let size = chunk_size(line).ok_or(Wrong::Malformed)?;
                self.at = if size == 0 { At::Trailers } else { At::ChunkData(size) };
            }
            At::Trailers if line.is_empty() => self.at = self.next(),
            At::Trailers => {
                field(line).ok_or(Wrong::Malformed)?;
            }
            At::Header if self.head.lines == 0 => {
                self.head.lines = 1;
                self.head.is_old = request_line(line).ok_or(Wrong::Malformed)?;
            }
            At::Header if line.is_empty() => {
                self.at = self.begin_body()?;
                self.heads += 1;
            }
            At::Header => {
                self.head.lines += 1;
                self.head.field(line).ok_or(Wrong::Malformed)?;
            }
            At::Body(_) | At::ChunkData(_) | At::ChunkEnd(_) => {}
        }
        Ok(())
    }

    fn begin_body(&mut self) -> Result<At, Wrong> {
        let head = &self.head;
        let is_twice = head.is_chunked && (head.length.is_some() || head.is_old);
        if is_twice || head.hosts > 1 || (head.hosts == 0 && !head.is_old) {
            return Err(Wrong::Malformed);
        }
        if head.is_chunked {
            return Ok(At::ChunkLine);
        }
        match head.length {
            Some(length) if length > 0 => Ok(At::Body(length)),
            _ => Ok(self.next()),
        }
    }
}

impl Head {
    fn field(&mut self, line: &[u8]) -> Option<()> {
        let (name, value) = field(line)?;
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        match name.len() {
            4 if is(b"host") => self.hosts += 1,
            14 if is(b"content-length") => {
                let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
                if self.length.is_some() || !is_number {
                    return None;
                }
                self.length = Some(std::str::from_utf8(value).ok()?.parse().ok()?);
            }
            17 if is(b"transfer-encoding") => {
                if self.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return None;
                }
                self.is_chunked = true;
            }
            _ => {}
        }
        Some(())
    }
}

/// Whether it is HTTP/1.0.
fn request_line(line: &[u8]) -> Option<bool> {
    let mut words = line.split(|byte| *byte == b' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let is_target = |byte: &u8| *byte > 0x20 && *byte != 0x7f;
    if words.next().is_some() || !is_token(method) || target.is_empty() {
        return None;
    }
    match version {
        _ if !target.iter().all(is_target) => None,
        b"HTTP/1.1" => Some(false),
        b"HTTP/1.0" => Some(true),
        _ => None,
    }
}

fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    let is_legal = |byte: &u8| *byte == b'\t' || (*byte >= 0x20 && *byte != 0x7f);
    (is_token(name) && value.iter().all(is_legal)).then_some((name, value))
}

/// RFC 9110, 5.6.2.
fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| TOKEN[usize::from(*byte)])
}

/// Which bytes a token may have.
const TOKEN: [bool; 256] = {
    let mut legal = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        legal[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let (marks, mut at) = (b"!#$%&'*+-.^_`|~", 0);
    while at < marks.len() {
        legal[marks[at] as usize] = true;
        at += 1;
    }
    legal
};

/// Hexadecimal digits and nothing else: extensions are of no use, and of much harm.
fn chunk_size(line: &[u8]) -> Option<u64> {
    if line.is_empty() || !line.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let size = u64::from_str_radix(std::str::from_utf8(line).ok()?, 16).ok()?;
    (size <= CHUNK).then_some(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(text: &str) -> Result<(), (usize, Wrong)> {
        let whole = Framing::default().follow(text.as_bytes()).map(|_| ());
        let mut framing = Framing::default();
        let mut single = Ok(());
        for byte in text.bytes() {
            single = single
                .and_then(|()| framing.follow(&[byte]).map(|_| ()).map_err(|(_, wrong)| wrong));
        }
        assert_eq!(whole.map_err(|(_, wrong)| wrong), single, "in one piece and in many: {text:?}");
        whole
    }

    #[test]
    fn what_is_clear_passes() {
        for text in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n\n\0xGET / HTTP/1.1\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
             3\r\n\n\0x\r\n0\r\nA: b\r\n\r\nGET /",
            "GET / HTTP/1.0\r\n\r\n",
        ] {
            assert_eq!(follow(text), Ok(()), "{text:?}");
        }
    }

    #[test]
    fn a_byte_that_is_wrong_is_found_in_one_piece_as_in_many() {
        let good = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                    3\r\nabc\r\n0\r\nA: b\r\n\r\n";
        assert_eq!(follow(good), Ok(()));
        let mut refused = 0;
        for at in 0..good.len() {
            for wrong in ["\r", "\n", "\0", " ", ":", "\r\n"] {
                // It compares the two.
                refused +=
                    usize::from(follow(&format!("{}{wrong}{}", &good[..at], &good[at..])).is_err());
                refused += usize::from(
                    follow(&format!("{}{wrong}{}", &good[..at], &good[at + 1..])).is_err(),
                );
            }
        }
        assert!(refused > 600, "{refused}");
    }

    #[test]
    fn a_fault_leaves_the_requests_before_it() {
        let first = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
        let text = format!("{first}GET / HTTP/1.1\r\nHost : a\r\n\r\n");
        assert_eq!(
            Framing::default().follow(text.as_bytes()),
            Err((first.len(), Wrong::Malformed))
        );
    }

    #[test]
    fn a_fault_in_a_size_leaves_nothing_of_it() {
        let first = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n";
        for size in ["0;\n\r\n", "3;a=b\r\n", "0\n"] {
            let text = format!("{first}{size}");
            let stopped = Framing::default().follow(text.as_bytes());
            assert_eq!(stopped, Err((first.len(), Wrong::Malformed)), "{size:?}");
        }
    }

    #[test]
    fn lengths_are_bounded() {
        let text = format!("GET /{} HTTP/1.1\r\n", "x".repeat(TARGET));
        assert_eq!(follow(&text), Err((0, Wrong::LongTarget)));
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n", "x".repeat(HEADER));
        assert_eq!(follow(&text), Err((0, Wrong::LongHeader)));
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(LINES));
        assert_eq!(follow(&text), Err((0, Wrong::LongHeader)));
    }
}
