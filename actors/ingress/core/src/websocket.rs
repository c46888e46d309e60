//! Frames of WebSocket by their headers (RFC 6455, 5.2), so that one of ours can be put between
//! two of them.

const MASKED: u8 = 0x80;
/// `1001`, going away, in a close frame (5.5.1 and 7.4.1).
const TO_CLIENT: &[u8] = &[0x88, 2, 0x03, 0xe9];
/// As [`TO_CLIENT`], with the mask that a server expects; a mask of zeros changes nothing.
const TO_SERVER: &[u8] = &[0x88, MASKED | 2, 0, 0, 0, 0, 0x03, 0xe9];

/// Walks along one direction of a connection after its upgrade.
#[derive(Debug, Default)]
pub struct Messages {
    head: Vec<u8>,
    /// Bytes of the payload that are still to come.
    left: u64,
}

impl Messages {
    /// Bytes passed.
    pub fn follow(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left -= here as u64;
                bytes = &bytes[here..];
                continue;
            }
            self.head.push(*first);
            bytes = rest;
            if let Some(length) = payload(&self.head) {
                self.left = length;
                self.head.clear();
            }
        }
    }

    /// Whether the next byte begins a frame.
    pub fn is_between(&self) -> bool {
        self.left == 0 && self.head.is_empty()
    }
}

/// The frame that says that this end goes away; a client's side is masked.
pub fn going_away(to_client: bool) -> &'static [u8] {
    if to_client { TO_CLIENT } else { TO_SERVER }
}

/// The length of the payload, once the header is complete.
fn payload(head: &[u8]) -> Option<u64> {
    let second = *head.get(1)?;
    let short = second & !MASKED;
    let extra = match short {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mask = if second & MASKED == 0 { 0 } else { 4 };
    if head.len() < 2 + extra + mask {
        return None;
    }
    let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    Some(if extra == 0 { short.into() } else { number(&head[2..2 + extra]) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(length: usize, is_masked: bool) -> Vec<u8> {
        let mask = if is_masked { MASKED } else { 0 };
        let mut bytes = vec![0x82];
        match length {
            0..126 => bytes.push(mask | length as u8),
            126..65_536 => {
                bytes.push(mask | 126);
                bytes.extend((length as u16).to_be_bytes());
            }
            _ => {
                bytes.push(mask | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        bytes.extend(vec![7; if is_masked { 4 } else { 0 }]);
        bytes.extend(vec![0x88; length]);
        bytes
    }

    #[test]
    fn our_own_frames_are_whole() {
        for to_client in [true, false] {
            let mut messages = Messages::default();
            messages.follow(going_away(to_client));
            assert!(messages.is_between());
        }
    }

    proptest! {
        #[test]
        fn the_walk_ends_between_frames_and_only_there(
            frames in prop::collection::vec(
                (prop_oneof![0_usize..130, 65_530_usize..65_540], any::<bool>()),
                1..4,
            ),
            piece in 1_usize..300,
        ) {
            let mut messages = Messages::default();
            for (length, is_masked) in frames {
                let bytes = frame(length, is_masked);
                let (last, most) = bytes.split_last().expect("a frame");
                for part in most.chunks(piece) {
                    messages.follow(part);
                    prop_assert!(!messages.is_between());
                }
                messages.follow(&[*last]);
                prop_assert!(messages.is_between());
            }
        }

        #[test]
        fn no_bytes_are_too_much_for_it(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let (mut whole, mut single) = (Messages::default(), Messages::default());
            whole.follow(&bytes);
            bytes.iter().for_each(|byte| single.follow(&[*byte]));
            prop_assert_eq!(whole.is_between(), single.is_between());
        }
    }
}
