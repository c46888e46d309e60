//! WebSocket echo (RFC 6455): frames come back as they were sent, fragment by fragment.

pub(crate) mod base64;
pub(crate) mod client;
mod frame;
pub(crate) mod handshake;
pub(crate) mod sha1;

use std::io::{self, Read, Write};

use frame::{Frame, Opcode, ReadError};

/// Status codes of a close frame.
const PROTOCOL_ERROR: u16 = 1002;
const TOO_BIG: u16 = 1009;

/// Echoes until either side closes.
pub(crate) fn echo(reader: &mut impl Read, writer: &mut impl Write) -> io::Result<()> {
    loop {
        let frame = match Frame::read(reader) {
            Ok(frame) => frame,
            Err(ReadError::Io(error)) => return Err(error),
            Err(ReadError::Protocol) => return close(writer, PROTOCOL_ERROR),
            Err(ReadError::TooBig) => return close(writer, TOO_BIG),
        };
        match frame.opcode {
            Opcode::Continuation | Opcode::Text | Opcode::Binary => frame.write(writer)?,
            Opcode::Ping => Frame { opcode: Opcode::Pong, ..frame }.write(writer)?,
            Opcode::Pong => {}
            Opcode::Close => return frame.write(writer),
        }
    }
}

fn close(writer: &mut impl Write, code: u16) -> io::Result<()> {
    let payload = code.to_be_bytes().to_vec();
    Frame { last: true, opcode: Opcode::Close, payload }.write(writer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversation(sent: &[u8]) -> Vec<u8> {
        let mut answer = Vec::new();
        echo(&mut &*sent, &mut answer).unwrap();
        answer
    }

    /// A frame as a client sends it, with a zero mask.
    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let size = u8::try_from(payload.len()).unwrap();
        let mut bytes = vec![first, 0x80 | size, 0, 0, 0, 0];
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn messages_pings_and_close_are_answered() {
        let mut sent = masked(0x81, b"hi");
        sent.extend(masked(0x89, b"p"));
        sent.extend(masked(0x8a, b""));
        sent.extend(masked(0x88, &[0x03, 0xe8]));
        let expected = [0x81, 2, b'h', b'i', 0x8a, 1, b'p', 0x88, 2, 0x03, 0xe8];
        assert_eq!(conversation(&sent), expected);
    }

    #[test]
    fn an_unmasked_frame_closes_with_a_protocol_error() {
        assert_eq!(conversation(&[0x81, 1, b'x']), [0x88, 2, 0x03, 0xea]);
    }
}
