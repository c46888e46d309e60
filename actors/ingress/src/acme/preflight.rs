//! A look at a domain before an order is made for it: what the authority would refuse or never
//! find is told at once, in words of ours.

use super::http::{CLIENT, chain, connector};
use super::lookup::{self, LookupError, Resolvers};
use bytes::Bytes;
use hickory_proto::rr::{Name, RData, RecordType};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::header::USER_AGENT;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use jaco_ingress_core::acme::{
    CaaRecord, CaaWish, PreflightCause, PreflightFailure, caa_names, caa_permits,
};
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;

/// Longest wait for a directory.
const DIRECTORY_WAIT: Duration = Duration::from_secs(30);
/// Bytes of the largest directory.
const DIRECTORY_MAX: usize = 64 * 1024;

/// Looks whether an order for a domain could succeed: it leads somewhere, and its CAA records
/// (RFC 8659) permit what is wished. A wildcard and whoever is proven by DNS needs no address.
///
/// # Errors
/// What stands in the way.
pub async fn preflight(
    resolvers: &Resolvers,
    domain: &str,
    wish: &CaaWish<'_>,
) -> Result<(), PreflightFailure> {
    let fail = |cause, detail: String| PreflightFailure { cause, detail };
    let base = domain.strip_prefix("*.").unwrap_or(domain);
    if !wish.is_wildcard && wish.method != "dns-01" {
        let unknown = |error: LookupError| fail(PreflightCause::AddressUnknown, error.to_string());
        let name = lookup::name(base).map_err(unknown)?;
        if resolvers.addresses(&name).await.map_err(unknown)?.is_empty() {
            let detail = format!("{base} does not resolve: there is no A and no AAAA record");
            return Err(fail(PreflightCause::NoAddress, detail));
        }
    }
    for parent in caa_names(base) {
        let records = match lookup::name(parent) {
            Ok(name) => caa(resolvers, &name).await,
            Err(error) => Err(error),
        };
        let records = records.map_err(|error| {
            let detail =
                format!("CAA records cannot be looked up, so no authority issues: {error}");
            fail(PreflightCause::CaaUnknown, detail)
        })?;
        if !records.is_empty() {
            return caa_permits(&records, wish).map_err(|why| {
                let detail = format!("CAA records of {parent} forbid a certificate: {why}");
                fail(PreflightCause::CaaForbids, detail)
            });
        }
    }
    Ok(())
}

async fn caa(resolvers: &Resolvers, name: &Name) -> Result<Vec<CaaRecord>, LookupError> {
    let answer = resolvers.ask(name, RecordType::CAA).await?;
    let record = |data: RData| match data {
        RData::CAA(caa) => {
            Some(CaaRecord { critical: caa.issuer_critical, tag: caa.tag, value: caa.value })
        }
        _ => None,
    };
    Ok(answer.answers.into_iter().filter_map(|one| record(one.data)).collect())
}

/// The names by which an authority goes in CAA records, as its directory tells them
/// (`caaIdentities`, RFC 8555 §7.1.1). None when it tells none. `roots` as in
/// [`super::Config::roots`].
///
/// # Errors
/// When the directory cannot be read, for people.
pub async fn caa_identities(directory: &str, roots: Option<&Path>) -> Result<Vec<String>, String> {
    let connector = connector(roots)?;
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(connector);
    // Authorities insist on a name of the client (RFC 8555 §6.1).
    let request = Request::get(directory).header(USER_AGENT, CLIENT).body(Empty::new());
    let request = request.map_err(|error| format!("{directory:?}: {error}"))?;
    let fetch = async {
        let answer = client.request(request).await.map_err(|error| chain(&error))?;
        if !answer.status().is_success() {
            return Err(answer.status().to_string());
        }
        let body = Limited::new(answer.into_body(), DIRECTORY_MAX).collect().await;
        body.map(http_body_util::Collected::to_bytes).map_err(|error| error.to_string())
    };
    let body: Bytes = timeout(DIRECTORY_WAIT, fetch)
        .await
        .unwrap_or_else(|_| Err("no answer in time".to_owned()))
        .map_err(|error| format!("the directory {directory} cannot be read: {error}"))?;
    let read = serde_json::from_slice::<serde_json::Value>(&body)
        .map_err(|error| format!("the directory {directory} is no JSON: {error}"))?;
    let names = read.pointer("/meta/caaIdentities").and_then(serde_json::Value::as_array);
    let names = names.map_or(&[][..], Vec::as_slice).iter();
    Ok(names.filter_map(|name| name.as_str().map(str::to_owned)).collect())
}
