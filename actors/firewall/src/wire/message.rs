//! Netlink messages: a header of 16 bytes, and for netfilter four more (linux/netlink.h,
//! linux/netfilter/nfnetlink.h).

use crate::wire::Body;

/// Bytes of the header that all messages have.
const HEADER: usize = 16;

/// Bytes of the header that netfilter's have behind it.
const FAMILY_HEADER: usize = 4;

/// A message to the kernel.
#[derive(Debug)]
pub(crate) struct Message {
    /// What it asks for: subsystem and operation.
    pub(crate) kind: u16,
    /// How.
    pub(crate) flags: u16,
    /// Which protocol family it is about.
    pub(crate) family: u8,
    /// For the limits of a batch the subsystem, else zero.
    pub(crate) resource: u16,
    /// Its attributes.
    pub(crate) body: Body,
}

impl Message {
    /// Appends the message under a sequence number.
    pub(crate) fn write(&self, sequence: u32, out: &mut Vec<u8>) {
        let len = HEADER + FAMILY_HEADER + self.body.0.len();
        out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_ne_bytes());
        out.extend_from_slice(&self.kind.to_ne_bytes());
        out.extend_from_slice(&self.flags.to_ne_bytes());
        out.extend_from_slice(&sequence.to_ne_bytes());
        // The kernel fills in who sends it.
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&[self.family, 0]);
        out.extend_from_slice(&self.resource.to_be_bytes());
        out.extend_from_slice(&self.body.0);
    }
}

/// A message from the kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    /// What it is: subsystem and operation, or one of netlink's own below 16.
    pub(crate) kind: u16,
    /// Flags of the header.
    pub(crate) flags: u16,
    /// Of the request that it answers.
    pub(crate) sequence: u32,
    /// The socket whose request it answers or tells of.
    pub(crate) port: u32,
    /// What follows the header.
    pub(crate) payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The protocol family of a netfilter message.
    pub(crate) fn family(&self) -> Option<u8> {
        self.payload.first().copied()
    }

    /// The attributes of a netfilter message.
    pub(crate) fn body(&self) -> &'a [u8] {
        self.payload.get(FAMILY_HEADER..).unwrap_or_default()
    }
}

/// The messages in what was received; ends at the first that is damaged.
pub(crate) fn frames(mut bytes: &[u8]) -> impl Iterator<Item = Frame<'_>> {
    std::iter::from_fn(move || {
        let word = |at: usize| -> Option<u32> {
            Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
        };
        let half = |at: usize| -> Option<u16> {
            Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
        };
        let len = usize::try_from(word(0)?).ok()?;
        let frame = Frame {
            kind: half(4)?,
            flags: half(6)?,
            sequence: word(8)?,
            port: word(12)?,
            payload: bytes.get(HEADER..len)?,
        };
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(frame)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_as_written() {
        let mut bytes = Vec::new();
        for sequence in [5, 6] {
            let mut body = Body::default();
            body.bytes(1, &[9]);
            let message = Message { kind: 0xa0c, flags: 1, family: 1, resource: 10, body };
            message.write(sequence, &mut bytes);
        }
        let read: Vec<Frame<'_>> = frames(&bytes).collect();
        assert_eq!(read.len(), 2);
        assert_eq!((read[1].kind, read[1].flags, read[1].sequence), (0xa0c, 1, 6));
        assert_eq!((read[0].family(), read[0].body()), (Some(1), &[5, 0, 1, 0, 9, 0, 0, 0][..]));
        assert_eq!(frames(&bytes[..bytes.len() - 5]).count(), 1);
        assert_eq!(frames(&[7; 12]).count(), 0);
    }
}
