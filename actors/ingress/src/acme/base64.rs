//! Keys as people copy them: base64 (RFC 4648), with the letters of either alphabet.

/// The bytes of a text with or without padding; `None` for what is no base64.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let body = text.trim_end_matches('=');
    let (mut bytes, mut held, mut bits) = (Vec::new(), 0_u32, 0);
    for digit in body.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        held = (held << 6 | u32::from(value)) & 0xffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits & 0xff) as u8);
        }
    }
    // A last digit of its own holds no whole byte.
    (body.len() % 4 != 1).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_alphabets_are_read() {
        assert_eq!(decode("Zm9vYmE="), Some(b"fooba".to_vec()));
        assert_eq!(decode("Zm9vYg"), Some(b"foob".to_vec()));
        for text in ["Zm9v+/8=", "Zm9v-_8"] {
            assert_eq!(decode(text), Some(b"foo\xfb\xff".to_vec()));
        }
        for text in ["Z", "Zm9v!", "Zm 9v"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
