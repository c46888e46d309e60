//! A request made one for a replica, and the replica's answer made one for the client.

use super::answer::Refusal;
use super::body::{Body, Upload};
use super::driver::Phase;
use super::exchange::{self, Answered, Errand};
use super::headers::Said;
use super::loads::{Crew, Known};
use super::pipeline::Visit;
use super::secure::Tls;
use super::tunnel;
use super::upgrade::Upgrade;
use super::{expect, gzip, headers};
use hyper::body::{Body as _, Incoming};
use hyper::header::{
    self, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HeaderMap,
    HeaderValue, SET_COOKIE,
};
use hyper::{Request, Response, StatusCode, Uri, Version};
use jaco_ingress_core::Route;
use jaco_ingress_core::request::compress::takes_gzip;
use jaco_ingress_core::request::fields::host_of;
use jaco_ingress_core::request::{sticky, stripped};
use jaco_kit_core::mix::fnv;
use jaco_model::spec::{
    HeaderRules, HostHeader, LbPolicy, RouteOptions, RouteTarget, UpstreamProtocol,
};
use std::borrow::Cow;
use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use tokio::time::Instant;

/// What of a request matters to its answer.
#[derive(Clone, Copy)]
struct Ask {
    /// The replica that the client's cookie names.
    wanted: Option<usize>,
    takes_gzip: bool,
    deadline: Option<Instant>,
}

impl Visit {
    /// Lets a replica answer.
    pub(super) async fn forward(
        &mut self,
        known: &Known,
        route: &Route,
        mut request: Request<Incoming>,
        path: &str,
    ) -> Result<Response<Body>, Refusal> {
        let options = &route.spec.options;
        let no_route = || Refusal::new(StatusCode::NOT_FOUND, "no_route");
        let target = route.spec.target.as_ref().ok_or_else(no_route)?;
        let crew = known.crew(&self.table, self.shared()).ok_or_else(Refusal::no_upstream)?;
        let is_http2 = match target.protocol {
            UpstreamProtocol::H2c | UpstreamProtocol::Grpc => true,
            UpstreamProtocol::Http | UpstreamProtocol::Https => self.asked.is_grpc,
        };
        self.asked.is_grpc |= target.protocol == UpstreamProtocol::Grpc;
        let affinity = self.affinity(&options.lb.policy, request.headers());
        let ask = self.ask(options, &crew, request.headers());
        let (upgrade, said) = self.prepare(route, &mut request, path, is_http2)?;
        let upload = Rc::new(Upload::default());
        self.upload = Some(upload.clone());
        let has_body = upgrade.is_none() && !request.body().is_end_stream();
        let waits = expect::of(&mut request, has_body)?;
        let thinks = expect::patience(self.shared().config.replica_thinks, is_http2);
        let request = request.map(|body| match upgrade {
            Some(_) => Body::own(""),
            None => self.held_to(options, Body::stream(body)).reports_to(upload.clone()),
        });
        let errand = Errand {
            worker: &self.worker,
            known,
            crew: &crew,
            options,
            port: target.port,
            tls: self.tls(route, target),
            is_http2,
            affinity,
            wanted: ask.wanted,
            upload,
            thinks: waits.then_some(thinks),
            said,
            attempts: Cell::new(0),
        };
        let clock = self.shared().config.clock;
        let sent = clock.mono();
        let answering = exchange::run(&errand, request, sent);
        let outcome = match ask.deadline {
            None => answering.await,
            Some(deadline) => {
                let late = |_| Err(Refusal::new(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout"));
                tokio::time::timeout_at(deadline, answering).await.unwrap_or_else(late)
            }
        };
        self.attempts = errand.attempts.get();
        self.waits = waits && !errand.upload.is_asked();
        let answered = outcome?;
        self.upstream = Some(clock.mono().since(sent));
        self.served = Some((crew.clone(), answered.at));
        self.relay(route, answered, upgrade, &crew, ask)
    }

    /// A client's body that keeps to what the route allows.
    fn held_to(&self, options: &RouteOptions, body: Body) -> Body {
        let (timeouts, is_stream) = (&options.timeouts, self.asked.is_grpc);
        let idle = if is_stream { timeouts.stream_idle } else { timeouts.read };
        let body = body.at_most(options.body_limit).silent_at_most(idle.std());
        if is_stream { body } else { body.paced(self.shared().config.slow_body) }
    }

    fn ask(&self, options: &RouteOptions, crew: &Crew, headers: &HeaderMap) -> Ask {
        let encodings = || {
            let values = headers.get_all(ACCEPT_ENCODING).iter();
            values.filter_map(|value| value.to_str().ok())
        };
        Ask {
            wanted: wanted(options, crew, headers),
            takes_gzip: options.compress && takes_gzip(encodings()),
            deadline: self.deadline(options),
        }
    }

    /// When the whole request must be over. What was upgraded is no request any more.
    fn deadline(&self, options: &RouteOptions) -> Option<Instant> {
        let longest = Some(options.timeouts.request.std()).filter(|longest| !longest.is_zero())?;
        let passed = self.shared().config.clock.mono().since(self.began);
        Some(Instant::now() + longest.saturating_sub(passed))
    }

    /// The name in the handshake is the Host that the service sees.
    fn tls(&self, route: &Route, target: &RouteTarget) -> Option<Arc<Tls>> {
        if target.protocol != UpstreamProtocol::Https {
            return None;
        }
        let name = match &route.spec.options.host_header {
            HostHeader::Literal(host) => host_of(host).map_or_else(String::new, Cow::into_owned),
            _ => self.host.clone(),
        };
        Some(Arc::new(Tls { name, is_checked: target.verify }))
    }

    /// What keeps a client at its replica, as far as the policy asks for it. A client without the
    /// header is known by its address.
    fn affinity(&self, policy: &LbPolicy, headers: &HeaderMap) -> u64 {
        let by_address = || match self.client {
            IpAddr::V4(address) => fnv(address.octets(), 0),
            IpAddr::V6(address) => fnv(address.octets(), 0),
        };
        match policy {
            LbPolicy::LeastRequests | LbPolicy::Random | LbPolicy::RoundRobin => 0,
            LbPolicy::IpHash => by_address(),
            LbPolicy::HeaderHash(name) => match headers.get(name) {
                Some(value) => fnv(value.as_bytes().iter().copied(), 0),
                None => by_address(),
            },
        }
    }

    /// Makes the request one for the replica.
    fn prepare(
        &self,
        route: &Route,
        request: &mut Request<Incoming>,
        path: &str,
        is_http2: bool,
    ) -> Result<(Option<Upgrade>, Option<Said>), Refusal> {
        let options = &route.spec.options;
        let upgrade = Upgrade::take(request, is_http2)?;
        let fields = request.headers_mut();
        headers::strip_hop(fields);
        // The length of what comes is known from the parser; it is written anew.
        fields.remove(CONTENT_LENGTH);
        if let Some(te) = fields.remove(header::TE)
            && te.to_str().is_ok_and(|te| te.contains("trailers"))
        {
            fields.insert(header::TE, HeaderValue::from_static("trailers"));
        }
        headers::join_cookies(fields);
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
        let is_apart = !is_http2 && options.request_headers == HeaderRules::default();
        let said = headers::forwarded(fields, &origin, &self.asked.id, &self.peer.told, is_apart);
        let prefix = &route.spec.path;
        let whole = request.uri().path_and_query();
        let target = if options.strip_path && !prefix.is_empty() {
            let target = stripped(prefix, path, request.uri().query());
            headers::set(request.headers_mut(), headers::X_FORWARDED_PREFIX, prefix);
            target.parse::<Uri>().map_err(|_| Refusal::bad("bad_path"))?
        } else {
            whole.map_or_else(|| Uri::from_static("/"), |whole| whole.clone().into())
        };
        headers::apply(request.headers_mut(), &options.request_headers, &origin);
        if let Some(upgrade) = &upgrade {
            upgrade.ask(request.headers_mut());
        }
        *request.uri_mut() = target;
        Ok((upgrade, said))
    }

    /// Makes the replica's answer one for the client.
    fn relay(
        &self,
        route: &Route,
        answered: Answered,
        upgrade: Option<Upgrade>,
        crew: &Crew,
        ask: Ask,
    ) -> Result<Response<Body>, Refusal> {
        let Answered { mut response, at, running, switched, unasked } = answered;
        let options = &route.spec.options;
        let is_switch = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let kind = Kind::of(response.headers());
        headers::strip_hop(response.headers_mut());
        response.headers_mut().remove(header::ALT_SVC);
        headers::apply(response.headers_mut(), &options.response_headers, &self.origin());
        if let Some(seconds) = options.hsts.filter(|_| self.is_tls()) {
            let name = header::STRICT_TRANSPORT_SECURITY;
            headers::set(response.headers_mut(), name, &format!("max-age={seconds}"));
        }
        if let Some(own) = &options.sticky
            && ask.wanted != Some(at)
            && let Some(mark) = crew.marks.get(at)
            && let Ok(cookie) = HeaderValue::from_str(&sticky::cookie(own, mark, self.is_tls()))
        {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        let is_compressed =
            options.compress && !is_switch && gzip::agree(&mut response, ask.takes_gzip);
        *response.version_mut() = Version::HTTP_11;
        if is_switch {
            let invalid = || Refusal::new(StatusCode::BAD_GATEWAY, "upstream_invalid");
            let (upgrade, replica) = upgrade.zip(switched).ok_or_else(invalid)?;
            upgrade.agree(&mut response);
            self.peer.pulse.becomes_tunnel();
            let terms = tunnel::Terms {
                idle: options.timeouts.stream_idle.std(),
                is_websocket: upgrade.is_websocket(),
                phase: self.worker.phase.clone(),
            };
            let beat = self.peer.pulse.begin();
            tokio::task::spawn_local(async move {
                if let Err(error) = tunnel::run(upgrade.client, replica, terms).await {
                    tracing::debug!(%error, "a tunnel broke");
                }
                drop((running, beat));
            });
            return Ok(response.map(|_| Body::own("")));
        }
        let phase = (kind == Kind::Events).then(|| self.worker.phase.clone());
        let timeouts = &options.timeouts;
        let idle = if kind == Kind::Document { timeouts.read } else { timeouts.stream_idle };
        Ok(response.map(|body| {
            let body = if is_compressed { Body::compressed(body) } else { body };
            let body = body.silent_at_most(idle.std()).until(ask.deadline);
            body.ends_with(phase.map(Phase::stopping)).at_end(move |_, _| drop((running, unasked)))
        }))
    }
}

/// The replica that the client's cookie names.
fn wanted(options: &RouteOptions, crew: &Crew, headers: &HeaderMap) -> Option<usize> {
    let sticky = options.sticky.as_ref()?;
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let value = sticky::value_of(sticky, cookies)?;
    crew.marks.iter().position(|mark| mark == value)
}

/// What an answer is, as far as it matters how long it may take.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Document,
    /// A stream of events, which its reader takes up again wherever it broke off.
    Events,
    Grpc,
}

impl Kind {
    fn of(headers: &HeaderMap) -> Kind {
        match headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes) {
            Some(kind) if kind.starts_with(b"text/event-stream") => Kind::Events,
            Some(kind) if kind.starts_with(b"application/grpc") => Kind::Grpc,
            _ => Kind::Document,
        }
    }
}
