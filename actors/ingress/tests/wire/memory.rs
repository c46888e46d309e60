//! Clients and services that would fill the proxy's memory: many that say nothing, some that do
//! not read, some that send without end. Each time a client that behaves is served in between.

use crate::child::Process;
use crate::differential::{request, talk};
use crate::h2::wire::{
    CONTINUATION, DATA, END_HEADERS, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE, Wire,
    connect, fields, frame, get, post,
};
use crate::support::PATIENCE;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Most that any of this may cost the proxy, in KiB.
const MOST: u64 = 64 * 1024;
/// Connections that send or receive without end.
const GREEDY: usize = 64;

/// What the service got and gave away, in bytes.
#[derive(Debug, Default)]
struct Moved {
    taken: AtomicU64,
    given: AtomicU64,
}

/// A service that answers `/endless` without end, reads nothing of an upload to `/deaf`, and gives
/// all others a short answer.
async fn service() -> (SocketAddr, Arc<Moved>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let here = listener.local_addr().unwrap();
    let moved = Arc::new(Moved::default());
    let counted = moved.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(converse(stream, counted.clone()));
        }
    });
    (here, moved)
}

async fn converse(mut stream: TcpStream, moved: Arc<Moved>) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        if head.contains("/endless") {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n").await;
            let part = vec![b'x'; 16 * 1024];
            while let Ok(count) = stream.write(&part).await {
                moved.given.fetch_add(count as u64, Ordering::Relaxed);
            }
            return;
        }
        if head.contains("/deaf") {
            moved.taken.fetch_add(1, Ordering::Relaxed);
            return std::future::pending().await;
        }
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        if stream.write_all(answer).await.is_err() {
            return;
        }
    }
}

struct Site {
    process: Process,
    moved: Arc<Moved>,
    before: u64,
}

impl Site {
    async fn start() -> Site {
        let (address, moved) = service().await;
        let process = Process::start(address).await;
        let mut site = Site { process, moved, before: 0 };
        // What is made once is there.
        site.behaves().await;
        let mut wire = Wire::begun(site.process.https, &site.process.root, &[]).await;
        wire.send(&get(1)).await;
        wire.until(|frame| frame.kind == HEADERS).await.expect("an answer");
        site.before = site.process.resident();
        site.process.forget_peak();
        site
    }

    /// A client that behaves is served.
    async fn behaves(&self) {
        let asked = request("x", "Connection: close\r\n");
        let answers = talk(self.process.http, asked.as_bytes(), usize::MAX).await;
        assert_eq!(answers.all.len(), 1, "{answers:?}");
        assert_eq!(answers.all[0].text(), "ok");
    }

    /// Waits until bytes given and taken stand still.
    async fn stands_still(&self, count: impl Fn() -> u64) -> u64 {
        let mut last = u64::MAX;
        for _ in 0..PATIENCE.as_millis() / 500 {
            let now = count();
            if now == last {
                return now;
            }
            last = now;
            self.behaves().await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        panic!("it goes on: {last}");
    }

    fn costs(&self, what: &str) -> u64 {
        let cost = self.process.peak().saturating_sub(self.before);
        eprintln!("{what}: {cost} KiB over {} KiB", self.before);
        assert!(cost < MOST, "{what}: {cost} KiB over {} KiB", self.before);
        cost
    }
}

/// A connection from one of many addresses, since each has only so many.
async fn from_somewhere(to: SocketAddr, at: usize) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    let last = u8::try_from(1 + at / 32 % 250).unwrap();
    socket.bind(SocketAddr::from(([127, 0, 3, last], 0))).unwrap();
    socket.connect(to).await.unwrap()
}

/// How many descriptors a test may well use.
fn many() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let soft: usize = line.split_whitespace().nth(3).unwrap().parse().unwrap_or(1024);
    (soft / 2).min(2000)
}

#[tokio::test]
async fn thousands_that_are_silent() {
    let site = Site::start().await;
    let mut open = Vec::new();
    for at in 0..many() {
        let mut stream = from_somewhere(site.process.http, at).await;
        // A third has asked once, a third has begun to, a third says nothing.
        let text = match at % 3 {
            0 => request("x", ""),
            1 => "GET /half HTTP/1.1\r\nHost: a.te".to_owned(),
            _ => String::new(),
        };
        stream.write_all(text.as_bytes()).await.unwrap();
        open.push(stream);
        if at % 500 == 0 {
            site.behaves().await;
        }
    }
    for stream in open.iter_mut().step_by(3) {
        let reading = stream.read_u8();
        tokio::time::timeout(PATIENCE, reading).await.expect("an answer").unwrap();
    }
    site.behaves().await;
    let cost = site.costs(&format!("{} silent connections", open.len()));
    let each = cost * 1024 / open.len() as u64;
    eprintln!("{each} bytes each");
}

#[tokio::test]
async fn those_that_pause() {
    let site = Site::start().await;
    let before = site.process.resident();
    let mut open = Vec::new();
    for at in 0..many() {
        let mut stream = from_somewhere(site.process.http, at).await;
        stream.write_all(request("x", "").as_bytes()).await.unwrap();
        tokio::time::timeout(PATIENCE, stream.read_u8()).await.expect("an answer").unwrap();
        open.push(stream);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let each = (site.process.resident() - before) * 1024 / open.len() as u64;
    eprintln!("{each} bytes for each of {} connections that asked once", open.len());
    // Without the rest it would be 15 KiB, in a release as well.
    assert!(each < 12 * 1024, "{each} bytes each");
}

#[tokio::test]
async fn headers_that_never_end() {
    let site = Site::start().await;
    let mut open = Vec::new();
    let head = format!("GET / HTTP/1.1\r\nHost: a.test\r\nX: {}", "x".repeat(30_000));
    for at in 0..500 {
        let mut stream = from_somewhere(site.process.http, at).await;
        stream.write_all(head.as_bytes()).await.unwrap();
        open.push(stream);
    }
    site.behaves().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    site.costs("500 headers of 30 kB without end");
}

#[tokio::test]
async fn downloads_that_nobody_reads() {
    let site = Site::start().await;
    let ask = "GET /endless HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let mut open = Vec::new();
    for _ in 0..GREEDY {
        let mut stream = TcpStream::connect(site.process.http).await.unwrap();
        stream.write_all(ask.as_bytes()).await.unwrap();
        open.push(stream);
    }
    let given = site.stands_still(|| site.moved.given.load(Ordering::Relaxed)).await;
    site.behaves().await;
    let each = given / GREEDY as u64;
    let cost =
        site.costs(&format!("{GREEDY} downloads that nobody reads, {each} bytes taken each"));
    // Besides ours, the kernel buffers on both sides of us.
    assert!(each < 32 << 20, "{each} bytes of 100 MiB were taken from the service");
    assert!(cost < GREEDY as u64 * 512, "{cost} KiB for {GREEDY} streams");
}

#[tokio::test]
async fn streams_that_nobody_reads() {
    let site = Site::start().await;
    // The largest windows, so that nothing but the connection's buffers holds it up.
    let window = [&[0, 4][..], &0x7fff_ffff_u32.to_be_bytes()].concat();
    let mut wire = Wire::begun(site.process.https, &site.process.root, &window).await;
    wire.send(&frame(WINDOW_UPDATE, 0, 0, &0x7ffe_0000_u32.to_be_bytes())).await;
    for stream in 0..100 {
        let block = fields("GET", "/endless", &[]);
        wire.send(&frame(HEADERS, 5, 2 * stream + 1, &block)).await;
    }
    site.stands_still(|| site.moved.given.load(Ordering::Relaxed)).await;
    site.behaves().await;
    site.costs("100 streams of a connection that nobody reads");
}

#[tokio::test]
async fn uploads_that_nobody_reads() {
    let site = Site::start().await;
    let sent = Arc::new(AtomicU64::new(0));
    let mut sending = JoinSet::new();
    for _ in 0..GREEDY {
        let (sent, to) = (sent.clone(), site.process.http);
        sending.spawn(async move {
            let mut stream = TcpStream::connect(to).await.unwrap();
            let head = "POST /deaf HTTP/1.1\r\nHost: a.test\r\nContent-Length: 104857600\r\n\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            let part = vec![b'x'; 16 * 1024];
            while let Ok(count) = stream.write(&part).await {
                sent.fetch_add(count as u64, Ordering::Relaxed);
            }
        });
    }
    let sent = site.stands_still(|| sent.load(Ordering::Relaxed)).await;
    site.behaves().await;
    let each = sent / GREEDY as u64;
    let cost = site.costs(&format!("{GREEDY} uploads that nobody reads, {each} bytes sent each"));
    assert!(each < 32 << 20, "{each} bytes of 100 MiB were taken from the client");
    assert!(cost < GREEDY as u64 * 512, "{cost} KiB for {GREEDY} streams");
    sending.abort_all();
}

/// Sends frames until the proxy has enough, or all are sent; then nothing is read.
async fn flood(site: &Site, what: &str, begin: Vec<u8>, each: impl Fn(u32) -> Vec<u8>) {
    let mut wires = Vec::new();
    for _ in 0..4 {
        let mut wire = Wire::begun(site.process.https, &site.process.root, &[]).await;
        wire.send(&begin).await;
        for round in 0..100_u32 {
            let part: Vec<u8> = (0..200).flat_map(|at| each(round * 200 + at)).collect();
            // Nothing is read, so it may be that nothing more is taken.
            let sending = tokio::time::timeout(Duration::from_secs(1), wire.send(&part));
            if sending.await != Ok(true) {
                break;
            }
        }
        wires.push(wire);
    }
    site.behaves().await;
    site.costs(what);
}

#[tokio::test]
async fn floods_of_frames() {
    let site = Site::start().await;
    let id = |at: u32| 2 * at + 1;
    let cancel = |at| frame(RST_STREAM, 0, id(at), &[0, 0, 0, 8]);
    flood(&site, "rapid reset", Vec::new(), |at| [get(id(at)), cancel(at)].concat()).await;
    flood(&site, "resets of uploads", Vec::new(), |at| [post(id(at)), cancel(at)].concat()).await;
    flood(&site, "settings", Vec::new(), |_| frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 1])).await;
    flood(&site, "pings", Vec::new(), |_| frame(PING, 0, 0, &[0; 8])).await;
    let begun = frame(HEADERS, 1, 1, &fields("GET", "/", &[]));
    let more = fields("GET", "/", &[]);
    flood(&site, "continuations", begun, |_| frame(CONTINUATION, 0, 1, &more)).await;
    flood(&site, "empty bodies", post(1), |_| frame(DATA, 0, 1, &[])).await;
    let ask = |at| frame(HEADERS, END_HEADERS | 1, id(at), &fields("GET", "/endless", &[]));
    flood(&site, "requests", Vec::new(), ask).await;
}

#[tokio::test]
async fn handshakes_that_never_end() {
    let site = Site::start().await;
    let mut open = Vec::new();
    // A client hello that promises 16 KiB and does not bring them.
    let hello = [&[22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc, 3, 3][..], &[0; 8000]].concat();
    for at in 0..500 {
        let mut stream = from_somewhere(site.process.https, at).await;
        let _ = stream.write_all(&hello).await;
        open.push(stream);
    }
    site.behaves().await;
    connect(site.process.https, &site.process.root, "h2").await.expect("others shake hands");
    site.costs("500 handshakes without end");
}
