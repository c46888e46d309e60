//! `Expect: 100-continue` (RFC 9110, 10.1.1): the service is asked, bodies arrive once and whole,
//! and a final answer in place of 100 leaves nobody in doubt what comes next.

use crate::messages::{Kind, Message, Messages};
use crate::support::{PATIENCE, Proxy, read_head, scripted, table};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const INNER: &str = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";

async fn behind(service: SocketAddr) -> Proxy {
    let proxy = Proxy::start(|_| {});
    proxy.serve(table(&[Ipv4Addr::LOCALHOST], service.port(), |_| {}));
    proxy
}

fn head(length: usize) -> String {
    format!(
        "POST /x HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\n\
         Content-Length: {length}\r\n\r\n"
    )
}

/// Reads up to an answer that is not interim, or the end.
async fn read(stream: &mut TcpStream) -> Messages {
    let mut got = Vec::new();
    loop {
        let so_far = Messages::read(&got, Kind::Response);
        if so_far.finals().any(|answer| answer.is_whole) {
            return so_far;
        }
        let mut buffer = [0; 1024];
        let reading = tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await;
        match reading.expect("an answer, or the end") {
            Ok(count @ 1..) => got.extend_from_slice(&buffer[..count]),
            _ => return so_far,
        }
    }
}

/// The service sees the expectation, and the body as it was sent, whether the client waits or not.
#[tokio::test]
async fn the_body_comes_once() {
    let service = scripted("127.0.0.1:0", |mut stream| async move {
        let head = read_head(&mut stream).await.to_lowercase();
        assert!(head.contains("\r\nexpect: 100-continue\r\n"), "{head}");
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
        let mut body = vec![0; INNER.len()];
        stream.read_exact(&mut body).await.unwrap();
        assert_eq!(body, INNER.as_bytes());
        let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\ngood";
        stream.write_all(answer).await.unwrap();
        // Nothing more comes: what was in the body is no request.
        let rest = stream.read(&mut [0; 64]).await;
        assert!(matches!(rest, Ok(0) | Err(_)), "{rest:?}");
    })
    .await;
    let proxy = behind(service).await;
    for waits in [false, true] {
        let mut stream = TcpStream::connect(proxy.http).await.unwrap();
        stream.write_all(head(INNER.len()).as_bytes()).await.unwrap();
        if waits {
            let interim = tokio::time::timeout(PATIENCE, read_head(&mut stream)).await.unwrap();
            assert_eq!(interim, "HTTP/1.1 100 Continue\r\n\r\n");
        }
        stream.write_all(INNER.as_bytes()).await.unwrap();
        let answers = read(&mut stream).await;
        let told = answers.finals().next().map(Message::text);
        assert_eq!(told.as_deref(), Some("good"), "{answers:?}");
    }
}

/// A final answer at once: what the client sends then, as a body or as its next request, is read
/// as one of the two and never as both.
#[tokio::test]
async fn after_a_final_answer_nothing_is_read_twice() {
    let service = scripted("127.0.0.1:0", |mut stream| async move {
        let head = read_head(&mut stream).await;
        assert!(!head.contains("smuggled"), "{head}");
        let answer = b"HTTP/1.1 417 No\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno";
        stream.write_all(answer).await.unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        let whole = [head.as_bytes(), &rest].concat();
        let asked = Messages::read(&whole, Kind::Request);
        assert_eq!(asked.all.len(), 1, "{}", String::from_utf8_lossy(&whole));
    })
    .await;
    let proxy = behind(service).await;
    for length in [INNER.len(), 10_000_000] {
        let mut stream = TcpStream::connect(proxy.http).await.unwrap();
        stream.write_all(head(length).as_bytes()).await.unwrap();
        let answers = read(&mut stream).await;
        let told = answers.finals().next().map(Message::status);
        assert_eq!(told, Some(417), "{answers:?}");
        let _ = stream.write_all(INNER.as_bytes()).await;
        let mut rest = Vec::new();
        let reading = stream.read_to_end(&mut rest);
        let ended = tokio::time::timeout(Duration::from_secs(3), reading).await;
        let rest = String::from_utf8_lossy(&rest).into_owned();
        assert!(!rest.contains("HTTP/1.1 2") && !rest.contains("417"), "{ended:?}: {rest}");
    }
}
