//! Bounds: connections, requests of a connection, and the pace of a body.

use crate::support::{PATIENCE, Proxy, certify, echo, read_all, read_head, scripted, table};
use crate::tls;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::yield_now;

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: b.test\r\n\r\n";
/// Too short for a timeout of the proxy, long enough for an answer that should not come.
const MOMENT: Duration = Duration::from_millis(300);

async fn connect(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(proxy.http).await.unwrap()
}

/// Asks for what nobody serves; `None` when the connection ends instead.
async fn ask(stream: &mut TcpStream) -> Option<String> {
    stream.write_all(GET).await.ok()?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(tokio::time::timeout(PATIENCE, stream.read_u8()).await.unwrap().ok()?);
    }
    let head = String::from_utf8(answer).unwrap();
    let length = head.to_lowercase();
    let length = length.split_once("content-length: ").unwrap().1;
    let length: usize = length.split_once("\r\n").unwrap().0.parse().unwrap();
    stream.read_exact(&mut vec![0; length]).await.ok()?;
    Some(head)
}

/// As [`ask`] on a connection of its own, which may be reset before it is ours.
async fn attempt(proxy: &Proxy) -> Option<String> {
    ask(&mut TcpStream::connect(proxy.http).await.ok()?).await
}

#[tokio::test]
async fn a_client_has_so_many_connections() {
    let proxy = Proxy::start(|config| config.connections.client = 2);
    let (mut one, mut other) = (connect(&proxy).await, connect(&proxy).await);
    assert!(ask(&mut one).await.is_some() && ask(&mut other).await.is_some());
    assert_eq!(attempt(&proxy).await, None);
    assert_eq!(proxy.handle.counts().crowded, 1);
    assert!(ask(&mut one).await.is_some(), "those that are open go on");
    drop(one);
    let again = async { while attempt(&proxy).await.is_none() {} };
    tokio::time::timeout(PATIENCE, again).await.expect("its seat is free again");
}

#[tokio::test]
async fn a_trusted_proxy_has_as_many_as_it_likes() {
    let proxy = Proxy::start(|config| {
        config.connections.client = 1;
        config.connections.young = 1;
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    });
    let _silent = connect(&proxy).await;
    let mut held = Vec::new();
    for _ in 0..5 {
        let mut stream = connect(&proxy).await;
        assert!(ask(&mut stream).await.is_some());
        held.push(stream);
    }
}

#[tokio::test]
async fn a_full_node_lets_newcomers_wait_and_keeps_nobody() {
    let proxy = Proxy::start(|config| config.connections.node = 1);
    let mut first = connect(&proxy).await;
    let counted = async {
        while proxy.handle.counts().connections == 0 {
            yield_now().await
        }
    };
    tokio::time::timeout(PATIENCE, counted).await.expect("it is the first");
    let mut second = connect(&proxy).await;
    let mut waiting = std::pin::pin!(ask(&mut second));
    assert!(tokio::time::timeout(MOMENT, waiting.as_mut()).await.is_err(), "it waits");
    let head = ask(&mut first).await.unwrap().to_lowercase();
    assert!(head.contains("connection: close"), "others wait: {head}");
    assert!(waiting.await.is_some());
    assert_eq!(proxy.handle.counts().crowded, 0);
}

#[tokio::test]
async fn who_takes_nothing_is_cut_off() {
    let proxy = Proxy::start(|config| {
        config.connections.node = 1;
        config.stalled = Duration::from_secs(1);
    });
    let (gone, mut is_gone) = tokio::sync::mpsc::unbounded_channel();
    let service = scripted("127.0.0.1:0", move |mut stream| {
        let gone = gone.clone();
        async move {
            read_head(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            while stream.write_all(&[0; 65_536]).await.is_ok() {}
            gone.send(()).unwrap();
        }
    })
    .await;
    proxy.serve(table(&[HERE], service.port(), |_| {}));
    let mut stream = connect(&proxy).await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await.unwrap();
    let ended = tokio::time::timeout(PATIENCE, is_gone.recv()).await;
    assert!(ended.is_ok(), "the replica is free again");
}

#[tokio::test]
async fn the_silent_ones_of_a_client_keep_only_its_own_others_waiting() {
    let proxy = Proxy::start(|config| {
        config.connections.young = 1;
        config.proxy_protocol = vec!["127.0.0.0/8".parse().unwrap()];
    });
    let from = |last: u8| format!("PROXY TCP4 192.0.2.{last} 192.0.2.1 1 2\r\n");
    let mut silent = connect(&proxy).await;
    silent.write_all(from(7).as_bytes()).await.unwrap();
    // Its header is read once another client, who came later, is answered.
    let mut other = connect(&proxy).await;
    other.write_all(from(8).as_bytes()).await.unwrap();
    assert!(ask(&mut other).await.is_some());
    let mut second = connect(&proxy).await;
    second.write_all(from(7).as_bytes()).await.unwrap();
    let mut waiting = std::pin::pin!(ask(&mut second));
    assert!(tokio::time::timeout(MOMENT, waiting.as_mut()).await.is_err(), "it waits");
    assert!(ask(&mut silent).await.is_some());
    assert!(waiting.await.is_some());
}

#[tokio::test]
async fn a_connection_has_so_many_requests() {
    let proxy = Proxy::start(|config| config.requests_per_connection = 3);
    let service = echo("127.0.0.1:0").await;
    let mut table = table(&[HERE], service.port(), |_| {});
    let root = certify(&mut table, "a.test");
    proxy.serve(table);
    let mut stream = connect(&proxy).await;
    for _ in 0..2 {
        let head = ask(&mut stream).await.unwrap().to_lowercase();
        assert!(!head.contains("connection: close"), "{head}");
    }
    let head = ask(&mut stream).await.unwrap().to_lowercase();
    assert!(head.contains("connection: close"), "{head}");
    assert_eq!(read_all(&mut stream).await, "");

    let mut client = tls::client(tls::connect(proxy.https, "a.test", &root).await.unwrap()).await;
    for _ in 0..3 {
        let answer = client.send_request(tls::get("https://a.test/")).await.unwrap();
        assert_eq!(answer.status(), 200, "{}", tls::text(answer).await);
    }
    let refused = async {
        while client.ready().await.is_ok() {
            if client.send_request(tls::get("https://a.test/")).await.is_err() {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.expect("the connection takes no more");
}

#[tokio::test]
async fn a_body_must_not_drip() {
    let proxy = Proxy::start(|config| config.slow_body = MOMENT);
    let service = echo("127.0.0.1:0").await;
    proxy.serve(table(&[HERE], service.port(), |_| {}));
    let head = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000\r\n\r\n";
    let mut stream = connect(&proxy).await;
    stream.write_all(head).await.unwrap();
    let (mut answers, mut body) = stream.split();
    let dripping = async {
        while body.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        std::future::pending().await
    };
    let mut answer = [0; 12];
    tokio::select! {
        () = dripping => {}
        read = tokio::time::timeout(PATIENCE, answers.read_exact(&mut answer)) => {
            read.expect("it is stopped").unwrap();
        }
    }
    assert_eq!(&answer, b"HTTP/1.1 408");

    let mut stream = connect(&proxy).await;
    stream.write_all(&[&head[..], &[b'x'; 100]].concat()).await.unwrap();
    for _ in 0..9 {
        stream.write_all(&[b'x'; 100]).await.unwrap();
        tokio::time::sleep(MOMENT / 5).await;
    }
    let head = read_head(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 200"), "fast enough: {head}");
}
