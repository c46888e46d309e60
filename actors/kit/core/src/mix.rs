//! Numbers that look random and are the same on every node and in every version. They spread
//! things; they keep nothing secret.

/// The next number of a generator, whose state moves on (SplitMix64: Steele, Lea, Flood 2014).
pub fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Spreads nearby numbers: the first one drawn from a state.
pub fn mix(mut number: u64) -> u64 {
    draw(&mut number)
}

/// A hash of bytes (FNV-1a, 64 bits), begun with a seed.
pub fn fnv(bytes: impl IntoIterator<Item = u8>, seed: u64) -> u64 {
    let mut hash = Fnv(Fnv::default().0 ^ seed);
    bytes.into_iter().for_each(|byte| hash.add(byte));
    hash.value()
}

/// The same hash byte by byte, for whoever needs it of each beginning as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fnv(u64);

impl Fnv {
    /// Of these bytes.
    pub fn of(bytes: impl IntoIterator<Item = u8>) -> Fnv {
        Fnv(fnv(bytes, 0))
    }

    /// Takes one more byte.
    pub fn add(&mut self, byte: u8) {
        self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }

    /// The hash of the bytes so far.
    pub fn value(self) -> u64 {
        self.0
    }
}

/// Of no bytes.
impl Default for Fnv {
    fn default() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_vectors_hold() {
        // Of the reference implementations.
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(fnv(*b"", 0), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv(*b"a", 0), 0xaf63_dc4c_8601_ec8c);
    }
}
