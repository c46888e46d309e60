//! WebSocket frames as bytes.

use std::io::{self, Read, Write};

/// Largest payload that is read into memory.
const PAYLOAD_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Largest payload of a control frame.
const CONTROL_BYTES_MAX: u64 = 125;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xa,
}

impl Opcode {
    fn from_bits(bits: u8) -> Option<Self> {
        [Self::Continuation, Self::Text, Self::Binary, Self::Close, Self::Ping, Self::Pong]
            .into_iter()
            .find(|opcode| *opcode as u8 == bits)
    }

    fn is_control(self) -> bool {
        self as u8 >= 0x8
    }
}

/// Why no frame could be read.
#[derive(Debug)]
pub(super) enum ReadError {
    Io(io::Error),
    Protocol,
    TooBig,
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) last: bool,
    pub(super) opcode: Opcode,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    /// Reads a client's frame and takes its mask off; clients must mask.
    pub(super) fn read(reader: &mut impl Read) -> Result<Self, ReadError> {
        let [first, second] = bytes(reader)?;
        let opcode = Opcode::from_bits(first & 0x0f).ok_or(ReadError::Protocol)?;
        let last = first & 0x80 != 0;
        let reserved = first & 0x70 != 0;
        let size = match second & 0x7f {
            126 => u64::from(u16::from_be_bytes(bytes(reader)?)),
            127 => u64::from_be_bytes(bytes(reader)?),
            size => u64::from(size),
        };
        let bad_control = opcode.is_control() && (!last || size > CONTROL_BYTES_MAX);
        if reserved || bad_control || second & 0x80 == 0 {
            return Err(ReadError::Protocol);
        }
        if size > PAYLOAD_BYTES_MAX {
            return Err(ReadError::TooBig);
        }
        let mask: [u8; 4] = bytes(reader)?;
        let mut payload = vec![0; usize::try_from(size).map_err(|_| ReadError::TooBig)?];
        reader.read_exact(&mut payload)?;
        for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= key;
        }
        Ok(Self { last, opcode, payload })
    }

    /// Writes the frame as a server does: without a mask.
    pub(super) fn write(&self, writer: &mut impl Write) -> io::Result<()> {
        let mut message = vec![u8::from(self.last) << 7 | self.opcode as u8];
        let size = self.payload.len();
        match (u8::try_from(size), u16::try_from(size)) {
            (Ok(small @ 0..=125), _) => message.push(small),
            (_, Ok(medium)) => {
                message.push(126);
                message.extend_from_slice(&medium.to_be_bytes());
            }
            _ => {
                message.push(127);
                message.extend_from_slice(&(size as u64).to_be_bytes());
            }
        }
        message.extend_from_slice(&self.payload);
        writer.write_all(&message)?;
        writer.flush()
    }
}

fn bytes<const N: usize>(reader: &mut impl Read) -> io::Result<[u8; N]> {
    let mut buffer = [0; N];
    reader.read_exact(&mut buffer)?;
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_masked_hello_of_the_rfc_is_read() {
        let sent = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        let frame = Frame::read(&mut sent.as_slice()).unwrap();
        assert_eq!(frame, Frame { last: true, opcode: Opcode::Text, payload: b"Hello".to_vec() });
    }

    #[test]
    fn sizes_use_the_shortest_form() {
        for (size, head) in [
            (125, vec![0x82, 125]),
            (126, vec![0x82, 126, 0, 126]),
            (65_536, vec![0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut written = Vec::new();
            let frame = Frame { last: true, opcode: Opcode::Binary, payload: vec![0; size] };
            frame.write(&mut written).unwrap();
            assert_eq!(written[..head.len()], head);
            assert_eq!(written.len(), head.len() + size);
        }
    }

    #[test]
    fn broken_frames_are_refused() {
        for sent in [
            [0x83, 0x80, 0, 0, 0, 0].as_slice(),
            &[0xc1, 0x80, 0, 0, 0, 0],
            &[0x09, 0x80, 0, 0, 0, 0],
            &[0x89, 0xfe, 0, 200],
        ] {
            assert!(matches!(Frame::read(&mut &*sent), Err(ReadError::Protocol)), "{sent:?}");
        }
        let huge = [0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0];
        assert!(matches!(Frame::read(&mut huge.as_slice()), Err(ReadError::TooBig)));
    }
}
