//! Names and passwords of a route. Hashes are slow on purpose: they are checked on a thread for
//! such work, few at a time, and what passed once is remembered under a key of this process.

use argon2::{Argon2, PasswordHash, PasswordVerifier};
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use jaco_model::spec::BasicAuth;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use tokio::sync::Semaphore;

/// Passed credentials that are remembered.
const REMEMBERED: usize = 1024;
/// Hashes computed at once.
const AT_ONCE: usize = 2;

/// What passed so far.
#[derive(Debug)]
pub(super) struct Passwords {
    key: [u8; 32],
    passed: Mutex<BTreeSet<[u8; 32]>>,
    slots: Semaphore,
}

impl Passwords {
    pub(super) fn new(key: [u8; 32]) -> Passwords {
        Passwords { key, passed: Mutex::default(), slots: Semaphore::new(AT_ONCE) }
    }

    /// Whether a request has a name and its password (RFC 7617).
    pub(super) async fn pass(&self, auth: &BasicAuth, headers: &HeaderMap) -> bool {
        let Some((name, password)) = credentials(headers) else { return false };
        // An unknown name takes as long as a known one.
        let known = auth.users.get(&name);
        let Some(hash) = known.or_else(|| auth.users.values().next()).cloned() else {
            return false;
        };
        let is_known = known.is_some();
        let print = self.print(&hash, &password);
        if is_known && self.remembered().contains(&print) {
            return true;
        }
        let Ok(_slot) = self.slots.acquire().await else { return false };
        let check = tokio::task::spawn_blocking(move || is_right(&hash, &password));
        let passes = check.await.unwrap_or(false) && is_known;
        if passes {
            let mut remembered = self.remembered();
            if remembered.len() >= REMEMBERED {
                remembered.clear();
            }
            remembered.insert(print);
        }
        passes
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, BTreeSet<[u8; 32]>> {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn print(&self, hash: &str, password: &[u8]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&(hash.len() as u64).to_le_bytes()).update(hash.as_bytes()).update(password);
        *hasher.finalize().as_bytes()
    }
}

fn is_right(hash: &str, password: &[u8]) -> bool {
    if hash.starts_with("$argon2") {
        return PasswordHash::new(hash)
            .is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok());
    }
    bcrypt::verify(password, hash).unwrap_or(false)
}

fn credentials(headers: &HeaderMap) -> Option<(String, Vec<u8>)> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, value) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let bytes = decode(value.trim())?;
    let colon = bytes.iter().position(|byte| *byte == b':')?;
    let name = String::from_utf8(bytes[..colon].to_vec()).ok()?;
    Some((name, bytes[colon + 1..].to_vec()))
}

/// Base 64 (RFC 4648, 4), with or without padding.
fn decode(text: &str) -> Option<Vec<u8>> {
    let (mut out, mut bits, mut held) = (Vec::new(), 0u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(six);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push(u8::try_from((bits >> held) & 0xff).ok()?);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_64_is_read() {
        assert_eq!(decode("YWxpY2U6c2VjcmV0").as_deref(), Some(&b"alice:secret"[..]));
        assert_eq!(decode("Zg==").as_deref(), Some(&b"f"[..]));
        assert_eq!(decode("a*b"), None);
    }
}
