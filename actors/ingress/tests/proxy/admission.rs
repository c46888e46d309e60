//! What of a route says whether a request is let in at all, and as whose.

use crate::support::{Proxy, certify, echo, table};
use crate::tls::{client, connect, get};
use jaco_model::spec::{HostHeader, RouteSpec, TlsMode};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const TOKEN: &str = "/.well-known/acme-challenge/theirs";

/// A proxy before an echo, which has a certificate or not.
async fn before(has_certificate: bool, adjust: impl FnOnce(&mut RouteSpec)) -> (Proxy, u16) {
    let proxy = Proxy::start(|_| {});
    let port = echo("127.0.0.1:0").await.port();
    let mut table = table(&[HERE], port, adjust);
    if has_certificate {
        certify(&mut table, "a.test");
    }
    proxy.serve(table);
    (proxy, port)
}

#[tokio::test]
async fn a_route_may_wait_for_its_certificate() {
    let (proxy, _) = before(false, |spec| spec.options.tls_pending_refuse = true).await;
    let answer = proxy.ask("GET", "/", "").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("retry-after: 5\r\n"), "{answer}");
}

#[tokio::test]
async fn a_route_may_stay_plain_beside_its_certificate() {
    let (proxy, _) = before(true, |spec| spec.options.https_redirect = false).await;
    let answer = proxy.ask("GET", "/", "").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let (proxy, _) = before(true, |spec| spec.tls = TlsMode::Off).await;
    let answer = proxy.ask("GET", "/", "").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn challenges_of_others_pass_where_the_route_says_so() {
    for (tls, passes, status) in
        [(TlsMode::Off, true, "200"), (TlsMode::Off, false, "404"), (TlsMode::Auto, true, "404")]
    {
        let adjust = |spec: &mut RouteSpec| {
            (spec.tls, spec.options.acme_passthrough) = (tls.clone(), passes);
        };
        let (proxy, _) = before(false, adjust).await;
        let answer = proxy.ask("GET", TOKEN, "").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{tls:?} {passes}: {answer}");
    }
}

#[tokio::test]
async fn other_methods_hear_which_ones_there_are() {
    let methods = BTreeSet::from(["GET".to_owned(), "PUT".to_owned()]);
    let (proxy, _) = before(false, |spec| spec.options.methods = methods).await;
    for (method, status) in [("GET", "200"), ("PUT", "200"), ("POST", "405"), ("DELETE", "405")] {
        let answer = proxy.ask(method, "/", "Content-Length: 0\r\n").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{method}: {answer}");
        let told = answer.contains("allow: GET, PUT\r\n");
        assert_eq!(told, status == "405", "{method}: {answer}");
    }
}

#[tokio::test]
async fn the_service_sees_the_host_that_the_route_says() {
    for (host, wanted) in [
        (HostHeader::Client, "host: a.test\n".to_owned()),
        (HostHeader::Literal("shop.internal:81".to_owned()), "host: shop.internal:81\n".to_owned()),
        (HostHeader::Upstream, String::new()),
    ] {
        let (proxy, port) = before(false, |spec| spec.options.host_header = host.clone()).await;
        let wanted = if wanted.is_empty() { format!("host: {HERE}:{port}\n") } else { wanted };
        let answer = proxy.ask("GET", "/", "").await;
        assert!(answer.contains(&wanted), "{host:?}: {answer}");
        assert!(answer.contains("x-forwarded-host: a.test\n"), "{host:?}: {answer}");
    }
}

/// Hosts of nobody go where a route for any host leads, in clear only.
#[tokio::test]
async fn a_route_for_any_host_takes_those_of_nobody() {
    let (proxy, port) = before(false, |_| {}).await;
    let mut all = table(&[HERE], port, |_| {});
    let root = certify(&mut all, "a.test");
    let any = table(&[HERE], port, |spec| {
        (spec.domain, spec.path, spec.tls) = ("*".to_owned(), "/any".to_owned(), TlsMode::Off);
    });
    all.sites = all.sites.iter().chain(any.sites.iter()).cloned().collect();
    proxy.serve(all);
    let ask = async |host: &str, path: &str| {
        let text = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        proxy.raw(&text).await
    };
    for (host, path, status) in [
        ("a.test", "/any", "308"),
        ("b.test", "/any/x", "200"),
        ("192.0.2.1", "/any", "200"),
        ("localhost:8080", "/any", "200"),
        ("b.test", "/", "404"),
        ("b.test", TOKEN, "404"),
    ] {
        let answer = ask(host, path).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{host}{path}: {answer}");
    }
    let answer = ask("b.test", "/any").await;
    assert!(answer.contains("host: b.test\n"), "{answer}");
    let mut secure = client(connect(proxy.https, "a.test", &root).await.unwrap()).await;
    let answer = secure.send_request(get("https://b.test/any")).await.unwrap();
    assert_eq!(answer.status(), 421, "its certificate is another one's");
    assert!(connect(proxy.https, "b.test", &root).await.is_err());
}
