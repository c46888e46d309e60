//! The end of a proxy: first everybody is asked to go, then nothing more is accepted and what runs
//! ends in its own way.

use crate::support::{PATIENCE, Proxy, certify, echo, read_all, read_head, scripted, table};
use crate::tls;
use jaco_ingress_core::{Effect, ListenKey, ListenKind};
use jaco_kit_core::OpId;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::sync::mpsc;

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
/// Longer than any test, so that only an end that is not waited for in vain is in time.
const HOUR: Duration = Duration::from_secs(3_600);

async fn stop(proxy: &Proxy) {
    tokio::time::timeout(PATIENCE, proxy.handle.stop(HOUR)).await.expect("it ends in time");
}

#[tokio::test]
async fn who_is_asked_to_go_is_served_still() {
    let proxy = Proxy::start(|config| config.names = vec!["node.test".to_owned()]);
    let service = echo("127.0.0.1:0").await;
    let mut table = table(&[HERE], service.port(), |spec| {
        spec.options.https_redirect = false;
    });
    let root = certify(&mut table, "a.test");
    assert!(!proxy.handle.serves());
    proxy.serve(table);
    assert!(proxy.handle.serves());
    let mut old = TcpStream::connect(proxy.http).await.unwrap();
    let mut old_tls = tls::client(tls::connect(proxy.https, "a.test", &root).await.unwrap()).await;
    let answer = old_tls.send_request(tls::get("https://a.test/")).await.unwrap();
    assert_eq!(answer.status(), 200);

    proxy.handle.drain();
    let health = b"GET /.well-known/jaco/health HTTP/1.1\r\nHost: node.test\r\n\r\n";
    let mut new = TcpStream::connect(proxy.http).await.unwrap();
    for (stream, ask, status) in [(&mut old, GET, "200"), (&mut new, &health[..], "503")] {
        stream.write_all(ask).await.unwrap();
        let answer = read_all(stream).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(answer.to_lowercase().contains("\r\nconnection: close\r\n"), "{answer}");
    }
    let gone = async {
        while old_tls.ready().await.is_ok() {
            tokio::task::yield_now().await
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("GOAWAY");
    let mut new = tls::client(tls::connect(proxy.https, "a.test", &root).await.unwrap()).await;
    let answer = new.send_request(tls::get("https://a.test/")).await.unwrap();
    assert_eq!(answer.status(), 200);
    stop(&proxy).await;
    assert!(TcpStream::connect(proxy.http).await.is_err());
}

#[tokio::test]
async fn nobody_who_says_nothing_is_waited_for() {
    let proxy = Proxy::start(|_| {});
    let service = echo("127.0.0.1:0").await;
    let mut table = table(&[HERE], service.port(), |spec| {
        spec.options.https_redirect = false;
    });
    let root = certify(&mut table, "a.test");
    proxy.serve(table);
    let mut idle = TcpStream::connect(proxy.http).await.unwrap();
    idle.write_all(GET).await.unwrap();
    read_head(&mut idle).await;
    let _silent = TcpStream::connect(proxy.http).await.unwrap();
    let _before_tls = TcpStream::connect(proxy.https).await.unwrap();
    let mut half = TcpStream::connect(proxy.http).await.unwrap();
    half.write_all(&GET[..10]).await.unwrap();
    let _silent_tls = tls::connect(proxy.https, "a.test", &root).await.unwrap();
    let mut client = tls::client(tls::connect(proxy.https, "a.test", &root).await.unwrap()).await;
    client.send_request(tls::get("https://a.test/")).await.unwrap();
    stop(&proxy).await;
}

#[tokio::test]
async fn who_is_in_the_kernels_queue_is_served() {
    let proxy = Proxy::start(|_| {});
    let service = echo("127.0.0.1:0").await;
    proxy.serve(table(&[HERE], service.port(), |_| {}));
    let mut streams = Vec::new();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(proxy.http).await.unwrap();
        stream.write_all(GET).await.unwrap();
        streams.push(stream);
    }
    stop(&proxy).await;
    assert_eq!(proxy.handle.counts().connections, 50);
    for (at, mut stream) in streams.into_iter().enumerate() {
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{at}: {answer} {ended:?}");
    }
}

#[tokio::test]
async fn what_comes_between_two_daemons_waits_in_a_socket_that_is_kept() {
    let service = echo("127.0.0.1:0").await;
    let old = Proxy::start(|_| {});
    let asked = "127.0.0.1:0".parse().unwrap();
    let kept = old.handle.socket(ListenKey { kind: ListenKind::Http, address: asked }).unwrap();
    stop(&old).await;
    let mut waiting = TcpStream::connect(old.http).await.unwrap();
    waiting.write_all(GET).await.unwrap();

    let new = Proxy::start(|_| {});
    let key = ListenKey { kind: ListenKind::Http, address: old.http };
    new.handle.adopt(key, kept.into());
    new.serve(table(&[HERE], service.port(), |_| {}));
    new.handle.run(Effect::Listen { op: OpId(9), key });
    assert_eq!(new.handle.address(key), Some(old.http));
    let head = read_head(&mut waiting).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
}

#[tokio::test]
async fn streams_of_events_end_between_two_pieces() {
    let proxy = Proxy::start(|_| {});
    let service = scripted("127.0.0.1:0", |mut stream| async move {
        read_head(&mut stream).await;
        let answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                       Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n";
        stream.write_all(answer).await.unwrap();
        read_all(&mut stream).await;
    })
    .await;
    proxy.serve(table(&[HERE], service.port(), |_| {}));
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    stream.write_all(GET).await.unwrap();
    let head = read_head(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let mut first = [0; 14];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"9\r\ndata: 1\n\n\r\n");
    stop(&proxy).await;
    assert_eq!(read_all(&mut stream).await, "0\r\n\r\n", "a whole answer");
}

/// What both ends of a WebSocket hear at the end, after the service has said this.
async fn last_words(said: &'static [u8]) -> (Vec<u8>, Vec<u8>) {
    let proxy = Proxy::start(|_| {});
    let (heard, mut of_service) = mpsc::unbounded_channel();
    let heard = Arc::new(Mutex::new(heard));
    let service = scripted("127.0.0.1:0", move |mut stream| {
        let heard = heard.clone();
        async move {
            read_head(&mut stream).await;
            let answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                           Upgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n";
            stream.write_all(&[answer, said].concat()).await.unwrap();
            let mut all = Vec::new();
            let _ = stream.read_to_end(&mut all).await;
            heard.lock().await.send(all).unwrap();
        }
    })
    .await;
    proxy.serve(table(&[HERE], service.port(), |_| {}));
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    let ask = b"GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\n\
                Upgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n";
    stream.write_all(ask).await.unwrap();
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 101"));
    let mut first = vec![0; said.len()];
    stream.read_exact(&mut first).await.unwrap();
    stop(&proxy).await;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    (rest, of_service.recv().await.unwrap())
}

#[tokio::test]
async fn a_websocket_is_told_that_we_go() {
    let to_service = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9];
    let (client, service) = last_words(b"\x81\x02hi").await;
    assert_eq!((&client[..], &service[..]), (&b"\x88\x02\x03\xe9"[..], &to_service[..]));
    let (client, service) = last_words(b"\x81\x05hel").await;
    assert_eq!((&client[..], &service[..]), (&b""[..], &to_service[..]), "not within a message");
}
