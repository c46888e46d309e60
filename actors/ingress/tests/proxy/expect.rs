//! Clients that wait to be asked for their bodies: the replica asks, or answers without.

use crate::support::{PATIENCE, Proxy, certify, echo, read_all, read_head, scripted, table};
use crate::tls::{client, connect};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use jaco_model::spec::{BasicAuth, UpstreamProtocol};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";
const HEAD: &str =
    "POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";

/// A proxy whose replicas may think as long as they like.
fn patient() -> Proxy {
    Proxy::start(|config| config.replica_thinks = Duration::from_secs(600))
}

async fn begin(proxy: &Proxy, head: &str) -> TcpStream {
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// Nothing comes for a while.
async fn hears_nothing(stream: &mut TcpStream) {
    let heard = tokio::time::timeout(Duration::from_millis(300), stream.read_u8()).await;
    assert!(heard.is_err(), "{heard:?}");
}

async fn read_body(stream: &mut TcpStream, body: &mut [u8]) {
    let reading = stream.read_exact(body);
    tokio::time::timeout(PATIENCE, reading).await.expect("a body comes").unwrap();
}

/// An answer of two bytes.
async fn read_ok(stream: &mut TcpStream) -> String {
    let head = read_head(stream).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    read_body(stream, &mut [0; 2]).await;
    head.to_lowercase()
}

/// Answers each request of a connection with 200, once it has its five bytes.
async fn takes_bodies(mut stream: TcpStream, interim: Option<&str>, go: Arc<Semaphore>) {
    while read_head(&mut stream).await.ends_with("\r\n\r\n") {
        go.acquire().await.unwrap().forget();
        if let Some(interim) = interim {
            stream.write_all(interim.as_bytes()).await.unwrap();
        }
        read_body(&mut stream, &mut [0; 5]).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
    }
}

/// The client hears 100 when the replica says it, not before, and its connection goes on.
#[tokio::test]
async fn the_replica_asks_for_the_body() {
    let proxy = patient();
    let go = Arc::new(Semaphore::new(0));
    let gate = go.clone();
    let service = scripted("127.0.0.1:0", move |stream| {
        takes_bodies(
            stream,
            Some("HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Go\r\n\r\n"),
            gate.clone(),
        )
    })
    .await;
    proxy.serve(table(&[HERE], service.port(), |_| {}));
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    for _ in 0..3 {
        stream.write_all(HEAD.as_bytes()).await.unwrap();
        hears_nothing(&mut stream).await;
        go.add_permits(1);
        assert_eq!(read_head(&mut stream).await, CONTINUE);
        stream.write_all(b"hello").await.unwrap();
        let head = read_ok(&mut stream).await;
        assert!(!head.contains("connection: close"), "{head}");
    }
}

/// A replica that says no gets no body, and neither side's connection is used again, as nobody
/// knows where the next request on it would begin.
#[tokio::test]
async fn a_replica_that_says_no_gets_nothing() {
    let proxy = patient();
    let after = Arc::new(AtomicUsize::new(0));
    let closed = Arc::new(Semaphore::new(0));
    let (rest, ends) = (after.clone(), closed.clone());
    let service = scripted("127.0.0.1:0", move |mut stream| {
        let (rest, ends) = (rest.clone(), ends.clone());
        async move {
            let head = read_head(&mut stream).await;
            assert!(head.to_lowercase().contains("expect: 100-continue"), "{head}");
            let status = if head.starts_with("PUT") { "417 No" } else { "401 Who" };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno");
            stream.write_all(answer.as_bytes()).await.unwrap();
            let mut more = Vec::new();
            let _ = stream.read_to_end(&mut more).await;
            rest.fetch_add(more.len(), Ordering::SeqCst);
            ends.add_permits(1);
        }
    })
    .await;
    proxy.serve(table(&[HERE], service.port(), |_| {}));
    for (method, status) in [("PUT", "417"), ("POST", "401")] {
        let mut stream = begin(&proxy, &HEAD.replace("POST", method)).await;
        let answer = read_all(&mut stream).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nno"), "{answer}");
        let ended = tokio::time::timeout(PATIENCE, closed.acquire()).await;
        ended.expect("the replica's connection ends").unwrap().forget();
    }
    assert_eq!(after.load(Ordering::SeqCst), 0);
}

/// What the proxy refuses by itself asks for no body either, and no replica.
#[tokio::test]
async fn a_refusal_of_ours_comes_before_the_body() {
    let proxy = patient();
    let asked = Arc::new(AtomicUsize::new(0));
    let seen = asked.clone();
    let service = scripted("127.0.0.1:0", move |_| {
        seen.fetch_add(1, Ordering::SeqCst);
        std::future::ready(())
    })
    .await;
    let auth = BasicAuth { realm: "shop".into(), users: BTreeMap::new(), forward: false };
    for (head, status) in [
        (HEAD.to_owned(), "401"),
        (HEAD.to_owned(), "413"),
        (HEAD.replace("a.test", "b.test"), "404"),
        (HEAD.replace("100-continue", "100-continue, tea"), "417"),
    ] {
        proxy.serve(table(&[HERE], service.port(), |spec| {
            spec.options.basic_auth = (status == "401").then(|| auth.clone());
            spec.options.body_limit = (status == "413").then_some(4);
        }));
        let answer = read_all(&mut begin(&proxy, &head).await).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

/// Replicas that know nothing of expectations get the body after a while.
#[tokio::test]
async fn a_silent_replica_gets_the_body_anyway() {
    let proxy = Proxy::start(|config| config.replica_thinks = Duration::from_millis(200));
    let go = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
    let service =
        scripted("127.0.0.1:0", move |stream| takes_bodies(stream, None, go.clone())).await;
    proxy.serve(table(&[HERE], service.port(), |_| {}));
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    for _ in 0..2 {
        stream.write_all(HEAD.as_bytes()).await.unwrap();
        assert_eq!(read_head(&mut stream).await, CONTINUE);
        stream.write_all(b"hello").await.unwrap();
        read_ok(&mut stream).await;
    }
}

/// HTTP/1.0 has no expectations, and without a body there is nothing to wait for.
#[tokio::test]
async fn an_expectation_that_means_nothing_is_not_passed_on() {
    let proxy = patient();
    let service = echo("127.0.0.1:0").await;
    proxy.serve(table(&[HERE], service.port(), |_| {}));
    let old = HEAD.replace("HTTP/1.1", "HTTP/1.0") + "hello";
    let tea = old.replace("100-continue", "tea");
    for (text, body) in [(old, "body 5"), (tea, "body 5")] {
        let answer = proxy.raw(&text).await;
        assert!(answer.contains(body) && !answer.contains("expect"), "{answer}");
    }
    let answer = proxy.ask("POST", "/", "Expect: 100-continue\r\nContent-Length: 0\r\n").await;
    assert!(answer.contains("body 0") && !answer.contains("expect"), "{answer}");
}

/// A replica that is lost before it asks for the body has taken nothing: any method goes to the
/// next. After that, or after an answer that nobody understands, it is as with every other request.
#[tokio::test]
async fn what_was_not_asked_for_may_go_elsewhere() {
    for interim in ["", CONTINUE, "no answer at all\r\n\r\n"] {
        let proxy = patient();
        let bad = scripted("127.0.0.1:0", move |mut stream| async move {
            read_head(&mut stream).await;
            stream.write_all(interim.as_bytes()).await.unwrap();
        })
        .await;
        let go = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        let other = format!("{OTHER}:{}", bad.port());
        scripted(&other, move |stream| takes_bodies(stream, Some(CONTINUE), go.clone())).await;
        proxy.serve(table(&[HERE, OTHER], bad.port(), |_| {}));
        let mut lost = 0;
        for _ in 0..20 {
            let mut stream = begin(&proxy, HEAD).await;
            let first = read_head(&mut stream).await;
            if first == CONTINUE {
                stream.write_all(b"hello").await.unwrap();
                let head = read_head(&mut stream).await;
                lost += usize::from(head.starts_with("HTTP/1.1 502"));
            } else {
                assert!(first.starts_with("HTTP/1.1 502"), "{first}");
                lost += 1;
            }
        }
        let retries = proxy.handle.counts().retries;
        assert_eq!((lost > 0, retries > 0), (!interim.is_empty(), interim.is_empty()), "{lost}");
    }
}

/// A client of HTTP/2 hears of no 100, but its answer is as early.
#[tokio::test]
async fn http2_clients_wait_too() {
    let proxy = patient();
    let service = scripted("127.0.0.1:0", move |mut stream| async move {
        let head = read_head(&mut stream).await;
        if head.starts_with("PUT") {
            stream.write_all(b"HTTP/1.1 417 No\r\nContent-Length: 2\r\n\r\nno").await.unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            assert!(rest.is_empty(), "{rest:?}");
        } else {
            hears_nothing(&mut stream).await;
            stream.write_all(CONTINUE.as_bytes()).await.unwrap();
            read_body(&mut stream, &mut [0; 5]).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        }
    })
    .await;
    let mut table = table(&[HERE], service.port(), |_| {});
    let root = certify(&mut table, "a.test");
    proxy.serve(table);
    let mut client = client(connect(proxy.https, "a.test", &root).await.unwrap()).await;
    for (method, status) in [("PUT", 417), ("POST", 200), ("PUT", 417)] {
        let request = Request::builder()
            .method(method)
            .uri("https://a.test/")
            .header("expect", "100-continue")
            .body(Full::new(Bytes::from_static(b"hello")))
            .unwrap();
        let answer = tokio::time::timeout(PATIENCE, client.send_request(request)).await;
        assert_eq!(answer.expect("an answer").unwrap().status(), status);
    }
}

/// Over HTTP/2 the replica's 100 is not seen; a no is.
#[tokio::test]
async fn http2_replicas_may_say_no_too() {
    for (thinks, status) in [(6_000, 403), (1, 200)] {
        let proxy = Proxy::start(|config| config.replica_thinks = Duration::from_secs(thinks));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let service =
                    hyper::service::service_fn(move |request: Request<Incoming>| async move {
                        let mut answer = hyper::Response::new(String::new());
                        if status == 200 {
                            let body = http_body_util::BodyExt::collect(request.into_body()).await;
                            assert_eq!(body.unwrap().to_bytes(), "hello");
                        }
                        *answer.status_mut() = StatusCode::from_u16(status).unwrap();
                        Ok::<_, std::convert::Infallible>(answer)
                    });
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
            }
        });
        proxy.serve(table(&[HERE], port, |spec| {
            spec.target.as_mut().unwrap().protocol = UpstreamProtocol::H2c;
        }));
        let mut stream = begin(&proxy, HEAD).await;
        let head = read_head(&mut stream).await;
        if status == 200 {
            assert_eq!(head, CONTINUE);
            stream.write_all(b"hello").await.unwrap();
            let head = read_head(&mut stream).await;
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        } else {
            assert!(head.starts_with("HTTP/1.1 403"), "{head}");
            assert!(head.to_lowercase().contains("connection: close"), "{head}");
        }
    }
}
