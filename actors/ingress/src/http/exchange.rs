//! One request and its answer between the proxy and the replicas, with what is tried again.

use super::answer::Refusal;
use super::body::{Body, Fault, Upload};
use super::counters::count;
use super::expect::{Gate, Unasked};
use super::headers::{Said, set, tells_no_body};
use super::lent::Loan;
use super::loads::{Crew, Known, Running};
use super::pool::Home;
use super::replica::{self, Ask, Failed, Reply, Wire};
use super::secure::{Knock, Tls, Way};
use super::worker::Worker;
use http_body_util::BodyExt;
use hyper::body::Body as _;
use hyper::client::conn::http2;
use hyper::header::{CONTENT_LENGTH, HOST, UPGRADE};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use jaco_ingress_core::request::{Choice, Load, NoReplica, Retries, Tried, choose};
use jaco_kit_core::Mono;
use jaco_model::spec::{HostHeader, RouteOptions};
use std::cell::Cell;
use std::error::Error as _;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// What a request needs besides itself.
pub(super) struct Errand<'a> {
    pub(super) worker: &'a Rc<Worker>,
    pub(super) known: &'a Known,
    pub(super) crew: &'a Crew,
    pub(super) options: &'a RouteOptions,
    pub(super) port: u16,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) is_http2: bool,
    pub(super) affinity: u64,
    pub(super) wanted: Option<usize>,
    pub(super) upload: Rc<Upload>,
    /// What stands beside the headers.
    pub(super) said: Option<Said>,
    /// The client waits to be asked for the body, and a replica may think about that for so long.
    pub(super) thinks: Option<Duration>,
    /// How often a replica was tried.
    pub(super) attempts: Cell<u32>,
}

impl Errand<'_> {
    fn way(&self, at: usize) -> Way {
        Way { to: self.crew.address(at, self.port), tls: self.tls.clone() }
    }
}

/// An answer, and what must be kept until its end.
pub(super) struct Answered {
    pub(super) response: Response<Body>,
    /// Which endpoint of the service.
    pub(super) at: usize,
    pub(super) running: Running,
    /// The replica's connection, when it speaks something else from here.
    pub(super) switched: Option<Wire>,
    /// Goes with the answer.
    pub(super) unasked: Option<Unasked>,
}

/// A request that is sent once, or several times.
struct Parcel {
    parts: Parts,
    /// `None` when somebody has begun to read it.
    body: Option<Body>,
}

/// Finds a replica that answers.
pub(super) async fn run(
    errand: &Errand<'_>,
    request: Request<Body>,
    now: Mono,
) -> Result<Answered, Refusal> {
    let (parts, body) = request.into_parts();
    let body = emptied(errand, body).await?;
    let mut parcel = Parcel { parts, body: Some(body) };
    let lb = &errand.options.lb;
    let clock = errand.worker.shared.config.clock;
    let budget = &errand.known.meter.budget;
    budget.request(now);
    let mut retries = Retries::new(parcel.is_safe(), now);
    let (mut passed, mut now) = (Vec::new(), now);
    loop {
        let (at, running) = pick(errand, &passed, now).await?;
        errand.attempts.update(|attempts| attempts + 1);
        if errand.attempts.get() > 1 {
            count(&errand.worker.shared.counters.retries);
        }
        let (tried, reason) = match once(errand, at, &mut parcel).await {
            Ok((Reply { parts, body, switched }, unasked)) => {
                let status = parts.status.as_u16();
                let gives_up = retries.wants(lb, status)
                    && retries.again(lb, Tried::Answered(status), budget, clock.mono());
                if !gives_up {
                    let response = Response::from_parts(parts, body);
                    return Ok(Answered { response, at, running, switched, unasked });
                }
                passed.push(at);
                now = clock.mono();
                continue;
            }
            Err(Failed::Late) => {
                return Err(Refusal::new(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout"));
            }
            Err(Failed::Unsent | Failed::Refused) => (Tried::Unsent, "upstream_reset"),
            Err(Failed::Lost(reason)) => (Tried::Lost, reason),
        };
        if let Some(fault) = errand.upload.fault() {
            return Err(blame(fault));
        }
        passed.push(at);
        now = clock.mono();
        if parcel.body.is_none() || !retries.again(lb, tried, budget, now) {
            return Err(Refusal::new(StatusCode::BAD_GATEWAY, reason));
        }
    }
}

/// A body that is said to be empty is seen to be, since its request is whole without it.
async fn emptied(errand: &Errand<'_>, mut body: Body) -> Result<Body, Refusal> {
    if body.is_end_stream() || body.size_hint().exact() != Some(0) {
        return Ok(body);
    }
    while let Some(frame) = body.frame().await {
        frame.map_err(blame)?;
    }
    errand.upload.fault().map_or(Ok(Body::own("")), |fault| Err(blame(fault)))
}

fn blame(fault: Fault) -> Refusal {
    match fault {
        Fault::TooLarge => Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "body_limit"),
        Fault::Silent => Refusal::new(StatusCode::REQUEST_TIMEOUT, "client_timeout"),
        Fault::Gone => Refusal::bad("client_closed"),
        Fault::Late => Refusal::new(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout"),
    }
}

/// A replica with room for one more request; when all are full, the first that has room again.
async fn pick(
    errand: &Errand<'_>,
    tried: &[usize],
    now: Mono,
) -> Result<(usize, Running), Refusal> {
    if let Some(found) = look(errand, tried, now)? {
        return Ok(found);
    }
    let line = &errand.crew.line;
    let overload = || Refusal::unavailable("overload", 1);
    let place = line.enter().ok_or_else(overload)?;
    loop {
        // Told from before it looks: what ends between the look and the wait is not missed.
        let mut room = pin!(line.room());
        room.as_mut().enable();
        if let Some(found) = look(errand, tried, errand.worker.shared.config.clock.mono())? {
            return Ok(found);
        }
        tokio::time::timeout_at(place.until, room).await.map_err(|_| overload())?;
    }
}

/// `None` when all replicas are full.
fn look(
    errand: &Errand<'_>,
    tried: &[usize],
    now: Mono,
) -> Result<Option<(usize, Running)>, Refusal> {
    loop {
        match choose_now(errand, tried, now) {
            Err(NoReplica::Missing) => return Err(Refusal::no_upstream()),
            Err(NoReplica::Busy) => return Ok(None),
            Ok(at) => {
                // Else another thread was faster.
                if let Some(running) =
                    Running::begin(errand.crew, at, errand.options.max_concurrent)
                {
                    return Ok(Some((at, running)));
                }
            }
        }
    }
}

fn choose_now(errand: &Errand<'_>, tried: &[usize], now: Mono) -> Result<usize, NoReplica> {
    let worker = errand.worker;
    let choice = Choice {
        lb: &errand.options.lb,
        most: errand.options.max_concurrent,
        affinity: errand.affinity,
        wanted: errand.wanted,
        tried,
        now,
        random: worker.random(),
        turn: errand.known.turn(),
    };
    choose(errand.crew.endpoints(), &errand.crew.loads, &choice)
}

type Got = (Reply, Option<Unasked>);

async fn once(errand: &Errand<'_>, at: usize, parcel: &mut Parcel) -> Result<Got, Failed> {
    let load = &errand.crew.loads[at];
    let way = errand.way(at);
    if errand.options.host_header == HostHeader::Upstream {
        set(&mut parcel.parts.headers, HOST, &way.to.to_string());
    }
    let within = errand.options.timeouts.connect.std();
    let knock = Knock { secure: &errand.worker.shared.secure, within };
    let pool = &errand.worker.pool;
    loop {
        let tried = if errand.is_http2 {
            let lease = pool.http2(&way, knock).await;
            let lease = lease.map_err(|error| unreachable(errand, load, &way, &error))?;
            (by_http2(errand, &way, lease.connection, parcel).await, lease.is_reused)
        } else {
            let lease = pool.http1(&way, knock).await;
            let lease = lease.map_err(|error| unreachable(errand, load, &way, &error))?;
            let ask = Ask {
                parts: &parcel.parts,
                said: errand.said.as_ref(),
                body: &mut parcel.body,
                upload: &errand.upload,
                within: errand.options.timeouts.response.std(),
                thinks: errand.thinks,
                home: Home::new(pool.clone(), way.clone()),
            };
            let tried = replica::exchange(lease.connection, ask).await;
            (tried.map(|reply| (reply, None)), lease.is_reused)
        };
        match tried {
            // An idle connection was closed under our hands: the next one may be good.
            (Err(Failed::Unsent), true) if parcel.body.is_some() => {}
            (reply, is_reused) => {
                if !is_reused {
                    load.connected();
                }
                return reply;
            }
        }
    }
}

fn unreachable(errand: &Errand<'_>, load: &Load, way: &Way, error: &io::Error) -> Failed {
    tracing::debug!(upstream = %way.to, %error, "cannot reach a replica");
    load.failed(errand.worker.shared.config.clock.mono());
    Failed::Unsent
}

async fn by_http2(
    errand: &Errand<'_>,
    way: &Way,
    mut sender: http2::SendRequest<Body>,
    parcel: &mut Parcel,
) -> Result<Got, Failed> {
    if sender.ready().await.is_err() {
        return Err(Failed::Unsent);
    }
    let is_safe = parcel.is_safe();
    let body = parcel.body.take().unwrap_or_else(|| Body::own(""));
    let is_empty = body.is_end_stream();
    let (loan, lent) = Loan::new(body, errand.thinks);
    let body = if is_empty { Body::own("") } else { Body::lent(lent) };
    let mut request = Request::from_parts(parcel.parts.clone(), body);
    address(&mut request, way);
    if is_empty && tells_no_body(request.method()) {
        request.headers_mut().insert(CONTENT_LENGTH, 0.into());
    }
    let sending = sender.send_request(request);
    let within = errand.options.timeouts.response.std();
    let sent = if within.is_zero() {
        sending.await
    } else {
        tokio::select! {
            biased;
            sent = sending => sent,
            () = errand.upload.rest(within) => return Err(Failed::Late),
        }
    };
    let error = match sent {
        Ok(response) => {
            let (parts, body) = response.into_parts();
            let unasked = loan.gate().and_then(Gate::answered);
            return Ok((Reply { parts, body: Body::stream(body), switched: None }, unasked));
        }
        Err(error) => error,
    };
    let is_untouched = is_empty || errand.upload.moved().is_none();
    let is_unasked = errand.thinks.is_some() && !errand.upload.is_asked();
    let is_refused = is_refused(&error) || is_unasked;
    if is_safe || (is_untouched && (is_refused || error.is_canceled())) {
        parcel.body = loan.take_back();
    }
    Err(match parcel.body {
        Some(_) if error.is_canceled() => Failed::Unsent,
        Some(_) if is_refused => Failed::Refused,
        _ if error.is_parse() => Failed::Lost("upstream_invalid"),
        _ => Failed::Lost("upstream_reset"),
    })
}

/// Whether a replica says that it has not looked at a request and will not (RFC 9113, 8.7): by a
/// reset, or by the number of the last one that it has.
fn is_refused(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(|cause| {
        let is_reset = cause.reason() == Some(h2::Reason::REFUSED_STREAM);
        cause.is_remote() && (cause.is_go_away() || is_reset)
    })
}

/// Puts the host into the request's target, as HTTP/2 wants it.
fn address(request: &mut Request<Body>, way: &Way) {
    *request.version_mut() = Version::HTTP_2;
    let host = request.headers_mut().remove(HOST);
    let host = host.as_ref().and_then(|host| host.to_str().ok()).map(str::to_owned);
    let authority = host
        .or_else(|| request.uri().authority().map(|authority| authority.to_string()))
        .unwrap_or_else(|| way.to.to_string());
    let scheme = if way.tls.is_some() { "https" } else { "http" };
    let mut uri = Uri::builder().scheme(scheme).authority(authority);
    if let Some(path) = request.uri().path_and_query().cloned() {
        uri = uri.path_and_query(path);
    }
    if let Ok(uri) = uri.build() {
        *request.uri_mut() = uri;
    }
}

impl Parcel {
    /// Whether a second one does no harm (RFC 9110, 9.2.1), and costs nothing.
    fn is_safe(&self) -> bool {
        let safe = [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE];
        safe.contains(&self.parts.method)
            && !self.parts.headers.contains_key(UPGRADE)
            && self.body.as_ref().is_none_or(Body::is_end_stream)
    }
}
