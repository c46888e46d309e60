//! What each path answers: reads a request and the shared state, returns what to send.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufRead, Read, Write as _};
use std::process;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::thread;

use crate::clock;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::lines;
use crate::serve::Shared;
use crate::ws::handshake;
use crate::ws::sha1::Sha1;

/// What the connection does next.
#[derive(Debug)]
pub(crate) enum Outcome {
    Reply(Response),
    Events { count: u64, every_ms: u64 },
    WebSocket { accept: String },
    Exit { code: u8 },
}

/// Answers a request. Only a broken connection or body is an error; the rest is a status.
pub(crate) fn answer<R: BufRead>(
    request: &mut Request<'_, R>,
    shared: &Shared,
) -> io::Result<Outcome> {
    let path = request.path.clone();
    let reading = matches!(request.method.as_str(), "GET" | "HEAD");
    let writing = matches!(request.method.as_str(), "POST" | "PUT");
    let outcome = match path.as_str() {
        "/" => reply(200, whoami(shared)),
        "/headers" => reply(200, headers(request)),
        "/delay" => request.number("ms", 0).map(|ms| {
            clock::sleep_ms(ms);
            Outcome::Reply(Response::text(200, format!("waited {ms} ms\n")))
        }),
        "/upload" if writing => return upload(request, shared),
        "/sse" => events(request),
        "/ws" => Ok(web_socket(request)),
        "/env" => environment(request),
        "/file" if reading => read_file(request),
        "/file" if writing => return write_file(request),
        "/health" if reading => health(shared),
        "/health/fail" | "/health/ok" if writing => {
            shared.healthy.store(path == "/health/ok", Ordering::Relaxed);
            reply(200, "set\n")
        }
        "/ready" => ready(shared),
        "/counters" => reply(200, counters(shared)),
        "/holes" => reply(200, holes(shared)),
        "/log" if writing => log(request),
        "/exit" if writing => exit(request),
        "/upload" | "/file" | "/health" | "/health/fail" | "/health/ok" | "/log" | "/exit" => {
            reply(405, "method not allowed\n")
        }
        _ => match path.strip_prefix("/status/") {
            Some(code) => status(code),
            None => reply(404, "no such path\n"),
        },
    };
    Ok(outcome.unwrap_or_else(|error| Outcome::Reply(Response::text(400, format!("{error}\n")))))
}

/// The outcome of a route, or why the request is wrong.
type Answer = Result<Outcome, String>;

#[expect(clippy::unnecessary_wraps, reason = "routes that cannot fail share a match with the rest")]
fn reply(status: u16, body: impl Into<String>) -> Answer {
    Ok(Outcome::Reply(Response::text(status, body)))
}

fn whoami(shared: &Shared) -> String {
    let mut text = format!(
        "hostname: {}\ninstance: {}\npid: {}\n",
        shared.identity.hostname,
        shared.identity.instance,
        process::id()
    );
    for (name, value) in std::env::vars().filter(|(name, _)| name.starts_with("PROBE_")) {
        let _infallible = writeln!(text, "env {name}={value}");
    }
    text
}

fn headers<R: BufRead>(request: &Request<'_, R>) -> String {
    let mut text = format!("{}\n", request.head.first_line);
    for (name, value) in request.head.headers() {
        let _infallible = writeln!(text, "{name}: {value}");
    }
    text
}

fn upload<R: BufRead>(request: &mut Request<'_, R>, shared: &Shared) -> io::Result<Outcome> {
    let mut hash = Sha1::new();
    let mut total = 0_u64;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = request.body.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
        total += count as u64;
    }
    shared.counters.upload_bytes.fetch_add(total, Ordering::Relaxed);
    let text = format!("bytes: {total}\nsha1: {}\n", hash.hex());
    Ok(Outcome::Reply(Response::text(200, text)))
}

fn events<R: BufRead>(request: &Request<'_, R>) -> Answer {
    Ok(Outcome::Events { count: request.number("n", 3)?, every_ms: request.number("ms", 100)? })
}

fn web_socket<R: BufRead>(request: &Request<'_, R>) -> Outcome {
    match handshake::accept(&request.head) {
        Some(accept) => Outcome::WebSocket { accept },
        None => Outcome::Reply(Response::text(426, "this path speaks WebSocket 13\n")),
    }
}

fn environment<R: BufRead>(request: &Request<'_, R>) -> Answer {
    let name = request.query("name").ok_or("name is missing")?;
    match std::env::var(&name) {
        Ok(value) => reply(200, value),
        Err(_) => reply(404, format!("{name} is not set\n")),
    }
}

fn read_file<R: BufRead>(request: &Request<'_, R>) -> Answer {
    let path = request.query("path").ok_or("path is missing")?;
    match fs::read(&path) {
        Ok(body) => Ok(Outcome::Reply(Response { status: 200, body })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => reply(404, format!("{error}\n")),
        Err(error) => reply(500, format!("{error}\n")),
    }
}

fn write_file<R: BufRead>(request: &mut Request<'_, R>) -> io::Result<Outcome> {
    let mut content = Vec::new();
    request.body.read_to_end(&mut content)?;
    let Some(path) = request.query("path") else {
        return Ok(Outcome::Reply(Response::text(400, "path is missing\n")));
    };
    let written = File::create(path).and_then(|mut file| {
        file.write_all(&content)?;
        file.sync_all()
    });
    Ok(Outcome::Reply(match written {
        Ok(()) => Response::text(200, format!("bytes: {}\n", content.len())),
        Err(error) => Response::text(500, format!("{error}\n")),
    }))
}

fn health(shared: &Shared) -> Answer {
    if shared.healthy.load(Ordering::Relaxed) {
        return reply(200, "healthy\n");
    }
    reply(503, "unhealthy\n")
}

fn ready(shared: &Shared) -> Answer {
    if shared.started.elapsed() >= shared.settings.ready_after {
        return reply(200, "ready\n");
    }
    reply(503, "not ready\n")
}

fn holes(shared: &Shared) -> String {
    let watched = shared.counters.watched.lock().unwrap_or_else(PoisonError::into_inner);
    watched.iter().fold(String::new(), |mut text, (path, count)| {
        let _infallible = writeln!(text, "{path} {count}");
        text
    })
}

fn counters(shared: &Shared) -> String {
    let counters = &shared.counters;
    let mut text = String::new();
    for (name, counter) in [
        ("connections", &counters.connections),
        ("requests", &counters.requests),
        ("upload_bytes", &counters.upload_bytes),
        ("tcp_connections", &counters.tcp_connections),
        ("udp_datagrams", &counters.udp_datagrams),
    ] {
        let _infallible = writeln!(text, "{name}: {}", counter.load(Ordering::Relaxed));
    }
    text
}

fn log<R: BufRead>(request: &Request<'_, R>) -> Answer {
    let (count, every_ms, to) = (request.query("n"), request.query("ms"), request.query("to"));
    let plan = lines::Plan::parse(count.as_deref(), every_ms.as_deref(), to.as_deref())?;
    thread::Builder::new().spawn(move || plan.print()).map_err(|error| error.to_string())?;
    reply(200, "logging\n")
}

fn exit<R: BufRead>(request: &Request<'_, R>) -> Answer {
    let code = u8::try_from(request.number("code", 0)?).map_err(|_| "code is over 255")?;
    Ok(Outcome::Exit { code })
}

fn status(code: &str) -> Answer {
    match code.parse() {
        Ok(status @ 200..=599) => reply(status, format!("status {status}\n")),
        _ => Err(format!("{code:?} is not a status from 200 to 599")),
    }
}
