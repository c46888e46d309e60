//! Configurations of `rustls` for each kind of connection.

use std::sync::Arc;

use jaco_model::NodeId;
use rustls::client::Resumption;
use rustls::server::NoServerSessionStorage;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ServerConfig};

use crate::error::Error;
use crate::tls::identity::{Identity, provider};
use crate::tls::member::Members;
use crate::tls::pin::PinnedRoot;
use crate::tls::roster::Roster;

/// What members call their protocol in the handshake.
pub const PEER_ALPN: &[u8] = b"jaco-peer/1";

/// Accepts members on the peer port: TLS 1.3, with a certificate that is in use by a member.
///
/// # Errors
/// If `rustls` does not like it, which no input causes.
pub fn peer_server_config(
    identity: &Identity,
    roster: &Roster,
) -> Result<Arc<ServerConfig>, Error> {
    let members = Members { identity: identity.clone(), roster: roster.clone(), dialled: None };
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(Error::Tls)?
        .with_client_cert_verifier(Arc::new(members))
        .with_cert_resolver(identity.alone());
    config.alpn_protocols = vec![PEER_ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Dials one member, and accepts no other in its place.
///
/// # Errors
/// As [`peer_server_config`].
pub fn peer_client_config(
    identity: &Identity,
    roster: &Roster,
    node: &NodeId,
) -> Result<Arc<ClientConfig>, Error> {
    let dialled = Some(node.clone());
    let members = Members { identity: identity.clone(), roster: roster.clone(), dialled };
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(Error::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(members))
        .with_client_cert_resolver(identity.alone());
    config.alpn_protocols = vec![PEER_ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Serves the API port: no certificate of the client, and a chain that includes the root, so that
/// clients who know only its digest can verify.
///
/// # Errors
/// As [`peer_server_config`].
pub fn api_server_config(identity: &Identity) -> Result<Arc<ServerConfig>, Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(Error::Tls)?
        .with_no_client_auth()
        .with_cert_resolver(identity.with_root());
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Dials the API port of a cluster of which only the SHA-256 of the root's SubjectPublicKeyInfo is
/// known.
///
/// # Errors
/// As [`peer_server_config`].
pub fn pinned_client_config(digest: [u8; 32]) -> Result<Arc<ClientConfig>, Error> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(Error::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinnedRoot::new(digest)))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}
