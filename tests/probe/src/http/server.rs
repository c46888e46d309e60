//! The connection loop: read a request, let `routes` decide, carry the decision out.

use std::io::{self, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use super::request::Request;
use super::response::{Chunks, Response, status_line};
use crate::clock;
use crate::routes::{self, Outcome};
use crate::serve::Shared;
use crate::ws;

/// What an unread body may still hold for the connection to be worth keeping.
const DRAIN_BYTES_MAX: u64 = 1024 * 1024;

/// Accepts connections for ever, each on a thread of its own.
pub(crate) fn serve(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming().flatten() {
        shared.counters.connections.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::clone(shared);
        // No thread, no service: the connection is closed and the client sees that.
        let _closed = thread::Builder::new().spawn(move || serve_connection(&stream, &shared));
    }
}

fn serve_connection(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    loop {
        match serve_request(&mut reader, stream, shared) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let answer = Response::text(400, format!("{error}\n"));
                return answer.write(&mut &*stream, false, false);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Serves one request; returns whether the connection stays open.
fn serve_request(
    reader: &mut BufReader<&TcpStream>,
    mut writer: &TcpStream,
    shared: &Shared,
) -> io::Result<bool> {
    let Some(mut request) = Request::read(reader)? else { return Ok(false) };
    shared.counters.requests.fetch_add(1, Ordering::Relaxed);
    if request.expects_continue {
        writer.write_all(format!("{}\r\n", status_line(100)).as_bytes())?;
    }
    let outcome = routes::answer(&mut request, shared)?;
    let head_only = request.method == "HEAD";
    let drained = drain(&mut request.body)?;
    let keep_alive = request.keep_alive && drained;
    match outcome {
        Outcome::Reply(response) => response.write(&mut writer, keep_alive, head_only)?,
        Outcome::Events { count, every_ms } => {
            send_events(writer, count, every_ms)?;
        }
        Outcome::WebSocket { accept } => {
            writer.write_all(ws::handshake::response(&accept).as_bytes())?;
            ws::echo(reader, &mut writer)?;
            return Ok(false);
        }
        Outcome::Exit { code } => {
            Response::text(200, "exiting\n").write(&mut writer, false, head_only)?;
            process::exit(code.into());
        }
    }
    Ok(keep_alive)
}

/// Reads what the handler left; returns whether the end of the body was reached.
fn drain(body: &mut impl Read) -> io::Result<bool> {
    let mut rest = body.take(DRAIN_BYTES_MAX);
    io::copy(&mut rest, &mut io::sink())?;
    Ok(rest.limit() > 0)
}

fn send_events(writer: &TcpStream, count: u64, every_ms: u64) -> io::Result<()> {
    let mut chunks = Chunks::start(writer, "text/event-stream")?;
    for number in 1..=count {
        if number > 1 {
            clock::sleep_ms(every_ms);
        }
        chunks.send(format!("id: {number}\ndata: event {number}\n\n").as_bytes())?;
    }
    chunks.finish()
}
