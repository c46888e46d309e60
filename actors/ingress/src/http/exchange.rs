//! One request and its answer between the proxy and the replicas, with what is tried again.

use super::answer::Refusal;
use super::body::{Body, Fault, Upload};
use super::counters::count;
use super::loads::{Crew, Known, Running};
use super::pool::Lease;
use super::secure::{Knock, Tls, Way};
use super::worker::Worker;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use jaco_ingress_core::request::{Choice, NoReplica, Retries, Tried, choose};
use jaco_model::spec::{HostHeader, RouteOptions};
use std::cell::Cell;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

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
    pub(super) response: Response<Incoming>,
    /// Which endpoint of the service.
    pub(super) at: usize,
    pub(super) from: Way,
    pub(super) running: Running,
    /// Goes back to the pool when the answer is through.
    pub(super) sender: Option<http1::SendRequest<Body>>,
}

/// A try without an answer.
enum Failed {
    /// No byte reached an application; here is the request again.
    Unsent(Box<Request<Body>>),
    /// Nobody knows what became of it.
    Lost(&'static str),
    Late,
}

/// Finds a replica that answers.
pub(super) async fn run(
    errand: &Errand<'_>,
    mut request: Request<Body>,
) -> Result<Answered, Refusal> {
    announce(&mut request, errand.is_http2);
    let lb = &errand.options.lb;
    let clock = errand.worker.shared.config.clock;
    let budget = &errand.known.meter.budget;
    budget.request(clock.mono());
    let spare = spare(&request);
    let mut retries = Retries::new(spare.is_some(), clock.mono());
    let mut passed = Vec::new();
    loop {
        let (at, running) = pick(errand, &passed).await?;
        errand.attempts.update(|attempts| attempts + 1);
        if errand.attempts.get() > 1 {
            count(&errand.worker.shared.counters.retries);
        }
        let failed = match once(errand, at, request).await {
            Ok((response, sender)) => {
                let tried = Tried::Answered(response.status().as_u16());
                let again =
                    spare.as_ref().filter(|_| retries.again(lb, tried, budget, clock.mono()));
                if let Some(spare) = again {
                    request = copy(spare);
                    passed.push(at);
                    continue;
                }
                let from = errand.way(at);
                return Ok(Answered { response, at, from, running, sender });
            }
            Err(failed) => failed,
        };
        let (tried, reason) = match &failed {
            Failed::Late => {
                return Err(Refusal::new(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout"));
            }
            Failed::Unsent(_) => (Tried::Unsent, "upstream_reset"),
            Failed::Lost(reason) => (Tried::Lost, *reason),
        };
        if let Some(fault) = errand.upload.fault() {
            return Err(blame(fault));
        }
        passed.push(at);
        let next = match failed {
            Failed::Unsent(request) => Some(*request),
            Failed::Lost(_) | Failed::Late => spare.as_ref().map(copy),
        };
        match next {
            Some(next) if retries.again(lb, tried, budget, clock.mono()) => request = next,
            _ => return Err(Refusal::new(StatusCode::BAD_GATEWAY, reason)),
        }
    }
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
async fn pick(errand: &Errand<'_>, tried: &[usize]) -> Result<(usize, Running), Refusal> {
    if let Some(found) = look(errand, tried)? {
        return Ok(found);
    }
    let line = &errand.crew.line;
    let overload = || Refusal::unavailable("overload", 1);
    let place = line.enter().ok_or_else(overload)?;
    loop {
        // Told from before it looks: what ends between the look and the wait is not missed.
        let mut room = pin!(line.room());
        room.as_mut().enable();
        if let Some(found) = look(errand, tried)? {
            return Ok(found);
        }
        tokio::time::timeout_at(place.until, room).await.map_err(|_| overload())?;
    }
}

/// `None` when all replicas are full.
fn look(errand: &Errand<'_>, tried: &[usize]) -> Result<Option<(usize, Running)>, Refusal> {
    loop {
        match choose_now(errand, tried) {
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

fn choose_now(errand: &Errand<'_>, tried: &[usize]) -> Result<usize, NoReplica> {
    let worker = errand.worker;
    let choice = Choice {
        lb: &errand.options.lb,
        most: errand.options.max_concurrent,
        affinity: errand.affinity,
        wanted: errand.wanted,
        tried,
        now: worker.shared.config.clock.mono(),
        random: worker.random(),
        turn: errand.known.turn(),
    };
    choose(errand.crew.endpoints(), &errand.crew.loads, &choice)
}

type Got = (Response<Incoming>, Option<http1::SendRequest<Body>>);

async fn once(errand: &Errand<'_>, at: usize, mut request: Request<Body>) -> Result<Got, Failed> {
    let load = &errand.crew.loads[at];
    let way = errand.way(at);
    let timeouts = &errand.options.timeouts;
    let clock = errand.worker.shared.config.clock;
    let knock = Knock { secure: &errand.worker.shared.secure, within: timeouts.connect.std() };
    loop {
        let pool = &errand.worker.pool;
        let lease = if errand.is_http2 {
            pool.http2(&way, knock).await
        } else {
            pool.http1(&way, knock).await
        };
        let lease = match lease {
            Ok(lease) => lease,
            Err(error) => {
                tracing::debug!(upstream = %way.to, %error, "cannot reach a replica");
                load.failed(clock.mono());
                return Err(Failed::Unsent(Box::new(request)));
            }
        };
        address(&mut request, way.to, errand);
        let was_reused = lease.is_reused();
        if !was_reused {
            load.connected();
        }
        let sending = send(lease, request);
        let sent = if timeouts.response.0 == 0 {
            sending.await
        } else {
            tokio::select! {
                biased;
                sent = sending => sent,
                () = errand.upload.rest(timeouts.response.std()) => Err(Failed::Late),
            }
        };
        match sent {
            Ok(got) => return Ok(got),
            // An idle connection was closed under our hands: the next one may be good.
            Err(Failed::Unsent(again)) if was_reused => request = *again,
            Err(failed) => return Err(failed),
        }
    }
}

async fn send(lease: Lease, request: Request<Body>) -> Result<Got, Failed> {
    let (sent, sender) = match lease {
        Lease::Http1 { mut sender, .. } => {
            if sender.ready().await.is_err() {
                return Err(Failed::Unsent(Box::new(request)));
            }
            (sender.try_send_request(request).await, Some(sender))
        }
        Lease::Http2 { mut sender, .. } => {
            if sender.ready().await.is_err() {
                return Err(Failed::Unsent(Box::new(request)));
            }
            (sender.try_send_request(request).await, None)
        }
    };
    match sent {
        Ok(response) if sender.is_some() && !has_clear_length(&response) => {
            Err(Failed::Lost("upstream_invalid"))
        }
        Ok(response) => Ok((response, sender)),
        Err(mut error) => Err(match error.take_message() {
            Some(request) => Failed::Unsent(Box::new(request)),
            None if error.error().is_parse() => Failed::Lost("upstream_invalid"),
            None => Failed::Lost("upstream_reset"),
        }),
    }
}

/// Whether nobody can be of another opinion about where an answer of HTTP/1 ends (RFC 9112, 6.3).
/// hyper would choose one of two lengths.
fn has_clear_length(response: &Response<Incoming>) -> bool {
    let headers = response.headers();
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let is_number = |length: &HeaderValue| length.as_bytes().iter().all(u8::is_ascii_digit);
    match (lengths.next(), codings.next()) {
        (None, None) => true,
        (Some(length), None) => lengths.next().is_none() && is_number(length),
        (None, Some(coding)) => {
            let is_chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked");
            codings.next().is_none() && is_chunked && response.version() == Version::HTTP_11
        }
        (Some(_), Some(_)) => false,
    }
}

/// Puts the replica into the request's target and host as the protocol wants them.
fn address(request: &mut Request<Body>, to: SocketAddr, errand: &Errand<'_>) {
    if errand.options.host_header == HostHeader::Upstream {
        super::headers::set(request.headers_mut(), hyper::header::HOST, &to.to_string());
    }
    let path = request.uri().path_and_query().cloned();
    if errand.is_http2 {
        *request.version_mut() = Version::HTTP_2;
        let host = request.headers_mut().remove(hyper::header::HOST);
        let host = host.as_ref().and_then(|host| host.to_str().ok()).map(str::to_owned);
        let authority = host
            .or_else(|| request.uri().authority().map(|authority| authority.to_string()))
            .unwrap_or_else(|| to.to_string());
        let scheme = if errand.tls.is_some() { "https" } else { "http" };
        let mut uri = Uri::builder().scheme(scheme).authority(authority);
        if let Some(path) = path {
            uri = uri.path_and_query(path);
        }
        if let Ok(uri) = uri.build() {
            *request.uri_mut() = uri;
        }
    } else {
        *request.version_mut() = Version::HTTP_11;
    }
}

/// Says how long the body is where hyper would not: it takes a GET of unknown length to have none,
/// and there are servers that want to be told of an empty one (RFC 9110, 8.6).
fn announce(request: &mut Request<Body>, is_http2: bool) {
    let is_of = |methods: &[Method]| methods.contains(request.method());
    if request.body().is_end_stream() {
        if is_of(&[Method::POST, Method::PUT, Method::PATCH]) {
            request.headers_mut().insert(CONTENT_LENGTH, 0.into());
        }
    } else if is_of(&[Method::GET, Method::HEAD])
        && !is_http2
        && request.body().size_hint().exact().is_none()
    {
        let chunked = HeaderValue::from_static("chunked");
        request.headers_mut().insert(TRANSFER_ENCODING, chunked);
    }
}

/// A second copy of a request that may be sent twice (RFC 9110, 9.2.1) and has no body.
fn spare(request: &Request<Body>) -> Option<Request<Body>> {
    let is_safe =
        [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE].contains(request.method());
    let is_plain = !request.headers().contains_key(hyper::header::UPGRADE);
    (is_safe && is_plain && request.body().is_end_stream()).then(|| copy(request))
}

fn copy(request: &Request<Body>) -> Request<Body> {
    let mut copy = Request::new(Body::own(""));
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    *copy.version_mut() = request.version();
    copy
}
