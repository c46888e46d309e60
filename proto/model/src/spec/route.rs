//! Routes: which requests reach which port of which service, and what is done to them on the way.
//!
//! `proto/manifest` is the only maker: domains are lower case A-labels without a trailing dot,
//! paths absolute without a trailing slash (the empty one takes all), header names lower case and
//! legal, networks parsed.

use crate::{DeploymentName, Millis, ServiceName};
use ipnet::IpNet;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// One route. Its key is (domain, path), once in the whole cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteSpec {
    /// A host name, or `*.` and a host name: then exactly one label more; or [`ANY_HOST`].
    ///
    /// [`ANY_HOST`]: crate::name::ANY_HOST
    pub domain: String,
    /// Prefix up to a segment's border; empty is every path.
    pub path: String,
    /// Where requests go; `None` for a route that answers by itself.
    pub target: Option<RouteTarget>,
    /// How the domain is encrypted. The same for all routes of a domain.
    pub tls: TlsMode,
    /// How the certificate authority checks the domain.
    pub challenge: Challenge,
    /// Other deployments that may add paths here or names under this wildcard.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub shared_with: BTreeSet<DeploymentName>,
    /// What is done to requests and answers.
    pub options: RouteOptions,
}

/// The port of a service that a route leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTarget {
    /// Which service of the same deployment.
    pub service: ServiceName,
    /// Port in its containers.
    pub port: u16,
    /// What is spoken there.
    pub protocol: UpstreamProtocol,
    /// Whether the certificate of an `https` upstream is checked.
    #[serde(default)]
    pub verify: bool,
}

/// What a container speaks on the port of a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpstreamProtocol {
    /// HTTP/1.1, or h2c for requests with a gRPC content type.
    #[default]
    Http,
    /// HTTP/2 without TLS, by prior knowledge.
    H2c,
    /// HTTP/1.1 over TLS.
    Https,
    /// As `h2c`, and the proxy's own errors are those of gRPC.
    Grpc,
}

/// How a domain is encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "mode", content = "secret")]
pub enum TlsMode {
    /// A certificate by ACME.
    #[default]
    Auto,
    /// Plain HTTP only.
    Off,
    /// The certificate in this secret of the deployment: PEM chain, then key.
    Own(String),
}

/// How the certificate authority checks that a domain is ours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "provider")]
pub enum Challenge {
    /// HTTP-01.
    #[default]
    Http,
    /// DNS-01 by this provider.
    Dns(String),
}

/// What is done to requests and answers of a route, in the order of ingress.md §7.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RouteOptions {
    /// Remove the path of the route before the request goes on.
    pub strip_path: bool,
    /// 308 to HTTPS once there is a certificate.
    pub https_redirect: bool,
    /// Before the first certificate: 503 instead of plain HTTP.
    pub tls_pending_refuse: bool,
    /// Challenge tokens that are not ours go to the service.
    pub acme_passthrough: bool,
    /// `Strict-Transport-Security: max-age`, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hsts: Option<u64>,
    /// Only these methods match; empty is all.
    pub methods: BTreeSet<String>,
    /// Client networks that may pass; empty is all.
    pub ip_allow: Vec<IpNet>,
    /// Client networks that may not; they win.
    pub ip_deny: Vec<IpNet>,
    /// Requests per time and node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// Names and passwords.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    /// Answer this instead of the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<Maintenance>,
    /// Send clients elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect: Option<Redirect>,
    /// Most bytes of a request's body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_limit: Option<u64>,
    /// Changes of the request's headers.
    pub request_headers: HeaderRules,
    /// Changes of the answer's headers.
    pub response_headers: HeaderRules,
    /// The Host that the service sees.
    pub host_header: HostHeader,
    /// Which replica takes a request.
    pub lb: LoadBalancing,
    /// Keeps a client at its replica.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sticky: Option<Sticky>,
    /// How long each stage may take.
    pub timeouts: RouteTimeouts,
    /// Most requests at once per replica and node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_concurrent: Option<u32>,
    /// Compress text with gzip.
    pub compress: bool,
    /// Which requests are logged; `None` takes the node's setting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_log: Option<AccessLog>,
    /// Bodies of the proxy's own errors by status.
    #[serde(deserialize_with = "pages")]
    pub error_pages: BTreeMap<u16, String>,
}

/// Reads the statuses as the text that keys of JSON are: within a tagged command, serde no longer
/// makes numbers of them.
fn pages<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<u16, String>, D::Error> {
    let pages = BTreeMap::<String, String>::deserialize(from)?;
    let status = |text: &str| text.parse().map_err(|_| D::Error::custom("a status is a number"));
    pages.into_iter().map(|(key, page)| Ok((status(&key)?, page))).collect()
}

impl Default for RouteOptions {
    fn default() -> RouteOptions {
        RouteOptions {
            strip_path: false,
            https_redirect: true,
            tls_pending_refuse: false,
            acme_passthrough: false,
            hsts: None,
            methods: BTreeSet::new(),
            ip_allow: Vec::new(),
            ip_deny: Vec::new(),
            rate_limit: None,
            basic_auth: None,
            maintenance: None,
            redirect: None,
            body_limit: None,
            request_headers: HeaderRules::default(),
            response_headers: HeaderRules::default(),
            host_header: HostHeader::default(),
            lb: LoadBalancing::default(),
            sticky: None,
            timeouts: RouteTimeouts::default(),
            max_concurrent: None,
            compress: false,
            access_log: None,
            error_pages: BTreeMap::new(),
        }
    }
}

/// A token bucket per key and node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimit {
    /// Requests per `per`.
    pub requests: u32,
    /// In which time.
    pub per: Millis,
    /// Most requests at once.
    pub burst: u32,
    /// Whose requests share a bucket.
    pub key: RateKey,
}

/// Whose requests share a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "name")]
pub enum RateKey {
    /// Those of one client address.
    Ip,
    /// Those with the same value of this header.
    Header(String),
    /// All of the route.
    Route,
}

/// Names and passwords for a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BasicAuth {
    /// What the client shows its user.
    pub realm: String,
    /// Hashes (bcrypt or argon2id, in their own notation) by name.
    pub users: BTreeMap<String, String>,
    /// Whether the service sees the credentials.
    pub forward: bool,
}

/// A page instead of the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maintenance {
    /// Status of the answer.
    pub status: u16,
    /// `Retry-After`.
    pub retry_after: Millis,
    /// Its body; `None` is our own page.
    pub body: Option<String>,
    /// Client networks that reach the service all the same.
    pub allow: Vec<IpNet>,
}

/// Where clients are sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redirect {
    /// URL or absolute path with `{host}`, `{path}` and `{scheme}`.
    pub to: String,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// Append the request's path after that of the route.
    pub keep_path: bool,
    /// Append the query.
    pub keep_query: bool,
}

/// Changes of headers: remove, then set, then add. Names are lower case; values may hold
/// `{client_ip}`, `{host}`, `{scheme}` and `{request_id}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HeaderRules {
    /// Removed first.
    pub remove: Vec<String>,
    /// Replace all of the name.
    pub set: BTreeMap<String, String>,
    /// Come besides what is there.
    pub add: BTreeMap<String, String>,
}

/// The Host that the service sees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "host")]
pub enum HostHeader {
    /// The client's.
    #[default]
    Client,
    /// Address and port of the replica.
    Upstream,
    /// This one.
    Literal(String),
}

/// Which replica takes a request, and when another one is tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadBalancing {
    /// How one is chosen.
    pub policy: LbPolicy,
    /// Only replicas of this node while one of them may serve.
    pub prefer_local: bool,
    /// Most tries after the first.
    pub retries: u8,
    /// No try begins later than that after the request.
    pub retry_for: Millis,
    /// Answers that are tried again besides lost connections: of 502, 503, 504.
    pub retry_on: BTreeSet<u16>,
}

impl Default for LoadBalancing {
    fn default() -> LoadBalancing {
        LoadBalancing {
            policy: LbPolicy::default(),
            prefer_local: false,
            retries: 2,
            retry_for: Millis::secs(10),
            retry_on: BTreeSet::new(),
        }
    }
}

/// How a replica is chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "header")]
pub enum LbPolicy {
    /// The less busy of two picked at random.
    #[default]
    LeastRequests,
    /// Any.
    Random,
    /// Each in turn.
    RoundRobin,
    /// By the client's address, consistently.
    IpHash,
    /// By the value of a header, consistently.
    HeaderHash(String),
}

/// Keeps a client at its replica by a cookie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sticky {
    /// The cookie's name.
    pub cookie: String,
    /// `Max-Age`; zero ends with the client's session.
    pub ttl: Millis,
    /// `SameSite`.
    pub same_site: SameSite,
}

/// `SameSite` of a cookie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SameSite {
    /// Not with requests other sites cause, but with links from them.
    #[default]
    Lax,
    /// Not from other sites at all.
    Strict,
    /// Always.
    None,
}

/// How long each stage may take; zero is for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RouteTimeouts {
    /// Until a connection to the replica stands.
    pub connect: Millis,
    /// From the request to the header of the answer.
    pub response: Millis,
    /// Between two pieces of a body.
    pub read: Millis,
    /// Between two pieces of a stream: upgraded, gRPC, server-sent events.
    pub stream_idle: Millis,
    /// The whole request.
    pub request: Millis,
}

impl Default for RouteTimeouts {
    fn default() -> RouteTimeouts {
        RouteTimeouts {
            connect: Millis::secs(2),
            response: Millis::secs(60),
            read: Millis::secs(60),
            stream_idle: Millis::secs(3600),
            request: Millis(0),
        }
    }
}

/// Which requests are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessLog {
    /// None.
    Off,
    /// Status 500 and above, and what the proxy answered itself.
    #[default]
    Errors,
    /// Every one.
    All,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a command carries them.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Tagged {
        Options(Box<RouteOptions>),
    }

    #[test]
    fn options_in_a_command_are_read_as_they_were_written() {
        let mut options = RouteOptions::default();
        options.error_pages.insert(502, "broken".to_owned());
        options.lb.retry_on.insert(503);
        options.basic_auth = Some(BasicAuth {
            realm: "in".to_owned(),
            users: BTreeMap::from([("1".to_owned(), "hash".to_owned())]),
            forward: true,
        });
        let tagged = Tagged::Options(Box::new(options));
        let text = serde_json::to_string(&tagged).unwrap();
        assert_eq!(serde_json::from_str::<Tagged>(&text).unwrap(), tagged);
        let wrong = text.replace("\"502\"", "\"many\"");
        assert!(serde_json::from_str::<Tagged>(&wrong).is_err());
    }
}
