//! A load balancer in front that says who asks (PROXY protocol).

use crate::support::{Proxy, certify, echo, read_all, table};
use crate::tls;
use std::net::Ipv4Addr;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 8443\r\n";

fn behind_a_balancer() -> Proxy {
    Proxy::start(|config| config.proxy_protocol = vec!["127.0.0.0/8".parse().unwrap()])
}

/// Version 2: signature, version and command, family, length, addresses, an extension.
fn binary(command: u8) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([command, 0x11, 0, 16, 192, 0, 2, 8, 192, 0, 2, 1, 0x12, 0x67, 0x20, 0xfb]);
    header.extend([4, 0, 1, 0]);
    header
}

async fn say(proxy: &Proxy, parts: &[&[u8]]) -> String {
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for part in parts {
        // The proxy may have closed already.
        let _ = stream.write_all(part).await;
        tokio::task::yield_now().await;
    }
    read_all(&mut stream).await
}

#[tokio::test]
async fn the_address_of_the_header_is_the_clients() {
    let proxy = behind_a_balancer();
    let service = echo("127.0.0.1:0").await;
    proxy.serve(table(&[HERE], service.port(), |_| {}));
    let answer = say(&proxy, &[LINE, REQUEST]).await;
    assert!(answer.contains("x-forwarded-for: 192.0.2.7\n"), "{answer}");
    assert!(answer.contains("x-forwarded-port: 8443\n"), "{answer}");
    let answer = say(&proxy, &[&[&binary(0x21), REQUEST].concat()]).await;
    assert!(answer.contains("x-forwarded-for: 192.0.2.8\n"), "{answer}");
    let bytes: Vec<&[u8]> = LINE.chunks(1).chain([REQUEST]).collect();
    let answer = say(&proxy, &bytes).await;
    assert!(answer.contains("x-forwarded-for: 192.0.2.7\n"), "{answer}");
    for own in [binary(0x20), b"PROXY UNKNOWN\r\n".to_vec()] {
        let answer = say(&proxy, &[&own, REQUEST]).await;
        assert!(answer.contains("x-forwarded-for: 127.0.0.1\n"), "the balancer's own: {answer}");
    }
}

#[tokio::test]
async fn addresses_are_judged_by_the_header() {
    let proxy = behind_a_balancer();
    let service = echo("127.0.0.1:0").await;
    proxy.serve(table(&[HERE], service.port(), |spec| {
        spec.options.ip_deny = vec!["192.0.2.7/32".parse().unwrap()];
    }));
    let answer = say(&proxy, &[LINE, REQUEST]).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    let answer = say(&proxy, &[&binary(0x21), REQUEST]).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_header_is_due_from_a_balancer_and_from_nobody_else() {
    let proxy = behind_a_balancer();
    let service = echo("127.0.0.1:0").await;
    proxy.serve(table(&[HERE], service.port(), |_| {}));
    assert_eq!(say(&proxy, &[REQUEST]).await, "", "without a header nothing is answered");
    assert_eq!(say(&proxy, &[b"PROXY TCP5 1 2 3 4\r\n", REQUEST]).await, "");
    let proxy = Proxy::start(|_| {});
    proxy.serve(table(&[HERE], service.port(), |_| {}));
    for header in [LINE.to_vec(), binary(0x21)] {
        let answer = say(&proxy, &[&header, REQUEST]).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert!(!answer.contains("x-forwarded-for"), "{answer}");
    }
}

#[tokio::test]
async fn it_comes_before_the_handshake_of_tls() {
    let proxy = behind_a_balancer();
    let service = echo("127.0.0.1:0").await;
    let mut table = table(&[HERE], service.port(), |_| {});
    let root = certify(&mut table, "a.test");
    proxy.serve(table);
    let mut stream = TcpStream::connect(proxy.https).await.unwrap();
    stream.write_all(LINE).await.unwrap();
    let mut client = tls::client(tls::handshake(stream, "a.test", &root).await.unwrap()).await;
    let answer = client.send_request(tls::get("https://a.test/")).await.unwrap();
    let text = tls::text(answer).await;
    assert!(text.contains("x-forwarded-for: 192.0.2.7\n"), "{text}");
    assert!(tls::connect(proxy.https, "a.test", &root).await.is_err(), "without a header");
}
