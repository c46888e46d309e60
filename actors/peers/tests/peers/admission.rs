//! Who is refused at the handshake, and who loses a connection that is already open.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use jaco_kit::Clock;
use jaco_model::{ClusterId, WallMs};
use jaco_peers::pki::dns_name;
use jaco_peers::tls::{PEER_ALPN, Roster, RosterEntry, peer_client_config};
use jaco_peers::transport::CallError;
use jaco_raft_core::eraftpb::MessageType;
use jaco_wire::peer::Method;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::{
    Ca, Files, Node, PATIENCE, cluster, cluster_id, eventually, introduce, message, node_id,
};

const DAY: u64 = 86_400_000;

/// Nothing that a member says: ends a connection that got through the handshake.
const NO_FRAME: &[u8] = &[0, 0, 0, 1, 0];

fn now() -> u64 {
    Clock::new().wall().0
}

/// The node under test, whose roster has node 2 with the given serial numbers.
fn server(ca: &Ca, serials: &[&str]) -> Node {
    let node = Node::start(1, ca.issue(1));
    let other = RosterEntry {
        node: node_id(2),
        raft_id: 2,
        address: "127.0.0.1:1".into(),
        serials: Some(serials.iter().map(|&serial| serial.to_owned()).collect()),
    };
    node.peers.set_roster(vec![node.entry(), other]);
    node
}

/// How a client with these files sees the server.
fn client(files: &Files, server: &Node) -> ClientConfig {
    let roster = Roster::new(vec![server.entry()]);
    let config = peer_client_config(&files.identity(), &roster, &node_id(1)).unwrap();
    Arc::unwrap_or_clone(config)
}

/// Connects, says something and listens; the alert, or what came back before the end.
async fn knock(config: ClientConfig, server: &Node, say: &[u8]) -> Result<Vec<u8>, String> {
    let socket = TcpStream::connect(server.peers.local_addr()).await.unwrap();
    let name = ServerName::try_from(dns_name(&cluster_id())).unwrap();
    let connected = TlsConnector::from(Arc::new(config)).connect(name, socket).await;
    let mut stream = connected.map_err(|error| error.to_string())?;
    let _ = stream.write_all(say).await;
    // In TLS 1.3 a client learns only now what the server thinks of its certificate.
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer).await {
        Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => Err(error.to_string()),
        _ => Ok(answer),
    }
}

/// Expects a refusal within the handshake, with this in the alert.
async fn expect_refusal(config: ClientConfig, server: &Node, alert: &str) {
    let refused = knock(config, server, &[]).await;
    assert!(refused.as_ref().is_err_and(|text| text.contains(alert)), "{refused:?}, not {alert}");
    let peers = &server.peers;
    eventually("the count", || (peers.counters().refused_handshakes == 1).then_some(())).await;
    assert_eq!((peers.counters().accepted, peers.counters().refused_hellos), (0, 0));
}

#[tokio::test]
async fn the_one_who_is_listed_gets_in() {
    let ca = Ca::new();
    let files = ca.issue(2);
    let node = server(&ca, &[&files.serial]);
    assert!(
        knock(client(&files, &node), &node, NO_FRAME).await.is_ok_and(|answer| answer.is_empty())
    );
    assert_eq!(node.peers.counters().refused_handshakes, 0);
    let peers = &node.peers;
    eventually("the count", || (peers.counters().broken_frames == 1).then_some(())).await;
}

#[tokio::test]
async fn a_certificate_of_another_root_is_refused() {
    let (ca, other) = (Ca::new(), Ca::new());
    let foreign = Files { root: ca.0.cert_pem.clone(), ..other.issue(2) };
    let node = server(&ca, &[&foreign.serial]);
    // Both roots have the same name; that the signature is not by ours is what gives it away.
    expect_refusal(client(&foreign, &node), &node, "DecryptError").await;
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let ca = Ca::new();
    let expired = ca.issue_at(2, WallMs(now() - 91 * DAY));
    let node = server(&ca, &[&expired.serial]);
    expect_refusal(client(&expired, &node), &node, "CertificateExpired").await;
}

#[tokio::test]
async fn a_certificate_from_the_future_is_refused() {
    let ca = Ca::new();
    let early = ca.issue_at(2, WallMs(now() + DAY));
    let node = server(&ca, &[&early.serial]);
    expect_refusal(client(&early, &node), &node, "CertificateExpired").await;
}

#[tokio::test]
async fn a_node_that_is_no_member_is_refused() {
    let ca = Ca::new();
    let stranger = ca.issue(3);
    let node = server(&ca, &[&stranger.serial]);
    expect_refusal(client(&stranger, &node), &node, "CertificateUnknown").await;
}

#[tokio::test]
async fn a_certificate_that_is_no_longer_in_use_is_refused() {
    let ca = Ca::new();
    let (old, new) = (ca.issue(2), ca.issue(2));
    let node = server(&ca, &[&new.serial]);
    expect_refusal(client(&old, &node), &node, "CertificateUnknown").await;
}

#[tokio::test]
async fn while_the_view_is_old_any_certificate_of_a_member_counts_and_no_other() {
    let (ca, other) = (Ca::new(), Ca::new());
    let renewed = ca.issue(2);
    let foreign = Files { root: ca.0.cert_pem.clone(), ..other.issue(2) };
    let old_view = |node: &Node| {
        let mut entry = RosterEntry { node: node_id(2), raft_id: 2, ..node.entry() };
        entry.serials = None;
        node.peers.set_roster(vec![node.entry(), entry]);
    };
    let node = server(&ca, &[]);
    old_view(&node);
    assert!(knock(client(&renewed, &node), &node, NO_FRAME).await.is_ok());
    expect_refusal_after(client(&foreign, &node), &node, "DecryptError").await;
    let node = server(&ca, &[]);
    old_view(&node);
    expect_refusal(client(&ca.issue(3), &node), &node, "CertificateUnknown").await;
}

/// The same for a server that has let somebody in before.
async fn expect_refusal_after(config: ClientConfig, server: &Node, alert: &str) {
    let refused = knock(config, server, &[]).await;
    assert!(refused.as_ref().is_err_and(|text| text.contains(alert)), "{refused:?}, not {alert}");
}

#[tokio::test]
async fn a_certificate_for_another_cluster_is_refused() {
    let ca = Ca::new();
    let elsewhere = ca.issue_for(&ClusterId::from("elsewhere"), 2, WallMs(now()));
    let node = server(&ca, &[&elsewhere.serial]);
    let mut config = client(&ca.issue(2), &node);
    config.client_auth_cert_resolver = resolver(&elsewhere);
    expect_refusal(config, &node, "CertificateUnknown").await;
}

#[tokio::test]
async fn a_certificate_of_this_very_node_is_refused() {
    let ca = Ca::new();
    let node = server(&ca, &[]);
    let files = ca.issue(2);
    let mut config = client(&files, &node);
    let mine = client(&Files { ..node.files.clone() }, &node);
    config.client_auth_cert_resolver = mine.client_auth_cert_resolver;
    expect_refusal(config, &node, "CertificateUnknown").await;
}

/// Signed by the root, with the names of a node, but for something else.
fn odd_certificate(ca: &Ca, unit: &str, usage: rcgen::ExtendedKeyUsagePurpose) -> Files {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let signer = rcgen::KeyPair::from_pem(&ca.0.key_pem).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_pem(&ca.0.cert_pem, signer).unwrap();
    let mut params = rcgen::CertificateParams::new(vec![dns_name(&cluster_id())]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::OrganizationName, cluster_id().as_str());
    params.distinguished_name.push(rcgen::DnType::OrganizationalUnitName, unit);
    let uri = format!("jaco://{}/node/{}", cluster_id(), node_id(2));
    params.subject_alt_names.push(rcgen::SanType::URI(uri.try_into().unwrap()));
    params.serial_number = Some(rcgen::SerialNumber::from_slice(&[1; 16]));
    params.extended_key_usages = vec![usage];
    let certificate = params.signed_by(&key, &issuer).unwrap().pem();
    Files {
        root: ca.0.cert_pem.clone(),
        certificate,
        key: key.serialize_pem(),
        serial: "01".repeat(16),
    }
}

#[tokio::test]
async fn certificates_for_other_uses_are_refused() {
    use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, CodeSigning, ServerAuth};
    let ca = Ca::new();
    for (unit, usage, alert) in [
        ("operator", ClientAuth, "CertificateUnknown"),
        ("node", CodeSigning, "UnsupportedCertificate"),
        ("node", ServerAuth, "UnsupportedCertificate"),
    ] {
        let odd = odd_certificate(&ca, unit, usage);
        let node = server(&ca, &[&odd.serial]);
        // The identity of a node cannot even be loaded from some of these.
        let good = ca.issue(2);
        let mut config = client(&good, &node);
        config.client_auth_cert_resolver = resolver(&odd);
        expect_refusal(config, &node, alert).await;
    }
}

/// Presents a certificate without looking at it.
fn resolver(files: &Files) -> Arc<dyn rustls::client::ResolvesClientCert> {
    use rustls::pki_types::pem::PemObject;
    let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(files.key.as_bytes()).unwrap();
    let chain = jaco_peers::pki::certificates_from_pem(&files.certificate).unwrap();
    let provider = rustls::crypto::ring::default_provider();
    let signing = provider.key_provider.load_private_key(key).unwrap();
    let certified = rustls::sign::CertifiedKey::new(chain, signing);
    Arc::new(rustls::sign::SingleCertAndKey::from(certified))
}

#[tokio::test]
async fn a_client_without_certificate_is_refused() {
    let ca = Ca::new();
    let files = ca.issue(2);
    let node = server(&ca, &[&files.serial]);
    let mut config = client(&files, &node);
    config.client_auth_cert_resolver = Arc::new(Nothing);
    expect_refusal(config, &node, "CertificateRequired").await;
}

#[derive(Debug)]
struct Nothing;

impl rustls::client::ResolvesClientCert for Nothing {
    fn resolve(
        &self,
        _: &[&[u8]],
        _: &[rustls::SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn other_protocols_are_refused() {
    let ca = Ca::new();
    let files = ca.issue(2);
    let node = server(&ca, &[&files.serial]);
    let mut config = client(&files, &node);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    expect_refusal(config, &node, "NoApplicationProtocol").await;

    let node = server(&ca, &[&files.serial]);
    let mut config = client(&files, &node);
    config.alpn_protocols.clear();
    let refused = knock(config, &node, &[]).await;
    assert!(!refused.is_ok_and(|answer| !answer.is_empty()));
    eventually("the count", || (node.peers.counters().refused_handshakes == 1).then_some(())).await;

    let node = server(&ca, &[&files.serial]);
    let old =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS12])
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_client_cert_resolver(resolver(&files));
    expect_refusal(old, &node, "ProtocolVersion").await;
}

#[tokio::test]
async fn a_session_is_not_resumed_without_a_look_at_the_certificate() {
    let ca = Ca::new();
    let files = ca.issue(2);
    let node = server(&ca, &[&files.serial]);
    let mut config = client(&files, &node);
    config.resumption = rustls::client::Resumption::in_memory_sessions(8);
    assert!(knock(config.clone(), &node, NO_FRAME).await.is_ok());
    node.peers.set_roster(vec![node.entry()]);
    let refused = knock(config, &node, &[]).await;
    assert!(refused.is_err_and(|text| text.contains("CertificateUnknown")));
}

#[tokio::test]
async fn whoever_answers_for_another_node_is_refused_by_the_caller() {
    let (ca, nodes) = cluster(3);
    let swapped = |node: &Node| {
        let mut entry = nodes[1].entry();
        entry.address = node.peers.local_addr().to_string();
        vec![nodes[0].entry(), entry, nodes[2].entry()]
    };
    nodes[0].peers.set_roster(swapped(&nodes[2]));
    assert_eq!(nodes[0].ping(2).await, Err(CallError::Unreachable));
    let before = nodes[2].notes.calls.lock().unwrap().len();
    assert_eq!((nodes[2].peers.counters().accepted, before), (0, 0));
    // Back at the right address.
    nodes[0].peers.set_roster(swapped(&nodes[1]));
    nodes[0].ping_until_answered(2).await;
    drop(ca);
}

#[tokio::test]
async fn servers_with_foreign_expired_or_unlisted_certificates_are_refused_by_the_caller() {
    let (ca, other) = (Ca::new(), Ca::new());
    let expired = ca.issue_at(2, WallMs(now() - 91 * DAY));
    for (files, listed) in [(other.issue(2), true), (expired, true), (ca.issue(2), false)] {
        let caller = Node::start(1, ca.issue(1));
        let server = Node::start(2, files);
        server.peers.set_roster(vec![caller.entry(), server.entry()]);
        let mut entry = server.entry();
        if !listed {
            entry.serials = Some(vec![caller.files.serial.clone()]);
        }
        caller.peers.set_roster(vec![caller.entry(), entry]);
        assert_eq!(caller.ping(2).await, Err(CallError::Unreachable));
        assert_eq!(server.peers.counters().accepted, 0);
        assert!(server.notes.calls.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn open_connections_end_when_a_node_is_removed() {
    let (_ca, nodes) = cluster(2);
    let mut kept = nodes[0].peers.stream(&node_id(2), Method::Status, b"1".to_vec());
    assert_eq!(kept.next().await, Some(Ok(b"0".to_vec())));
    nodes[0].peers.send(vec![message(MessageType::MsgHeartbeat, 1, 2, 1)]);
    let notes = nodes[1].notes.clone();
    eventually("the message", || notes.messages.lock().unwrap().pop()).await;
    nodes[1].peers.set_roster(vec![nodes[1].entry()]);
    assert_eq!(kept.next().await, Some(Err(CallError::Closed)));
    assert_eq!(nodes[0].ping(2).await, Err(CallError::Unreachable));
    nodes[0].peers.send(vec![message(MessageType::MsgHeartbeat, 1, 2, 2)]);
    let unreachable = nodes[0].notes.clone();
    eventually("the report", || unreachable.unreachable.lock().unwrap().get(&2).copied()).await;
    assert!(notes.messages.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_one_who_removes_a_node_ends_its_own_connections_too() {
    let (_ca, nodes) = cluster(2);
    let mut kept = nodes[0].peers.stream(&node_id(2), Method::Status, b"1".to_vec());
    assert_eq!(kept.next().await, Some(Ok(b"0".to_vec())));
    nodes[0].peers.set_roster(vec![nodes[0].entry()]);
    assert_eq!(kept.next().await, Some(Err(CallError::Closed)));
    let notes = nodes[1].notes.clone();
    eventually("the end of the stream", || (*notes.dropped.lock().unwrap() == 1).then_some(()))
        .await;
    assert_eq!(nodes[0].ping(2).await, Err(CallError::Unreachable));
}

#[tokio::test]
async fn a_renewed_certificate_is_used_without_a_restart() {
    let (ca, nodes) = cluster(2);
    let mut kept = nodes[0].peers.stream(&node_id(2), Method::Status, b"1".to_vec());
    assert_eq!(kept.next().await, Some(Ok(b"0".to_vec())));
    let renewed = ca.issue(1);
    let mut both = nodes[0].entry();
    both.serials.get_or_insert_default().push(renewed.serial.clone());
    nodes[1].peers.set_roster(vec![both.clone(), nodes[1].entry()]);
    nodes[0].identity.replace(&renewed.root, &renewed.certificate, &renewed.key).unwrap();
    assert_eq!(nodes[0].identity.id().serial, renewed.serial);
    nodes[0].ping(2).await.unwrap();
    // The old certificate goes out of use, and what was opened with it ends.
    both.serials = Some(vec![renewed.serial.clone()]);
    nodes[1].peers.set_roster(vec![both, nodes[1].entry()]);
    assert_eq!(kept.next().await, Some(Err(CallError::Closed)));
    nodes[0].ping_until_answered(2).await;
    let stranger = ca.issue(2);
    let refused = nodes[0].identity.replace(&stranger.root, &stranger.certificate, &stranger.key);
    assert!(refused.is_err(), "a certificate of another node");
}

#[tokio::test]
async fn silent_and_numerous_strangers_are_closed() {
    let ca = Ca::new();
    let node = Node::start_with(1, ca.issue(1), |config| {
        config.limits.handshake_timeout = Duration::from_secs(1);
        config.limits.handshakes_per_address = 3;
    });
    let address = node.peers.local_addr();
    let mut silent = Vec::new();
    for _ in 0..5 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let mut turned_away = 0;
    for mut socket in silent {
        let ended = tokio::time::timeout(PATIENCE, socket.read(&mut [0; 16])).await.unwrap();
        turned_away += usize::from(!ended.is_ok_and(|bytes| bytes > 0));
    }
    assert_eq!(turned_away, 5, "all end");
    let counts = |c: jaco_peers::transport::Counters| (c.turned_away, c.refused_handshakes);
    eventually("the counts", || (counts(node.peers.counters()) == (2, 3)).then_some(())).await;
    let other = Node::start(2, ca.issue(2));
    let nodes = [node, other];
    introduce(&nodes);
    nodes[1].ping_until_answered(1).await;
}

#[tokio::test]
async fn strangers_do_not_get_more_than_a_few_bytes_read() {
    let ca = Ca::new();
    let node = Node::start_with(1, ca.issue(1), |config| config.limits.handshake_bytes = 1_000);
    let mut socket = TcpStream::connect(node.peers.local_addr()).await.unwrap();
    // The header of a handshake message that goes on for long.
    let mut record = vec![22, 3, 1, 0x3f, 0xff, 1, 0, 0xff, 0xff];
    record.resize(2_000, 0);
    socket.write_all(&record).await.unwrap();
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut rest)).await.unwrap();
    eventually("the refusal", || (node.peers.counters().refused_handshakes == 1).then_some(()))
        .await;
}

#[test]
fn protocol_names_are_what_they_were() {
    assert_eq!(PEER_ALPN, b"jaco-peer/1");
    assert_eq!(dns_name(&ClusterId::from("c")), "node.c.jaco.internal");
}
