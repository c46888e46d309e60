//! What is spoken to replicas: TLS, HTTP/2, gRPC, and what is upgraded.

use crate::support::{PATIENCE, Proxy, certify, echo, read_head, scripted, table};
use crate::tls::{client, connect, get};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::ext::Protocol;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use jaco_model::spec::{HostHeader, UpstreamProtocol};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Says over what it was asked: the protocol, the name of the handshake, and the host.
async fn secure(names: &[&str]) -> (u16, Vec<u8>) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let name = stream.get_ref().1.server_name().unwrap_or("none").to_owned();
                let service = service_fn(move |request| say(name.clone(), request));
                if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                } else {
                    let builder = hyper::server::conn::http1::Builder::new();
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                }
            });
        }
    });
    (port, made.cert.der().to_vec())
}

async fn say(
    name: String,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let authority = request.uri().authority().map(|authority| authority.to_string());
    let host = request.headers().get("host").map(|host| host.to_str().unwrap().to_owned());
    let host = authority.or(host).unwrap_or_default();
    let text = format!("{:?} name {name} host {host}.", request.version());
    Ok(Response::builder().header("content-type", "application/grpc").body(text.into()).unwrap())
}

#[tokio::test]
async fn a_secure_replica_is_believed_unless_it_is_to_be_checked() {
    let (port, root) = secure(&["a.test"]).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from(root)).unwrap();
    let proxy = Proxy::start(|config| config.upstream_roots = Some(roots));
    let stranger = Proxy::start(|config| {
        config.upstream_roots = Some(rustls::RootCertStore::empty());
    });
    let with = |verify| {
        table(&[HERE], port, |spec| {
            let target = spec.target.as_mut().unwrap();
            (target.protocol, target.verify) = (UpstreamProtocol::Https, verify);
        })
    };
    for (proxy, verify, passes) in
        [(&proxy, true, true), (&stranger, false, true), (&stranger, true, false)]
    {
        proxy.serve(with(verify));
        for _ in 0..3 {
            let answer = proxy.ask("GET", "/", "").await;
            assert_eq!(answer.starts_with("HTTP/1.1 200"), passes, "{answer}");
            assert_eq!(answer.contains("HTTP/1.1 name a.test host a.test."), passes, "{answer}");
            assert!(passes || answer.starts_with("HTTP/1.1 502"), "{answer}");
        }
    }
    let answer = proxy.ask("POST", "/", "Content-Type: application/grpc\r\n").await;
    assert!(answer.contains("HTTP/2.0 name a.test host a.test."), "{answer}");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_none() {
    let (port, root) = secure(&["b.test"]).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from(root)).unwrap();
    let proxy = Proxy::start(|config| config.upstream_roots = Some(roots));
    let with = |host: HostHeader| {
        table(&[HERE], port, |spec| {
            let target = spec.target.as_mut().unwrap();
            (target.protocol, target.verify) = (UpstreamProtocol::Https, true);
            spec.options.host_header = host;
        })
    };
    proxy.serve(with(HostHeader::Client));
    let answer = proxy.ask("GET", "/", "").await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    proxy.serve(with(HostHeader::Literal("b.test".to_owned())));
    let answer = proxy.ask("GET", "/", "").await;
    assert!(answer.contains("name b.test host b.test."), "{answer}");
}

/// An HTTP/2 service without TLS that gives bodies back, with a trailer.
async fn h2c() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let service = service_fn(async |request: Request<Incoming>| {
                let te = request.headers().get("te").cloned();
                let body = request.into_body().collect().await.unwrap();
                let mut trailers = hyper::HeaderMap::new();
                trailers.insert("x-end", "yes".parse().unwrap());
                if let Some(sent) = body.trailers().and_then(|sent| sent.get("x-sent")) {
                    trailers.insert("x-sent", sent.clone());
                }
                let body = Full::new(body.to_bytes())
                    .with_trailers(async move { Some(Ok::<_, Infallible>(trailers)) });
                let mut response = Response::new(body);
                let name = hyper::header::HeaderName::from_static("x-te");
                response.headers_mut().extend(te.map(|te| (name, te)));
                Ok::<_, Infallible>(response)
            });
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
        }
    });
    port
}

#[tokio::test]
async fn http2_in_clear_carries_trailers_both_ways() {
    let proxy = Proxy::start(|_| {});
    let port = h2c().await;
    for protocol in [UpstreamProtocol::H2c, UpstreamProtocol::Grpc] {
        let mut table =
            table(&[HERE], port, |spec| spec.target.as_mut().unwrap().protocol = protocol);
        proxy.serve(table.clone());
        let answer = proxy.ask("POST", "/", "TE: trailers\r\nContent-Length: 0\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let root = certify(&mut table, "a.test");
        proxy.serve(table);
        let stream = connect(proxy.https, "a.test", &root).await.unwrap();
        let (mut sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut sent = hyper::HeaderMap::new();
        sent.insert("x-sent", "too".parse().unwrap());
        let body = Full::new(Bytes::from_static(b"hello"))
            .with_trailers(async move { Some(Ok::<_, Infallible>(sent)) })
            .boxed();
        let request = Request::post("https://a.test/").header("te", "trailers").body(body).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["x-te"], "trailers");
        let body = answer.into_body().collect().await.unwrap();
        let trailers = body.trailers().unwrap();
        assert_eq!(
            (&trailers["x-end"], &trailers["x-sent"]),
            (&"yes".parse().unwrap(), &"too".parse().unwrap())
        );
        assert_eq!(body.to_bytes(), "hello");
    }
}

#[tokio::test]
async fn errors_of_a_grpc_route_are_those_of_grpc() {
    let proxy = Proxy::start(|_| {});
    let mut table = table(&[], 80, |spec| {
        spec.target.as_mut().unwrap().protocol = UpstreamProtocol::Grpc;
    });
    let root = certify(&mut table, "a.test");
    proxy.serve(table);
    let mut client = client(connect(proxy.https, "a.test", &root).await.unwrap()).await;
    let answer = client.send_request(get("https://a.test/x.Y/Z")).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["grpc-status"], "14");
}

/// Agrees to any upgrade and gives back what it hears; says which key it was asked with.
async fn upgrading() -> u16 {
    let here = scripted("127.0.0.1:0", |mut stream| async move {
        let head = read_head(&mut stream).await.to_lowercase();
        if !head.contains("upgrade: websocket") {
            let _ = stream.write_all(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n").await;
            return;
        }
        assert!(head.starts_with("get /ws") && head.contains("sec-websocket-key: "), "{head}");
        let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\
                      Upgrade: websocket\r\nSec-WebSocket-Accept: x\r\nX-Own: 1\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        let mut buffer = [0; 64];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            if stream.write_all(&buffer[..count]).await.is_err() {
                break;
            }
        }
    })
    .await;
    here.port()
}

#[tokio::test]
async fn an_extended_connect_becomes_an_upgrade() {
    let proxy = Proxy::start(|_| {});
    let port = upgrading().await;
    let mut table = table(&[HERE], port, |_| {});
    let root = certify(&mut table, "a.test");
    proxy.serve(table);
    let stream = connect(proxy.https, "a.test", &root).await.unwrap();
    let (mut sender, connection) =
        http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    // Whether the server speaks it stands in its settings, which an answer comes after.
    let plain = Request::get("https://a.test/other").body(Empty::new()).unwrap();
    assert_eq!(sender.send_request(plain).await.unwrap().status(), 403);
    let ask = |protocol: &'static str| {
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.method_mut() = Method::CONNECT;
        *request.uri_mut() = "https://a.test/ws?x".parse().unwrap();
        request.extensions_mut().insert(Protocol::from_static(protocol));
        request
    };
    let answer = sender.send_request(ask("websocket")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["x-own"], "1");
    assert!(!answer.headers().contains_key("sec-websocket-accept"));
    let mut tunnel = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
    for word in [&b"one"[..], b"two"] {
        tunnel.write_all(word).await.unwrap();
        let mut back = [0; 3];
        let reading = tunnel.read_exact(&mut back);
        tokio::time::timeout(PATIENCE, reading).await.expect("it comes back").unwrap();
        assert_eq!(back, word);
    }
    let answer = sender.send_request(ask("other")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN, "what the service says otherwise");
    let mut plain = Request::new(Empty::<Bytes>::new());
    *plain.method_mut() = Method::CONNECT;
    *plain.uri_mut() = "a.test:443".parse().unwrap();
    let answer = sender.send_request(plain).await.unwrap();
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "it is no way out");
}

#[tokio::test]
async fn an_upgrade_outlives_the_time_limit_of_its_request() {
    let proxy = Proxy::start(|_| {});
    let port = upgrading().await;
    proxy.serve(table(&[HERE], port, |spec| {
        spec.options.timeouts.request = jaco_model::Millis(1_000);
    }));
    let mut stream = tokio::net::TcpStream::connect(proxy.http).await.unwrap();
    let head = "GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\n\
                Upgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let head = read_head(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    stream.write_all(b"still").await.unwrap();
    let mut back = [0; 5];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut back)).await.unwrap().unwrap();
    assert_eq!(&back, b"still");
}

#[tokio::test]
async fn a_service_of_http1_knows_nothing_of_http2_clients() {
    let proxy = Proxy::start(|_| {});
    let service = echo("127.0.0.1:0").await;
    let mut table = table(&[HERE], service.port(), |_| {});
    let root = certify(&mut table, "a.test");
    proxy.serve(table);
    let mut client = client(connect(proxy.https, "a.test", &root).await.unwrap()).await;
    let request = Request::post("https://a.test/")
        .header("cookie", "a=b")
        .header("cookie", "c=d")
        .body(Full::new(Bytes::from_static(b"hello")))
        .unwrap();
    let answer = client.send_request(request).await.unwrap();
    let text = String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec());
    let text = text.unwrap();
    assert!(text.contains("body 5\n") && text.contains("content-length: 5\n"), "{text}");
    assert!(text.contains("cookie: a=b; c=d\n"), "one line of cookies (RFC 9113, 8.2.3): {text}");
}
