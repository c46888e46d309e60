//! What is done to one request, in order: challenge, redirect to HTTPS, addresses, rate,
//! password, maintenance, redirect, size, then the replica.

use super::access::Line;
use super::answer::{Asked, Refusal};
use super::body::{Body, Upload};
use super::client;
use super::connection::Peer;
use super::counters::{count, uncount};
use super::driver::{Health, Shared};
use super::headers;
use super::loads::{Crew, Known};
use super::worker::Worker;
use hyper::body::{Body as _, Incoming};
use hyper::ext::Protocol;
use hyper::header::{self, ALLOW, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use ipnet::IpNet;
use jaco_ingress_core::request::fields::{self, Origin};
use jaco_ingress_core::request::framing::Wrong;
use jaco_ingress_core::request::normalise;
use jaco_ingress_core::{Route, Table};
use jaco_kit_core::Mono;
use jaco_model::WallMs;
use jaco_model::spec::{AccessLog, TlsMode};
use std::borrow::Cow;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

const CHALLENGES: &str = "/.well-known/acme-challenge/";
/// What no client ever sees: it was gone.
const CLIENT_CLOSED: u16 = 499;
const HEALTH: &str = "/.well-known/jaco/health";

/// One request on its way.
pub(super) struct Visit {
    pub(super) worker: Rc<Worker>,
    pub(super) peer: Rc<Peer>,
    pub(super) table: Arc<Table>,
    pub(super) asked: Asked,
    pub(super) client: IpAddr,
    is_trusted: bool,
    pub(super) host: String,
    method: Method,
    uri: Uri,
    version: Version,
    pub(super) began: Mono,
    route: Option<Arc<Route>>,
    known: Option<Rc<Known>>,
    pub(super) attempts: u32,
    /// The replica that answers, among those of the route.
    pub(super) served: Option<(Rc<Crew>, usize)>,
    pub(super) upload: Option<Rc<Upload>>,
    /// Whether the client was not asked for its body, and waits to be.
    pub(super) waits: bool,
    said: Said,
    /// How long a replica took to begin its answer.
    pub(super) upstream: Option<Duration>,
    reason: &'static str,
    has_ended: bool,
}

/// A client that leaves before there is an answer takes the request with it.
impl Drop for Visit {
    fn drop(&mut self) {
        self.reason = if self.reason.is_empty() { "client_closed" } else { self.reason };
        if let Ok(status) = StatusCode::from_u16(CLIENT_CLOSED) {
            self.end(status, false, 0);
        }
    }
}

/// Answers one request.
pub(super) async fn answer(
    worker: Rc<Worker>,
    peer: Rc<Peer>,
    request: Request<Incoming>,
) -> Response<Body> {
    let beat = peer.pulse.begin();
    count(&worker.shared.counters.requests);
    count(&worker.shared.counters.active);
    let mut visit = Visit::new(worker, peer, &request);
    let mut response = match visit.handle(request).await {
        Ok(response) => response,
        Err(refusal) => {
            visit.reason = refusal.reason;
            if refusal.status.as_u16() >= 400 {
                count(&visit.worker.shared.counters.refused);
                visit.worker.shared.rejections.count(refusal.reason);
            }
            let pages = visit.route.as_ref().map(|route| &route.spec.options.error_pages);
            let own = pages.and_then(|pages| pages.get(&refusal.status.as_u16()));
            let mut response = refusal.response(&visit.asked, own.map(String::as_str));
            if visit.version >= Version::HTTP_2 {
                response.headers_mut().remove(header::CONNECTION);
            }
            response
        }
    };
    response.headers_mut().insert(headers::X_REQUEST_ID, visit.asked.id.clone());
    if visit.waits && visit.version < Version::HTTP_2 {
        // Whether the body comes now is up to the client, and so is where its next request begins.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let status = response.status();
    response.map(|body| {
        body.at_end(move |is_whole, bytes| {
            drop(beat);
            visit.end(status, is_whole, bytes);
        })
    })
}

impl Visit {
    fn new(worker: Rc<Worker>, peer: Rc<Peer>, request: &Request<Incoming>) -> Visit {
        let config = &worker.shared.config;
        let trusted = &config.trusted_proxies;
        let direct = peer.client.ip().to_canonical();
        let is_trusted = contains(trusted, direct);
        let mut client = direct;
        let mut given = None;
        if is_trusted {
            client = headers::client(request.headers(), direct, trusted);
            given = request.headers().get(headers::X_REQUEST_ID);
        }
        let id = given.filter(|id| id.to_str().is_ok_and(fields::is_id)).cloned();
        let id = id.unwrap_or_else(|| {
            headers::value(fields::uuid(config.clock.wall().0, worker.random(), worker.random()))
        });
        Visit {
            table: worker.shared.table.load_full(),
            asked: Asked::new(request.headers(), id),
            client,
            is_trusted,
            host: String::new(),
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            began: config.clock.mono(),
            route: None,
            known: None,
            attempts: 0,
            upstream: None,
            served: None,
            upload: None,
            waits: !request.body().is_end_stream()
                && request.headers().contains_key(header::EXPECT),
            said: Said::by(request.headers(), is_trusted),
            reason: "",
            has_ended: false,
            worker,
            peer,
        }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.worker.shared
    }

    pub(super) fn is_tls(&self) -> bool {
        self.peer.name.is_some()
    }

    pub(super) fn scheme(&self) -> &'static str {
        if self.is_tls() { "https" } else { "http" }
    }

    async fn handle(&mut self, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
        let is_tunnel = request.extensions().get::<Protocol>().is_some();
        if self.method == Method::TRACE || (self.method == Method::CONNECT && !is_tunnel) {
            let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method");
            return Err(refusal.with(ALLOW, HeaderValue::from_static("GET, HEAD, POST")));
        }
        self.host = headers::host(&request)?;
        if self.host == client::STAND_IN
            && let Some(wrong) = self.peer.pulse.wrong()
        {
            return Err(stopped(wrong));
        }
        if let Some(refusal) = self.own_paths(&request) {
            return Err(refusal);
        }
        let uri = self.uri.clone();
        let (route, path) = self.find(&uri)?;
        self.route = Some(route.clone());
        let known = self.worker.routes.get(&route, &self.shared().loads, || self.worker.random());
        self.known = Some(known.clone());
        self.secure(&route, &request)?;
        self.admit(&route, &known, request.headers()).await?;
        self.divert(&route, &request, &path)?;
        self.forward(&known, &route, request, &path).await
    }

    /// The health of the node, and answers to the checks of certificate authorities.
    fn own_paths(&self, request: &Request<Incoming>) -> Option<Refusal> {
        let path = request.uri().path();
        if path == HEALTH && self.shared().config.names.contains(&self.host) {
            let (status, text) = match self.shared().health() {
                Health::Ready => (StatusCode::OK, "ready"),
                Health::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
                Health::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
            };
            return Some(Refusal::new(status, "health").saying(text));
        }
        let token = path.strip_prefix(CHALLENGES).filter(|_| !self.is_tls())?;
        let key = (self.host.clone(), token.to_owned());
        match self.table.tokens.get(&key) {
            Some(answer) => Some(Refusal::new(StatusCode::OK, "challenge").saying(answer)),
            None => {
                let site = self.table.site(&self.host)?;
                let route = site.routes.get("").filter(|route| route.spec.options.acme_passthrough);
                let passes = route.is_some_and(|route| route.spec.tls != TlsMode::Auto);
                (!passes).then(|| Refusal::new(StatusCode::NOT_FOUND, "no_challenge"))
            }
        }
    }

    fn find<'a>(&self, uri: &'a Uri) -> Result<(Arc<Route>, Cow<'a, str>), Refusal> {
        let none = || Refusal::new(StatusCode::NOT_FOUND, "no_route");
        let misdirected = || Refusal::new(StatusCode::MISDIRECTED_REQUEST, "misdirected");
        let site = self.table.site(&self.host);
        if let Some(name) = &self.peer.name {
            // Names of one owner may share a connection when its certificate was for one of them.
            let site = site.ok_or_else(misdirected)?;
            let served = if *name == self.host { Some(site) } else { self.table.site(name) };
            let served = served.ok_or_else(misdirected)?;
            let is_covered = site.certificate == served.certificate && site.owner == served.owner;
            if !is_covered || site.certificate.is_none() {
                return Err(misdirected());
            }
        }
        let site = site.ok_or_else(none)?;
        let path = normalise(uri.path());
        let path = path.ok_or_else(|| Refusal::bad("bad_path"))?;
        let route = site.route(&path).ok_or_else(none)?.clone();
        let methods = &route.spec.options.methods;
        if !methods.is_empty() && !methods.contains(self.method.as_str()) {
            let allowed: Vec<&str> = methods.iter().map(String::as_str).collect();
            let mut refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method");
            if let Ok(allowed) = HeaderValue::from_str(&allowed.join(", ")) {
                refusal = refusal.with(ALLOW, allowed);
            }
            return Err(refusal);
        }
        Ok((route, path))
    }

    pub(super) fn origin(&self) -> Origin<'_> {
        Origin {
            peer: self.peer.client.ip().to_canonical(),
            client: self.client,
            is_trusted: self.is_trusted,
            host: &self.host,
            scheme: self.scheme(),
            port: self.peer.local.port(),
            id: self.asked.id(),
        }
    }

    /// The answer is through, or given up.
    fn end(&mut self, status: StatusCode, is_whole: bool, bytes: u64) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        let shared = self.shared();
        let now = shared.config.clock.mono();
        let took = now.since(self.began);
        self.peer.pulse.is_over(now);
        let requests = self.known.as_ref().map_or(&shared.strangers, |known| &known.meter.requests);
        requests.count(&self.method, status, took, self.upstream);
        uncount(&shared.counters.active);
        self.log(status, is_whole, bytes, took);
    }

    fn log(&self, status: StatusCode, is_whole: bool, bytes: u64, took: Duration) {
        let spec = self.route.as_ref().map(|route| &route.spec);
        let wanted = spec.and_then(|spec| spec.options.access_log);
        let is_error = status.as_u16() >= 500 || !self.reason.is_empty();
        match wanted.unwrap_or(self.shared().config.access_log) {
            AccessLog::Off => return,
            AccessLog::Errors if !is_error => return,
            AccessLog::Errors | AccessLog::All => {}
        }
        let shared = self.shared();
        if !shared.access.admits(shared.config.clock.mono()) {
            return;
        }
        let micros = |took: Duration| u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let target = spec.and_then(|spec| spec.target.as_ref());
        let replica = self.served.as_ref().and_then(|(crew, at)| crew.endpoints().get(*at));
        shared.access.write(&Line {
            ts: WallMs(shared.config.clock.wall().0).to_string(),
            request_id: self.asked.id(),
            client: self.client.to_string(),
            trusted_chain: self.said.chain.as_ref(),
            host: &self.host,
            method: self.method.as_str(),
            path: self.uri.path(),
            protocol: protocol(self.version),
            tls_version: self.peer.tls.map(|tls| tls.version),
            tls_suite: self.peer.tls.and_then(|tls| tls.suite),
            sni: self.peer.name.as_deref(),
            status: status.as_u16(),
            reason: self.reason,
            is_whole,
            bytes_in: self.upload.as_ref().map_or(0, |upload| upload.passed()),
            bytes_out: bytes,
            duration_us: micros(took),
            upstream_us: self.upstream.map(micros),
            attempts: self.attempts,
            deployment: self.route.as_ref().map(|route| route.deployment.to_string()),
            service: target.map(|target| target.service.to_string()),
            replica: replica.map(|endpoint| endpoint.instance.to_string()),
            node: shared.config.names.first().map_or("", String::as_str),
            user_agent: self.said.user_agent.as_ref(),
            referer: self.said.referer.as_ref(),
        });
    }
}

/// What a client says of itself, kept for the log. A copy shares the bytes.
#[derive(Debug, Default)]
struct Said {
    chain: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
    referer: Option<HeaderValue>,
}

impl Said {
    fn by(headers: &HeaderMap, is_trusted: bool) -> Said {
        Said {
            chain: is_trusted.then(|| headers.get("x-forwarded-for").cloned()).flatten(),
            user_agent: headers.get(header::USER_AGENT).cloned(),
            referer: headers.get(header::REFERER).cloned(),
        }
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

fn stopped(wrong: Wrong) -> Refusal {
    let close = HeaderValue::from_static("close");
    match wrong {
        Wrong::Malformed => Refusal::bad("malformed"),
        Wrong::LongTarget => {
            Refusal::new(StatusCode::URI_TOO_LONG, "long_target").with(header::CONNECTION, close)
        }
        Wrong::LongHeader => {
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            Refusal::new(status, "long_header").with(header::CONNECTION, close)
        }
    }
}

pub(super) fn contains(nets: &[IpNet], address: IpAddr) -> bool {
    nets.iter().any(|net| net.contains(&address))
}

pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
}
