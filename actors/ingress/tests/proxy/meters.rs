//! What is counted of requests.

use crate::support::{PATIENCE, Proxy, echo, read_head, scripted, table};
use jaco_ingress::{Meters, Reading};
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Reads until something is so: a request is counted when its answer is through, which a client
/// may see before.
async fn until(meters: &Meters, is_so: impl Fn(&Reading) -> bool) -> Reading {
    let reading = async {
        loop {
            let reading = meters.read();
            if is_so(&reading) {
                return reading;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let read = tokio::time::timeout(PATIENCE, reading).await;
    read.unwrap_or_else(|_| panic!("{:#?}", meters.read()))
}

fn answered(reading: &Reading, code: &str) -> u64 {
    let answers = reading.routes.iter().flat_map(|route| &route.requests.answers);
    answers.filter(|(_, own, _)| own == code).map(|(_, _, count)| count).sum()
}

#[tokio::test]
async fn requests_count_for_their_route_and_others_for_nobody() {
    let upstream = echo("127.0.0.1:0").await;
    let proxy = Proxy::start(|_| {});
    proxy.serve(table(&[HERE], upstream.port(), |_| {}));
    let meters = proxy.handle.meters();
    for _ in 0..3 {
        assert!(proxy.ask("GET", "/x", "").await.starts_with("HTTP/1.1 200"));
    }
    assert!(proxy.ask("DELETE", "/x", "").await.starts_with("HTTP/1.1 200"));
    let unknown = "GET / HTTP/1.1\r\nHost: made-up.test\r\nConnection: close\r\n\r\n";
    assert!(proxy.raw(unknown).await.starts_with("HTTP/1.1 404"));
    let reading = until(&meters, |now| {
        answered(now, "200") == 4 && now.strangers.answers.len() == 1 && now.counts.open == 0
    })
    .await;
    let [route] = reading.routes.as_slice() else { panic!("{reading:#?}") };
    assert_eq!((route.domain.as_str(), route.service.as_str()), ("a.test", "shop/web"));
    let mut answers = route.requests.answers.clone();
    answers.sort();
    assert_eq!(answers, [("DELETE", "200".to_owned(), 1), ("GET", "200".to_owned(), 3)]);
    assert_eq!(route.requests.took.buckets.iter().sum::<u64>(), 4);
    assert_eq!(route.requests.upstream.buckets.iter().sum::<u64>(), 4);
    assert_eq!(reading.strangers.answers, [("GET", "404".to_owned(), 1)]);
    assert_eq!(reading.rejected["no_route"], 1);
    assert_eq!(reading.upstreams["shop/web"], (1, 1));
    assert_eq!((reading.counts.active, reading.counts.swaps), (0, 1));
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_is_counted_as_gone() {
    let upstream = scripted("127.0.0.1:0", |mut stream| async move {
        read_head(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let proxy = Proxy::start(|_| {});
    proxy.serve(table(&[HERE], upstream.port(), |_| {}));
    let meters = proxy.handle.meters();
    let mut client = TcpStream::connect(proxy.http).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await.unwrap();
    until(&meters, |now| now.counts.active == 1).await;
    drop(client);
    let reading = until(&meters, |now| answered(now, "499") == 1).await;
    assert_eq!(reading.counts.active, 0);
}
