//! Dynamic updates (RFC 2136), signed by a key that the server has too (RFC 8945).

use super::{Action, DnsError, TTL, place};
use crate::acme::base64;
use crate::acme::lookup::{self, PORT, Resolvers};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::rdata::tsig::{TsigAlgorithm as Wire, TsigError};
use hickory_proto::rr::{DNSClass, Name, RData, Record, TSigner};
use jaco_kit::Clock;
use jaco_model::spec::{SecretText, TsigAlgorithm};
use std::net::{IpAddr, SocketAddr};

/// Seconds by which both clocks may differ, as RFC 8945 §10 recommends.
const FUDGE: u16 = 300;

pub(super) struct Rfc2136 {
    /// Host or address, with an optional port.
    pub(super) server: String,
    /// `None` is asked for.
    pub(super) zone: Option<Name>,
    pub(super) key: TSigner,
    pub(super) clock: Clock,
}

impl std::fmt::Debug for Rfc2136 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = self.key.signer_name();
        f.debug_struct("Rfc2136").field("server", &self.server).field("key", key).finish()
    }
}

/// The key of a base64 text.
pub(super) fn signer(
    key_name: &str,
    algorithm: TsigAlgorithm,
    secret: &SecretText,
) -> Result<TSigner, DnsError> {
    let broken = || DnsError::Settings(format!("the key {key_name} is not base64"));
    let key = base64::decode(secret.reveal().trim()).filter(|key| !key.is_empty());
    let algorithm = match algorithm {
        TsigAlgorithm::HmacSha256 => Wire::HmacSha256,
        TsigAlgorithm::HmacSha384 => Wire::HmacSha384,
        TsigAlgorithm::HmacSha512 => Wire::HmacSha512,
    };
    let name = lookup::name(key_name)?;
    TSigner::new(key.ok_or_else(broken)?, algorithm, name, FUDGE)
        .map_err(|error| DnsError::Settings(format!("the key {key_name}: {error}")))
}

impl Rfc2136 {
    /// The address that updates are sent to.
    pub(super) async fn server(&self, resolvers: &Resolvers) -> Result<SocketAddr, DnsError> {
        if let Ok(address) = self.server.parse::<SocketAddr>() {
            return Ok(address);
        }
        if let Ok(address) = self.server.parse::<IpAddr>() {
            return Ok(SocketAddr::new(address, PORT));
        }
        let (host, port) = match self.server.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()),
            None => (self.server.as_str(), Some(PORT)),
        };
        let odd = || DnsError::Settings(format!("{:?} is no server", self.server));
        let port = port.ok_or_else(odd)?;
        let addresses = resolvers.addresses(&lookup::name(host)?).await?;
        let first = addresses.first();
        let first = first.ok_or_else(|| DnsError::Settings(format!("{host} has no address")))?;
        Ok(SocketAddr::new(*first, port))
    }

    pub(super) async fn change(
        &self,
        action: Action,
        resolvers: &Resolvers,
        name: &Name,
        value: &str,
    ) -> Result<(), DnsError> {
        let server = self.server(resolvers).await?;
        let zone = self.zone(server, name).await?;
        let mut message = lookup::update(&zone);
        message.authorities.push(record(action, name, value));
        self.send(server, &zone, message).await
    }

    async fn zone(&self, server: SocketAddr, name: &Name) -> Result<Name, DnsError> {
        let shown = lookup::text(name);
        match &self.zone {
            Some(zone) if zone.zone_of(name) => Ok(zone.clone()),
            Some(zone) => {
                let zone = lookup::text(zone);
                Err(DnsError::Settings(format!("{shown} is not in the zone {zone}")))
            }
            None => place::zone_at(server, name).await?.ok_or_else(|| {
                DnsError::Refused(format!("name server {server} has no zone of {shown}"))
            }),
        }
    }

    async fn send(
        &self,
        server: SocketAddr,
        zone: &Name,
        mut message: Message,
    ) -> Result<(), DnsError> {
        let internal = |error: hickory_proto::ProtoError| DnsError::Settings(error.to_string());
        let verifier = message.finalize(&self.key, self.clock.wall().0 / 1000).map_err(internal)?;
        let packet = message.to_vec().map_err(internal)?;
        let away = |detail: String| {
            DnsError::Away(format!("name server {server} does not answer: {detail}"))
        };
        let bytes = lookup::exchange(server, &packet).await.map_err(away)?;
        let answer = Message::from_vec(&bytes).map_err(|error| away(error.to_string()))?;
        if let Some(refusal) = self.refusal(server, zone, &answer) {
            return Err(DnsError::Refused(refusal));
        }
        let is_signed = verifier.is_some_and(|mut verifier| verifier.verify(&bytes).is_ok());
        if is_signed {
            return Ok(());
        }
        let key = lookup::text(self.key.signer_name());
        Err(away(format!("what came is not signed by the key {key}")))
    }

    /// What a server that did not do it says.
    fn refusal(&self, server: SocketAddr, zone: &Name, answer: &Message) -> Option<String> {
        let key = lookup::text(self.key.signer_name());
        let zone = lookup::text(zone);
        let signature = answer.signature.as_ref().and_then(|record| record.data.error);
        if let Some(error) = signature {
            let why = match error {
                TsigError::BadKey => format!("does not know the key {key} with this algorithm"),
                TsigError::BadSig => format!("knows another key {key}: the signature is wrong"),
                TsigError::BadTime => "has a clock that differs by more than 5 minutes".to_owned(),
                other => format!("refuses the signature by the key {key}: {other:?}"),
            };
            return Some(format!("name server {server} {why}"));
        }
        Some(match answer.metadata.response_code {
            ResponseCode::NoError => return None,
            ResponseCode::Refused => {
                format!("name server {server} does not let the key {key} change the zone {zone}")
            }
            ResponseCode::NotAuth | ResponseCode::NotZone => {
                format!("name server {server} is not the primary server of the zone {zone}")
            }
            other => format!(
                "name server {server} answers an update of {zone} with {}",
                lookup::code(other)
            ),
        })
    }
}

/// RFC 2136 §2.5.1 and §2.5.4: one record comes or goes, others of the name stay.
fn record(action: Action, name: &Name, value: &str) -> Record {
    let text = RData::TXT(TXT::new(vec![value.to_owned()]));
    match action {
        Action::Present => Record::from_rdata(name.clone(), TTL, text),
        Action::Cleanup => {
            let mut record = Record::from_rdata(name.clone(), 0, text);
            record.dns_class = DNSClass::NONE;
            record
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_empty_is_none() {
        let empty = signer("k", TsigAlgorithm::HmacSha256, &SecretText::new(" \n"));
        assert!(matches!(empty, Err(DnsError::Settings(_))));
    }

    #[test]
    fn a_signature_covers_the_record() {
        let secret = SecretText::new("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n");
        for algorithm in TsigAlgorithm::ALL {
            let key = signer("jaco.example", algorithm, &secret).unwrap();
            let sign = |value: &str| {
                let name = lookup::name("_acme-challenge.a.example").unwrap();
                let mut message = lookup::update(&name.base_name());
                message.metadata.id = 7;
                message.authorities.push(record(Action::Present, &name, value));
                message.finalize(&key, 1_700_000_000).unwrap();
                message.to_vec().unwrap()
            };
            let signed = sign("one");
            assert!(key.verify_message_byte(&signed, None, true).is_ok());
            assert_eq!(signed, sign("one"));
            let at = signed.windows(3).position(|part| part == b"one").unwrap();
            let mut forged = signed;
            forged[at] ^= 1;
            assert!(key.verify_message_byte(&forged, None, true).is_err());
        }
    }
}
