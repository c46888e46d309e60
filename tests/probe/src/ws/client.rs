//! The client's half: opens, sends a text and waits for its echo.

use std::io::{self, BufRead, Read, Write};

use crate::http::head::{Head, bad};

/// Key of the handshake: any sixteen bytes do for a client that trusts its server (RFC 6455, 4.1).
const KEY: &str = "cHJvYmUgb2YgamFjby4uLg==";
/// A short text; its length stands in the second byte.
const TEXT: &[u8] = b"probe";
const FINAL_TEXT: u8 = 0x81;
const FINAL_CLOSE: u8 = 0x88;
const MASKED: u8 = 0x80;

/// Asks for the upgrade; an error unless the server agrees.
pub(crate) fn open<S: BufRead>(
    stream: &mut S,
    write: impl FnOnce(&mut S, &[u8]) -> io::Result<()>,
    host: &str,
    target: &str,
) -> io::Result<()> {
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    );
    write(stream, request.as_bytes())?;
    let head = Head::read(stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    if head.first_line.contains(" 101 ") { Ok(()) } else { Err(bad(&head.first_line)) }
}

/// Sends a text: a frame with a mask of zeros.
pub(crate) fn send(writer: &mut impl Write) -> io::Result<()> {
    let size = u8::try_from(TEXT.len()).map_err(io::Error::other)?;
    let mut frame = vec![FINAL_TEXT, MASKED | size, 0, 0, 0, 0];
    frame.extend_from_slice(TEXT);
    writer.write_all(&frame)
}

/// Waits for the echo. A server that says goodbye instead is as one that ends the connection.
pub(crate) fn receive(reader: &mut impl Read) -> io::Result<()> {
    let mut head = [0; 2];
    reader.read_exact(&mut head)?;
    if head[0] == FINAL_CLOSE {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut payload = [0; TEXT.len()];
    if head[0] != FINAL_TEXT || usize::from(head[1]) != TEXT.len() {
        return Err(bad("another frame than the echo"));
    }
    reader.read_exact(&mut payload)?;
    if payload == TEXT { Ok(()) } else { Err(bad("another text than the one sent")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_is_told_from_a_goodbye_and_from_nonsense() {
        let mut sent = Vec::new();
        send(&mut sent).unwrap();
        let mut answer = Vec::new();
        crate::ws::echo(&mut sent.as_slice(), &mut answer).ok();
        receive(&mut answer.as_slice()).unwrap();
        for (bytes, kind) in [
            (&[0x88, 2, 3, 0xe9][..], io::ErrorKind::UnexpectedEof),
            (&[], io::ErrorKind::UnexpectedEof),
            (&[0x81, 5, b'x', b'x', b'x', b'x', b'x'], io::ErrorKind::InvalidData),
        ] {
            assert_eq!(receive(&mut &*bytes).unwrap_err().kind(), kind, "{bytes:?}");
        }
    }
}
