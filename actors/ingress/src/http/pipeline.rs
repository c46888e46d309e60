//! What is done to one request, in order: challenge, redirect to HTTPS, addresses, rate,
//! password, maintenance, redirect, size, then the replica.

use super::answer::{Asked, Refusal};
use super::body::{Body, Verdict};
use super::client;
use super::connection::Peer;
use super::counters::count;
use super::driver::{Health, Shared};
use super::exchange::{self, Answered, Errand};
use super::framing::Wrong;
use super::headers::{self, Origin};
use super::sticky::Sticks;
use super::upgrade::Upgrade;
use super::worker::Worker;
use super::{matching, tunnel};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::header::{
    self, ALLOW, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
};
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use ipnet::IpNet;
use jaco_ingress_core::{Route, Service, Table};
use jaco_kit_core::Mono;
use jaco_model::spec::{
    AccessLog, HostHeader, LbPolicy, RouteOptions, Sticky, TlsMode, UpstreamProtocol,
};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;

const CHALLENGES: &str = "/.well-known/acme-challenge/";
const HEALTH: &str = "/.well-known/jaco/health";

/// One request on its way.
pub(super) struct Visit {
    worker: Rc<Worker>,
    peer: Rc<Peer>,
    table: Arc<Table>,
    asked: Asked,
    pub(super) client: IpAddr,
    is_trusted: bool,
    pub(super) host: String,
    method: Method,
    path: String,
    version: Version,
    began: Mono,
    route: Option<Arc<Route>>,
    attempts: u32,
    reason: &'static str,
}

/// Answers one request.
pub(super) async fn answer(
    worker: Rc<Worker>,
    peer: Rc<Peer>,
    request: Request<Incoming>,
) -> Response<Body> {
    let beat = peer.pulse.begin();
    count(&worker.shared.counters.requests);
    let mut visit = Visit::new(worker, peer, &request);
    let mut response = match visit.handle(request).await {
        Ok(response) => response,
        Err(refusal) => {
            visit.reason = refusal.reason;
            if refusal.status.as_u16() >= 400 {
                count(&visit.worker.shared.counters.refused);
            }
            let mut response = refusal.response(&visit.asked);
            if visit.version >= Version::HTTP_2 {
                response.headers_mut().remove(header::CONNECTION);
            }
            response
        }
    };
    headers::set(response.headers_mut(), headers::X_REQUEST_ID, &visit.asked.id);
    let status = response.status();
    response.map(|body| {
        body.at_end(move |is_whole, bytes| {
            drop(beat);
            visit.log(status, is_whole, bytes);
        })
    })
}

impl Visit {
    fn new(worker: Rc<Worker>, peer: Rc<Peer>, request: &Request<Incoming>) -> Visit {
        let config = &worker.shared.config;
        let trusted = &config.trusted_proxies;
        let client = headers::client(request.headers(), peer.client, trusted);
        let is_trusted = contains(trusted, peer.client.ip().to_canonical());
        let given = request.headers().get(headers::X_REQUEST_ID).filter(|_| is_trusted);
        let id = match given.and_then(|id| id.to_str().ok()).filter(|id| id.len() <= 128) {
            Some(id) if id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') => {
                id.to_owned()
            }
            _ => headers::uuid(config.clock.wall().0, worker.random(), worker.random()),
        };
        Visit {
            table: worker.shared.table.load_full(),
            asked: Asked::new(request.headers(), id),
            client,
            is_trusted,
            host: String::new(),
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            version: request.version(),
            began: config.clock.mono(),
            route: None,
            attempts: 0,
            reason: "",
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
        let (route, path) = self.find(&request)?;
        self.route = Some(route.clone());
        self.secure(&route, &request)?;
        self.admit(&route, request.headers()).await?;
        self.divert(&route, &request, &path)?;
        self.forward(&route, request, &path).await
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
                let site = matching::site(&self.table, &self.host)?;
                let route = site.routes.get("").filter(|route| route.spec.options.acme_passthrough);
                let passes = route.is_some_and(|route| route.spec.tls != TlsMode::Auto);
                (!passes).then(|| Refusal::new(StatusCode::NOT_FOUND, "no_challenge"))
            }
        }
    }

    fn find(&self, request: &Request<Incoming>) -> Result<(Arc<Route>, String), Refusal> {
        let none = || Refusal::new(StatusCode::NOT_FOUND, "no_route");
        let misdirected = || Refusal::new(StatusCode::MISDIRECTED_REQUEST, "misdirected");
        let site = matching::site(&self.table, &self.host);
        if let Some(name) = &self.peer.name {
            // Names of one owner may share a connection when its certificate was for one of them.
            let served = matching::site(&self.table, name).ok_or_else(misdirected)?;
            let site = site.ok_or_else(misdirected)?;
            let is_covered = site.certificate == served.certificate && site.owner == served.owner;
            if !is_covered || site.certificate.is_none() {
                return Err(misdirected());
            }
        }
        let site = site.ok_or_else(none)?;
        let path = matching::normalise(request.uri().path());
        let path = path.ok_or_else(|| Refusal::bad("bad_path"))?;
        let route = matching::route(site, &path).ok_or_else(none)?.clone();
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

    async fn forward(
        &mut self,
        route: &Arc<Route>,
        mut request: Request<Incoming>,
        path: &str,
    ) -> Result<Response<Body>, Refusal> {
        let options = &route.spec.options;
        let no_route = || Refusal::new(StatusCode::NOT_FOUND, "no_route");
        let target = route.spec.target.as_ref().ok_or_else(no_route)?;
        let key = (route.deployment.clone(), target.service.clone());
        let table = self.table.clone();
        let service = table.services.get(&key).ok_or_else(Refusal::no_upstream)?;
        let is_http2 = match target.protocol {
            UpstreamProtocol::H2c | UpstreamProtocol::Grpc => true,
            UpstreamProtocol::Http => self.asked.is_grpc,
            UpstreamProtocol::Https => {
                return Err(Refusal::new(StatusCode::BAD_GATEWAY, "upstream_protocol"));
            }
        };
        self.asked.is_grpc |= target.protocol == UpstreamProtocol::Grpc;
        let affinity = match &options.lb.policy {
            LbPolicy::HeaderHash(name) => text(request.headers(), name).to_owned(),
            _ => self.client.to_string(),
        };
        let wanted = options
            .sticky
            .as_ref()
            .and_then(|sticky| self.sticks(sticky, service).read(request.headers()));
        let upgrade = self.prepare(route, &mut request, path, is_http2)?;
        let verdict = Verdict::default();
        let idle = options.timeouts.read.std();
        let idle = if self.asked.is_grpc { options.timeouts.stream_idle.std() } else { idle };
        let limit = options.body_limit;
        let is_tunnel = upgrade.is_some();
        let request = request.map(|body| {
            if is_tunnel {
                return Body::own("");
            }
            let body = Body::stream(body).at_most(limit).silent_at_most(idle);
            body.reports_to(verdict.clone())
        });
        let errand = Errand {
            worker: &self.worker,
            service,
            options,
            port: target.port,
            is_http2,
            affinity: &affinity,
            wanted,
            verdict,
        };
        let answered = exchange::run(&errand, request).await?;
        self.attempts = answered.attempts;
        self.relay(route, answered, upgrade, service, wanted)
    }

    /// Makes the request one for the replica.
    fn prepare(
        &self,
        route: &Route,
        request: &mut Request<Incoming>,
        path: &str,
        is_http2: bool,
    ) -> Result<Option<Upgrade>, Refusal> {
        let options = &route.spec.options;
        let takes_trailers = headers::takes_trailers(request.headers());
        let upgrade = Upgrade::take(request, is_http2)?;
        let fields = request.headers_mut();
        headers::strip_hop(fields);
        // The length of what comes is known from the parser; it is written anew.
        fields.remove(CONTENT_LENGTH);
        fields.remove(header::TE);
        if takes_trailers {
            fields.insert(header::TE, HeaderValue::from_static("trailers"));
        }
        if options.basic_auth.as_ref().is_some_and(|auth| !auth.forward) {
            fields.remove(AUTHORIZATION);
        }
        let authority = request.uri().authority().map(|authority| authority.to_string());
        let fields = request.headers_mut();
        match (&options.host_header, authority) {
            (HostHeader::Literal(host), _) => headers::set(fields, header::HOST, host),
            (_, Some(authority)) => headers::set(fields, header::HOST, &authority),
            _ => {}
        }
        let origin = self.origin();
        headers::forwarded(fields, &origin);
        let prefix = &route.spec.path;
        let mut target =
            request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
        if options.strip_path && !prefix.is_empty() {
            let rest = path.strip_prefix(prefix.as_str()).unwrap_or(path);
            target = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
            if let Some(query) = request.uri().query() {
                target = format!("{target}?{query}");
            }
            let name = HeaderName::from_static("x-forwarded-prefix");
            headers::set(request.headers_mut(), name, prefix);
        }
        headers::apply(request.headers_mut(), &options.request_headers, &origin);
        if let Some(upgrade) = &upgrade {
            upgrade.ask(request.headers_mut());
        }
        *request.uri_mut() = target.parse::<Uri>().map_err(|_| Refusal::bad("bad_path"))?;
        Ok(upgrade)
    }

    fn sticks<'a>(&'a self, sticky: &'a Sticky, service: &'a Service) -> Sticks<'a> {
        Sticks { sticky, service, key: &self.shared().config.cookie_key, is_tls: self.is_tls() }
    }

    fn origin(&self) -> Origin<'_> {
        Origin {
            peer: self.peer.client.ip().to_canonical(),
            client: self.client,
            is_trusted: self.is_trusted,
            host: &self.host,
            scheme: self.scheme(),
            port: self.peer.local.port(),
            id: &self.asked.id,
        }
    }

    /// Makes the replica's answer one for the client.
    fn relay(
        &self,
        route: &Route,
        answered: Answered,
        upgrade: Option<Upgrade>,
        service: &Service,
        wanted: Option<Ipv4Addr>,
    ) -> Result<Response<Body>, Refusal> {
        let Answered { mut response, from, running, sender, .. } = answered;
        let options = &route.spec.options;
        let is_switch = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let idle = stream_idle(options, response.headers());
        headers::strip_hop(response.headers_mut());
        response.headers_mut().remove(header::ALT_SVC);
        headers::apply(response.headers_mut(), &options.response_headers, &self.origin());
        if let Some(seconds) = options.hsts.filter(|_| self.is_tls()) {
            let name = header::STRICT_TRANSPORT_SECURITY;
            headers::set(response.headers_mut(), name, &format!("max-age={seconds}"));
        }
        if let Some(sticky) = &options.sticky
            && wanted.is_none_or(|wanted| IpAddr::V4(wanted) != from.ip())
        {
            self.sticks(sticky, service).write(from.ip(), response.headers_mut());
        }
        *response.version_mut() = Version::HTTP_11;
        if is_switch {
            let invalid = || Refusal::new(StatusCode::BAD_GATEWAY, "upstream_invalid");
            let upgrade = upgrade.ok_or_else(invalid)?;
            let on_upstream = hyper::upgrade::on(&mut response);
            upgrade.agree(&mut response);
            self.peer.pulse.becomes_tunnel();
            let idle = options.timeouts.stream_idle.std();
            let beat = self.peer.pulse.begin();
            tokio::task::spawn_local(async move {
                if let Err(error) = tunnel::run(upgrade.client, on_upstream, idle).await {
                    tracing::debug!(%error, "a tunnel broke");
                }
                drop((running, beat));
            });
            return Ok(response.map(|_| Body::own("")));
        }
        let (pool, clock) = (self.worker.pool.clone(), self.shared().config.clock);
        Ok(response.map(|body| {
            Body::stream(body).silent_at_most(idle).at_end(move |is_whole, _| {
                drop(running);
                if let Some(sender) = sender.filter(|_| is_whole) {
                    pool.give_back(from, sender, clock.mono());
                }
            })
        }))
    }

    fn log(&self, status: StatusCode, is_whole: bool, bytes: u64) {
        let spec = self.route.as_ref().map(|route| &route.spec);
        let wanted = spec.and_then(|spec| spec.options.access_log);
        let is_error = status.as_u16() >= 500 || !self.reason.is_empty();
        match wanted.unwrap_or(self.shared().config.access_log) {
            AccessLog::Off => return,
            AccessLog::Errors if !is_error => return,
            AccessLog::Errors | AccessLog::All => {}
        }
        let took = self.shared().config.clock.mono().since(self.began);
        let service = spec.and_then(|spec| spec.target.as_ref());
        tracing::info!(
            target: "access",
            request_id = self.asked.id,
            client = %self.client,
            host = self.host,
            method = %self.method,
            path = self.path,
            protocol = ?self.version,
            sni = self.peer.name,
            status = status.as_u16(),
            reason = self.reason,
            is_whole,
            bytes_out = bytes,
            micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            attempts = self.attempts,
            deployment = self.route.as_ref().map(|route| route.deployment.to_string()),
            service = service.map(|target| target.service.to_string()),
            "request"
        );
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

/// Longest silence of an answer.
fn stream_idle(options: &RouteOptions, headers: &HeaderMap) -> std::time::Duration {
    let kind = text(headers, CONTENT_TYPE.as_str());
    let is_stream = kind.starts_with("text/event-stream") || kind.starts_with("application/grpc");
    let timeouts = &options.timeouts;
    if is_stream { timeouts.stream_idle.std() } else { timeouts.read.std() }
}
