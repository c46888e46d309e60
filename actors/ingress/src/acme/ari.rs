//! When the authority wants a certificate renewed (RFC 9773).

use super::call::kind;
use super::http::Conversation;
use instant_acme::{CertificateIdentifier, Error, Problem};
use jaco_ingress_core::acme::Answer;
use jaco_model::WallMs;
use rustls::pki_types::Der;
use serde_json::Value;
use x509_parser::extensions::ParsedExtension;

/// # Errors
/// When there is no answer, or one that says no.
pub(super) async fn ask(
    conversation: &Conversation,
    directory: &str,
    chain: &str,
) -> Result<Answer, Error> {
    let none = Answer::Advice { id: None, window: None, explanation: None, retry_after: None };
    let seen = conversation.get(directory).await?;
    let known: Value = serde_json::from_slice(&seen.body)?;
    let Some(base) = known.get("renewalInfo").and_then(Value::as_str) else { return Ok(none) };
    let Some(id) = id_of(chain) else { return Ok(none) };
    let seen = conversation.get(&format!("{}/{id}", base.trim_end_matches('/'))).await?;
    if !(200..300).contains(&seen.status) {
        let problem = serde_json::from_slice::<Problem>(&seen.body);
        tracing::debug!(
            target: "ingress", status = seen.status,
            kind = problem.as_ref().map(kind).unwrap_or_default(),
            "no advice about a renewal"
        );
        return Err(Error::Str("renewal information"));
    }
    // What cannot be read is as if the authority gave no window.
    let said: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
    let moment = |name: &str| {
        let text = said.get("suggestedWindow")?.get(name)?.as_str()?;
        WallMs::parse_rfc3339(text)
    };
    Ok(Answer::Advice {
        id: Some(id),
        window: moment("start").zip(moment("end")),
        explanation: said.get("explanationURL").and_then(Value::as_str).map(str::to_owned),
        retry_after: seen.retry_after,
    })
}

/// The id of a chain's leaf (RFC 9773 §4.1); `None` when it does not name its issuer's key.
fn id_of(chain: &str) -> Option<String> {
    let (_, leaf) = x509_parser::pem::parse_x509_pem(chain.as_bytes()).ok()?;
    let leaf = leaf.parse_x509().ok()?;
    let authority = leaf.iter_extensions().find_map(|one| match one.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(authority) => {
            authority.key_identifier.as_ref().map(|id| id.0.to_vec())
        }
        _ => None,
    })?;
    let serial = Der::from_slice(leaf.tbs_certificate.raw_serial());
    Some(CertificateIdentifier::new(Der::from_slice(&authority), serial).to_string())
}
