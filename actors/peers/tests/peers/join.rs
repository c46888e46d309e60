//! A node that joins: the secret is sent to a member of the token's cluster, or not at all.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use jaco_kit::Clock;
use jaco_model::{ClusterId, WallMs};
use jaco_peers::pki::{JoinToken, certificates_from_pem, spki_digest};
use jaco_peers::tls::api_server_config;
use jaco_peers::{JoinError, join_call};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::{Ca, Files};

fn token(ca: &Ca) -> JoinToken {
    JoinToken::create(spki_digest(&ca.0.cert_pem).unwrap()).unwrap()
}

/// A member's API port that answers with method, path and body.
async fn member(files: &Files) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let acceptor = TlsAcceptor::from(api_server_config(&files.identity()).unwrap());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(socket).await else { continue };
            let echo = service_fn(|request: Request<Incoming>| async move {
                let head = format!("{} {} ", request.method(), request.uri());
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let answer = [head.as_bytes(), &body].concat();
                let answer = Response::builder().status(201).body(Full::new(Bytes::from(answer)));
                Ok::<_, Infallible>(answer.unwrap())
            });
            let server = hyper::server::conn::http1::Builder::new();
            let _ = server.serve_connection(TokioIo::new(stream), echo).await;
        }
    });
    address
}

/// A man in the middle: ends TLS and notes every byte that a client trusts it with.
async fn recorder(config: Arc<ServerConfig>) -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let recorded = Arc::new(Mutex::new(Vec::new()));
    let tape = recorded.clone();
    let acceptor = TlsAcceptor::from(config);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(socket).await else { continue };
            let mut buffer = [0; 4_096];
            // Whoever says anything is cut off: one byte is enough.
            if let Ok(count @ 1..) = stream.read(&mut buffer).await {
                tape.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        }
    });
    (address, recorded)
}

/// Presents these certificates in this order.
fn chain(certificates: &[&str], key: &str) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = certificates.iter().flat_map(|pem| certificates_from_pem(pem).unwrap()).collect();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    Arc::new(config)
}

async fn join(address: &str, token: &JoinToken) -> Result<(u16, Vec<u8>), JoinError> {
    let body = format!("{{\"secret\":\"{}\"}}", token.secret_text());
    join_call(address, token, "/v1/cluster/nodes", body.into_bytes()).await
}

#[tokio::test]
async fn a_member_gets_the_secret_and_answers() {
    let ca = Ca::new();
    let address = member(&ca.issue(1)).await;
    let token = token(&ca);
    let (status, body) = join(&address, &token).await.unwrap();
    assert_eq!(status, 201);
    let body = String::from_utf8(body).unwrap();
    let expected = format!("POST /v1/cluster/nodes {{\"secret\":\"{}\"}}", token.secret_text());
    assert_eq!(body, expected);
}

#[tokio::test]
async fn a_man_in_the_middle_with_another_root_gets_no_byte() {
    let (ca, other) = (Ca::new(), Ca::new());
    let proxy = api_server_config(&other.issue(1).identity()).unwrap();
    let (address, recorded) = recorder(proxy).await;
    let token = token(&ca);
    let refused = join(&address, &token).await;
    let Err(JoinError::CaDigestMismatch(mismatch)) = refused else { panic!("{refused:?}") };
    assert_eq!(mismatch.expected, jaco_peers::pki::hex(&token.digest));
    let got = jaco_peers::pki::hex(&spki_digest(&other.0.cert_pem).unwrap());
    assert_eq!(mismatch.got, got);
    assert_eq!(recorded.lock().unwrap().len(), 0);
    // The tape does record those who trust it.
    let trusting = join(&address, &self::token(&other)).await;
    assert!(trusting.is_err());
    assert!(!recorded.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_true_root_behind_a_false_certificate_gets_no_byte() {
    let (ca, other) = (Ca::new(), Ca::new());
    let own = other.issue(1);
    for certificates in [
        vec![own.certificate.as_str(), ca.0.cert_pem.as_str()],
        vec![&own.certificate, &other.0.cert_pem, &ca.0.cert_pem],
        vec![&own.certificate, &ca.0.cert_pem, &other.0.cert_pem],
    ] {
        let (address, recorded) = recorder(chain(&certificates, &own.key)).await;
        let refused = join(&address, &token(&ca)).await;
        assert!(matches!(refused, Err(JoinError::Handshake { .. })), "{refused:?}");
        assert_eq!(recorded.lock().unwrap().len(), 0);
    }
}

#[tokio::test]
async fn only_certificates_of_nodes_that_hold_now_are_trusted() {
    let ca = Ca::new();
    let now = Clock::new().wall().0;
    let expired = ca.issue_at(1, WallMs(now - 91 * 86_400_000));
    let unfit = Files { certificate: client_only(&ca), ..ca.issue(1) };
    for files in [expired, unfit] {
        let key =
            if files.certificate.contains("KEY") { split(&files).1 } else { files.key.clone() };
        let leaf = split(&files).0;
        let (address, recorded) = recorder(chain(&[&leaf, &ca.0.cert_pem], &key)).await;
        let refused = join(&address, &token(&ca)).await;
        assert!(matches!(refused, Err(JoinError::Handshake { .. })), "{refused:?}");
        assert_eq!(recorded.lock().unwrap().len(), 0);
    }
}

/// Certificate and key in one text.
fn client_only(ca: &Ca) -> String {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let signer = rcgen::KeyPair::from_pem(&ca.0.key_pem).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_pem(&ca.0.cert_pem, signer).unwrap();
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
    params.signed_by(&key, &issuer).unwrap().pem() + &key.serialize_pem()
}

fn split(files: &Files) -> (String, String) {
    let at = files.certificate.find("-----BEGIN PRIVATE").unwrap_or(files.certificate.len());
    let (certificate, key) = files.certificate.split_at(at);
    (certificate.to_owned(), key.to_owned())
}

#[tokio::test]
async fn a_chain_without_the_root_is_a_mismatch() {
    let ca = Ca::new();
    let files = ca.issue(1);
    let (address, recorded) = recorder(chain(&[&files.certificate], &files.key)).await;
    let refused = join(&address, &token(&ca)).await;
    assert!(matches!(refused, Err(JoinError::CaDigestMismatch(_))), "{refused:?}");
    assert_eq!(recorded.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn failures_say_what_they_are() {
    let ca = Ca::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let refused = join(&address, &token(&ca)).await;
    assert!(matches!(refused, Err(JoinError::Connect { .. })), "{refused:?}");
    let bad = join_call(&address, &token(&ca), "no path\n", Vec::new()).await;
    assert!(matches!(bad, Err(JoinError::Path { .. })), "{bad:?}");
    // A plain HTTP server.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            use tokio::io::AsyncWriteExt;
            let mut socket = socket;
            let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let refused = join(&address, &token(&ca)).await;
    assert!(matches!(refused, Err(JoinError::Handshake { .. })), "{refused:?}");
    let cluster = ClusterId::from("elsewhere");
    drop(ca.issue_for(&cluster, 1, WallMs(Clock::new().wall().0)));
}
