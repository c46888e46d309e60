//! Headers on their way through.

use super::answer::Refusal;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TRANSFER_ENCODING, UPGRADE,
};
use hyper::{Method, Request, Version};
use ipnet::IpNet;
use jaco_ingress_core::request::fields::{self, Origin};
use jaco_model::spec::HeaderRules;
use std::borrow::Cow;
use std::cell::RefCell;
use std::net::IpAddr;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
pub(super) const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const EMPTY: HeaderValue = HeaderValue::from_static("");
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
    fields::host_of(host).map(Cow::into_owned).ok_or_else(|| Refusal::bad("bad_host"))
}

/// Removes what concerns only one connection (RFC 9110, 7.6.1).
pub(super) fn strip_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            // That one goes anyway.
            .filter(|name| !name.eq_ignore_ascii_case("keep-alive"))
            .filter_map(|name| name.parse().ok())
            .collect();
        for name in named {
            if name != HOST && name != CONTENT_LENGTH {
                headers.remove(name);
            }
        }
        headers.remove(CONNECTION);
    }
    // A look at each name costs less than a search for all these, and mostly there is none.
    if headers.keys().any(|name| HOP.contains(name)) {
        for name in &HOP {
            headers.remove(name);
        }
    }
}

static HOP: [HeaderName; 6] = [
    TRANSFER_ENCODING,
    UPGRADE,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
];

/// Who asks, by what the connection says, or a proxy in front that is trusted.
pub(super) fn client(headers: &HeaderMap, peer: IpAddr, trusted: &[IpNet]) -> IpAddr {
    let values = headers.get_all(X_FORWARDED_FOR).iter();
    fields::client(values.filter_map(|value| value.to_str().ok()), peer, trusted)
}

/// What a service is told of who asks, as it is written.
#[derive(Debug)]
pub(super) struct Said {
    /// Lines of a header, each with its end.
    pub(super) lines: Bytes,
    pub(super) id: HeaderValue,
}

/// Says who asks. What somebody untrusted said of it goes. `is_apart` lets it stand beside the
/// headers, where nobody may change it: putting all of it in and writing it out again costs as much
/// as a request does otherwise.
pub(super) fn forwarded(
    headers: &mut HeaderMap,
    origin: &Origin<'_>,
    id: &HeaderValue,
    told: &RefCell<Option<Told>>,
    is_apart: bool,
) -> Option<Said> {
    let chain = chain(headers, origin);
    let claims: Vec<HeaderName> =
        headers.keys().filter(|name| fields::is_claim(name.as_str())).cloned().collect();
    for name in claims {
        headers.remove(name);
    }
    let mut told = told.borrow_mut();
    let told = match told.as_mut() {
        Some(told) => {
            told.be_of(origin);
            told
        }
        None => told.insert(Told::new(origin)),
    };
    if is_apart && chain.is_none() {
        return Some(Said { lines: told.lines(origin), id: id.clone() });
    }
    // For those below, and what a route may set.
    headers.reserve(8);
    match chain {
        Some(chain) => set(headers, X_FORWARDED_FOR, &chain),
        None => drop(headers.insert(X_FORWARDED_FOR, told.peer.clone())),
    }
    for (name, value) in told.besides(origin) {
        headers.insert(name, value);
    }
    headers.insert(X_REQUEST_ID, id.clone());
    None
}

/// What is said about the requests of one connection, as long as they are for one host and of one
/// client: nearly always all of them.
#[derive(Debug)]
pub(super) struct Told {
    client: IpAddr,
    peer: HeaderValue,
    host_value: HeaderValue,
    port: HeaderValue,
    client_value: HeaderValue,
    forwarded: HeaderValue,
    /// All of it, written.
    lines: Option<Bytes>,
}

impl Told {
    fn new(origin: &Origin<'_>) -> Told {
        let client = origin.client.to_string();
        Told {
            client: origin.client,
            peer: value(origin.peer.to_string()),
            host_value: value(origin.host.to_owned()),
            port: value(origin.port.to_string()),
            forwarded: value(fields::forwarded(origin, &client)),
            client_value: value(client),
            lines: None,
        }
    }

    /// What is said besides the chain of addresses.
    fn besides(&self, origin: &Origin<'_>) -> [(HeaderName, HeaderValue); 5] {
        [
            (X_FORWARDED_PROTO, HeaderValue::from_static(origin.scheme)),
            (X_FORWARDED_HOST, self.host_value.clone()),
            (X_FORWARDED_PORT, self.port.clone()),
            (X_REAL_IP, self.client_value.clone()),
            (FORWARDED, self.forwarded.clone()),
        ]
    }

    fn lines(&mut self, origin: &Origin<'_>) -> Bytes {
        if let Some(lines) = &self.lines {
            return lines.clone();
        }
        let mut lines = Vec::new();
        let chain = (X_FORWARDED_FOR, self.peer.clone());
        for (name, value) in self.besides(origin).into_iter().chain([chain]) {
            write_line(&mut lines, &name, &value);
        }
        self.lines.insert(lines.into()).clone()
    }

    /// Makes it what is said about this request.
    fn be_of(&mut self, origin: &Origin<'_>) {
        if self.client != origin.client {
            *self = Told::new(origin);
        } else if self.host_value != *origin.host {
            let client = self.client_value.to_str().unwrap_or_default();
            self.forwarded = value(fields::forwarded(origin, client));
            self.host_value = value(origin.host.to_owned());
            self.lines = None;
        }
    }
}

/// Writes one line of a header of HTTP/1.
pub(super) fn write_line(out: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// Whether a request of this method is told to be empty when it is: some servers want to know
/// (RFC 9110, 8.6).
pub(super) fn tells_no_body(method: &Method) -> bool {
    [Method::POST, Method::PUT, Method::PATCH].contains(method)
}

/// Addresses, numbers and hosts that were checked have nothing that a value may not have.
pub(super) fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(EMPTY)
}

/// The peer, after those that it speaks for when it is trusted; `None` is the peer alone.
fn chain(headers: &HeaderMap, origin: &Origin<'_>) -> Option<String> {
    if !origin.is_trusted {
        return None;
    }
    let mut chain = String::new();
    for value in headers.get_all(X_FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()) {
        chain.push_str(value);
        chain.push_str(", ");
    }
    chain.push_str(&origin.peer.to_string());
    Some(chain)
}

/// Carries out a route's rules.
pub(super) fn apply(headers: &mut HeaderMap, rules: &HeaderRules, origin: &Origin<'_>) {
    for name in &rules.remove {
        headers.remove(name);
    }
    for (name, value) in &rules.set {
        if let Ok(name) = name.parse() {
            set(headers, name, &fields::filled(value, origin));
        }
    }
    for (name, value) in &rules.add {
        if let (Ok(name), Ok(value)) =
            (name.parse::<HeaderName>(), HeaderValue::from_str(&fields::filled(value, origin)))
        {
            headers.append(name, value);
        }
    }
}

/// Makes the cookies one line, as services without HTTP/2 want them (RFC 9113, 8.2.3).
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (lines.next(), lines.next()) else { return };
    let mut joined = first.as_bytes().to_vec();
    for line in std::iter::once(second).chain(lines) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(line.as_bytes());
    }
    if let Ok(joined) = HeaderValue::from_bytes(&joined) {
        headers.insert(COOKIE, joined);
    }
}

/// Sets a header, unless the value cannot be one.
pub(super) fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
