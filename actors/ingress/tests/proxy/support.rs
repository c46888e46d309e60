//! A proxy on loopback, tables for it, and services behind it.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use jaco_ingress::{Config, Driver, DriverHandle};
use jaco_ingress_core::{
    Effect, Endpoint, Input, ListenKey, ListenKind, Route, ServedCertificate, Service, Site, Table,
};
use jaco_kit::Clock;
use jaco_kit_core::OpId;
use jaco_model::spec::{
    Challenge, RouteOptions, RouteSpec, RouteTarget, TlsMode, UpstreamProtocol,
};
use jaco_model::{
    DeploymentName, Generation, InstanceId, Millis, NodeId, ReplicaId, ServiceName, WallMs,
};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running proxy.
pub(crate) struct Proxy {
    pub(crate) handle: DriverHandle,
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
}

impl Proxy {
    pub(crate) fn start(adjust: impl FnOnce(&mut Config)) -> Proxy {
        let mut config = Config::new(Clock::new());
        config.workers = 1;
        adjust(&mut config);
        let handle = Driver::spawn(config, |input| {
            assert!(matches!(input, Input::Listening { result: Ok(()), .. }), "{input:?}");
        })
        .unwrap();
        let open = |kind| {
            let key = ListenKey { kind, address: "127.0.0.1:0".parse().unwrap() };
            handle.run(Effect::Listen { op: OpId(1), key });
            handle.address(key).unwrap()
        };
        let (http, https) = (open(ListenKind::Http), open(ListenKind::Https));
        Proxy { handle, http, https }
    }

    pub(crate) fn serve(&self, table: Table) {
        self.handle.run(Effect::Serve(Arc::new(table)));
    }

    /// Sends bytes and reads until the proxy closes.
    pub(crate) async fn raw(&self, bytes: &str) -> String {
        let mut stream = TcpStream::connect(self.http).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        read_all(&mut stream).await
    }

    /// One GET or other request without a body, with further header lines.
    pub(crate) async fn ask(&self, method: &str, path: &str, more: &str) -> String {
        let text =
            format!("{method} {path} HTTP/1.1\r\nHost: a.test\r\n{more}Connection: close\r\n\r\n");
        self.raw(&text).await
    }
}

pub(crate) async fn read_all(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset after the answer is an end too.
    let reading = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(PATIENCE, reading).await.expect("the proxy closes");
    String::from_utf8_lossy(&answer).into_owned()
}

/// A table with one service at `port` of these addresses, under `a.test`.
pub(crate) fn table(
    addresses: &[Ipv4Addr],
    port: u16,
    adjust: impl FnOnce(&mut RouteSpec),
) -> Table {
    let mut table = Table::default();
    let (deployment, service) = (DeploymentName::new("shop"), ServiceName::new("web"));
    let endpoint = |(at, address): (usize, &Ipv4Addr)| Endpoint {
        instance: InstanceId {
            replica: ReplicaId::new(format!("shop-web-{at}")),
            generation: Generation(1),
        },
        address: *address,
        node: NodeId::new("n1"),
        is_local: true,
        ready_since: WallMs(0),
    };
    let replicas = Service {
        deployment: deployment.clone(),
        name: service.clone(),
        endpoints: addresses.iter().enumerate().map(endpoint).collect(),
        wanted: 1,
        drain_timeout: Millis::secs(30),
    };
    table.services.insert((deployment.clone(), service.clone()), Arc::new(replicas));
    let mut spec = RouteSpec {
        domain: "a.test".to_owned(),
        path: String::new(),
        target: Some(RouteTarget {
            service,
            port,
            protocol: UpstreamProtocol::Http,
            verify: false,
        }),
        tls: TlsMode::Auto,
        challenge: Challenge::Http,
        shared_with: BTreeSet::new(),
        options: RouteOptions::default(),
    };
    adjust(&mut spec);
    let options = Arc::new(spec.options.clone());
    let site = Site {
        domain: spec.domain.clone(),
        owner: deployment.clone(),
        tls: spec.tls.clone(),
        certificate: None,
        routes: [Arc::new(Route::new(deployment, &spec, options))].into_iter().collect(),
    };
    table.sites.extend([Arc::new(site)]);
    table
}

/// Gives the site a fresh certificate of its own; returns the leaf's DER.
pub(crate) fn certify(table: &mut Table, domain: &str) -> Vec<u8> {
    let made = rcgen::generate_simple_self_signed(vec![domain.to_owned()]).unwrap();
    let served =
        ServedCertificate { chain_pem: made.cert.pem(), key_pem: made.signing_key.serialize_pem() };
    let mut site = Site::clone(table.sites.get(domain).unwrap());
    site.certificate = Some(Arc::new(served));
    table.sites.extend([Arc::new(site)]);
    made.cert.der().to_vec()
}

/// A service that says who it is and what it was asked, and gives bodies back.
pub(crate) async fn echo(address: &str) -> SocketAddr {
    let listener = TcpListener::bind(address).await.unwrap();
    let here = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let service = service_fn(move |request| reply(here, request));
                let builder = hyper::server::conn::http1::Builder::new();
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    here
}

async fn reply(
    here: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let mut text = format!("at {}\n{} {}\n", here.ip(), head.method, head.uri);
    for (name, value) in &head.headers {
        text.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
    }
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    text.push_str(&format!("body {}\n", body.len()));
    Ok(Response::new(Full::new(text.into())))
}

/// A service that does with each connection what it is told.
pub(crate) async fn scripted<F, Fut>(address: &str, script: F) -> SocketAddr
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind(address).await.unwrap();
    let here = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(script(stream));
        }
    });
    here
}

/// Reads a header up to its empty line.
pub(crate) async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match tokio::time::timeout(PATIENCE, stream.read_u8()).await.expect("a header comes") {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}
