//! Connections from their first answer to their end.

use super::wire::{ACK, GOAWAY, HEADERS, PING, Wire, frame, get, serve, status};
use crate::servers::echo;
use crate::support::Proxy;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const IDLE: Duration = Duration::from_millis(300);

/// A service that thinks for several times [`IDLE`] about a request.
async fn thoughtful() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let here = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        tokio::time::sleep(4 * IDLE).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        // The proxy closes.
        let _ = stream.read_u8().await;
    });
    here
}

#[tokio::test]
async fn who_asks_nothing_more_is_told_to_go() {
    let proxy = Proxy::start(|config| config.idle_timeout = IDLE);
    let root = serve(&proxy, echo().await.port(), |_| {});
    let mut wire = Wire::begun(proxy.https, &root, &[]).await;
    wire.send(&get(1)).await;
    wire.until(|frame| frame.kind == HEADERS).await.expect("an answer");
    let leave = wire.until(|frame| frame.kind == GOAWAY).await.expect("a word before the end");
    assert_eq!(leave.code(), 0, "{leave:?}");
    // When this has come back, the client knows.
    let ping = wire.until(|frame| frame.kind == PING).await.expect("a question");
    wire.send(&frame(PING, ACK, 0, &ping.payload)).await;
    while wire.next().await.is_some() {}
}

#[tokio::test]
async fn who_waits_for_an_answer_is_not_idle() {
    let proxy = Proxy::start(|config| config.idle_timeout = IDLE);
    let root = serve(&proxy, thoughtful().await.port(), |_| {});
    let mut wire = Wire::begun(proxy.https, &root, &[]).await;
    wire.send(&get(1)).await;
    let first = wire.until(|frame| [HEADERS, GOAWAY].contains(&frame.kind)).await.unwrap();
    assert_eq!(status(&first), Some(200), "{first:?}");
}

/// An id is of no use in the table of header compression (RFC 7541, 6.2.3): its name comes as text
/// with each answer.
#[tokio::test]
async fn ids_of_requests_enter_no_table() {
    let proxy = Proxy::start(|_| {});
    let root = serve(&proxy, echo().await.port(), |_| {});
    let mut wire = Wire::begun(proxy.https, &root, &[]).await;
    for stream in [1, 3, 5] {
        wire.send(&get(stream)).await;
        let answer = wire.until(|frame| frame.kind == HEADERS).await.expect("an answer");
        // Never indexed, with a name of nine compressed bytes: `x-request-id`.
        let mut pairs = answer.payload.windows(2);
        assert!(pairs.any(|pair| pair == [0x10, 0x89]), "{answer:?}");
    }
}
