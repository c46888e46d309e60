//! Requests on which two parsers could disagree are answered 400, and nothing of them arrives.

use crate::support::{Proxy, certify, echo, read_all, read_head, scripted, table};
use std::net::Ipv4Addr;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const UNCLEAR: &[&str] = &[
    "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3, 3\r\n\r\nabc",
    "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: +3\r\n\r\nabc",
    "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0x3\r\n\r\nabc",
    "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: \r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "GET / HTTP/1.1\nHost: a.test\n\n",
    "GET / HTTP/1.1\r\nHost: a.test\r\nX: a\rb\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.test\r\nX: a\0b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.test\r\nX: a\r\n b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.test\r\n: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n",
    "GET http://b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "GET / HTTP/1.1\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "GET  / HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "GET / HTTP/1.2\r\nHost: a.test\r\n\r\n",
    "G\x01T / HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\na\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\na\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\na",
    "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n",
];

#[tokio::test]
async fn what_is_unclear_is_refused() {
    let proxy = Proxy::start(|_| {});
    let service = echo("127.0.0.1:0").await;
    proxy.serve(table(&[Ipv4Addr::LOCALHOST], service.port(), |_| {}));
    for bytes in UNCLEAR {
        let answer = proxy.raw(bytes).await;
        assert!(
            answer.starts_with("HTTP/1.1 400") || answer.starts_with("HTTP/1.0 400"),
            "{bytes:?}: {answer}"
        );
        assert_eq!(answer.matches("HTTP/1.").count(), 1, "{bytes:?}: {answer}");
    }
}

#[tokio::test]
async fn what_came_before_is_answered_first() {
    let proxy = Proxy::start(|_| {});
    let service = echo("127.0.0.1:0").await;
    proxy.serve(table(&[Ipv4Addr::LOCALHOST], service.port(), |_| {}));
    for bytes in UNCLEAR {
        let good = "GET /first HTTP/1.1\r\nHost: a.test\r\n\r\n";
        let answer = proxy.raw(&format!("{good}{bytes}")).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{bytes:?}: {answer}");
        let rest = answer.rsplit_once("HTTP/1.").unwrap().1;
        assert!(rest.starts_with("1 400") || rest.starts_with("0 400"), "{bytes:?}: {answer}");
        assert!(!answer.contains(" 500"), "{answer}");
    }
}

#[tokio::test]
async fn byte_by_byte_is_the_same() {
    let proxy = Proxy::start(|_| {});
    let service = echo("127.0.0.1:0").await;
    proxy.serve(table(&[Ipv4Addr::LOCALHOST], service.port(), |_| {}));
    let good = "POST /first HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n\
                3\r\nabc\r\n0\r\n\r\n";
    let text = format!("{good}{}", UNCLEAR[0]);
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in text.bytes() {
        // It may have been closed already at the byte that decided.
        if stream.write_all(&[byte]).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let answer = read_all(&mut stream).await;
    assert!(answer.contains("body 3"), "{answer}");
}

#[tokio::test]
async fn long_targets_and_headers_are_refused() {
    let proxy = Proxy::start(|_| {});
    let long = "x".repeat(17 * 1024);
    let answer = proxy.ask("GET", &format!("/{long}"), "").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 414"), "{answer}");
    let many = "A: b\r\n".repeat(101);
    let answer = proxy.ask("GET", "/", &many).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn a_service_that_breaks_the_rules_is_no_answer() {
    let proxy = Proxy::start(|_| {});
    let service = scripted("127.0.0.1:0", |mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n").await;
    })
    .await;
    let mut table = table(&[Ipv4Addr::LOCALHOST], service.port(), |spec| {
        spec.options.https_redirect = false;
    });
    certify(&mut table, "a.test");
    proxy.serve(table);
    let answer = proxy.ask("POST", "/", "Content-Length: 0\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
}
