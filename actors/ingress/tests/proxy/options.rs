//! What routes do to requests and answers: lists, rates, pages, headers, paths, compression.

use crate::support::{Proxy, echo, read_head, scripted, table};
use argon2::password_hash::{PasswordHasher, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use flate2::read::GzDecoder;
use jaco_model::Millis;
use jaco_model::spec::{
    BasicAuth, HeaderRules, HostHeader, Maintenance, RateKey, RateLimit, Redirect, RouteSpec,
};
use std::collections::BTreeMap;
use std::io::Read;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// A proxy on one route before an echo.
async fn proxy(adjust: impl FnOnce(&mut RouteSpec)) -> Proxy {
    let proxy =
        Proxy::start(|config| config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]);
    let service = echo("127.0.0.1:0").await;
    proxy.serve(table(&[HERE], service.port(), adjust));
    proxy
}

async fn status_for(proxy: &Proxy, client: &str) -> String {
    let answer = proxy.ask("GET", "/", &format!("X-Forwarded-For: {client}\r\n")).await;
    answer.split(' ').nth(1).unwrap().to_owned()
}

#[tokio::test]
async fn lists_of_addresses_let_in_and_keep_out() {
    let proxy = proxy(|spec| {
        spec.options.ip_allow =
            vec!["1.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
        spec.options.ip_deny = vec!["1.2.0.0/16".parse().unwrap()];
    })
    .await;
    for (client, status) in [
        ("1.1.1.1", "200"),
        ("1.2.1.1", "403"),
        ("2.1.1.1", "403"),
        ("2001:db8::1", "200"),
        ("2001:db9::1", "403"),
        ("1.1.1.1, 9.9.9.9", "403"),
        ("9.9.9.9, 1.1.1.1", "200"),
    ] {
        assert_eq!(status_for(&proxy, client).await, status, "{client}");
    }
}

#[tokio::test]
async fn a_client_that_asks_too_often_hears_when_to_come_back() {
    for key in [RateKey::Ip, RateKey::Header("x-key".to_owned()), RateKey::Route] {
        let limit = RateLimit { requests: 2, per: Millis::secs(3_600), burst: 2, key: key.clone() };
        let proxy = proxy(|spec| spec.options.rate_limit = Some(limit)).await;
        let ask = async |client: &str| {
            let more = format!("X-Forwarded-For: {client}\r\nX-Key: {client}\r\n");
            proxy.ask("GET", "/", &more).await
        };
        for _ in 0..2 {
            let answer = ask("1.1.1.1").await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{key:?}: {answer}");
        }
        let answer = ask("1.1.1.1").await;
        assert!(answer.starts_with("HTTP/1.1 429"), "{key:?}: {answer}");
        let wait = answer.lines().find_map(|line| line.strip_prefix("retry-after: ")).unwrap();
        assert!((1_700..=1_801).contains(&wait.parse::<u32>().unwrap()), "{wait}");
        let other = ask("2.2.2.2").await;
        let wanted = if key == RateKey::Route { "HTTP/1.1 429" } else { "HTTP/1.1 200" };
        assert!(other.starts_with(wanted), "{key:?}: {other}");
    }
}

#[tokio::test]
async fn a_rate_above_a_thousand_a_second_is_one() {
    let limit =
        RateLimit { requests: 7_200_000, per: Millis::secs(3_600), burst: 5, key: RateKey::Route };
    let proxy = proxy(|spec| spec.options.rate_limit = Some(limit)).await;
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    let bytes = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n".repeat(400)
        + "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
    let (mut reader, mut writer) = stream.split();
    let (_, answer) = tokio::join!(
        async move { writer.write_all(bytes.as_bytes()).await.unwrap() },
        async move {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).await.unwrap();
            String::from_utf8_lossy(&all).into_owned()
        }
    );
    let (served, refused) = (answer.matches("1.1 200").count(), answer.matches("1.1 429").count());
    assert_eq!(served + refused, 401);
    assert!(served >= 5, "{served}");
}

#[tokio::test]
async fn maintenance_lets_some_through() {
    let maintenance = Maintenance {
        status: 503,
        retry_after: Millis::secs(90),
        body: Some("back soon".to_owned()),
        allow: vec!["1.1.1.0/24".parse().unwrap()],
    };
    let proxy = proxy(|spec| spec.options.maintenance = Some(maintenance)).await;
    let answer = proxy.ask("GET", "/", "").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.ends_with("back soon"), "{answer}");
    assert!(answer.contains("retry-after: 90\r\n"), "{answer}");
    assert_eq!(status_for(&proxy, "1.1.1.9").await, "200");
    assert_eq!(status_for(&proxy, "1.1.2.9").await, "503");
}

#[tokio::test]
async fn headers_are_removed_then_set_then_added() {
    let rules = |side: &str| HeaderRules {
        remove: vec!["x-gone".to_owned(), "x-both".to_owned()],
        set: BTreeMap::from([
            ("x-set".to_owned(), "{client_ip} {host} {scheme}".to_owned()),
            ("x-both".to_owned(), side.to_owned()),
        ]),
        add: BTreeMap::from([("x-both".to_owned(), "{request_id}{what}".to_owned())]),
    };
    let proxy = proxy(|spec| {
        spec.options.request_headers = rules("asked");
        spec.options.response_headers =
            HeaderRules { remove: vec!["date".to_owned()], ..rules("answered") };
        spec.options.host_header = HostHeader::Literal("inner.test".to_owned());
    })
    .await;
    let more = "X-Forwarded-For: 1.1.1.1\r\nX-Request-Id: id-1\r\nX-Gone: 1\r\nX-Both: 2\r\n\
                X-Set: 3\r\nX-Stays: 4\r\n";
    let answer = proxy.ask("GET", "/", more).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let lines = |text: &str, name: &str| {
        let of = text.lines().filter_map(|line| line.strip_prefix(name));
        of.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(lines(body, "x-set: "), ["1.1.1.1 a.test http"]);
    assert_eq!(lines(body, "x-both: "), ["asked", "id-1{what}"]);
    assert_eq!(lines(body, "x-stays: "), ["4"]);
    assert_eq!(lines(body, "host: "), ["inner.test"]);
    assert!(!body.contains("x-gone"), "{body}");
    assert_eq!(lines(head, "x-set: "), ["1.1.1.1 a.test http"]);
    assert_eq!(lines(head, "x-both: "), ["answered", "id-1{what}"]);
    assert_eq!(lines(head, "x-request-id: "), ["id-1"]);
}

#[tokio::test]
async fn only_a_trusted_proxy_speaks_for_clients() {
    let trusting = proxy(|_| {}).await;
    let more = "X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-For: 1.1.1.1, 127.0.0.9\r\n\
                X-Request-Id: given\r\n";
    let answer = trusting.ask("GET", "/", more).await;
    let chain = "x-forwarded-for: 9.9.9.9, 1.1.1.1, 127.0.0.9, 127.0.0.1\n";
    assert!(answer.contains(chain), "{answer}");
    assert!(answer.contains("x-real-ip: 1.1.1.1\n"), "{answer}");
    assert!(answer.contains("forwarded: for=1.1.1.1;host=\"a.test\";proto=http\n"), "{answer}");
    assert!(answer.contains("x-request-id: given\n"), "{answer}");
    let alone = Proxy::start(|_| {});
    let service = echo("127.0.0.1:0").await;
    alone.serve(table(&[HERE], service.port(), |_| {}));
    let answer = alone.ask("GET", "/", more).await;
    assert!(answer.contains("x-forwarded-for: 127.0.0.1\n"), "{answer}");
    assert!(answer.contains("x-real-ip: 127.0.0.1\n") && !answer.contains("given"), "{answer}");
}

#[tokio::test]
async fn a_password_may_be_hashed_by_argon2_and_go_on() {
    let salt = SaltString::encode_b64(b"some salt").unwrap();
    let cheap = Params::new(8, 1, 1, None).unwrap();
    let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, cheap);
    let hash = hasher.hash_password(b"secret", &salt).unwrap().to_string();
    let users = BTreeMap::from([("alice".to_owned(), hash)]);
    for forward in [true, false] {
        let auth = BasicAuth { realm: "in".to_owned(), users: users.clone(), forward };
        let proxy = proxy(|spec| spec.options.basic_auth = Some(auth)).await;
        // alice:secret, then alice:wrong
        let right = "Authorization: Basic YWxpY2U6c2VjcmV0\r\n";
        let answer = proxy.ask("GET", "/", right).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_eq!(answer.contains("authorization: Basic YWxp"), forward, "{answer}");
        let answer = proxy.ask("GET", "/", "Authorization: Basic YWxpY2U6d3Jvbmc=\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    }
}

#[tokio::test]
async fn a_path_is_taken_off_and_told() {
    let proxy = proxy(|spec| {
        (spec.path, spec.options.strip_path) = ("/api".to_owned(), true);
    })
    .await;
    for (asked, arrives) in [
        ("/api", "GET /\n"),
        ("/api/", "GET /\n"),
        ("/api/x/?q=/api", "GET /x/?q=/api\n"),
        ("/%61pi/./x", "GET /x\n"),
        ("/api/a%2Fb", "GET /a%2Fb\n"),
        ("/api//x", "GET //x\n"),
    ] {
        let answer = proxy.ask("GET", asked, "X-Forwarded-Prefix: /lie\r\n").await;
        assert!(answer.contains(arrives), "{asked}: {answer}");
        assert!(answer.contains("x-forwarded-prefix: /api\n"), "{answer}");
    }
}

#[tokio::test]
async fn a_redirect_may_drop_path_and_query() {
    let redirect = Redirect {
        to: "{scheme}://www.{host}{path}".to_owned(),
        status: 301,
        keep_path: false,
        keep_query: false,
    };
    let proxy = proxy(|spec| spec.options.redirect = Some(redirect)).await;
    let answer = proxy.ask("GET", "/x?y", "").await;
    assert!(answer.starts_with("HTTP/1.1 301"), "{answer}");
    assert!(answer.contains("location: http://www.a.test/x\r\n"), "{answer}");
}

#[tokio::test]
async fn a_page_of_ones_own_stands_for_errors_of_the_proxy_alone() {
    let pages = BTreeMap::from([
        (403, "{\"error\":\"no\"}".to_owned()),
        (502, "<h1>broken</h1>".to_owned()),
        (503, "plainly down".to_owned()),
    ]);
    let proxy = Proxy::start(|_| {});
    let service = scripted("127.0.0.1:0", |mut stream| async move {
        if read_head(&mut stream).await.starts_with("GET /own") {
            let answer = b"HTTP/1.1 503 Own\r\nContent-Length: 3\r\n\r\nown";
            stream.write_all(answer).await.unwrap();
        }
    })
    .await;
    let with = |addresses: &[Ipv4Addr], denied: bool| {
        table(addresses, service.port(), |spec| {
            spec.options.error_pages = pages.clone();
            if denied {
                spec.options.ip_deny = vec!["127.0.0.0/8".parse().unwrap()];
            }
        })
    };
    proxy.serve(with(&[HERE], false));
    let answer = proxy.ask("GET", "/own", "").await;
    assert!(answer.starts_with("HTTP/1.1 503 Own") && answer.ends_with("\r\n\r\nown"), "{answer}");
    for (addresses, denied, status, kind) in [
        (&[HERE][..], false, 502, "text/html"),
        (&[], false, 503, "text/plain"),
        (&[HERE], true, 403, "application/json"),
    ] {
        proxy.serve(with(addresses, denied));
        let answer = proxy.ask("GET", "/", "Accept: text/html\r\n").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(answer.contains(&format!("content-type: {kind}")), "{answer}");
        assert!(answer.ends_with(&pages[&status]), "{answer}");
    }
}

/// Reads one answer and undoes its chunks.
async fn unchunked(proxy: &Proxy, path: &str, more: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    let text = format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n{more}Connection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    let head = read_head(&mut stream).await.to_lowercase();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    if !head.contains("transfer-encoding: chunked") {
        return (head, rest);
    }
    let (mut body, mut left) = (Vec::new(), &rest[..]);
    loop {
        let end = left.windows(2).position(|pair| pair == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&left[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return (head, body);
        }
        left = &left[end + 2..];
        body.extend_from_slice(&left[..size]);
        left = &left[size + 2..];
    }
}

/// Answers with what the path asks for: `/KIND/ENCODING/BYTES`, and more header lines.
async fn pages(more: &'static str) -> u16 {
    let here = scripted("127.0.0.1:0", move |mut stream| async move {
        loop {
            let head = read_head(&mut stream).await;
            let mut words = head.split(' ');
            let (method, path) = (words.next().unwrap(), words.next().unwrap_or_default());
            let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
            let [kind, encoding, bytes] = parts[..] else { return };
            let (kind, bytes) = (kind.replace('.', "/"), bytes.parse::<usize>().unwrap());
            let encoding = match encoding {
                "none" => String::new(),
                encoding => format!("Content-Encoding: {encoding}\r\n"),
            };
            let text = "all work and no play ".repeat(bytes / 21 + 1);
            let body = if method == "HEAD" { "" } else { &text[..bytes] };
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{encoding}{more}\
                 Content-Length: {bytes}\r\nETag: \"tag\"\r\nAccept-Ranges: bytes\r\n\r\n{body}"
            );
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    })
    .await;
    here.port()
}

#[tokio::test]
async fn text_is_compressed_for_those_who_take_it() {
    let proxy = Proxy::start(|_| {});
    let port = pages("").await;
    proxy.serve(table(&[HERE], port, |spec| spec.options.compress = true));
    for bytes in [1_024, 5_000, 3_000_000] {
        let path = format!("/text.html/none/{bytes}");
        let (head, body) = unchunked(&proxy, &path, "Accept-Encoding: br, gzip\r\n").await;
        assert!(head.contains("content-encoding: gzip\r\n"), "{head}");
        assert!(head.contains("vary: accept-encoding\r\n"), "{head}");
        assert!(head.contains("etag: w/\"tag\"\r\n"), "{head}");
        assert!(!head.contains("accept-ranges") && !head.contains("content-length"), "{head}");
        assert!(body.len() < bytes / 4, "{}", body.len());
        let mut text = String::new();
        GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text.len(), bytes);
        assert!(text.starts_with("all work and no play all"));
    }
    let (head, body) = unchunked(&proxy, "/text.html/none/5000", "").await;
    assert!(head.contains("vary: accept-encoding\r\n"), "{head}");
    assert!(head.contains("etag: \"tag\"\r\n") && !head.contains("content-encoding"), "{head}");
    assert_eq!(body.len(), 5_000);
    for path in ["/image.png/none/5000", "/text.html/br/5000", "/text.html/none/1023"] {
        let (head, _) = unchunked(&proxy, path, "Accept-Encoding: gzip\r\n").await;
        assert!(!head.contains("gzip") && !head.contains("vary"), "{path}: {head}");
        assert!(head.contains("content-length: "), "{path}: {head}");
    }
    let head = proxy.ask("HEAD", "/text.html/none/5000", "Accept-Encoding: gzip\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200") && !head.contains("gzip"), "{head}");
    proxy.serve(table(&[HERE], port, |_| {}));
    let (head, _) = unchunked(&proxy, "/text.html/none/5000", "Accept-Encoding: gzip\r\n").await;
    assert!(!head.contains("gzip"), "not unless it is asked for: {head}");
    let port = pages("Cache-Control: no-transform\r\n").await;
    proxy.serve(table(&[HERE], port, |spec| spec.options.compress = true));
    let (head, _) = unchunked(&proxy, "/text.html/none/5000", "Accept-Encoding: gzip\r\n").await;
    assert!(!head.contains("gzip"), "{head}");
}

#[tokio::test]
async fn compression_holds_nothing_back() {
    let proxy = Proxy::start(|_| {});
    let service = scripted("127.0.0.1:0", |mut stream| async move {
        read_head(&mut stream).await;
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\
                    Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        // The rest comes when the client has what was said so far.
        let mut told = [0; 1];
        let _ = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut told)).await;
    })
    .await;
    proxy.serve(table(&[HERE], service.port(), |spec| spec.options.compress = true));
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    let ask = b"GET / HTTP/1.1\r\nHost: a.test\r\nAccept-Encoding: gzip\r\n\r\n";
    stream.write_all(ask).await.unwrap();
    let head = read_head(&mut stream).await.to_lowercase();
    assert!(head.contains("content-encoding: gzip"), "{head}");
    let reading = async {
        let mut got = Vec::new();
        loop {
            got.push(stream.read_u8().await.unwrap());
            let Some(at) = got.windows(2).position(|pair| pair == b"\r\n") else { continue };
            let mut text = [0; 5];
            if GzDecoder::new(&got[at + 2..]).read_exact(&mut text).is_ok() {
                return text;
            }
        }
    };
    let text = tokio::time::timeout(Duration::from_secs(15), reading).await;
    assert_eq!(&text.expect("it comes before the rest"), b"first");
}
