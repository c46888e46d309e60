//! The time limits of routes, each with a peer that keeps us waiting.

use crate::support::{PATIENCE, Proxy, echo, read_all, read_head, scripted, table};
use jaco_model::Millis;
use jaco_model::spec::RouteTimeouts;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

async fn behind(service: SocketAddr, adjust: impl FnOnce(&mut RouteTimeouts)) -> Proxy {
    let proxy = Proxy::start(|_| {});
    proxy.serve(table(&[HERE], service.port(), |spec| {
        spec.options.lb.retries = 0;
        adjust(&mut spec.options.timeouts);
    }));
    proxy
}

/// Begins an answer, and says no more.
async fn begins(head: &'static str) -> SocketAddr {
    scripted("127.0.0.1:0", move |mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(head.as_bytes()).await.unwrap();
        read_all(&mut stream).await;
    })
    .await
}

#[tokio::test]
async fn who_takes_no_connection_is_given_up() {
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    full.listen(0).unwrap();
    let here = full.local_addr().unwrap().as_socket().unwrap();
    // Those that nobody accepts fill the kernel's queue; the next is not answered at all.
    let mut fill = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(500), TcpStream::connect(here)).await
    {
        fill.push(stream);
        assert!(fill.len() < 100, "the queue is never full");
    }
    let proxy = behind(here, |timeouts| {
        (timeouts.connect, timeouts.response) = (Millis(200), Millis(0));
    })
    .await;
    let answer = proxy.ask("GET", "/", "").await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
}

#[tokio::test]
async fn a_body_that_stops_is_given_up_on_both_ways() {
    let service = echo("127.0.0.1:0").await;
    let proxy = behind(service, |timeouts| timeouts.read = Millis(200)).await;
    let head = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhello";
    let answer = proxy.raw(head).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    let service = begins("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await;
    let proxy = behind(service, |timeouts| timeouts.read = Millis(200)).await;
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await.unwrap();
    let answer = read_all(&mut stream).await;
    assert!(answer.ends_with("\r\n\r\nhello"), "the connection ends, not the answer: {answer}");
}

#[tokio::test]
async fn a_silent_stream_has_a_limit_of_its_own() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: x\n\n";
    let ask = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let proxy = behind(begins(head).await, |timeouts| timeouts.stream_idle = Millis(200)).await;
    let answer = proxy.raw(ask).await;
    assert!(answer.contains("data: x"), "{answer}");
    // That of other bodies is none for it.
    let proxy = behind(begins(head).await, |timeouts| timeouts.read = Millis(200)).await;
    let waiting = tokio::time::timeout(Duration::from_secs(1), proxy.raw(ask)).await;
    assert!(waiting.is_err(), "{waiting:?}");
}

#[tokio::test]
async fn a_tunnel_that_is_silent_ends() {
    let head = "HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhello";
    let proxy = behind(begins(head).await, |timeouts| timeouts.stream_idle = Millis(200)).await;
    let ask = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    let answer = tokio::time::timeout(PATIENCE, proxy.raw(ask)).await.expect("it ends");
    assert!(answer.starts_with("HTTP/1.1 101") && answer.ends_with("hello"), "{answer}");
}
