//! HTTP/1.1 through the proxy: what arrives, what comes back, what is tried again.

use crate::support::{PATIENCE, Proxy, certify, echo, read_all, read_head, scripted, table};
use jaco_model::Millis;
use jaco_model::spec::{BasicAuth, Redirect, SameSite, Sticky, TlsMode};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

#[tokio::test]
async fn a_service_hears_who_asks_and_no_lies_about_it() {
    let proxy = Proxy::start(|_| {});
    let service = echo("127.0.0.1:0").await;
    proxy.serve(table(&[HERE], service.port(), |_| {}));
    let lies = "X-Forwarded-For: 9.9.9.9\r\nX_Forwarded_For: 8.8.8.8\r\nForwarded: for=7.7.7.7\r\n\
                X-Real-IP: 6.6.6.6\r\nProxy: evil\r\nX-Secret: 1\r\nKeep-Alive: 5\r\n";
    let answer = proxy.ask("GET", "/a/../b?q=1", lies).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("x-forwarded-for: 127.0.0.1\n"), "{answer}");
    assert!(answer.contains("x-forwarded-proto: http\n"), "{answer}");
    assert!(answer.contains("host: a.test\n"), "{answer}");
    assert!(answer.contains("GET /a/../b?q=1\n"), "the path goes on as it came: {answer}");
    assert!(answer.to_lowercase().contains("\r\nx-request-id: "), "{answer}");
    for lie in ["9.9.9.9", "8.8.8.8", "7.7.7.7", "6.6.6.6", "evil", "keep-alive: 5"] {
        assert!(!answer.contains(lie), "{lie}: {answer}");
    }
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    let proxy = Proxy::start(|_| {});
    let accepted = Arc::new(AtomicUsize::new(0));
    let counter = accepted.clone();
    let service = scripted("127.0.0.1:0", move |mut stream| {
        counter.fetch_add(1, Ordering::SeqCst);
        async move {
            while read_head(&mut stream).await.ends_with("\r\n\r\n") {
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                stream.write_all(answer).await.unwrap();
            }
        }
    })
    .await;
    proxy.serve(table(&[HERE], service.port(), |_| {}));
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    for _ in 0..50 {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await.unwrap();
        let head = read_head(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        stream.read_exact(&mut [0; 2]).await.unwrap();
    }
    assert!(accepted.load(Ordering::SeqCst) <= 2, "connections to the service are kept");
    assert_eq!(proxy.handle.counts().connections, 1);
    assert_eq!(proxy.handle.counts().requests, 50);
}

#[tokio::test]
async fn what_is_unknown_is_told_so() {
    let proxy = Proxy::start(|config| config.names = vec!["node.test".to_owned()]);
    proxy.serve(table(&[], 80, |spec| spec.path = "/api".to_owned()));
    let get = |host: &str, path: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
    };
    for (host, path, status) in [
        ("b.test", "/", "404"),
        ("a.test", "/", "404"),
        ("a.test", "/apix", "404"),
        ("A.test.:80", "/api/x", "503"),
        ("a.test", "/api/../..", "400"),
        ("a.test", "/.well-known/acme-challenge/x", "404"),
        ("node.test", "/.well-known/jaco/health", "200"),
    ] {
        let answer = proxy.raw(&get(host, path)).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{host} {path}: {answer}");
        assert!(answer.contains("server: jaco"), "{answer}");
    }
    let answer = proxy.ask("TRACE", "/api", "").await;
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
}

#[tokio::test]
async fn a_replica_that_refuses_is_passed_over_whatever_the_method() {
    let proxy = Proxy::start(|_| {});
    let service = echo("127.0.0.1:0").await;
    let dead = [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3)];
    proxy.serve(table(&[dead[0], HERE, dead[1]], service.port(), |_| {}));
    for method in ["GET", "POST", "DELETE"].repeat(10) {
        let answer = proxy.ask(method, "/", "Content-Length: 0\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{method}: {answer}");
    }
    let answer = proxy
        .raw(
            "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\
                            Connection: close\r\n\r\nhello",
        )
        .await;
    assert!(answer.contains("body 5"), "{answer}");
    assert!(proxy.handle.counts().retries > 0, "the dead ones were tried");
}

#[tokio::test]
async fn a_cookie_keeps_a_client_at_its_replica() {
    let proxy = Proxy::start(|_| {});
    let service = echo("127.0.0.1:0").await;
    let other = Ipv4Addr::new(127, 0, 0, 2);
    echo(&format!("{other}:{}", service.port())).await;
    proxy.serve(table(&[HERE, other], service.port(), |spec| {
        let cookie = "stay".to_owned();
        let (ttl, same_site) = (Millis(0), SameSite::Lax);
        spec.options.sticky = Some(Sticky { cookie, ttl, same_site });
    }));
    let at =
        |answer: &str| answer.lines().find_map(|line| line.strip_prefix("at ")).map(str::to_owned);
    let first = proxy.ask("GET", "/", "").await;
    let set = first.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a cookie");
    assert!(set.starts_with("stay=") && set.contains("HttpOnly"), "{set}");
    let pair = set.split(';').next().expect("a name and a value");
    for _ in 0..20 {
        let again = proxy.ask("GET", "/", &format!("Cookie: a=b; {pair}\r\n")).await;
        assert_eq!(at(&again), at(&first), "{again}");
        assert!(!again.contains("set-cookie"), "{again}");
    }
}

#[tokio::test]
async fn only_what_is_harmless_twice_is_sent_twice() {
    let proxy = Proxy::start(|_| {});
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = seen.clone();
    let service = scripted("127.0.0.1:0", move |mut stream| {
        let counter = counter.clone();
        async move {
            read_head(&mut stream).await;
            counter.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    proxy.serve(table(&[HERE], service.port(), |_| {}));
    let answer = proxy.ask("POST", "/", "Content-Length: 0\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    assert_eq!(seen.swap(0, Ordering::SeqCst), 1);
    let answer = proxy.ask("GET", "/", "").await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    assert_eq!(seen.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn new_tables_under_load_fail_no_request() {
    let proxy = Proxy::start(|_| {});
    let one = echo("127.0.0.1:0").await;
    let other = Ipv4Addr::new(127, 0, 0, 2);
    echo(&format!("{other}:{}", one.port())).await;
    proxy.serve(table(&[HERE], one.port(), |_| {}));
    let http = proxy.http;
    let clients: Vec<_> = (0..8)
        .map(|_| {
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(http).await.unwrap();
                for _ in 0..500 {
                    stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await.unwrap();
                    let head = read_head(&mut stream).await;
                    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
                    let length =
                        head.lines().find_map(|line| line.strip_prefix("content-length: "));
                    let mut body = vec![0; length.unwrap().parse().unwrap()];
                    stream.read_exact(&mut body).await.unwrap();
                }
            })
        })
        .collect();
    let mut turn = 0;
    while clients.iter().any(|client| !client.is_finished()) {
        turn += 1;
        let addresses = [vec![HERE], vec![HERE, other], vec![other], vec![other, HERE]];
        proxy.serve(table(&addresses[turn % 4], one.port(), |_| {}));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    for client in clients {
        client.await.unwrap();
    }
    assert!(turn > 4, "{turn}");
    assert_eq!(proxy.handle.counts().requests, 4000);
    assert_eq!(proxy.handle.counts().refused, 0);
}

#[tokio::test]
async fn bytes_pass_both_ways_after_an_upgrade() {
    let proxy = Proxy::start(|_| {});
    let service = scripted("127.0.0.1:0", |mut stream| async move {
        let head = read_head(&mut stream).await.to_lowercase();
        assert!(head.contains("upgrade: websocket\r\n"), "{head}");
        assert!(head.contains("connection: upgrade\r\n"), "{head}");
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                       Upgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\nhello";
        stream.write_all(answer).await.unwrap();
        let mut bytes = [0; 4];
        while stream.read_exact(&mut bytes).await.is_ok() {
            bytes.reverse();
            stream.write_all(&bytes).await.unwrap();
        }
    })
    .await;
    proxy.serve(table(&[HERE], service.port(), |_| {}));
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    let ask = b"GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, Upgrade\r\n\
                Upgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n";
    stream.write_all(ask).await.unwrap();
    let head = read_head(&mut stream).await.to_lowercase();
    assert!(head.starts_with("http/1.1 101"), "{head}");
    assert!(head.contains("upgrade: websocket"), "{head}");
    let mut hello = [0; 5];
    stream.read_exact(&mut hello).await.unwrap();
    assert_eq!(&hello, b"hello");
    for _ in 0..100 {
        stream.write_all(b"abcd").await.unwrap();
        let mut bytes = [0; 4];
        stream.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"dcba");
    }
    stream.shutdown().await.unwrap();
    assert_eq!(read_all(&mut stream).await, "");
}

#[tokio::test]
async fn bodies_pass_piece_by_piece() {
    let proxy = Proxy::start(|_| {});
    let service = scripted("127.0.0.1:0", |mut stream| async move {
        read_head(&mut stream).await;
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head).await.unwrap();
        // A chunk of the request ends with its letter and CR LF; each is answered at once.
        loop {
            let byte = stream.read_u8().await.unwrap();
            if byte.is_ascii_lowercase() {
                stream
                    .write_all(format!("1\r\n{}\r\n", char::from(byte)).as_bytes())
                    .await
                    .unwrap();
            }
            if byte == b'z' {
                stream.write_all(b"0\r\n\r\n").await.unwrap();
                break;
            }
        }
        read_all(&mut stream).await;
    })
    .await;
    proxy.serve(table(&[HERE], service.port(), |_| {}));
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    let head = b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let mut is_first = true;
    for letter in ["p", "q", "z"] {
        stream.write_all(format!("1\r\n{letter}\r\n").as_bytes()).await.unwrap();
        if is_first {
            let head = read_head(&mut stream).await;
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            is_first = false;
        }
        let mut chunk = [0; 6];
        tokio::time::timeout(PATIENCE, stream.read_exact(&mut chunk)).await.unwrap().unwrap();
        assert_eq!(chunk, format!("1\r\n{letter}\r\n").as_bytes());
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
}

#[tokio::test]
async fn bodies_have_a_limit_by_header_and_by_count() {
    let proxy = Proxy::start(|_| {});
    let service = echo("127.0.0.1:0").await;
    proxy.serve(table(&[HERE], service.port(), |spec| spec.options.body_limit = Some(4)));
    let answer = proxy
        .raw(
            "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\
                            Connection: close\r\n\r\nfour",
        )
        .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let answer = proxy
        .raw(
            "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\
                            Connection: close\r\n\r\nfiveb",
        )
        .await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let answer = proxy
        .raw(
            "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\
                            Connection: close\r\n\r\n5\r\nfiveb\r\n0\r\n\r\n",
        )
        .await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn slow_headers_and_idle_connections_end() {
    let proxy = Proxy::start(|config| {
        config.header_timeout = Duration::from_millis(300);
        config.idle_timeout = Duration::from_millis(300);
    });
    let service = echo("127.0.0.1:0").await;
    proxy.serve(table(&[HERE], service.port(), |_| {}));
    for bytes in ["", "GET / HT", "GET / HTTP/1.1\r\nHost: a.test\r\n"] {
        let answer = proxy.raw(bytes).await;
        assert!(!answer.contains(" 200 "), "{answer}");
    }
    let answer = proxy.raw("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "kept, then closed: {answer}");
}

#[tokio::test]
async fn routes_redirect_and_ask_for_passwords() {
    let proxy = Proxy::start(|_| {});
    let service = echo("127.0.0.1:0").await;
    let hash = bcrypt::hash("secret", 4).unwrap();
    let users = BTreeMap::from([("alice".to_owned(), hash)]);
    let auth = BasicAuth { realm: "in".to_owned(), users, forward: false };
    proxy.serve(table(&[HERE], service.port(), |spec| spec.options.basic_auth = Some(auth)));
    let answer = proxy.ask("GET", "/", "").await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert!(answer.contains("Basic realm=\"in\""), "{answer}");
    // alice:wrong, bob:secret, alice:secret twice
    for (credentials, status) in [
        ("YWxpY2U6d3Jvbmc=", "401"),
        ("Ym9iOnNlY3JldA==", "401"),
        ("YWxpY2U6c2VjcmV0", "200"),
        ("YWxpY2U6c2VjcmV0", "200"),
        ("YWxpY2U6d3Jvbmc=", "401"),
    ] {
        let header = format!("Authorization: Basic {credentials}\r\n");
        let answer = proxy.ask("GET", "/", &header).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(!answer.contains("authorization"), "{answer}");
    }
    let redirect = Redirect {
        to: "https://b.test".to_owned(),
        status: 302,
        keep_path: true,
        keep_query: true,
    };
    proxy.serve(table(&[], 80, |spec| {
        (spec.target, spec.tls) = (None, TlsMode::Off);
        spec.options.redirect = Some(redirect);
    }));
    let answer = proxy.ask("GET", "/x?y=1", "").await;
    assert!(answer.starts_with("HTTP/1.1 302"), "{answer}");
    assert!(answer.contains("location: https://b.test/x?y=1\r\n"), "{answer}");
}

#[tokio::test]
async fn plain_requests_go_to_https_once_there_is_a_certificate() {
    let proxy = Proxy::start(|_| {});
    let service = echo("127.0.0.1:0").await;
    let mut plain = table(&[HERE], service.port(), |_| {});
    proxy.serve(plain.clone());
    assert!(proxy.ask("GET", "/", "").await.starts_with("HTTP/1.1 200"));
    certify(&mut plain, "a.test");
    let key = ("a.test".to_owned(), "token".to_owned());
    plain.tokens.insert(key, "token.print".to_owned());
    proxy.serve(plain);
    let answer = proxy.ask("GET", "/x?y", "").await;
    assert!(answer.starts_with("HTTP/1.1 308"), "{answer}");
    assert!(answer.contains("location: https://a.test/x?y\r\n"), "{answer}");
    let answer = proxy.ask("GET", "/.well-known/acme-challenge/token", "").await;
    assert!(answer.ends_with("\r\n\r\ntoken.print"), "{answer}");
}

#[tokio::test]
async fn a_late_service_is_given_up() {
    let proxy = Proxy::start(|_| {});
    let service = scripted("127.0.0.1:0", |mut stream| async move {
        read_all(&mut stream).await;
    })
    .await;
    proxy.serve(table(&[HERE], service.port(), |spec| {
        spec.options.timeouts.response = Millis(200);
    }));
    let answer = proxy.ask("GET", "/", "").await;
    assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
}

#[tokio::test]
async fn stopping_lets_running_requests_end() {
    let proxy = Proxy::start(|_| {});
    let service = scripted("127.0.0.1:0", |mut stream| async move {
        read_head(&mut stream).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    })
    .await;
    proxy.serve(table(&[HERE], service.port(), |_| {}));
    let mut running = TcpStream::connect(proxy.http).await.unwrap();
    running.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await.unwrap();
    while proxy.handle.counts().requests == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let stopping = proxy.handle.stop(PATIENCE);
    let (answer, ()) = tokio::join!(read_all(&mut running), stopping);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(TcpStream::connect(proxy.http).await.is_err(), "nothing is accepted any more");
}
