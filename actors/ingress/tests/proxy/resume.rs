//! TLS sessions that are taken up again, also at another node.

use crate::support::{Proxy, certify, echo, table};
use crate::tls::{client, get, text};
use jaco_ingress_core::{Table, TicketSecret};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, SupportedProtocolVersion};
use std::net::Ipv4Addr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A browser: it remembers the sessions that it had.
fn browser(root: &[u8], version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from(root.to_vec())).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

/// Asks for something on a new connection; how its session began.
async fn visit(browser: &Arc<ClientConfig>, proxy: &Proxy) -> HandshakeKind {
    let stream = TcpStream::connect(proxy.https).await.unwrap();
    let name = ServerName::try_from("a.test").unwrap();
    let stream = TlsConnector::from(browser.clone()).connect(name, stream).await.unwrap();
    let kind = stream.get_ref().1.handshake_kind().unwrap();
    let mut client = client(stream).await;
    let answer = client.send_request(get("https://a.test/")).await.unwrap();
    assert!(text(answer).await.contains("GET /\n"));
    kind
}

/// Two nodes with one table each, alike but for the secret; and the root of their certificate.
async fn nodes(secrets: [Option<u8>; 2]) -> ([Proxy; 2], Vec<u8>) {
    let service = echo("127.0.0.1:0").await;
    let mut table = table(&[Ipv4Addr::LOCALHOST], service.port(), |_| {});
    let root = certify(&mut table, "a.test");
    let nodes = secrets.map(|secret| {
        let proxy = Proxy::start(|_| {});
        let ticket_secret = secret.map(|byte| TicketSecret([byte; 32]));
        proxy.serve(Table { ticket_secret, ..table.clone() });
        proxy
    });
    (nodes, root)
}

#[tokio::test]
async fn any_node_with_the_secret_takes_a_session_up() {
    for (secrets, wanted) in [
        ([Some(1), Some(1)], HandshakeKind::Resumed),
        ([Some(1), Some(2)], HandshakeKind::Full),
        ([Some(1), None], HandshakeKind::Full),
        ([None, Some(1)], HandshakeKind::Full),
    ] {
        let ([one, other], root) = nodes(secrets).await;
        let browser = browser(&root, &rustls::version::TLS13);
        assert_eq!(visit(&browser, &one).await, HandshakeKind::Full);
        assert_eq!(visit(&browser, &other).await, wanted, "{secrets:?}");
        assert_eq!(visit(&browser, &other).await, HandshakeKind::Resumed, "{secrets:?}");
    }
}

#[tokio::test]
async fn a_session_of_tls_1_2_stays_at_its_node() {
    let ([one, other], root) = nodes([Some(1), Some(1)]).await;
    let browser = browser(&root, &rustls::version::TLS12);
    assert_eq!(visit(&browser, &one).await, HandshakeKind::Full);
    assert_eq!(visit(&browser, &other).await, HandshakeKind::Full);
}
