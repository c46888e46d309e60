//! Just enough of gRPC for a load on etcd: one unary call at a time on one HTTP/2 connection.
//!
//! etcd's own command line starts a process per call and its JSON gateway makes a second call
//! inside; both would measure something else. Headers of answers are not decoded: an answer with
//! a message is a success, one without is a refusal.

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// Limit of connecting, and of one read or write.
const STEP_LIMIT: Duration = Duration::from_secs(20);

/// Frame types and flags of RFC 9113.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

/// What a peer may send before it must wait, until it hears otherwise.
const FIRST_WINDOW: i64 = 65_535;

/// How far the window for answers is opened at the start: it lasts for the whole load.
const OPENED: u32 = 0x7000_0000;

/// Longest frame that is believed; the default limit of the protocol is 16 KiB.
const FRAME_MAX: usize = 1 << 20;

/// A connection.
#[derive(Debug)]
pub(super) struct Grpc {
    stream: BufReader<TcpStream>,
    authority: String,
    next_stream: u32,
    /// How many bytes may be sent now; answers to a call open it again.
    window: i64,
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Grpc {
    /// Connects without TLS.
    pub(super) fn connect(address: SocketAddr) -> Result<Grpc> {
        let stream = TcpStream::connect_timeout(&address, STEP_LIMIT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(STEP_LIMIT))?;
        stream.set_write_timeout(Some(STEP_LIMIT))?;
        let mut first = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        // No table for header compression, no pushes.
        frame(&mut first, SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]);
        frame(&mut first, WINDOW_UPDATE, 0, 0, &OPENED.to_be_bytes());
        (&stream).write_all(&first)?;
        let authority = address.to_string();
        let stream = BufReader::new(stream);
        Ok(Grpc { stream, authority, next_stream: 1, window: FIRST_WINDOW })
    }

    /// Calls a method such as `/etcdserverpb.KV/Put` and gives the message that answers.
    pub(super) fn call(&mut self, path: &str, message: &[u8]) -> Result<Vec<u8>> {
        let id = self.next_stream;
        self.next_stream += 2;
        let mut body = vec![0];
        body.extend_from_slice(&u32::try_from(message.len())?.to_be_bytes());
        body.extend_from_slice(message);
        let size = i64::try_from(body.len())?;
        ensure!(size <= FIRST_WINDOW, "{path}: {size} bytes do not fit one window");
        while self.window < size {
            let frame = self.read()?;
            self.housekeeping(&frame)?;
        }
        self.window -= size;
        let mut out = Vec::new();
        frame(&mut out, HEADERS, END_HEADERS, id, &headers(path, &self.authority)?);
        frame(&mut out, DATA, END_STREAM, id, &body);
        self.stream.get_mut().write_all(&out)?;
        self.answer(id).with_context(|| format!("{path} at {}", self.authority))
    }

    fn answer(&mut self, id: u32) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let frame = self.read()?;
            if frame.stream != id {
                self.housekeeping(&frame)?;
                continue;
            }
            match frame.kind {
                DATA => {
                    ensure!(frame.flags & PADDED == 0, "a padded frame");
                    body.extend_from_slice(&frame.payload);
                }
                RST_STREAM => bail!("the call was reset"),
                _ => {}
            }
            if matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0 {
                break;
            }
        }
        let message = body.get(5..).context("the call was refused")?;
        Ok(message.to_vec())
    }

    /// What belongs to the connection and not to a call.
    fn housekeeping(&mut self, one: &Frame) -> Result<()> {
        let mut out = Vec::new();
        match one.kind {
            SETTINGS if one.flags & ACK == 0 => frame(&mut out, SETTINGS, ACK, 0, &[]),
            PING if one.flags & ACK == 0 => frame(&mut out, PING, ACK, 0, &one.payload),
            WINDOW_UPDATE if one.stream == 0 => {
                let more: [u8; 4] = one.payload.as_slice().try_into().context("window update")?;
                self.window += i64::from(u32::from_be_bytes(more));
            }
            GOAWAY => bail!("the server ends the connection"),
            _ => {}
        }
        if !out.is_empty() {
            self.stream.get_mut().write_all(&out)?;
        }
        Ok(())
    }

    fn read(&mut self) -> Result<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head)?;
        let [a, b, c, kind, flags, s0, s1, s2, s3] = head;
        let size = usize::try_from(u32::from_be_bytes([0, a, b, c]))?;
        ensure!(size <= FRAME_MAX, "a frame of {size} bytes");
        let mut payload = vec![0; size];
        self.stream.read_exact(&mut payload)?;
        Ok(Frame { kind, flags, stream: u32::from_be_bytes([s0, s1, s2, s3]), payload })
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let size = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    out.extend_from_slice(&size[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Header fields, each written out in full: nothing is put into a table.
fn headers(path: &str, authority: &str) -> Result<Vec<u8>> {
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", authority),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            // Longer ones would need more than the 7 bits of the first byte.
            ensure!(text.len() < 127, "header {name} is too long");
            block.push(u8::try_from(text.len())?);
            block.extend_from_slice(text.as_bytes());
        }
    }
    Ok(block)
}

/// Writes a field of bytes as protobuf does.
pub(super) fn put_bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(field << 3 | 2);
    let mut length = bytes.len();
    while length > 0x7f {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
}

/// The number in a field of a protobuf message; 0, as absent numbers are, when it has none.
pub(super) fn number(message: &[u8], field: u64) -> Result<u64> {
    let mut rest = message;
    let mut found = 0;
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        match tag & 7 {
            0 => {
                let value = varint(&mut rest)?;
                found = if tag >> 3 == field { value } else { found };
            }
            2 => {
                let size = usize::try_from(varint(&mut rest)?)?;
                rest = rest.get(size..).context("a field is cut off")?;
            }
            other => bail!("wire type {other}"),
        }
    }
    Ok(found)
}

/// The bytes in a field of a protobuf message; none when it has none.
pub(super) fn bytes(message: &[u8], field: u64) -> Result<&[u8]> {
    let mut rest = message;
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        match tag & 7 {
            0 => drop(varint(&mut rest)?),
            2 => {
                let size = usize::try_from(varint(&mut rest)?)?;
                let value = rest.get(..size).context("a field is cut off")?;
                if tag >> 3 == field {
                    return Ok(value);
                }
                rest = &rest[size..];
            }
            other => bail!("wire type {other}"),
        }
    }
    Ok(&[])
}

fn varint(rest: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, left) = rest.split_first().context("a number is cut off")?;
        *rest = left;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    bail!("a number is too long")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn protobuf_fields_are_found() {
        let mut message = Vec::new();
        put_bytes(&mut message, 1, &[7; 300]);
        message.extend_from_slice(&[4 << 3, 0xac, 0x02]);
        assert_eq!(bytes(&message, 1).unwrap(), [7; 300]);
        assert_eq!(bytes(&message, 2).unwrap(), [0; 0]);
        assert_eq!(number(&message, 4).unwrap(), 300);
        assert_eq!(number(&message, 5).unwrap(), 0);
        assert!(number(&message[..100], 4).is_err());
    }

    /// Serves one call: settings and a ping first, then `answer` on stream 1.
    fn server(answer: Vec<u8>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut out = Vec::new();
            frame(&mut out, SETTINGS, 0, 0, &[]);
            frame(&mut out, PING, 0, 0, &[1; 8]);
            out.extend_from_slice(&answer);
            stream.write_all(&out).unwrap();
            let mut all = Vec::new();
            // Until the client goes away.
            let _ended = stream.read_to_end(&mut all);
        });
        address
    }

    #[test]
    fn an_answer_comes_in_any_number_of_frames_and_a_refusal_is_told() {
        let mut answer = Vec::new();
        frame(&mut answer, HEADERS, END_HEADERS, 1, &[0x88]);
        frame(&mut answer, DATA, 0, 1, &[0, 0, 0]);
        frame(&mut answer, DATA, 0, 1, &[0, 2, b'h', b'i']);
        frame(&mut answer, HEADERS, END_HEADERS | END_STREAM, 1, &[0x88]);
        let mut client = Grpc::connect(server(answer)).unwrap();
        assert_eq!(client.call("/a/B", b"x").unwrap(), b"hi");

        let mut refusal = Vec::new();
        frame(&mut refusal, HEADERS, END_HEADERS | END_STREAM, 1, &[0x88]);
        let mut client = Grpc::connect(server(refusal)).unwrap();
        let error = client.call("/a/B", b"x").unwrap_err();
        assert!(format!("{error:#}").ends_with("the call was refused"), "{error:#}");
    }
}
