//! Answers and silences that are not the last word: tries, time limits, and waiting for room.

use crate::support::{PATIENCE, Proxy, read_all, read_head, scripted, table};
use jaco_model::Millis;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Answers each request with this status, and counts them.
async fn always(address: &str, status: &'static str) -> (u16, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = seen.clone();
    let here = scripted(address, move |mut stream| {
        let counter = counter.clone();
        async move {
            while read_head(&mut stream).await.ends_with("\r\n\r\n") {
                counter.fetch_add(1, Ordering::SeqCst);
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    (here.port(), seen)
}

#[tokio::test]
async fn a_status_of_the_list_is_tried_elsewhere_if_the_request_is_harmless() {
    let proxy = Proxy::start(|_| {});
    let (port, bad) = always("127.0.0.1:0", "503 Down").await;
    let (_, good) = always(&format!("{OTHER}:{port}"), "200 Fine").await;
    proxy.serve(table(&[HERE, OTHER], port, |spec| {
        spec.options.lb.retry_on = BTreeSet::from([503]);
    }));
    for _ in 0..3 {
        let answer = proxy.ask("GET", "/", "").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert_eq!(good.load(Ordering::SeqCst), 3);
    let (mut refused, before) = (0, bad.load(Ordering::SeqCst));
    while refused == 0 {
        let answer = proxy.ask("POST", "/", "Content-Length: 0\r\n").await;
        refused += usize::from(answer.starts_with("HTTP/1.1 503"));
    }
    assert_eq!(bad.load(Ordering::SeqCst), before + 1, "a POST is sent once");
}

#[tokio::test]
async fn the_last_answer_goes_to_the_client_and_others_are_not_tried_again() {
    let proxy = Proxy::start(|_| {});
    let (port, seen) = always("127.0.0.1:0", "502 Broken").await;
    proxy.serve(table(&[HERE], port, |spec| {
        spec.options.lb.retry_on = BTreeSet::from([502]);
    }));
    let answer = proxy.ask("GET", "/", "").await;
    assert!(answer.starts_with("HTTP/1.1 502 Broken"), "{answer}");
    assert_eq!(seen.swap(0, Ordering::SeqCst), 3);
    proxy.serve(table(&[HERE], port, |spec| {
        spec.options.lb.retry_on = BTreeSet::from([503, 504]);
    }));
    let answer = proxy.ask("GET", "/", "").await;
    assert!(answer.starts_with("HTTP/1.1 502 Broken"), "{answer}");
    assert_eq!(seen.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_service_that_fails_always_is_not_asked_thrice_as_often() {
    let proxy = Proxy::start(|_| {});
    let (port, seen) = always("127.0.0.1:0", "503 Down").await;
    proxy.serve(table(&[HERE], port, |spec| {
        spec.options.lb.retry_on = BTreeSet::from([503]);
    }));
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    for _ in 0..200 {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await.unwrap();
        let head = read_head(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    }
    let seen = seen.load(Ordering::SeqCst);
    // A slow machine may take several seconds, each with three tries of its own.
    assert!((203..300).contains(&seen), "{seen}");
    assert_eq!(proxy.handle.counts().retries, seen as u64 - 200);
}

#[tokio::test]
async fn no_try_begins_after_its_time() {
    let proxy = Proxy::start(|_| {});
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = seen.clone();
    let service = scripted("127.0.0.1:0", move |mut stream| {
        let counter = counter.clone();
        async move {
            read_head(&mut stream).await;
            counter.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    })
    .await;
    proxy.serve(table(&[HERE], service.port(), |spec| {
        (spec.options.lb.retries, spec.options.lb.retry_for) = (10, Millis(100));
    }));
    let answer = proxy.ask("GET", "/", "").await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    assert_eq!(seen.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_request_has_an_end_before_and_within_its_answer() {
    let proxy = Proxy::start(|_| {});
    let service = scripted("127.0.0.1:0", |mut stream| async move {
        let head = read_head(&mut stream).await;
        if head.starts_with("GET /begun") {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbeg").await.unwrap();
        }
        read_all(&mut stream).await;
    })
    .await;
    proxy.serve(table(&[HERE], service.port(), |spec| {
        spec.options.timeouts.request = Millis(300);
    }));
    let answer = proxy.ask("GET", "/silent", "").await;
    assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
    let answer = proxy.ask("GET", "/begun", "").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("beg"), "{answer}");
}

#[tokio::test]
async fn a_slow_upload_is_not_taken_for_a_late_answer() {
    let proxy = Proxy::start(|_| {});
    let service = crate::support::echo("127.0.0.1:0").await;
    proxy.serve(table(&[HERE], service.port(), |spec| {
        spec.options.timeouts.response = Millis(1_500);
    }));
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    let head = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        stream.write_all(b"x").await.unwrap();
    }
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("body 10"), "{answer}");
}

/// Holds each request until it is told to go on.
async fn held() -> (u16, Arc<AtomicUsize>, Arc<tokio::sync::Semaphore>) {
    let running = Arc::new(AtomicUsize::new(0));
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let (most, wait) = (running.clone(), gate.clone());
    let here = scripted("127.0.0.1:0", move |mut stream| {
        let (running, gate) = (most.clone(), wait.clone());
        async move {
            while read_head(&mut stream).await.ends_with("\r\n\r\n") {
                running.fetch_add(1, Ordering::SeqCst);
                gate.acquire().await.unwrap().forget();
                running.fetch_sub(1, Ordering::SeqCst);
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                stream.write_all(answer).await.unwrap();
            }
        }
    })
    .await;
    (here.port(), running, gate)
}

async fn until(what: impl Fn() -> bool) {
    let waiting = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it comes to that");
}

#[tokio::test]
async fn a_full_replica_lets_requests_wait_in_turn_for_a_second() {
    let proxy = Proxy::start(|_| {});
    let (port, running, gate) = held().await;
    proxy.serve(table(&[HERE], port, |spec| spec.options.max_concurrent = Some(2)));
    let mut streams = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(proxy.http).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await.unwrap();
        streams.push(stream);
    }
    until(|| running.load(Ordering::SeqCst) == 2).await;
    until(|| proxy.handle.counts().requests == 4).await;
    assert_eq!(running.load(Ordering::SeqCst), 2);
    gate.add_permits(4);
    for stream in &mut streams {
        let head = read_head(stream).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        stream.read_exact(&mut [0; 2]).await.unwrap();
    }
    until(|| running.load(Ordering::SeqCst) == 0).await;
    for stream in &mut streams {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await.unwrap();
    }
    until(|| running.load(Ordering::SeqCst) == 2).await;
    until(|| proxy.handle.counts().refused == 2).await;
    gate.add_permits(2);
    let mut statuses = Vec::new();
    for stream in &mut streams {
        statuses.push(read_head(stream).await);
    }
    let is_overload = |head: &String| {
        head.starts_with("HTTP/1.1 503") && head.to_lowercase().contains("retry-after: 1")
    };
    assert_eq!(statuses.iter().filter(|head| is_overload(head)).count(), 2, "{statuses:?}");
    let is_served = |head: &&String| head.starts_with("HTTP/1.1 200");
    assert_eq!(statuses.iter().filter(is_served).count(), 2, "{statuses:?}");
}

#[tokio::test]
async fn no_more_than_a_hundred_wait() {
    let proxy = Proxy::start(|_| {});
    let (port, running, gate) = held().await;
    proxy.serve(table(&[HERE], port, |spec| spec.options.max_concurrent = Some(1)));
    let ask = || proxy.ask("GET", "/", "");
    let first = ask();
    let mut first = std::pin::pin!(first);
    tokio::select! {
        _ = first.as_mut() => panic!("it is held"),
        () = until(|| running.load(Ordering::SeqCst) == 1) => {}
    }
    let mut streams = Vec::new();
    for _ in 0..150 {
        let mut stream = TcpStream::connect(proxy.http).await.unwrap();
        let text = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
        stream.write_all(text).await.unwrap();
        streams.push(stream);
    }
    until(|| proxy.handle.counts().refused >= 50).await;
    gate.add_permits(1_000);
    let mut served = 0;
    for stream in &mut streams {
        served += usize::from(read_all(stream).await.starts_with("HTTP/1.1 200"));
    }
    assert!(served <= 100, "{served}");
    assert!(first.await.starts_with("HTTP/1.1 200"));
}
