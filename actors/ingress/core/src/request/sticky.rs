//! Cookies that keep a client at its replica.

use jaco_model::InstanceId;
use jaco_model::spec::{SameSite, Sticky};

/// What stands for a replica in cookies. It says nothing to those who have not the key, and cannot
/// be made without it.
pub fn mark(key: &[u8; 32], instance: &InstanceId) -> String {
    let hash = blake3::keyed_hash(key, instance.to_string().as_bytes());
    hash.to_hex().as_str()[..32].to_owned()
}

/// The value of a route's cookie in the `Cookie` headers of a request (RFC 6265, 4.2.1).
pub fn value_of<'a>(
    sticky: &Sticky,
    headers: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let mut pairs = headers.into_iter().flat_map(|header| header.split(';'));
    pairs.find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == sticky.cookie).then_some(value)
    })
}

/// The `Set-Cookie` that makes a client come back to the replica of this mark.
pub fn cookie(sticky: &Sticky, mark: &str, is_tls: bool) -> String {
    let same_site = match sticky.same_site {
        SameSite::Lax => "Lax",
        SameSite::Strict => "Strict",
        SameSite::None => "None",
    };
    let name = &sticky.cookie;
    let mut cookie = format!("{name}={mark}; Path=/; HttpOnly; SameSite={same_site}");
    if sticky.ttl.0 > 0 {
        cookie.push_str(&format!("; Max-Age={}", sticky.ttl.std().as_secs()));
    }
    if is_tls {
        cookie.push_str("; Secure");
    }
    cookie
}
