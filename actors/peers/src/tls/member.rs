//! Checks that the other side of a connection is a member.

use std::sync::Arc;

use jaco_model::NodeId;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};

use crate::pki::PeerId;
use crate::tls::identity::Identity;
use crate::tls::roster::{NotAdmitted, Roster};

/// Verifies members on both sides of a connection.
#[derive(Debug)]
pub(super) struct Members {
    pub(super) identity: Identity,
    pub(super) roster: Roster,
    /// The node that was dialled.
    pub(super) dialled: Option<NodeId>,
}

impl Members {
    /// What comes after the chain: the names, and whether they are in the roster.
    fn admit(&self, certificate: &CertificateDer<'_>) -> Result<(), NotAdmitted> {
        let peer = PeerId::from_der(certificate)
            .map_err(|error| NotAdmitted::Profile { reason: error.to_string() })?;
        let me = self.identity.id();
        if peer.cluster_id != me.cluster_id {
            return Err(NotAdmitted::Cluster { found: peer.cluster_id });
        }
        if peer.node_id == me.node_id {
            return Err(NotAdmitted::Itself);
        }
        if let Some(dialled) = &self.dialled
            && *dialled != peer.node_id
        {
            return Err(NotAdmitted::OtherNode { dialled: dialled.clone(), found: peer.node_id });
        }
        self.roster.admit(&peer)?;
        Ok(())
    }

    fn check(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        self.admit(certificate)
            .map_err(|reason| CertificateError::Other(OtherError(Arc::new(reason))).into())
    }
}

impl ServerCertVerifier for Members {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.identity.loaded().servers.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        )?;
        self.check(end_entity)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.identity.loaded().servers.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.identity.loaded().servers.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.identity.loaded().servers.supported_verify_schemes()
    }
}

impl ClientCertVerifier for Members {
    fn client_auth_mandatory(&self) -> bool {
        true
    }

    /// None: members have one certificate, and the roots may change while this lives.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let clients = &self.identity.loaded().clients;
        let verified = clients.verify_client_cert(end_entity, intermediates, now)?;
        self.check(end_entity)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.identity.loaded().clients.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.identity.loaded().clients.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.identity.loaded().clients.supported_verify_schemes()
    }
}
