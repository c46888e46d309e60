//! SHA-1 (FIPS 180-4), which the WebSocket handshake asks for; not for anything secret.

use std::fmt::Write as _;

const BLOCK_BYTES: usize = 64;

/// A running hash.
#[derive(Debug, Clone)]
pub(crate) struct Sha1 {
    state: [u32; 5],
    block: [u8; BLOCK_BYTES],
    used: usize,
    total_bytes: u64,
}

impl Sha1 {
    pub(crate) fn new() -> Self {
        Self {
            state: [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0],
            block: [0; BLOCK_BYTES],
            used: 0,
            total_bytes: 0,
        }
    }

    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        self.total_bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            let count = bytes.len().min(BLOCK_BYTES - self.used);
            let (now, later) = bytes.split_at(count);
            self.block[self.used..self.used + count].copy_from_slice(now);
            self.used += count;
            bytes = later;
            if self.used == BLOCK_BYTES {
                self.state = compress(self.state, &self.block);
                self.used = 0;
            }
        }
    }

    pub(crate) fn finish(mut self) -> [u8; 20] {
        let bits = self.total_bytes * 8;
        self.update(&[0x80]);
        while self.used != BLOCK_BYTES - 8 {
            self.update(&[0]);
        }
        self.update(&bits.to_be_bytes());
        let mut digest = [0; 20];
        for (bytes, word) in digest.chunks_mut(4).zip(self.state) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        digest
    }

    /// The digest in lower-case hexadecimal, as `sha1sum` prints it.
    pub(crate) fn hex(self) -> String {
        self.finish().iter().fold(String::new(), |mut text, byte| {
            let _infallible = write!(text, "{byte:02x}");
            text
        })
    }
}

fn compress(state: [u32; 5], block: &[u8; BLOCK_BYTES]) -> [u32; 5] {
    let mut words = [0_u32; 80];
    for (word, bytes) in words.iter_mut().zip(block.chunks(4)) {
        *word = bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
    }
    for at in 16..80 {
        words[at] =
            (words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16]).rotate_left(1);
    }
    let [mut a, mut b, mut c, mut d, mut e] = state;
    for (round, word) in words.iter().enumerate() {
        let (mix, constant) = match round {
            0..20 => (b & c | !b & d, 0x5a82_7999),
            20..40 => (b ^ c ^ d, 0x6ed9_eba1),
            40..60 => (b & c | b & d | c & d, 0x8f1b_bcdc),
            _ => (b ^ c ^ d, 0xca62_c1d6_u32),
        };
        let next = a
            .rotate_left(5)
            .wrapping_add(mix)
            .wrapping_add(e)
            .wrapping_add(constant)
            .wrapping_add(*word);
        (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
    }
    let [h0, h1, h2, h3, h4] = state;
    [
        h0.wrapping_add(a),
        h1.wrapping_add(b),
        h2.wrapping_add(c),
        h3.wrapping_add(d),
        h4.wrapping_add(e),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        let mut hash = Sha1::new();
        hash.update(bytes);
        hash.hex()
    }

    #[test]
    fn the_known_vectors_hold() {
        assert_eq!(hex(b""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        assert_eq!(hex(b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(hex(&[b'a'; 1_000_000]), "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
    }

    #[test]
    fn updates_may_be_cut_anywhere() {
        let text = [b'x'; 150];
        for cut in 0..=text.len() {
            let mut hash = Sha1::new();
            hash.update(&text[..cut]);
            hash.update(&text[cut..]);
            assert_eq!(hash.hex(), hex(&text));
        }
    }
}
