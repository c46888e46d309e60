//! Connections on which nothing happens for a while, and what they are good for afterwards.

use crate::support::{PATIENCE, Proxy, certify, echo, table};
use crate::tls::handshake_for;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// Longer than a connection keeps what it needs only for requests.
const AWHILE: Duration = Duration::from_millis(500);

/// A proxy that trusts us, with the hosts `a.test` and `b.test`; the second one is the root.
async fn proxy(idle: Duration) -> (Proxy, Vec<u8>) {
    let proxy = Proxy::start(|config| {
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        config.idle_timeout = idle;
    });
    let service = echo("127.0.0.1:0").await;
    let mut both = table(&[HERE], service.port(), |spec| spec.options.https_redirect = false);
    let other = table(&[HERE], service.port(), |spec| spec.domain = "b.test".to_owned());
    both.sites.extend(other.sites);
    let root = certify(&mut both, "a.test");
    proxy.serve(both);
    (proxy, root)
}

/// Reads one answer of the echo.
async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> String {
    let mut answer = Vec::new();
    let reading = async {
        while !answer.ends_with(b"body 0\n") && !answer.ends_with(b"body 3\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
    };
    timeout(PATIENCE, reading).await.expect("an answer comes");
    String::from_utf8(answer).unwrap()
}

async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    host: &str,
    client: &str,
) -> String {
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: {client}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    read(stream).await
}

#[tokio::test]
async fn a_client_may_pause_and_each_request_is_told_as_its_own() {
    let (proxy, _) = proxy(Duration::from_secs(60)).await;
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    for (host, client, pauses) in [
        ("a.test", "1.1.1.1", false),
        ("b.test", "1.1.1.1", false),
        ("b.test", "2.2.2.2", true),
        ("a.test", "2001:db8::1", true),
        ("a.test", "2001:db8::1", false),
    ] {
        let answer = ask(&mut stream, host, client).await;
        let quoted = if client.contains(':') { format!("\"[{client}]\"") } else { client.into() };
        for line in [
            format!("x-forwarded-host: {host}\n"),
            format!("x-real-ip: {client}\n"),
            format!("x-forwarded-for: {client}, 127.0.0.1\n"),
            format!("\nforwarded: for={quoted};host=\"{host}\";proto=http\n"),
        ] {
            assert!(answer.contains(&line), "{line}: {answer}");
        }
        if pauses {
            sleep(AWHILE).await;
        }
    }
    assert_eq!(proxy.handle.counts().connections, 1);
}

#[tokio::test]
async fn after_a_pause_requests_come_in_pieces_and_in_numbers() {
    let (proxy, root) = proxy(Duration::from_secs(60)).await;
    let plain = TcpStream::connect(proxy.http).await.unwrap();
    let secure = TcpStream::connect(proxy.https).await.unwrap();
    let secure = handshake_for(b"http/1.1", secure, "a.test", &root).await.unwrap();
    tokio::join!(pieces(plain), pieces(secure));
    assert_eq!(proxy.handle.counts().connections, 2);
    assert_eq!(proxy.handle.counts().requests, 14);
}

async fn pieces<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    assert!(ask(&mut stream, "a.test", "1.1.1.1").await.starts_with("HTTP/1.1 200"));
    for round in 0..2 {
        sleep(AWHILE).await;
        for piece in ["POST / HT", "TP/1.1\r\nHost: a.test\r\nContent-", "Length: 3\r\n\r\nab", "c"]
        {
            stream.write_all(piece.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            sleep(AWHILE).await;
        }
        let answer = read(&mut stream).await;
        assert!(answer.contains("POST /\n") && answer.ends_with("body 3\n"), "{round}: {answer}");
        sleep(AWHILE).await;
        let two = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n".repeat(2);
        stream.write_all(two.as_bytes()).await.unwrap();
        for _ in 0..2 {
            assert!(read(&mut stream).await.starts_with("HTTP/1.1 200"));
        }
    }
}

#[tokio::test]
async fn a_silent_connection_ends_in_time_and_with_the_proxy() {
    let (proxy, root) = proxy(Duration::from_secs(1)).await;
    let mut plain = TcpStream::connect(proxy.http).await.unwrap();
    let secure = TcpStream::connect(proxy.https).await.unwrap();
    let mut secure = handshake_for(b"http/1.1", secure, "a.test", &root).await.unwrap();
    for _ in 0..2 {
        ask(&mut plain, "a.test", "1.1.1.1").await;
        ask(&mut secure, "a.test", "1.1.1.1").await;
        sleep(AWHILE).await;
    }
    // Without an error: TLS ends with an alert.
    let mut rest = Vec::new();
    timeout(PATIENCE, plain.read_to_end(&mut rest)).await.unwrap().unwrap();
    timeout(PATIENCE, secure.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert!(rest.is_empty());
    let (proxy, _) = self::proxy(Duration::from_secs(600)).await;
    let mut plain = TcpStream::connect(proxy.http).await.unwrap();
    ask(&mut plain, "a.test", "1.1.1.1").await;
    sleep(AWHILE).await;
    timeout(PATIENCE, proxy.handle.stop(Duration::from_secs(600))).await.expect("it ends at once");
    timeout(PATIENCE, plain.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn what_is_not_clear_after_a_pause_is_refused() {
    let (proxy, _) = proxy(Duration::from_secs(60)).await;
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    ask(&mut stream, "a.test", "1.1.1.1").await;
    sleep(AWHILE).await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\nX: y\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}
