//! The profile of certificates, hostile requests for them, and join tokens.

#![expect(clippy::unwrap_used, reason = "a test helper fails by panicking")]

use std::time::Duration;

use jaco_model::{ClusterId, NodeId, WallMs};
use jaco_peers::pki::{
    Authority, BadToken, JoinToken, NODE_LIFETIME, NodeKey, PeerId, certificates_from_pem,
    csr_key_digest, spki_digest, validity,
};
use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

const NOW: WallMs = WallMs(1_790_000_000_123);

fn cluster() -> ClusterId {
    ClusterId::from("3f2b8a52-8c0e-4f27-9d0c-1f2e3d4c5b6a")
}

fn node() -> NodeId {
    NodeId::from("00112233445566778899aabbccddeeff")
}

fn authority() -> Authority {
    Authority::create(&cluster(), NOW).unwrap()
}

fn sign(authority: &Authority, csr: &[u8]) -> Result<String, jaco_peers::Error> {
    let signed = authority.sign_node(csr, &cluster(), &node(), NOW, NODE_LIFETIME)?;
    Ok(signed.cert_pem)
}

/// Everything that must be the same in each certificate of a node, whatever was asked for.
fn check_profile(pem: &str, authority: &Authority) {
    let der = certificates_from_pem(pem).unwrap().swap_remove(0);
    let (_, leaf) = X509Certificate::from_der(&der).unwrap();
    let root_der = certificates_from_pem(&authority.cert_pem).unwrap().swap_remove(0);
    let (_, root) = X509Certificate::from_der(&root_der).unwrap();
    leaf.verify_signature(Some(root.public_key())).unwrap();
    assert_eq!(leaf.subject().to_string(), format!("O={}, OU=node", cluster()));
    assert_eq!(leaf.issuer(), root.subject());
    assert!(!leaf.is_ca());
    let names = leaf.subject_alternative_name().unwrap().unwrap().value.general_names.clone();
    let uri = format!("jaco://{}/node/{}", cluster(), node());
    let dns = format!("node.{}.jaco.internal", cluster());
    assert_eq!(names, [GeneralName::URI(&uri), GeneralName::DNSName(&dns)]);
    let usage = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && usage.client_auth && usage.other.is_empty());
    assert!(!(usage.any || usage.code_signing || usage.email_protection || usage.ocsp_signing));
    let held = validity(pem).unwrap();
    assert_eq!(held.not_before, WallMs(NOW.0 / 1_000 * 1_000 - 3_600_000));
    assert_eq!(held.not_after, WallMs(NOW.0 / 1_000 * 1_000 + 90 * 86_400_000));
    let id = PeerId::from_der(&der).unwrap();
    assert_eq!((id.cluster_id, id.node_id, id.serial.len()), (cluster(), node(), 32));
}

#[test]
fn certificates_have_the_profile_and_name_their_node() {
    let authority = authority();
    let key = NodeKey::create().unwrap();
    let signed =
        authority.sign_node(&key.csr_der, &cluster(), &node(), NOW, NODE_LIFETIME).unwrap();
    check_profile(&signed.cert_pem, &authority);
    assert_eq!(validity(&signed.cert_pem).unwrap().not_after, signed.not_after);
    let der = certificates_from_pem(&signed.cert_pem).unwrap().swap_remove(0);
    assert_eq!(PeerId::from_der(&der).unwrap().serial, signed.serial);
    let again = authority.sign_node(&key.csr_der, &cluster(), &node(), NOW, NODE_LIFETIME).unwrap();
    assert_ne!(again.serial, signed.serial);
}

#[test]
fn the_root_is_an_authority_for_ten_years() {
    let authority = authority();
    let der = certificates_from_pem(&authority.cert_pem).unwrap().swap_remove(0);
    let (_, root) = X509Certificate::from_der(&der).unwrap();
    assert!(root.is_ca());
    let held = validity(&authority.cert_pem).unwrap();
    let years = Duration::from_millis(held.not_after.0 - NOW.0).as_secs() / 86_400 / 365;
    assert_eq!(years, 10);
    assert!(held.not_before < NOW);
    assert!(PeerId::from_der(&der).is_err(), "a root speaks for no node");
}

#[test]
fn a_stored_root_is_checked() {
    let (one, other) = (authority(), authority());
    assert_ne!(spki_digest(&one.cert_pem).unwrap(), spki_digest(&other.cert_pem).unwrap());
    assert!(Authority::from_pem(&one.cert_pem, &one.key_pem).is_ok());
    assert!(Authority::from_pem(&one.cert_pem, &other.key_pem).is_err());
    assert!(Authority::from_pem("", &one.key_pem).is_err());
    assert!(Authority::from_pem(&one.cert_pem, "nonsense").is_err());
    let key = NodeKey::create().unwrap();
    let leaf = sign(&one, &key.csr_der).unwrap();
    assert!(Authority::from_pem(&leaf, &key.key_pem).is_err(), "a node is no authority");
}

#[test]
fn secrets_are_not_in_debug_output() {
    let token = JoinToken::create([7; 32]).unwrap();
    assert!(!format!("{token:?}").contains(&token.secret_text()));
    assert!(!format!("{:?}", authority()).contains("PRIVATE"));
    assert!(!format!("{:?}", NodeKey::create().unwrap()).contains("PRIVATE"));
}

#[test]
fn what_a_request_asks_for_is_ignored() {
    let authority = authority();
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let mut greedy =
        CertificateParams::new(vec!["evil.example".into(), "10.0.0.1".into()]).unwrap();
    greedy.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    greedy.distinguished_name.push(rcgen::DnType::OrganizationName, "another cluster");
    greedy.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    greedy.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::Any];
    let csr = greedy.serialize_request(&key).unwrap();
    check_profile(&sign(&authority, csr.der()).unwrap(), &authority);
}

#[test]
fn other_kinds_of_keys_are_refused() {
    let authority = authority();
    for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let csr = CertificateParams::default().serialize_request(&key).unwrap();
        let refused = sign(&authority, csr.der());
        assert!(matches!(refused, Err(jaco_peers::Error::Request { .. })), "{refused:?}");
    }
}

#[test]
fn names_and_times_that_do_not_fit_are_refused() {
    let authority = authority();
    let csr = NodeKey::create().unwrap().csr_der;
    for bad in ["", "a/node/b", "UPPER", "-a", "a b", "ä", &"x".repeat(64)] {
        let node = NodeId::from(bad);
        let refused = authority.sign_node(&csr, &cluster(), &node, NOW, NODE_LIFETIME);
        assert!(matches!(refused, Err(jaco_peers::Error::Name { .. })), "{bad}");
        assert!(Authority::create(&ClusterId::from(bad), NOW).is_err(), "{bad}");
    }
    for now in [u64::MAX, u64::MAX / 1_000, 253_402_300_799_000] {
        let refused = authority.sign_node(&csr, &cluster(), &node(), WallMs(now), NODE_LIFETIME);
        assert!(matches!(refused, Err(jaco_peers::Error::Time(_))), "{now}");
    }
    let early = authority.sign_node(&csr, &cluster(), &node(), WallMs(0), NODE_LIFETIME);
    assert!(early.is_ok());
}

#[test]
fn retries_of_one_key_have_one_digest() {
    let (one, other) = (NodeKey::create().unwrap(), NodeKey::create().unwrap());
    let digest = csr_key_digest(&one.csr_der).unwrap();
    assert_eq!((digest.len(), csr_key_digest(&one.csr_der).unwrap()), (64, digest.clone()));
    assert_ne!(csr_key_digest(&other.csr_der).unwrap(), digest);
    let leaf = sign(&authority(), &one.csr_der).unwrap();
    assert_eq!(jaco_peers::pki::hex(&spki_digest(&leaf).unwrap()), digest);
}

#[test]
fn damaged_tokens_are_told_apart() {
    let text = JoinToken { digest: [1; 32], secret: [2; 16] }.to_string();
    let (digest, secret) = (&text[6..58], &text[59..]);
    assert_eq!((digest.len(), secret.len()), (52, 26));
    for (bad, why) in [
        (String::new(), BadToken::Shape),
        (format!("{digest}-{secret}"), BadToken::Shape),
        (format!("JACO1-{digest}-{secret}-x"), BadToken::Shape),
        (format!("{text}\n"), BadToken::Secret),
        (format!(" {text}"), BadToken::Shape),
        (format!("jaco1-{digest}-{secret}"), BadToken::Shape),
        (format!("JACO2-{digest}-{secret}"), BadToken::Version),
        (format!("JACO1-{}-{secret}", &digest[1..]), BadToken::Digest),
        (format!("JACO1-{}-{secret}", digest.to_uppercase()), BadToken::Digest),
        (format!("JACO1-{digest}-{}", &secret[1..]), BadToken::Secret),
        (format!("JACO1-{digest}-{}7", &secret[..25]), BadToken::Secret),
    ] {
        assert_eq!(bad.parse::<JoinToken>(), Err(why), "{bad}");
    }
}

proptest! {
    #[test]
    fn tokens_round_trip(digest: [u8; 32], secret: [u8; 16]) {
        let token = JoinToken { digest, secret };
        let text = token.to_string();
        prop_assert_eq!(text.len(), 6 + 52 + 1 + 26);
        prop_assert_eq!(text.parse::<JoinToken>(), Ok(token.clone()));
        prop_assert_eq!(JoinToken::hash_of_secret(&token.secret_text()), Ok(token.secret_hash()));
    }

    #[test]
    fn texts_are_tokens_or_errors(text in "\\PC{0,90}", digest in "[a-z2-7]{50,54}", secret in "[a-z2-7]{25,27}") {
        prop_assert!(text.parse::<JoinToken>().is_err());
        let text = format!("JACO1-{digest}-{secret}");
        if let Ok(token) = text.parse::<JoinToken>() {
            prop_assert_eq!(token.to_string(), text);
        }
    }

    /// A request that was changed anywhere is refused or yields the one profile.
    #[test]
    fn fuzzed_requests_yield_the_profile_or_nothing(
        changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<usize>()),
    ) {
        let authority = authority();
        let mut csr = NodeKey::create().unwrap().csr_der;
        for (at, byte) in changes {
            let at = at % csr.len();
            csr[at] = byte;
        }
        if let Some(cut) = cut {
            csr.truncate(cut % (csr.len() + 1));
        }
        if let Ok(pem) = sign(&authority, &csr) {
            check_profile(&pem, &authority);
        }
    }

    #[test]
    fn noise_is_neither_request_nor_certificate(noise in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(sign(&authority(), &noise).is_err());
        prop_assert!(PeerId::from_der(&noise).is_err());
    }

    #[test]
    fn damaged_certificates_never_panic(at: usize, byte: u8, cut: usize) {
        let pem = sign(&authority(), &NodeKey::create().unwrap().csr_der).unwrap();
        let mut der = certificates_from_pem(&pem).unwrap().swap_remove(0).to_vec();
        let at = at % der.len();
        der[at] = byte;
        drop(PeerId::from_der(&der));
        der.truncate(cut % der.len());
        prop_assert!(PeerId::from_der(&der).is_err());
    }
}
