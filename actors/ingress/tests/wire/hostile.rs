//! Services that break the rules, or only bend them: the client gets 502, a clean end or a body cut
//! short that it can tell from a whole one, and the connection to the service is not used again.

use crate::differential::{request, talk};
use crate::messages::{Message, Messages};
use crate::support::{PATIENCE, Proxy, read_head, table};
use jaco_kit_core::mix::draw;
use jaco_model::Millis;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the client must be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Bad,
    /// The answer begins and does not end.
    Cut,
    Whole(&'static str),
}

/// What the service does after its first answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Close,
    Stay,
}

const HONEST: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhonest";
const REUSED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nreused";

/// Answers the very first request with `first`; later ones honestly, or by telling that the first
/// one's connection was used again.
async fn hostile(first: Vec<u8>, then: Then) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let here = listener.local_addr().unwrap();
    let (first, asked) = (Arc::new(first), Arc::new(AtomicUsize::new(0)));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(converse(stream, first.clone(), then, asked.clone()));
        }
    });
    here
}

async fn converse(mut stream: TcpStream, first: Arc<Vec<u8>>, then: Then, asked: Arc<AtomicUsize>) {
    stream.set_nodelay(true).unwrap();
    let mut is_spoilt = false;
    while read_quietly(&mut stream).await {
        if asked.fetch_add(1, Ordering::Relaxed) == 0 {
            is_spoilt = true;
            let _ = stream.write_all(&first).await;
            if then == Then::Close {
                return;
            }
        } else {
            let _ = stream.write_all(if is_spoilt { REUSED } else { HONEST }).await;
        }
    }
}

/// Whether a whole header came.
async fn read_quietly(stream: &mut TcpStream) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return false,
        }
    }
    true
}

async fn behind(address: SocketAddr) -> Proxy {
    let proxy = Proxy::start(|_| {});
    proxy.serve(table(&[Ipv4Addr::LOCALHOST], address.port(), |spec| {
        spec.options.timeouts.response = Millis::secs(2);
    }));
    proxy
}

fn post(method: &str) -> String {
    format!(
        "{method} /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
}

fn told(answers: &Messages) -> Option<&Message> {
    answers.finals().next()
}

async fn check(name: &str, method: &str, first: &[u8], then: Then, wanted: Wanted) {
    let proxy = behind(hostile(first.to_vec(), then).await).await;
    let answers = talk(proxy.http, post(method).as_bytes(), usize::MAX).await;
    let shown = format!("{name}: {answers:?}");
    let answer = told(&answers);
    match wanted {
        Wanted::Bad => assert_eq!(answer.map(Message::status), Some(502), "{shown}"),
        Wanted::Cut => {
            let is_cut = answer.is_none_or(|answer| !answer.is_whole || answer.status() == 502);
            assert!(is_cut, "{shown}");
        }
        Wanted::Whole(body) if method == "HEAD" => {
            assert!(answer.is_some_and(|answer| answer.status() < 400), "{shown}");
            assert!(answer.is_some_and(|answer| answer.text() == body), "{shown}");
        }
        Wanted::Whole(body) => {
            let answer = answer.expect("an answer");
            assert!(answer.is_whole && answer.status() < 400, "{shown}");
            assert_eq!(answer.text(), body, "{shown}");
        }
    }
    assert_eq!(answers.finals().count().max(1), 1, "{shown}");
    for _ in 0..3 {
        let answers = talk(proxy.http, post("POST").as_bytes(), usize::MAX).await;
        let text = told(&answers).map(Message::text);
        assert_eq!(text.as_deref(), Some("honest"), "after {name}: {answers:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\n";
const EVIL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";

#[tokio::test]
async fn an_unclear_length_is_no_answer() {
    for (name, fields) in [
        ("length and coding", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"),
        ("coding and length", "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"),
        ("two lengths", "Content-Length: 3\r\nContent-Length: 4\r\n"),
        ("same length twice", "Content-Length: 3\r\nContent-Length: 3\r\n"),
        ("list of lengths", "Content-Length: 3, 3\r\n"),
        ("plus", "Content-Length: +3\r\n"),
        ("minus", "Content-Length: -3\r\n"),
        ("no number", "Content-Length: x\r\n"),
        ("empty", "Content-Length:\r\n"),
        ("gzip, chunked", "Transfer-Encoding: gzip, chunked\r\n"),
        ("chunked, gzip", "Transfer-Encoding: chunked, gzip\r\n"),
        ("identity", "Transfer-Encoding: identity\r\n"),
        ("xchunked", "Transfer-Encoding: xchunked\r\n"),
        ("coding twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        ("blank before colon", "Transfer-Encoding : chunked\r\n"),
        ("folded", "Transfer-Encoding:\r\n chunked\r\n"),
        ("NUL", "A: b\0c\r\nContent-Length: 3\r\n"),
        ("CR", "A: b\rc\r\nContent-Length: 3\r\n"),
        ("no name", ": b\r\nContent-Length: 3\r\n"),
    ] {
        let bytes = format!("{OK}{fields}\r\n3\r\nabc\r\n0\r\n\r\n");
        check(name, "POST", bytes.as_bytes(), Then::Stay, Wanted::Bad).await;
    }
    let old = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    check("coding of 1.0", "POST", old.as_bytes(), Then::Stay, Wanted::Bad).await;
}

#[tokio::test]
async fn what_is_no_http_is_no_answer() {
    let long = format!("{OK}A: {}\r\n\r\n", "x".repeat(1 << 20));
    let many = format!("{OK}{}\r\n", "A: b\r\n".repeat(300));
    for (name, bytes) in [
        ("nothing", ""),
        ("another protocol", "SSH-2.0-OpenSSH_9.2\r\n\r\n"),
        ("no first line", "<html>evil</html>"),
        ("half a first line", "HTTP/1.1 20"),
        ("half a header", "HTTP/1.1 200 OK\r\nContent-Le"),
        ("letters for a status", "HTTP/1.1 abc OK\r\n\r\n"),
        ("version 2.0", "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("a request", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("binary", "\u{1}\u{2}\u{3}\r\n\r\n"),
        ("long header", long.as_str()),
        ("many headers", many.as_str()),
        ("only an interim answer", "HTTP/1.1 100 Continue\r\n\r\n"),
    ] {
        check(name, "POST", bytes.as_bytes(), Then::Close, Wanted::Bad).await;
    }
    let switch = format!("HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n{EVIL}");
    check("101 unasked", "POST", switch.as_bytes(), Then::Stay, Wanted::Bad).await;
}

#[tokio::test]
async fn a_body_cut_short_ends_short() {
    for (name, rest) in [
        ("length", "Content-Length: 10\r\n\r\nabc"),
        ("nothing of it", "Content-Length: 10\r\n\r\n"),
        ("no last chunk", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
        ("half a chunk", "Transfer-Encoding: chunked\r\n\r\n5\r\nabc"),
        ("no end of trailers", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"),
        ("no size", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nx\r\nabc\r\n0\r\n\r\n"),
        ("more than a chunk", "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n"),
        (
            "size over 64 bits",
            "Transfer-Encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n0\r\n\r\n",
        ),
    ] {
        let bytes = format!("{OK}{rest}");
        check(name, "POST", bytes.as_bytes(), Then::Close, Wanted::Cut).await;
    }
}

#[tokio::test]
async fn what_comes_after_an_answer_goes_to_nobody() {
    for (name, method, answer, wanted) in [
        ("length", "POST", format!("{OK}Content-Length: 3\r\n\r\nabc"), "abc"),
        (
            "chunks",
            "POST",
            format!("{OK}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
            "abc",
        ),
        ("no body", "POST", format!("{OK}Content-Length: 0\r\n\r\n"), ""),
        ("204", "POST", "HTTP/1.1 204 No\r\n\r\n".to_owned(), ""),
        ("204 with length", "POST", "HTTP/1.1 204 No\r\nContent-Length: 45\r\n\r\n".to_owned(), ""),
        ("304", "POST", "HTTP/1.1 304 No\r\nContent-Length: 45\r\n\r\n".to_owned(), ""),
        ("HEAD", "HEAD", format!("{OK}Content-Length: 45\r\n\r\n"), ""),
    ] {
        let bytes = format!("{answer}{EVIL}");
        check(name, method, bytes.as_bytes(), Then::Stay, Wanted::Whole(wanted)).await;
    }
}

#[tokio::test]
async fn answers_that_end_with_their_connection_are_passed_and_not_waited_after() {
    for (name, bytes) in [
        ("1.1", "HTTP/1.1 200 OK\r\n\r\nabc"),
        ("1.0", "HTTP/1.0 200 OK\r\n\r\nabc"),
        ("close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc"),
        (
            "interim answers first",
            "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 E\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\nabc",
        ),
    ] {
        check(name, "POST", bytes.as_bytes(), Then::Close, Wanted::Whole("abc")).await;
    }
}

#[tokio::test]
async fn interim_answers_without_end_are_cut_off() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let here = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                read_head(&mut stream).await;
                let many = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100);
                while stream.write_all(&many).await.is_ok() {}
            });
        }
    });
    let proxy = behind(here).await;
    let answers = talk(proxy.http, post("POST").as_bytes(), 1).await;
    assert_eq!(told(&answers).map(Message::status), Some(504), "{answers:?}");
}

const ODD: &[u8] = b"\r\n\0 :;,0123afxA\t\x80";

/// An answer with some of its bytes changed, lost, doubled or exchanged.
fn damaged(good: &[u8], seed: u64) -> Vec<u8> {
    let (mut random, mut bytes) = (seed, good.to_vec());
    let mut below = |most: usize| (draw(&mut random) % most as u64) as usize;
    for _ in 0..1 + below(3) {
        let at = below(bytes.len());
        match below(4) {
            0 => bytes[at] = ODD[below(ODD.len())],
            1 => drop(bytes.remove(at)),
            2 => bytes.insert(at, bytes[below(bytes.len())]),
            _ => {
                let other = below(bytes.len());
                bytes.swap(at, other);
            }
        }
    }
    bytes
}

#[tokio::test]
async fn damaged_answers_are_told_from_what_comes_after_them() {
    let good = [
        format!("{OK}Content-Length: 3\r\nA: b\r\n\r\nabc"),
        format!("{OK}Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nA: b\r\n\r\n"),
        "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 204 No\r\nConnection: keep-alive\r\n\r\n".to_owned(),
    ];
    for seed in 0..150 {
        let first = &good[seed as usize % good.len()];
        let mut bytes = damaged(first.as_bytes(), seed);
        bytes.extend_from_slice(EVIL.as_bytes());
        // Those that stay may let the client wait for the rest of an answer.
        let then = if seed % 30 == 0 { Then::Stay } else { Then::Close };
        let proxy = behind(hostile(bytes.clone(), then).await).await;
        for turn in 0..3 {
            let answers = talk(proxy.http, post("POST").as_bytes(), usize::MAX).await;
            let shown =
                format!("{seed}, {turn}: {:?}: {answers:?}", String::from_utf8_lossy(&bytes));
            assert!(answers.finals().count() <= 1, "{shown}");
            let text = told(&answers).map(Message::text).unwrap_or_default();
            assert_ne!(text, "evil", "{shown}");
            assert!(turn == 0 || text == "honest", "{shown}");
        }
    }
}

/// The service answers before it has read the body, and never reads it.
#[tokio::test]
async fn an_early_answer_arrives_and_its_connection_is_done() {
    let early = b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nearly";
    let proxy = behind(hostile(early.to_vec(), Then::Stay).await).await;
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    let head = "POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut from, mut to) = stream.split();
    // What looks like a request to a service that takes the answer for the request's end.
    let inner = request("smuggled", "").repeat(1000);
    let sending = async { while to.write_all(inner.as_bytes()).await.is_ok() {} };
    let mut got = Vec::new();
    let reading = async {
        let mut buffer = [0; 1024];
        while !got.ends_with(b"early") {
            match from.read(&mut buffer).await {
                Ok(count @ 1..) => got.extend_from_slice(&buffer[..count]),
                _ => break,
            }
        }
    };
    tokio::time::timeout(PATIENCE, async {
        tokio::select! { () = sending => {}, () = reading => {} }
    })
    .await
    .expect("the answer comes, or the end");
    let text = String::from_utf8_lossy(&got).into_owned();
    drop(stream);
    assert!(text.starts_with("HTTP/1.1 413"), "{text}");
    let answers = talk(proxy.http, post("POST").as_bytes(), usize::MAX).await;
    assert_eq!(told(&answers).map(Message::text).as_deref(), Some("honest"), "{answers:?}");
}
