//! Message bodies as readers: sized, chunked, or up to the end of the connection.

use std::io::{self, BufRead, Read};

use super::head::{Head, bad, read_line};

/// Longest line between two chunks, and longest trailer.
const CHUNK_LINE_BYTES_MAX: usize = 4096;

/// How the length of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Sized(u64),
    Chunked,
    UntilEnd,
}

impl Framing {
    /// The framing that a head announces; `None` when it announces no body.
    ///
    /// A message with both a size and an encoding is refused: two readers could see two bodies.
    pub(crate) fn of(head: &Head) -> io::Result<Option<Self>> {
        let size = head.header("content-length");
        match (head.header("transfer-encoding"), size) {
            (Some(_), Some(_)) => Err(bad("both Content-Length and Transfer-Encoding")),
            (Some(coding), None) if coding.eq_ignore_ascii_case("chunked") => {
                Ok(Some(Self::Chunked))
            }
            (Some(_), None) => Err(bad("unknown Transfer-Encoding")),
            (None, Some(size)) => {
                let digits = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_digit());
                let size = size.parse().ok().filter(|_| digits);
                Ok(Some(Self::Sized(size.ok_or_else(|| bad("wrong Content-Length"))?)))
            }
            (None, None) => Ok(None),
        }
    }
}

/// A body of which some bytes may be unread.
#[derive(Debug)]
pub(crate) struct Body<'a, R> {
    reader: &'a mut R,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Sized(u64),
    ChunkHead,
    Chunk(u64),
    UntilEnd,
    Done,
}

impl<'a, R: BufRead> Body<'a, R> {
    pub(crate) fn new(reader: &'a mut R, framing: Option<Framing>) -> Self {
        let state = match framing {
            None | Some(Framing::Sized(0)) => State::Done,
            Some(Framing::Sized(size)) => State::Sized(size),
            Some(Framing::Chunked) => State::ChunkHead,
            Some(Framing::UntilEnd) => State::UntilEnd,
        };
        Self { reader, state }
    }

    /// Reads the next chunk's size line, and the trailer after the last chunk.
    fn next_chunk(&mut self) -> io::Result<State> {
        let mut left = CHUNK_LINE_BYTES_MAX;
        let line = self.line(&mut left)?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let size = u64::from_str_radix(digits, 16).ok().filter(|_| plain);
        let size = size.ok_or_else(|| bad("wrong chunk size"))?;
        if size > 0 {
            return Ok(State::Chunk(size));
        }
        while !self.line(&mut left)?.is_empty() {}
        Ok(State::Done)
    }

    /// Reads the line end that follows a chunk's bytes.
    fn end_chunk(&mut self) -> io::Result<()> {
        let mut left = CHUNK_LINE_BYTES_MAX;
        if !self.line(&mut left)?.is_empty() {
            return Err(bad("chunk is longer than its size"));
        }
        self.state = State::ChunkHead;
        Ok(())
    }

    fn line(&mut self, left: &mut usize) -> io::Result<String> {
        read_line(self.reader, left)?.ok_or_else(|| bad("chunk is cut off"))
    }

    /// Reads at most `left` bytes of the body; the end of the stream before that is an error.
    fn take(&mut self, buffer: &mut [u8], left: u64) -> io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = self.reader.read(&mut buffer[..wanted])?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "body is cut off"));
        }
        Ok(count)
    }
}

impl<R: BufRead> Read for Body<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.state == State::ChunkHead {
            self.state = self.next_chunk()?;
        }
        match self.state {
            State::Done | State::ChunkHead => Ok(0),
            State::UntilEnd => self.reader.read(buffer),
            State::Sized(left) => {
                let count = self.take(buffer, left)?;
                let left = left - count as u64;
                self.state = if left == 0 { State::Done } else { State::Sized(left) };
                Ok(count)
            }
            State::Chunk(left) => {
                let count = self.take(buffer, left)?;
                let left = left - count as u64;
                self.state = State::Chunk(left);
                if left == 0 {
                    self.end_chunk()?;
                }
                Ok(count)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(text: &str, framing: Framing) -> io::Result<(String, String)> {
        let mut reader = text.as_bytes();
        let mut body = String::new();
        Body::new(&mut reader, Some(framing)).read_to_string(&mut body)?;
        Ok((body, String::from_utf8_lossy(reader).into_owned()))
    }

    fn framing(headers: &str) -> io::Result<Option<Framing>> {
        Framing::of(&Head::read(&mut format!("X\r\n{headers}\r\n").as_bytes())?.unwrap())
    }

    #[test]
    fn a_body_ends_where_its_framing_says() {
        let sized = read_all("hello, next", Framing::Sized(5)).unwrap();
        assert_eq!(sized, ("hello".into(), ", next".into()));
        let chunked = "3;x=1\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\nnext";
        let chunked = read_all(chunked, Framing::Chunked).unwrap();
        assert_eq!(chunked, ("abc0123456789".into(), "next".into()));
        assert_eq!(read_all("all", Framing::UntilEnd).unwrap().0, "all");
    }

    #[test]
    fn broken_bodies_are_refused() {
        assert!(read_all("abc", Framing::Sized(5)).is_err());
        for text in ["x\r\n", "3\r\nabcd\r\n", "3\r\nab", "-1\r\n", "+3\r\nabc\r\n0\r\n\r\n", ""] {
            assert!(read_all(text, Framing::Chunked).is_err(), "{text:?}");
        }
    }

    #[test]
    fn framing_is_unambiguous() {
        assert_eq!(framing("").unwrap(), None);
        assert_eq!(framing("Content-Length: 7\r\n").unwrap(), Some(Framing::Sized(7)));
        assert_eq!(framing("Transfer-Encoding: Chunked\r\n").unwrap(), Some(Framing::Chunked));
        for headers in [
            "Content-Length: 7\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: +7\r\n",
            "Transfer-Encoding: gzip\r\n",
        ] {
            assert!(framing(headers).is_err(), "{headers:?}");
        }
    }
}
