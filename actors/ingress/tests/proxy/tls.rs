//! TLS in front: names, certificates that change, HTTP/2 and its trailers.

use crate::support::{Proxy, certify, echo, table};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use jaco_model::spec::UpstreamProtocol;
use rustls::pki_types::{CertificateDer, ServerName};
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

pub(crate) async fn connect(
    to: SocketAddr,
    name: &str,
    root: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    handshake(TcpStream::connect(to).await.unwrap(), name, root).await
}

pub(crate) async fn handshake(
    stream: TcpStream,
    name: &str,
    root: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    handshake_for(b"h2", stream, name, root).await
}

/// To speak a protocol.
pub(crate) async fn handshake_for(
    protocol: &[u8],
    stream: TcpStream,
    name: &str,
    root: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from(root.to_vec())).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

pub(crate) async fn client(stream: TlsStream<TcpStream>) -> http2::SendRequest<Full<Bytes>> {
    let (sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub(crate) fn get(url: &str) -> Request<Full<Bytes>> {
    Request::get(url).body(Full::default()).unwrap()
}

pub(crate) async fn text(answer: Response<Incoming>) -> String {
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn http2_over_tls_reaches_the_service() {
    let proxy = Proxy::start(|_| {});
    let service = echo("127.0.0.1:0").await;
    let mut table = table(&[HERE], service.port(), |spec| spec.options.hsts = Some(60));
    let root = certify(&mut table, "a.test");
    proxy.serve(table);
    let mut client = client(connect(proxy.https, "a.test", &root).await.unwrap()).await;
    for _ in 0..20 {
        let answer = client.send_request(get("https://a.test/x?y")).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["strict-transport-security"], "max-age=60");
        let text = text(answer).await;
        assert!(text.contains("GET /x?y\n"), "{text}");
        assert!(text.contains("host: a.test\n"), "{text}");
        assert!(text.contains("x-forwarded-proto: https\n"), "{text}");
    }
    let answer = client.send_request(get("https://b.test/")).await.unwrap();
    assert_eq!(answer.status(), 421);
}

#[tokio::test]
async fn unknown_names_get_an_alert_and_new_certificates_are_served_at_once() {
    let proxy = Proxy::start(|_| {});
    let service = echo("127.0.0.1:0").await;
    let mut table = table(&[HERE], service.port(), |_| {});
    let old = certify(&mut table, "a.test");
    proxy.serve(table.clone());
    let error = connect(proxy.https, "b.test", &old).await.unwrap_err().to_string();
    assert!(error.contains("UnrecognisedName"), "{error}");
    let mut running = client(connect(proxy.https, "a.test", &old).await.unwrap()).await;
    let new = certify(&mut table, "a.test");
    proxy.serve(table);
    assert!(connect(proxy.https, "a.test", &old).await.is_err(), "the old one is gone");
    connect(proxy.https, "a.test", &new).await.unwrap();
    let answer = running.send_request(get("https://a.test/")).await.unwrap();
    assert_eq!(answer.status(), 200, "what runs goes on");
}

#[tokio::test]
async fn trailers_of_grpc_pass() {
    let proxy = Proxy::start(|_| {});
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service_fn(grpc)));
        }
    });
    let mut table = table(&[HERE], port, |spec| {
        spec.target.as_mut().unwrap().protocol = UpstreamProtocol::Http;
    });
    let root = certify(&mut table, "a.test");
    proxy.serve(table.clone());
    let mut client = client(connect(proxy.https, "a.test", &root).await.unwrap()).await;
    let ask = || {
        Request::post("https://a.test/x.Y/Z")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(Bytes::from_static(b"hello")))
            .unwrap()
    };
    let answer = client.send_request(ask()).await.unwrap();
    assert_eq!(answer.status(), 200);
    let body = answer.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["grpc-status"], "7");
    assert_eq!(body.to_bytes(), "hello");
    table.services.clear();
    proxy.serve(table);
    let answer = client.send_request(ask()).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["grpc-status"], "14", "our own error is one of gRPC");
}

async fn grpc(
    request: Request<Incoming>,
) -> Result<Response<http_body_util::combinators::BoxBody<Bytes, Infallible>>, Infallible> {
    assert_eq!(request.headers()["te"], "trailers");
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "7".parse().unwrap());
    let body = Full::new(body).with_trailers(async move { Some(Ok(trailers)) });
    Ok(Response::builder().header("content-type", "application/grpc").body(body.boxed()).unwrap())
}
