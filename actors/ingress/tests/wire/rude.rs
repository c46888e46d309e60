//! Clients that are slow, or ask for too much, while one that behaves is served in between.

use crate::differential::{request, talk};
use crate::messages::Message;
use crate::servers::echo;
use crate::support::{PATIENCE, Proxy, table};
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const HEADER: Duration = Duration::from_millis(1500);

async fn start() -> Proxy {
    let proxy = Proxy::start(|config| {
        config.header_timeout = HEADER;
        config.idle_timeout = HEADER;
        config.slow_body = Duration::from_millis(500);
    });
    let service = echo().await;
    proxy.serve(table(&[Ipv4Addr::LOCALHOST], service.port(), |spec| {
        spec.options.body_limit = Some(100_000);
    }));
    proxy
}

async fn behaves(proxy: &Proxy) {
    let answers =
        talk(proxy.http, request("x", "Connection: close\r\n").as_bytes(), usize::MAX).await;
    assert_eq!(answers.all.first().map(Message::status), Some(200), "{answers:?}");
}

/// Sends `text` and then a byte now and then; what came back by the time the proxy closed.
async fn drip(proxy: &Proxy, text: &str, byte: u8) -> JoinSet<String> {
    let mut all = JoinSet::new();
    for _ in 0..30 {
        let mut stream = TcpStream::connect(proxy.http).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        all.spawn(async move {
            let (mut from, mut to) = stream.split();
            let dripping = async {
                while to.write_all(&[byte]).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                // The end is for the reader to see.
                std::future::pending::<()>().await;
            };
            let mut got = Vec::new();
            tokio::select! {
                () = dripping => {}
                _ = from.read_to_end(&mut got) => {}
            }
            String::from_utf8_lossy(&got).into_owned()
        });
    }
    all
}

async fn all_end(proxy: &Proxy, mut clients: JoinSet<String>, wanted: &str) {
    behaves(proxy).await;
    let ended = async {
        while let Some(got) = clients.join_next().await {
            let got = got.unwrap();
            assert!(got.is_empty() || got.contains(wanted), "{got}");
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("slow clients are sent away");
    behaves(proxy).await;
}

#[tokio::test]
async fn headers_that_drip_are_not_waited_for() {
    let proxy = start().await;
    for text in ["", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: a.test\r\nX: "] {
        let clients = drip(&proxy, text, b'x').await;
        all_end(&proxy, clients, " 408 ").await;
    }
}

#[tokio::test]
async fn bodies_that_drip_are_not_waited_for() {
    let proxy = start().await;
    let head = "POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000\r\n\r\n";
    let clients = drip(&proxy, head, b'x').await;
    all_end(&proxy, clients, " 408 ").await;
}

/// Clients that are gone without a word, or say that they will say no more.
#[tokio::test]
async fn connections_that_are_half_open_end() {
    let proxy = start().await;
    let mut open = Vec::new();
    for text in ["", "GET", "POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\n\r\nabc"] {
        for is_shut in [false, true] {
            let mut stream = TcpStream::connect(proxy.http).await.unwrap();
            stream.write_all(text.as_bytes()).await.unwrap();
            if is_shut {
                stream.shutdown().await.unwrap();
            }
            open.push(stream);
        }
    }
    behaves(&proxy).await;
    for mut stream in open {
        let mut got = Vec::new();
        let reading = stream.read_to_end(&mut got);
        let _ = tokio::time::timeout(PATIENCE, reading).await.expect("it is closed");
        let got = String::from_utf8_lossy(&got);
        assert!(!got.contains(" 200 "), "{got}");
    }
}

#[tokio::test]
async fn what_is_too_large_is_told_so() {
    let proxy = start().await;
    let head = |more: &str| format!("POST /x HTTP/1.1\r\nHost: a.test\r\n{more}\r\n");
    let many = |count: usize| (0..count).map(|at| format!("x-{at}: y\r\n")).collect::<String>();
    let chunk = format!("{:x}\r\n{}\r\n", 60_000, "x".repeat(60_000));
    let chunked = head("Transfer-Encoding: chunked\r\n") + &chunk + &chunk + "0\r\n\r\n";
    let target = |length| format!("GET /{} HTTP/1.1\r\nHost: a.test\r\n\r\n", "x".repeat(length));
    for (name, bytes, wanted) in [
        ("header", head(&format!("X: {}\r\n", "x".repeat(33 * 1024))), 431),
        ("fewer headers", head(&many(50)), 200),
        ("headers", head(&many(101)), 431),
        ("headers together", head(&format!("X: {}\r\n", "x".repeat(500)).repeat(70)), 431),
        ("target", target(17 * 1024), 414),
        ("long but good target", target(8 * 1024), 200),
        ("body by its length", head("Content-Length: 100001\r\n"), 413),
        ("body in chunks", chunked, 413),
        ("body of an exabyte", head("Content-Length: 1000000000000000000\r\n"), 413),
        ("body at its limit", head("Content-Length: 100000\r\n") + &"x".repeat(100_000), 200),
    ] {
        let answers = talk(proxy.http, bytes.as_bytes(), 1).await;
        let status = answers.finals().next().map(Message::status);
        assert_eq!(status, Some(wanted), "{name}: {answers:?}");
        behaves(&proxy).await;
    }
}
