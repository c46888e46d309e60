//! Requests off the sockets, answers onto them.

use super::answer::{Answer, Request, answer};
use super::pki::Pki;
use super::{Fault, Kind, Shared};
use rustls::{ServerConnection, StreamOwned};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

type Stream = BufReader<StreamOwned<ServerConnection, TcpStream>>;

/// A client that keeps silent does not keep its thread for ever.
const SILENCE_MAX: Duration = Duration::from_secs(60);

pub(super) fn serve(listener: TcpListener, pki: Arc<Pki>, shared: Arc<Shared>) {
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let (pki, shared) = (pki.clone(), shared.clone());
            std::thread::spawn(move || {
                drop(socket.set_read_timeout(Some(SILENCE_MAX)));
                let connection = ServerConnection::new(pki.tls.clone()).unwrap();
                let mut stream = BufReader::new(StreamOwned::new(connection, socket));
                while converse(&mut stream, &pki, &shared).is_some() {}
            });
        }
    });
}

/// One request and its answer; `None` when the connection is over.
fn converse(stream: &mut Stream, pki: &Pki, shared: &Shared) -> Option<()> {
    let request = read(stream)?;
    shared.ledger.lock().unwrap().requests.push(request.kind);
    let fault = shared.fault(request.kind);
    let answer = match &fault {
        Some(Fault::Reset) => return reset(stream),
        Some(Fault::Plain(status)) => Answer::plain(*status),
        Some(Fault::Problem(status, kind, headers)) => Answer::problem(*status, kind, headers),
        _ => answer(&request, fault.as_ref(), pki, shared),
    };
    if matches!(fault, Some(Fault::ResetAfter)) {
        return reset(stream);
    }
    let nonce = shared.ledger.lock().unwrap().nonce();
    let date = http_date(shared.now());
    let mut head = format!(
        "HTTP/1.1 {} -\r\nReplay-Nonce: {nonce}\r\nDate: {date}\r\nContent-Type: {}\r\n\
         Content-Length: {}\r\n",
        answer.status,
        answer.media,
        answer.body.len()
    );
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let body = if request.is_head { "" } else { answer.body.as_str() };
    write!(stream.get_mut(), "{head}\r\n{body}").ok()?;
    stream.get_mut().flush().ok()
}

fn reset(stream: &mut Stream) -> Option<()> {
    let socket = socket2::SockRef::from(&stream.get_ref().sock);
    drop(socket.set_linger(Some(Duration::ZERO)));
    None
}

fn read(stream: &mut Stream) -> Option<Request> {
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    let mut words = line.split(' ');
    let is_head = words.next()? == "HEAD";
    let path = words.next()?.to_owned();
    let (mut length, mut host) = (0, String::new());
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let line = line.trim_end().to_lowercase();
        match line.split_once(':') {
            None if line.is_empty() => break,
            Some(("content-length", value)) => length = value.trim().parse().ok()?,
            Some(("host", value)) => host = value.trim().to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    let kind = match path.split('/').nth(1)? {
        "directory" => Kind::Directory,
        "nonce" => Kind::Nonce,
        "account" => Kind::Account,
        "new-order" => Kind::NewOrder,
        "order" => Kind::Order,
        "authorization" => Kind::Authorization,
        "challenge" => Kind::Challenge,
        "finalize" => Kind::Finalize,
        "certificate" => Kind::Certificate,
        "advice" => Kind::Advice,
        _ => return None,
    };
    let number = path.rsplit('/').next().and_then(|word| word.parse().ok()).unwrap_or(0);
    Some(Request { kind, number, is_head, host, body })
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` for milliseconds since 1970.
pub(crate) fn http_date(millis: u64) -> String {
    // Its times know their calendar.
    let mut params = rcgen::CertificateParams::default();
    params.not_before = (std::time::UNIX_EPOCH + Duration::from_millis(millis)).into();
    let at = params.not_before;
    let (weekday, month) = (at.weekday().to_string(), at.month().to_string());
    let (hour, minute, second) = at.to_hms();
    format!(
        "{}, {:02} {} {} {hour:02}:{minute:02}:{second:02} GMT",
        &weekday[..3],
        at.day(),
        &month[..3],
        at.year()
    )
}
