//! RFC 4648 base32 in lower case without padding, for texts that people read out.

const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Characters that `bytes` bytes take.
pub(super) const fn len(bytes: usize) -> usize {
    (bytes * 8).div_ceil(5)
}

pub(super) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(len(bytes.len()));
    let (mut window, mut bits) = (0_u32, 0);
    for byte in bytes {
        window = (window << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(digit(window >> bits));
        }
    }
    if bits > 0 {
        text.push(digit(window << (5 - bits)));
    }
    text
}

fn digit(five_bits: u32) -> char {
    char::from(DIGITS[(five_bits & 31) as usize])
}

/// Exactly `N` bytes. Each value has one text: bits that are left over must be zero.
pub(super) fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != len(N) {
        return None;
    }
    let mut bytes = [0; N];
    let (mut window, mut bits, mut at) = (0_u32, 0, 0);
    for character in text.bytes() {
        let value = DIGITS.iter().position(|known| *known == character)?;
        window = (window << 5) | u32::try_from(value).ok()?;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            *bytes.get_mut(at)? = u8::try_from((window >> bits) & 0xff).ok()?;
            at += 1;
        }
    }
    let left_over = window & ((1 << bits) - 1);
    (at == N && left_over == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_of_rfc_4648() {
        for (plain, text) in [
            (&b""[..], ""),
            (b"f", "my"),
            (b"fo", "mzxq"),
            (b"foo", "mzxw6"),
            (b"foob", "mzxw6yq"),
            (b"fooba", "mzxw6ytb"),
            (b"foobar", "mzxw6ytboi"),
        ] {
            assert_eq!(encode(plain), text);
        }
        assert_eq!(decode::<6>("mzxw6ytboi"), Some(*b"foobar"));
    }

    #[test]
    fn other_texts_of_the_same_bytes_are_refused() {
        assert_eq!(decode::<1>("my"), Some(*b"f"));
        for text in ["mz", "MY", "m1", "m", "myy", "m=", "mä"] {
            assert_eq!(decode::<1>(text), None, "{text}");
        }
    }
}
