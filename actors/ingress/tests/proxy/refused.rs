//! Replicas of HTTP/2 that say that they have not looked at a request (RFC 9113, 8.7): it goes to
//! another one, whatever its method.

use crate::support::{PATIENCE, Proxy, read_all, table};
use jaco_model::spec::UpstreamProtocol;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const HEADERS: u8 = 1;
/// No stream was looked at, no error.
const GO_AWAY: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Answers,
    Resets(h2::Reason),
    GoesAway,
    /// The connection ends without a word.
    Dies,
    /// The same after a while.
    DiesLate,
}

/// A service of this manner, and how many requests it saw.
async fn replica(address: &str, manner: Manner) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(address).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = seen.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let counter = counter.clone();
            tokio::spawn(async move {
                match manner {
                    Manner::Answers | Manner::Resets(_) => speak(stream, manner, counter).await,
                    Manner::GoesAway | Manner::Dies | Manner::DiesLate => {
                        part(stream, manner, counter).await
                    }
                }
            });
        }
    });
    (port, seen)
}

async fn speak(stream: TcpStream, manner: Manner, seen: Arc<AtomicUsize>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((mut request, mut answer))) = connection.accept().await {
        seen.fetch_add(1, Ordering::SeqCst);
        if let Manner::Resets(reason) = manner {
            answer.send_reset(reason);
            continue;
        }
        tokio::spawn(async move {
            let mut length = 0;
            while let Some(Ok(data)) = request.body_mut().data().await {
                length += data.len();
                let _ = request.body_mut().flow_control().release_capacity(data.len());
            }
            let said = format!("{} {length}", request.method());
            let head = hyper::Response::builder().header("content-length", said.len());
            let mut body = answer.send_response(head.body(()).unwrap(), false).unwrap();
            body.send_data(said.into(), true).unwrap();
        });
    }
}

/// Ends the connection at the first request.
async fn part(mut stream: TcpStream, manner: Manner, seen: Arc<AtomicUsize>) {
    stream.read_exact(&mut [0; 24]).await.unwrap();
    stream.write_all(SETTINGS).await.unwrap();
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).await.is_err() {
            return;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        stream.read_exact(&mut vec![0; length as usize]).await.unwrap();
        if head[3] == HEADERS {
            break;
        }
    }
    seen.fetch_add(1, Ordering::SeqCst);
    if manner == Manner::DiesLate {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    if manner == Manner::GoesAway {
        stream.write_all(GO_AWAY).await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
}

/// One bad replica, one good; what they saw, and the answers to so many requests, each asked for
/// with the number that the good one has seen before.
async fn answers(
    bad: Manner,
    count: usize,
    ask: impl AsyncFn(&Proxy, &AtomicUsize) -> String,
) -> (usize, usize, Vec<String>) {
    let proxy = Proxy::start(|_| {});
    let (port, refused) = replica("127.0.0.1:0", bad).await;
    let (_, served) = replica(&format!("{OTHER}:{port}"), Manner::Answers).await;
    proxy.serve(table(&[HERE, OTHER], port, |spec| {
        spec.target.as_mut().unwrap().protocol = UpstreamProtocol::H2c;
    }));
    let mut all = Vec::new();
    while all.len() < count || refused.load(Ordering::SeqCst) == 0 {
        all.push(ask(&proxy, &served).await);
        assert!(all.len() < 1_000, "the bad one is never chosen");
    }
    (refused.load(Ordering::SeqCst), served.load(Ordering::SeqCst), all)
}

#[tokio::test]
async fn what_was_refused_is_tried_elsewhere() {
    for manner in [Manner::Resets(h2::Reason::REFUSED_STREAM), Manner::GoesAway] {
        for method in ["GET", "POST", "DELETE"] {
            let ask = async |proxy: &Proxy, _: &AtomicUsize| proxy.ask(method, "/", "").await;
            let (_, served, all) = answers(manner, 20, ask).await;
            assert_eq!(served, all.len(), "{manner:?} {method}");
            let is_good = |answer: &String| answer.ends_with(&format!("\r\n{method} 0"));
            assert!(all.iter().all(is_good), "{manner:?} {method}: {all:?}");
        }
    }
}

/// The body has not come yet: it is whole at the next replica.
#[tokio::test]
async fn a_body_that_nobody_has_touched_goes_along() {
    let ask = async |proxy: &Proxy, served: &AtomicUsize| {
        let before = served.load(Ordering::SeqCst);
        let mut stream = TcpStream::connect(proxy.http).await.unwrap();
        let head =
            "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nConnection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let waiting = async {
            while served.load(Ordering::SeqCst) == before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("the good one hears of it");
        stream.write_all(b"hello").await.unwrap();
        read_all(&mut stream).await
    };
    for manner in [Manner::Resets(h2::Reason::REFUSED_STREAM), Manner::GoesAway] {
        let (_, _, all) = answers(manner, 4, ask).await;
        let is_whole = |answer: &String| answer.ends_with("\r\nPOST 5");
        assert!(all.iter().all(is_whole), "{manner:?}: {all:?}");
    }
}

/// Anything else may have been looked at.
#[tokio::test]
async fn what_may_have_been_looked_at_is_not_sent_again() {
    for manner in [Manner::Resets(h2::Reason::INTERNAL_ERROR), Manner::Dies] {
        let ask = async |proxy: &Proxy, _: &AtomicUsize| proxy.ask("POST", "/", "").await;
        let (refused, served, all) = answers(manner, 20, ask).await;
        let lost = all.iter().filter(|answer| answer.starts_with("HTTP/1.1 502")).count();
        assert_eq!((lost, served), (refused, all.len() - refused), "{manner:?}");
        let ask = async |proxy: &Proxy, _: &AtomicUsize| proxy.ask("GET", "/", "").await;
        let (_, served, all) = answers(manner, 1, ask).await;
        assert_eq!(served, all.len(), "{manner:?}: a GET does no harm");
    }
}

/// Who was silent long enough is asked for nothing any more, and may have looked at the request.
#[tokio::test]
async fn a_replica_that_may_have_the_body_is_not_passed_over() {
    let proxy = Proxy::start(|config| config.replica_thinks = Duration::from_millis(100));
    let (port, seen) = replica("127.0.0.1:0", Manner::DiesLate).await;
    proxy.serve(table(&[HERE], port, |spec| {
        spec.target.as_mut().unwrap().protocol = UpstreamProtocol::H2c;
    }));
    let answer = proxy.ask("POST", "/", "Expect: 100-continue\r\nContent-Length: 5\r\n").await;
    let rest = answer.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n");
    assert!(rest.is_some_and(|rest| rest.starts_with("HTTP/1.1 502")), "{answer}");
    assert_eq!(seen.load(Ordering::SeqCst), 1);
}

/// When all refuse there is an end, and it comes soon.
#[tokio::test]
async fn two_more_tries_are_enough() {
    let proxy = Proxy::start(|_| {});
    let (port, seen) = replica("127.0.0.1:0", Manner::Resets(h2::Reason::REFUSED_STREAM)).await;
    proxy.serve(table(&[HERE], port, |spec| {
        spec.target.as_mut().unwrap().protocol = UpstreamProtocol::H2c;
    }));
    for turn in 1..=2 {
        let asking = proxy.ask("POST", "/", "");
        let answer = tokio::time::timeout(PATIENCE, asking).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
        assert_eq!(seen.load(Ordering::SeqCst), 3 * turn);
    }
}
