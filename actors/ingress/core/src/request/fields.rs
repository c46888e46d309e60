//! Rules for header fields, on their text alone.

use ipnet::IpNet;
use std::borrow::Cow;
use std::net::IpAddr;

/// What a route may say about a client, and a service is told.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The other end of the connection.
    pub peer: IpAddr,
    /// Who asks; the same unless a trusted proxy is in front.
    pub client: IpAddr,
    /// Whether the peer's word is taken.
    pub is_trusted: bool,
    /// The host that is asked for.
    pub host: &'a str,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Our port.
    pub port: u16,
    /// The request's id.
    pub id: &'a str,
}

/// The host of an authority: lower case, without port and trailing dot (RFC 9110, 7.2). `None` when
/// it cannot be one.
pub fn host_of(authority: &str) -> Option<Cow<'_, str>> {
    let name = match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => authority,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:[]".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_legal) {
        return None;
    }
    Some(match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(name.to_ascii_lowercase()),
        false => Cow::Borrowed(name),
    })
}

/// Who asks: the peer, or the right-most address that a chain of trusted proxies does not vouch
/// for. `forwarded` are the values of `X-Forwarded-For` in their order.
pub fn client<'a>(
    forwarded: impl DoubleEndedIterator<Item = &'a str>,
    peer: IpAddr,
    trusted: &[IpNet],
) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    let mut client = peer;
    if !is_trusted(&peer) {
        return client;
    }
    for value in forwarded.rev().flat_map(|value| value.rsplit(',')) {
        let Some(address) = address_in(value.trim()) else { break };
        client = address;
        if !is_trusted(&address) {
            break;
        }
    }
    client
}

/// An address as proxies write it: alone, in brackets, or with a port.
fn address_in(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    if let Ok(socket) = text.parse::<std::net::SocketAddr>() {
        return Some(socket.ip().to_canonical());
    }
    let bare = text.strip_prefix('[')?.strip_suffix(']')?;
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// Whether a header tells who asks, which is ours to say; or is read as `HTTP_PROXY` by programs that
/// get their headers as variables.
pub fn is_claim(name: &str) -> bool {
    match name {
        "x-forwarded-for" | "x-forwarded-proto" | "x-forwarded-host" | "x-forwarded-port"
        | "x-forwarded-prefix" | "x-real-ip" | "forwarded" | "x-request-id" | "proxy" => true,
        _ => is_forged(name),
    }
}

/// Whether a name with `_` would be read by some services as one of those we set.
pub fn is_forged(name: &str) -> bool {
    if !name.contains('_') {
        return false;
    }
    let dashed = name.replace('_', "-");
    dashed.starts_with("x-forwarded") || ["x-real-ip", "x-request-id"].contains(&dashed.as_str())
}

/// The value of `Forwarded` (RFC 7239, 4). `client` is the client's address as text.
pub fn forwarded(origin: &Origin<'_>, client: &str) -> String {
    let (before, after) = match origin.client {
        IpAddr::V4(_) => ("for=", ";host=\""),
        IpAddr::V6(_) => ("for=\"[", "]\";host=\""),
    };
    [before, client, after, origin.host, "\";proto=", origin.scheme].concat()
}

/// A value of a route's rule with its placeholders filled, each once: what a client sends is not
/// read again.
pub fn filled<'a>(value: &'a str, origin: &Origin<'_>) -> Cow<'a, str> {
    if !value.contains('{') {
        return Cow::Borrowed(value);
    }
    let (mut out, mut rest) = (String::with_capacity(value.len() + 32), value);
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let name = rest[1..].split_once('}').map_or("", |(name, _)| name);
        let known = match name {
            "client_ip" => Some(origin.client.to_string()),
            "host" => Some(origin.host.to_owned()),
            "scheme" => Some(origin.scheme.to_owned()),
            "request_id" => Some(origin.id.to_owned()),
            _ => None,
        };
        match known {
            Some(text) => {
                out.push_str(&text);
                rest = &rest[name.len() + 2..];
            }
            None => {
                out.push('{');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// A request's id that sorts by time (RFC 9562, 5.7).
pub fn uuid(wall_millis: u64, one: u64, other: u64) -> String {
    let high = (wall_millis << 16) | 0x7000 | (one & 0xfff);
    let low = (1 << 63) | (((one >> 12) & 0x3fff) << 48) | (other & 0xffff_ffff_ffff);
    let mut text = Vec::with_capacity(36);
    for (bytes, dashes) in [(high.to_be_bytes(), [4, 6]), (low.to_be_bytes(), [0, 2])] {
        for (at, byte) in bytes.into_iter().enumerate() {
            if dashes.contains(&at) {
                text.push(b'-');
            }
            text.extend_from_slice(&HEX[usize::from(byte)]);
        }
    }
    String::from_utf8(text).unwrap_or_default()
}

/// Each byte in hexadecimal digits.
const HEX: [[u8; 2]; 256] = {
    let (digits, mut all, mut byte) = (b"0123456789abcdef", [[0; 2]; 256], 0);
    while byte < 256 {
        all[byte] = [digits[byte >> 4], digits[byte & 0xf]];
        byte += 1;
    }
    all
};

/// Whether a trusted proxy's id of a request is taken over.
pub fn is_id(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Whether an address may pass by a route's lists; a denial wins.
pub fn admits(allowed: &[IpNet], denied: &[IpNet], client: IpAddr) -> bool {
    let is_in = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&client));
    !is_in(denied) && (allowed.is_empty() || is_in(allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_its_time_in_front_and_its_version_in_the_middle() {
        let id = uuid(0x0123_4567_89ab, u64::MAX, 0xffff_0102_0304_0506);
        assert_eq!(id, "01234567-89ab-7fff-bfff-010203040506");
        assert_eq!(uuid(0, 0, 0), "00000000-0000-7000-8000-000000000000");
        assert!(is_id(&id));
    }
}
