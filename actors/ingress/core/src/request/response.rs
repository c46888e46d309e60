//! Where an answer of HTTP/1 ends (RFC 9112, 6 and 7), so that nobody can be of another opinion.

/// Longest line with a chunk's size. Extensions are read over.
const SIZE_LINE: usize = 4 * 1024;
/// Longest trailer section.
const TRAILERS: usize = 16 * 1024;

/// How the end of an answer's body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// So many bytes; none for answers that have no body.
    Known(u64),
    /// Chunks, then trailers.
    Chunked,
    /// Everything until the connection ends.
    UntilClose,
}

/// The length of an answer (RFC 9112, 6.3). `None` when two readers could find another end.
pub fn length<'a>(
    status: u16,
    is_old: bool,
    to_head: bool,
    lengths: impl IntoIterator<Item = &'a [u8]>,
    codings: impl IntoIterator<Item = &'a [u8]>,
) -> Option<Length> {
    let (mut lengths, mut codings) = (lengths.into_iter(), codings.into_iter());
    let told = match (lengths.next(), codings.next()) {
        (None, None) => Length::UntilClose,
        (Some(length), None) if lengths.next().is_none() => Length::Known(number(length)?),
        (None, Some(coding)) if codings.next().is_none() && !is_old => {
            coding.eq_ignore_ascii_case(b"chunked").then_some(Length::Chunked)?
        }
        _ => return None,
    };
    let has_none = to_head || status < 200 || status == 204 || status == 304;
    Some(if has_none { Length::Known(0) } else { told })
}

/// Digits and nothing else.
fn number(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    is_number.then(|| std::str::from_utf8(text).ok()?.parse().ok())?
}

/// What the next bytes of a chunked body are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// So many bytes are read over.
    Framing(usize),
    /// So many bytes are the body's.
    Data(usize),
    /// So many bytes are lines of trailers, each with its end. After them comes the end of the
    /// body, two bytes long.
    Trailers(usize),
    /// More must be there before it can be told.
    Unknown,
}

/// A chunked body that breaks the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadChunk;

/// Reads a chunked body (RFC 9112, 7.1).
#[derive(Clone, Copy, Debug, Default)]
pub struct Chunks(Part);

#[derive(Clone, Copy, Debug, Default)]
enum Part {
    #[default]
    Size,
    Data(u64),
    DataEnd,
    Trailers,
}

impl Chunks {
    /// What comes next, when these bytes do. Those it tells of are not shown to it again; what it
    /// does not know yet it is shown with more after it.
    ///
    /// # Errors
    /// When it is no chunked body.
    pub fn next(&mut self, bytes: &[u8]) -> Result<Chunk, BadChunk> {
        match self.0 {
            Part::Size => {
                let Some(line) = line(bytes, SIZE_LINE)? else { return Ok(Chunk::Unknown) };
                let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
                let size = chunk_size(size.trim_ascii_end()).ok_or(BadChunk)?;
                self.0 = if size == 0 { Part::Trailers } else { Part::Data(size) };
                Ok(Chunk::Framing(line.len() + 2))
            }
            Part::Data(_) if bytes.is_empty() => Ok(Chunk::Unknown),
            Part::Data(left) => {
                let here = u64::try_from(bytes.len()).unwrap_or(u64::MAX).min(left);
                self.0 = if here == left { Part::DataEnd } else { Part::Data(left - here) };
                Ok(Chunk::Data(usize::try_from(here).unwrap_or(bytes.len())))
            }
            Part::DataEnd => match bytes {
                [b'\r', b'\n', ..] => {
                    self.0 = Part::Size;
                    Ok(Chunk::Framing(2))
                }
                [] | [b'\r'] => Ok(Chunk::Unknown),
                _ => Err(BadChunk),
            },
            Part::Trailers => {
                let mut length = 0;
                loop {
                    match line(&bytes[length..], TRAILERS.saturating_sub(length))? {
                        None => return Ok(Chunk::Unknown),
                        Some([]) => return Ok(Chunk::Trailers(length)),
                        Some(line) => length += line.len() + 2,
                    }
                }
            }
        }
    }
}

/// The line that begins here, without its end; `None` when it is not all here.
fn line(bytes: &[u8], longest: usize) -> Result<Option<&[u8]>, BadChunk> {
    match bytes.iter().take(longest).position(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        None if bytes.len() >= longest => Err(BadChunk),
        None => Ok(None),
        Some(end) => match &bytes[end..] {
            [b'\r', b'\n', ..] => Ok(Some(&bytes[..end])),
            [b'\r'] => Ok(None),
            _ => Err(BadChunk),
        },
    }
}

fn chunk_size(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_hexdigit);
    is_number.then(|| u64::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok())?
}

/// Whether a field may come after a body: none that says where it ends, who asks or how it is read
/// (RFC 9110, 6.5.1).
pub fn may_trail(name: &str) -> bool {
    const NEVER: [&str; 18] = [
        "authorization",
        "cache-control",
        "connection",
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "cookie",
        "expect",
        "host",
        "keep-alive",
        "max-forwards",
        "proxy-authorization",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    !NEVER.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(status: u16, lengths: &[&str], codings: &[&str]) -> Option<Length> {
        let lengths: Vec<&[u8]> = lengths.iter().map(|text| text.as_bytes()).collect();
        let codings: Vec<&[u8]> = codings.iter().map(|text| text.as_bytes()).collect();
        length(status, false, false, lengths, codings)
    }

    #[test]
    fn only_one_clear_length_counts() {
        assert_eq!(told(200, &["3"], &[]), Some(Length::Known(3)));
        assert_eq!(told(200, &[], &["Chunked"]), Some(Length::Chunked));
        assert_eq!(told(200, &[], &[]), Some(Length::UntilClose));
        for status in [101, 204, 304] {
            assert_eq!(told(status, &["3"], &[]), Some(Length::Known(0)));
            assert_eq!(told(status, &[], &[]), Some(Length::Known(0)));
        }
        for lengths in [&["+3"][..], &[""], &["3", "3"], &["99999999999999999999"], &["0x3"]] {
            assert_eq!(told(200, lengths, &[]), None, "{lengths:?}");
        }
        assert_eq!(told(200, &["3"], &["chunked"]), None);
        assert_eq!(told(304, &["3"], &["chunked"]), None);
        for codings in [&["gzip"][..], &["gzip, chunked"], &["chunked", "chunked"]] {
            assert_eq!(told(200, &[], codings), None, "{codings:?}");
        }
        assert_eq!(length(200, true, false, [], [&b"chunked"[..]]), None, "of HTTP/1.0");
        assert_eq!(length(200, false, true, [&b"3"[..]], []), Some(Length::Known(0)), "to HEAD");
    }

    /// A body and its trailers.
    type Whole = (Vec<u8>, Vec<u8>);

    /// What there is in the end, when so many bytes come at a time.
    fn read(text: &[u8], step: usize) -> Result<Option<Whole>, BadChunk> {
        let (mut chunks, mut body, mut held) = (Chunks::default(), Vec::new(), Vec::new());
        for piece in text.chunks(step) {
            held.extend_from_slice(piece);
            loop {
                match chunks.next(&held)? {
                    Chunk::Unknown => break,
                    Chunk::Framing(count) => drop(held.drain(..count)),
                    Chunk::Data(count) => body.extend(held.drain(..count)),
                    Chunk::Trailers(count) => return Ok(Some((body, held[..count].to_vec()))),
                }
            }
        }
        Ok(None)
    }

    #[test]
    fn chunks_are_read_alike_in_pieces_of_any_size() {
        let text = b"3\r\nabc\r\n0a;x=\"y\"\r\n0123\r\n678\n\r\n0\r\nA: b\r\nC: d\r\n\r\n";
        for step in 1..text.len() {
            let (body, trailers) = read(text, step).unwrap().expect("it ends");
            assert_eq!(body, b"abc0123\r\n678\n", "{step}");
            assert_eq!(trailers, b"A: b\r\nC: d\r\n", "{step}");
        }
        for end in 0..text.len() {
            assert_eq!(read(&text[..end], 1), Ok(None), "it is not over after {end}");
        }
    }

    #[test]
    fn what_breaks_the_rules_is_no_body() {
        for text in [
            "x\r\n",
            "\r\n",
            "-1\r\n",
            "+1\r\n",
            "3\nabc\r\n",
            "3\r\nabcd\r\n",
            "3\r\nabc\n\r",
            "10000000000000003\r\n",
            "0\r\nA: b\n\r\n",
            "3 3\r\n",
            " 3\r\n",
            "0\r\n\n",
        ] {
            for step in 1..=text.len() {
                assert_eq!(read(text.as_bytes(), step), Err(BadChunk), "{text:?} by {step}");
            }
        }
        let long = format!("1;{}", "x".repeat(SIZE_LINE));
        assert_eq!(read(long.as_bytes(), 100), Err(BadChunk));
        let long = format!("0\r\n{}", "A: b\r\n".repeat(TRAILERS / 6 + 1));
        assert_eq!(read(long.as_bytes(), 100), Err(BadChunk));
    }
}
