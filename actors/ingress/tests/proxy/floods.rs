//! HTTP/2 clients that send what costs them nothing: they are told to calm down and go, memory
//! stays, and whoever is beside them is served.

use crate::support::{PATIENCE, Proxy, certify, echo, read_all, scripted, table};
use crate::tls;
use std::net::Ipv4Addr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A GET of `/` at a.test over https, from the static table of HPACK (RFC 7541, A).
const GET: &[u8] = b"\x82\x87\x84\x01\x06a.test";
const GOAWAY: u8 = 7;
/// `ENHANCE_YOUR_CALM`.
const CALM: u32 = 0xb;
/// More than any bound.
const MANY: u32 = 20_000;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A request without its end.
fn request(stream: u32) -> Vec<u8> {
    frame(1, 4, stream, GET)
}

/// The next frame's kind and payload, until the connection ends.
async fn next(answers: &mut (impl AsyncReadExt + Unpin)) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 9];
    answers.read_exact(&mut head).await.ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    answers.read_exact(&mut payload).await.ok()?;
    Some((head[3], payload))
}

fn code(goaway: &[u8]) -> u32 {
    u32::from_be_bytes(goaway[4..8].try_into().unwrap())
}

/// Reads frames to the end of the connection; the code of its GOAWAY.
async fn told(mut answers: impl AsyncReadExt + Unpin) -> Option<u32> {
    let mut last = None;
    while let Some((kind, payload)) = next(&mut answers).await {
        if kind == GOAWAY {
            last = Some(code(&payload));
        }
    }
    last
}

/// Sends the beginning, then the flood until nobody listens; what the client is told.
async fn flood(
    stream: TlsStream<TcpStream>,
    begin: &[u8],
    each: impl Fn(u32) -> Vec<u8>,
) -> Option<u32> {
    let (answers, mut to) = tokio::io::split(stream);
    let begin = [PREFACE, &frame(4, 0, 0, &[]), begin].concat();
    let sending = async {
        to.write_all(&begin).await?;
        for count in 0..MANY {
            to.write_all(&each(count)).await?;
        }
        to.flush().await
    };
    let both = async { tokio::join!(sending, told(answers)).1 };
    tokio::time::timeout(PATIENCE, both).await.expect("the flood ends")
}

/// Kilobytes of this process, the proxy in it.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Who finds the flood: our counters, or the parser by a bound of its own that is tighter.
#[derive(PartialEq)]
enum By {
    Counters,
    Parser,
}

async fn floods(by: By, begin: Vec<u8>, each: fn(u32) -> Vec<u8>) {
    let proxy = Proxy::start(|_| {});
    let service = echo("127.0.0.1:0").await;
    let mut table = table(&[HERE], service.port(), |_| {});
    let root = certify(&mut table, "a.test");
    proxy.serve(table);
    let open = || async { tls::connect(proxy.https, "a.test", &root).await.unwrap() };
    let mut honest = tls::client(open().await).await;
    let before = resident();
    for _ in 0..5 {
        assert_eq!(flood(open().await, &begin, each).await, Some(CALM));
        let answer = honest.send_request(tls::get("https://a.test/")).await.unwrap();
        assert_eq!(answer.status(), 200, "the one beside it");
    }
    assert!(by == By::Parser || proxy.handle.counts().floods == 5);
    let grown = resident().saturating_sub(before);
    assert!(grown < 48 * 1024, "{grown} kB more than before");
}

#[tokio::test]
async fn requests_that_are_reset_at_once() {
    floods(By::Parser, Vec::new(), |count| {
        let stream = 2 * count + 1;
        [request(stream), frame(3, 0, stream, &8_u32.to_be_bytes())].concat()
    })
    .await;
}

#[tokio::test]
async fn headers_that_never_end() {
    let begin = frame(1, 0, 1, GET);
    floods(By::Counters, begin, |_| frame(9, 0, 1, b"\x00\x01a\x01b")).await;
}

#[tokio::test]
async fn settings() {
    floods(By::Counters, Vec::new(), |_| frame(4, 0, 0, &[0, 4, 0, 1, 0, 0])).await;
}

#[tokio::test]
async fn pings() {
    floods(By::Counters, Vec::new(), |_| frame(6, 0, 0, &[0; 8])).await;
}

#[tokio::test]
async fn data_without_any() {
    floods(By::Parser, request(1), |_| frame(0, 0, 1, &[])).await;
}

#[tokio::test]
async fn window_updates() {
    floods(By::Counters, request(1), |_| frame(8, 0, 0, &1_u32.to_be_bytes())).await;
}

/// Resets of requests that the parser has handed over already, which it does not count.
#[tokio::test]
async fn requests_that_are_reset_while_they_run() {
    let proxy = Proxy::start(|_| {});
    let service = scripted("127.0.0.1:0", |mut stream| async move {
        read_all(&mut stream).await;
    })
    .await;
    let mut table = table(&[HERE], service.port(), |_| {});
    let root = certify(&mut table, "a.test");
    proxy.serve(table);
    let stream = tls::connect(proxy.https, "a.test", &root).await.unwrap();
    let (mut answers, mut to) = tokio::io::split(stream);
    to.write_all(&[PREFACE, &frame(4, 0, 0, &[])].concat()).await.unwrap();
    let (mut stream, mut last) = (1, None);
    while last.is_none() {
        let streams = || (stream..stream + 20).step_by(2);
        let mut bytes: Vec<u8> = streams().flat_map(|id| frame(1, 5, id, GET)).collect();
        bytes.extend(frame(6, 0, 0, &[0; 8]));
        to.write_all(&bytes).await.unwrap();
        // Once it answers the ping it has read the requests.
        loop {
            match tokio::time::timeout(PATIENCE, next(&mut answers)).await.unwrap() {
                Some((6, _)) => break,
                Some((GOAWAY, payload)) => {
                    last = Some(code(&payload));
                    break;
                }
                Some(_) => {}
                None => panic!("it ends without a word"),
            }
        }
        let resets: Vec<u8> =
            streams().flat_map(|id| frame(3, 0, id, &8_u32.to_be_bytes())).collect();
        // The connection may be closed already.
        let _ = to.write_all(&resets).await;
        stream += 20;
    }
    assert_eq!(last, Some(CALM));
    assert_eq!(proxy.handle.counts().floods, 1);
    assert!((400..=500).contains(&stream), "200 resets are let through: {stream}");
}
