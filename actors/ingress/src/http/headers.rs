//! Headers on their way through.

use super::answer::Refusal;
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use hyper::{Request, Version};
use ipnet::IpNet;
use jaco_model::spec::HeaderRules;
use std::net::{IpAddr, SocketAddr};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The host of a request: lower case, without port and trailing dot (RFC 9112, 3.2).
pub(super) fn host(request: &Request<Incoming>) -> Result<String, Refusal> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let given = hosts.next().map(HeaderValue::to_str).transpose();
    let given = given.map_err(|_| Refusal::bad("bad_host"))?;
    if hosts.next().is_some() {
        return Err(Refusal::bad("bad_host"));
    }
    let authority = request.uri().authority().map(|authority| authority.as_str());
    if let (Some(given), Some(authority)) = (given, authority)
        && !given.eq_ignore_ascii_case(authority)
    {
        return Err(Refusal::bad("bad_host"));
    }
    let is_old = request.version() < Version::HTTP_2;
    if given.is_none() && is_old {
        return Err(Refusal::bad("bad_host"));
    }
    let host = authority.or(given).ok_or_else(|| Refusal::bad("bad_host"))?;
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_legal) {
        return Err(Refusal::bad("bad_host"));
    }
    Ok(name)
}

/// Removes what concerns only one connection (RFC 9110, 7.6.1).
pub(super) fn strip_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        if name != HOST && name != CONTENT_LENGTH {
            headers.remove(name);
        }
    }
    headers.remove(CONNECTION);
    headers.remove(TRANSFER_ENCODING);
    headers.remove(UPGRADE);
    for name in ["keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization"] {
        headers.remove(name);
    }
}

/// Who asks, by what the connection says, or a proxy in front that is trusted.
pub(super) fn client(headers: &HeaderMap, peer: SocketAddr, trusted: &[IpNet]) -> IpAddr {
    let peer = peer.ip().to_canonical();
    let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    if !is_trusted(&peer) {
        return peer;
    }
    let values: Vec<&str> = headers
        .get_all(X_FORWARDED_FOR)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect();
    let mut client = peer;
    for value in values.into_iter().rev() {
        let Ok(address) = value.trim().parse::<IpAddr>() else { break };
        client = address;
        if !is_trusted(&address) {
            break;
        }
    }
    client
}

/// What the service is told about the client.
pub(super) struct Origin<'a> {
    pub(super) peer: IpAddr,
    pub(super) client: IpAddr,
    pub(super) is_trusted: bool,
    pub(super) host: &'a str,
    pub(super) scheme: &'static str,
    pub(super) port: u16,
    pub(super) id: &'a str,
}

/// Says who asks. What somebody untrusted said of it goes.
pub(super) fn forwarded(headers: &mut HeaderMap, origin: &Origin<'_>) {
    let before = headers.get(X_FORWARDED_FOR).cloned().filter(|_| origin.is_trusted);
    let colliding: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().contains('_')).cloned().collect();
    for name in colliding {
        let dashed = name.as_str().replace('_', "-");
        if dashed.starts_with("x-forwarded") || dashed == "x-real-ip" || dashed == "x-request-id" {
            headers.remove(name);
        }
    }
    headers.remove("proxy");
    headers.remove("x-forwarded-prefix");
    let chain = match before.as_ref().and_then(|before| before.to_str().ok()) {
        Some(before) => format!("{before}, {}", origin.peer),
        None => origin.peer.to_string(),
    };
    let quoted = match origin.client {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("\"[{address}]\""),
    };
    let (host, scheme) = (origin.host, origin.scheme);
    set(headers, X_FORWARDED_FOR, &chain);
    set(headers, HeaderName::from_static("x-forwarded-proto"), scheme);
    set(headers, HeaderName::from_static("x-forwarded-host"), host);
    set(headers, HeaderName::from_static("x-forwarded-port"), &origin.port.to_string());
    set(headers, HeaderName::from_static("x-real-ip"), &origin.client.to_string());
    set(headers, FORWARDED, &format!("for={quoted};host=\"{host}\";proto={scheme}"));
    set(headers, X_REQUEST_ID, origin.id);
}

/// Carries out a route's rules.
pub(super) fn apply(headers: &mut HeaderMap, rules: &HeaderRules, origin: &Origin<'_>) {
    for name in &rules.remove {
        headers.remove(name);
    }
    for (name, value) in &rules.set {
        if let Ok(name) = name.parse() {
            set(headers, name, &filled(value, origin));
        }
    }
    for (name, value) in &rules.add {
        if let (Ok(name), Ok(value)) =
            (name.parse::<HeaderName>(), HeaderValue::from_str(&filled(value, origin)))
        {
            headers.append(name, value);
        }
    }
}

fn filled(value: &str, origin: &Origin<'_>) -> String {
    if !value.contains('{') {
        return value.to_owned();
    }
    value
        .replace("{client_ip}", &origin.client.to_string())
        .replace("{host}", origin.host)
        .replace("{scheme}", origin.scheme)
        .replace("{request_id}", origin.id)
}

/// Whether trailers are accepted, which alone of `TE` goes on.
pub(super) fn takes_trailers(headers: &HeaderMap) -> bool {
    headers.get(TE).and_then(|te| te.to_str().ok()).is_some_and(|te| te.contains("trailers"))
}

/// Sets a header, unless the value cannot be one.
pub(super) fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// A request's id that sorts by time (RFC 9562, 5.7).
pub(super) fn uuid(wall_millis: u64, one: u64, other: u64) -> String {
    let (time, low) = (wall_millis & 0xffff_ffff_ffff, other & 0xffff_ffff_ffff);
    format!(
        "{:08x}-{:04x}-7{:03x}-{:04x}-{low:012x}",
        time >> 16,
        time & 0xffff,
        one & 0xfff,
        0x8000 | ((one >> 12) & 0x3fff),
    )
}
