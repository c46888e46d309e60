//! Probes over the network: small servers on loopback, and a container's own address.

use crate::bench::{Bench, CLUSTER, plan};
use bytes::Bytes;
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper::service::service_fn;
use hyper::{HeaderMap, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use jaco_kit_core::OpId;
use jaco_model::spec::{ContainerSpec, HttpProbe, ProbeCheck};
use jaco_model::{ClusterId, Millis};
use jaco_runtime::{Driver, DriverHandle, EngineConfig};
use jaco_runtime_core::{Effect, Endpoint, Input, NetworkPlan};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// A driver without an engine: probes need none.
struct Prober {
    driver: DriverHandle,
    inputs: UnboundedReceiver<Input>,
}

impl Prober {
    fn new() -> Prober {
        let (sender, inputs) = unbounded_channel();
        let config = EngineConfig {
            docker_host: "unix:///nonexistent".to_owned(),
            files: "/nonexistent".into(),
        };
        let driver = Driver::spawn(config, &ClusterId::new(CLUSTER), move |input| {
            let _gone = sender.send(input);
        });
        Prober { driver, inputs }
    }

    async fn ask(&mut self, address: &str, check: ProbeCheck) -> Result<(), String> {
        self.driver.run(Effect::Probe {
            op: OpId(1),
            address: address.to_owned(),
            check,
            timeout: Millis(1_000),
            container: String::new(),
        });
        loop {
            if let Input::Probed { result, .. } = self.inputs.recv().await.unwrap() {
                return result;
            }
        }
    }
}

fn http(port: u16, path: &str, https: bool) -> ProbeCheck {
    ProbeCheck::Http(HttpProbe {
        port,
        path: path.to_owned(),
        https,
        host: "web".to_owned(),
        headers: BTreeMap::from([("x-test".to_owned(), "yes".to_owned())]),
        status_min: 200,
        status_max: 399,
    })
}

async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[tokio::test]
async fn http_probes_judge_by_the_status() {
    let (listener, port) = listen().await;
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 2048];
            let n = stream.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..n]).to_lowercase();
            let well = request.starts_with("get /well ")
                && request.contains("\r\nhost: web\r\n")
                && request.contains("\r\nx-test: yes\r\n");
            let answer = match well {
                true => "HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n".to_owned(),
                false => format!("HTTP/1.1 503 No\r\n\r\nnot yet {}", "x".repeat(9_000)),
            };
            // The prober may have seen enough before the end.
            let _cut = stream.write_all(answer.as_bytes()).await;
        }
    });
    let mut prober = Prober::new();
    assert_eq!(prober.ask("127.0.0.1", http(port, "/well", false)).await, Ok(()));
    let error = prober.ask("127.0.0.1", http(port, "/ill", false)).await.unwrap_err();
    assert!(error.starts_with("/ill 503 not yet xxx") && error.len() <= 512, "{error}");
}

#[tokio::test]
async fn silence_and_closed_ports_are_failures() {
    let (_silent, port) = listen().await;
    let mut prober = Prober::new();
    assert_eq!(prober.ask("127.0.0.1", ProbeCheck::Tcp { port }).await, Ok(()));
    let error = prober.ask("127.0.0.1", http(port, "/", false)).await.unwrap_err();
    assert_eq!(error, "no answer within 1s");
    let (closed, port) = listen().await;
    drop(closed);
    let error = prober.ask("127.0.0.1", ProbeCheck::Tcp { port }).await.unwrap_err();
    assert!(error.contains("refused"), "{error}");
}

#[tokio::test]
async fn https_probes_take_any_certificate() {
    let certificate =
        CertificateDer::from(&include_bytes!("../../testdata/tls/certificate.der")[..]);
    let key = PrivateKeyDer::try_from(&include_bytes!("../../testdata/tls/key.der")[..]).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let (listener, port) = listen().await;
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = acceptor.accept(stream).await.unwrap();
        let mut request = [0; 16];
        stream.read_exact(&mut request).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        stream.flush().await.unwrap();
    });
    assert_eq!(Prober::new().ask("127.0.0.1", http(port, "/", true)).await, Ok(()));
}

#[tokio::test]
async fn grpc_probes_want_serving() {
    let (listener, port) = listen().await;
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service_fn(health)));
        }
    });
    let mut prober = Prober::new();
    let check = |service: &str| ProbeCheck::Grpc { port, service: service.to_owned() };
    assert_eq!(prober.ask("127.0.0.1", check("")).await, Ok(()));
    let error = prober.ask("127.0.0.1", check("ill")).await.unwrap_err();
    assert_eq!(error, "grpc health: NOT_SERVING");
    let error = prober.ask("127.0.0.1", check("unknown")).await.unwrap_err();
    assert_eq!(error, "grpc status 5 unknown service");
}

type Frames = Vec<Result<Frame<Bytes>, Infallible>>;
type Body =
    StreamBody<futures_util::stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>;

/// The health service of gRPC as its specification has it.
async fn health(
    request: hyper::Request<hyper::body::Incoming>,
) -> Result<Response<Body>, hyper::Error> {
    use http_body_util::BodyExt as _;
    assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
    assert_eq!(request.headers()["content-type"], "application/grpc");
    let request = request.into_body().collect().await?.to_bytes();
    let trailers = |status: &str, message: &str| {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", status.parse().unwrap());
        trailers.insert("grpc-message", message.parse().unwrap());
        Ok(Frame::trailers(trailers))
    };
    let message = |status: u8| Ok(Frame::data(Bytes::from(vec![0, 0, 0, 0, 2, 8, status])));
    let frames: Frames = match request.get(7..) {
        None => vec![message(1), trailers("0", "")],
        Some(b"ill") => vec![message(2), trailers("0", "")],
        Some(_) => vec![trailers("5", "unknown service")],
    };
    let body = StreamBody::new(futures_util::stream::iter(frames));
    Ok(Response::builder().header("content-type", "application/grpc").body(body).unwrap())
}

#[tokio::test]
async fn a_container_is_probed_at_its_address() {
    let mut bench = Bench::up("runtime-probe").await;
    let name = "jaco_shop__default".to_owned();
    let labels = BTreeMap::from([("jaco.cluster_id".to_owned(), CLUSTER.to_owned())]);
    let network = NetworkPlan { name: name.clone(), labels, internal: false, bridge: None };
    bench.finish(|op| Effect::EnsureNetwork { op, plan: network }).await.unwrap();
    let mut web = plan("shop-web-0.g1", ContainerSpec::default());
    web.endpoints = vec![Endpoint {
        address: None,
        network: name.clone(),
        aliases: Vec::new(),
        mac_address: None,
        gw_priority: 0,
        interface_name: None,
    }];
    let id = bench.start(web).await;
    let address = bench.inspect(&id).await.unwrap().addresses[&name].clone();

    // Sockets belong to the network that their thread is in; a daemon runs inside the host.
    let namespace = format!("/proc/{}/ns/net", bench.host().engine_pid().unwrap());
    let namespace = std::fs::File::open(namespace).unwrap();
    let inside = std::thread::spawn(move || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut prober = Prober::new();
            let mut outcomes = Vec::new();
            for _ in 0..50 {
                outcomes.push(prober.ask(&address, http(8080, "/health", false)).await);
                if outcomes.last().is_some_and(Result::is_ok) {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            let ill = prober.ask(&address, http(8080, "/status/500", false)).await;
            (outcomes.pop().unwrap(), ill)
        })
    });
    let (well, ill) = inside.join().unwrap();
    assert_eq!(well, Ok(()));
    assert!(ill.unwrap_err().starts_with("/status/500 500"));
    bench.lab.down().unwrap();
}
