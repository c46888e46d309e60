//! WireGuard public keys, as 32 bytes and as text.
//!
//! A key is only compared and written here; what it means is known to the tunnel alone.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

/// The public key of a node's tunnel. Its text is base64 (RFC 4648 §4), 44 characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

/// A text that is not the canonical base64 of 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAKey;

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

impl FromStr for PublicKey {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<PublicKey, NotAKey> {
        let body = text.strip_suffix('=').filter(|body| body.len() == 43).ok_or(NotAKey)?;
        let mut bytes = [0; 32];
        let (mut held, mut bits, mut filled) = (0_u32, 0, 0);
        for digit in body.bytes() {
            let value = DIGITS.iter().position(|d| *d == digit).ok_or(NotAKey)?;
            held = (held << 6) | u32::try_from(value).map_err(|_| NotAKey)?;
            bits += 6;
            if bits >= 8 {
                bits -= 8;
                let byte = bytes.get_mut(filled).ok_or(NotAKey)?;
                *byte = u8::try_from((held >> bits) & 0xff).map_err(|_| NotAKey)?;
                held &= (1 << bits) - 1;
                filled += 1;
            }
        }
        // 43 digits hold two bits more than 32 bytes; another text of the same key is refused.
        if held == 0 { Ok(PublicKey(bytes)) } else { Err(NotAKey) }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(44);
        for chunk in self.0.chunks(3) {
            let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
            let held = (byte(0) << 16) | (byte(1) << 8) | byte(2);
            for digit in 0..=chunk.len() {
                let value = (held >> (18 - 6 * digit)) & 63;
                text.push(char::from(DIGITS[value as usize]));
            }
        }
        text.push('=');
        f.write_str(&text)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for NotAKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a key of 32 bytes in base64")
    }
}

impl std::error::Error for NotAKey {}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PublicKey, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_are_the_same_key() {
        let text = "DD5yKRfzExcV5+kDnTroDgCU15latdMjiQ59j1hEuk8=";
        let key: PublicKey = text.parse().unwrap();
        assert_eq!(key.0[..3], [0x0c, 0x3e, 0x72]);
        assert_eq!(key.to_string(), text);
        assert_eq!(PublicKey([0xff; 32]).to_string().parse(), Ok(PublicKey([0xff; 32])));
    }

    #[test]
    fn other_texts_are_refused() {
        let key = PublicKey([7; 32]).to_string();
        let cut = key[1..].to_owned();
        let not_canonical = key.replace("Bwc=", "Bwd=");
        for text in ["", "=", "ä", &cut, &not_canonical, &key.replace('=', "A")] {
            assert!(text.parse::<PublicKey>().is_err() || text == key, "{text}");
        }
    }
}
