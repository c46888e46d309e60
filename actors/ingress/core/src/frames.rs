//! Frames of HTTP/2 by their headers, without a look at what is in them (RFC 9113, 4.1).

/// Bytes before the first frame of a client (3.4).
const PREFACE: u32 = 24;
const HEAD: usize = 9;

/// The kinds that are told apart (6).
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
}

/// `END_STREAM` of a DATA frame.
pub(crate) const END_STREAM: u8 = 1;

/// The header of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHead {
    /// Bytes that follow it.
    pub(crate) length: u32,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
}

/// Walks along one direction of a connection.
#[derive(Debug)]
pub(crate) struct Frames {
    /// Bytes that are passed over.
    skip: u32,
    head: [u8; HEAD],
    have: usize,
}

impl Frames {
    pub(crate) fn of_client() -> Frames {
        Frames { skip: PREFACE, head: [0; HEAD], have: 0 }
    }

    pub(crate) fn of_server() -> Frames {
        Frames { skip: 0, head: [0; HEAD], have: 0 }
    }

    /// Whether the next byte begins a frame.
    pub(crate) fn is_between(&self) -> bool {
        self.skip == 0 && self.have == 0
    }

    /// Shows each frame whose header is complete.
    pub(crate) fn follow(&mut self, mut bytes: &[u8], mut each: impl FnMut(FrameHead)) {
        loop {
            let here = u32::try_from(bytes.len()).unwrap_or(u32::MAX).min(self.skip);
            self.skip -= here;
            bytes = &bytes[here as usize..];
            let Some(head) = self.take_head(&mut bytes) else { return };
            let head = parse(head);
            self.skip = head.length;
            each(head);
        }
    }

    /// The next header; `None` until it is complete.
    fn take_head(&mut self, bytes: &mut &[u8]) -> Option<[u8; HEAD]> {
        // Nearly always it is in one piece.
        if self.have == 0
            && let Some((head, rest)) = bytes.split_first_chunk()
        {
            *bytes = rest;
            return Some(*head);
        }
        let here = bytes.len().min(HEAD - self.have);
        self.head[self.have..self.have + here].copy_from_slice(&bytes[..here]);
        self.have += here;
        *bytes = &bytes[here..];
        if self.have < HEAD {
            return None;
        }
        self.have = 0;
        Some(self.head)
    }
}

fn parse([a, b, c, kind, flags, d, e, f, g]: [u8; HEAD]) -> FrameHead {
    let length = u32::from_be_bytes([0, a, b, c]);
    // The highest bit is reserved.
    let stream = u32::from_be_bytes([d, e, f, g]) & 0x7fff_ffff;
    FrameHead { length, kind, flags, stream }
}

/// A whole GOAWAY frame (6.8).
pub(crate) fn go_away(last_stream: u32, code: u32) -> [u8; HEAD + 8] {
    let mut frame = [0; HEAD + 8];
    (frame[2], frame[3]) = (8, kind::GOAWAY);
    frame[HEAD..HEAD + 4].copy_from_slice(&last_stream.to_be_bytes());
    frame[HEAD + 4..].copy_from_slice(&code.to_be_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn heads(parts: &[&[u8]]) -> (Vec<FrameHead>, bool) {
        let (mut frames, mut heads) = (Frames::of_client(), Vec::new());
        for part in parts {
            frames.follow(part, |head| heads.push(head));
        }
        (heads, frames.is_between())
    }

    proptest! {
        #[test]
        fn frames_are_seen_however_they_are_cut(
            wanted in prop::collection::vec((0_u32..40, any::<u8>(), any::<u8>(), any::<u32>()), 0..9),
            piece in 1_usize..60,
        ) {
            let mut bytes = vec![b'p'; PREFACE as usize];
            let mut all = Vec::new();
            for (length, kind, flags, stream) in wanted {
                bytes.extend(&length.to_be_bytes()[1..]);
                bytes.extend([kind, flags]);
                bytes.extend(stream.to_be_bytes());
                bytes.extend(vec![0xff; length as usize]);
                all.push(FrameHead { length, kind, flags, stream: stream & 0x7fff_ffff });
            }
            let parts: Vec<&[u8]> = bytes.chunks(piece).collect();
            prop_assert_eq!(heads(&parts), (all, true));
        }

        #[test]
        fn no_bytes_are_too_much_for_it(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let singles: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(heads(&[&bytes]), heads(&singles));
        }
    }

    #[test]
    fn what_we_say_is_a_frame() {
        let (mut frames, mut seen) = (Frames::of_server(), Vec::new());
        frames.follow(&go_away(7, 11), |head| seen.push(head));
        assert_eq!(seen, [FrameHead { length: 8, kind: kind::GOAWAY, flags: 0, stream: 0 }]);
        assert!(frames.is_between());
    }
}
