//! What the authority knows and answers.

use super::pki::Pki;
use super::{Fault, Kind, Shared};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

const LIFETIME: Duration = Duration::from_secs(90 * 86_400);

pub(super) struct Request {
    pub(super) kind: Kind,
    /// Last part of its path.
    pub(super) number: u64,
    pub(super) is_head: bool,
    pub(super) host: String,
    pub(super) body: Vec<u8>,
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) media: &'static str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: String,
}

#[derive(Clone, Debug)]
struct Order {
    identifiers: Value,
    status: &'static str,
    error: Option<String>,
    chain: Option<String>,
}

type Advice = Arc<dyn Fn(u64) -> String + Send + Sync>;

/// Everything that has happened.
#[derive(Default)]
pub(super) struct Ledger {
    nonces: u64,
    orders: BTreeMap<u64, Order>,
    pub(super) requests: Vec<Kind>,
    pub(super) wishes: Vec<Value>,
    pub(super) n_issued: usize,
    pub(super) refuses_replacements: bool,
    pub(super) advice: Option<Advice>,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("requests", &self.requests).finish_non_exhaustive()
    }
}

impl Ledger {
    pub(super) fn nonce(&mut self) -> String {
        self.nonces += 1;
        format!("nonce{}", self.nonces)
    }
}

impl Answer {
    fn json(status: u16, body: &Value) -> Answer {
        Answer { status, media: "application/json", headers: Vec::new(), body: body.to_string() }
    }

    pub(super) fn plain(status: u16) -> Answer {
        let body = "<html>busy</html>".to_owned();
        Answer { status, media: "text/html", headers: Vec::new(), body }
    }

    pub(super) fn problem(status: u16, kind: &str, headers: &[(&'static str, String)]) -> Answer {
        let kind = format!("urn:ietf:params:acme:error:{kind}");
        let body = json!({ "type": kind, "detail": "as the test wants it", "status": status });
        let headers = headers.to_vec();
        Answer { media: "application/problem+json", headers, ..Answer::json(status, &body) }
    }
}

/// The right answer, or the wrong one that a fault asks for.
pub(super) fn answer(
    request: &Request,
    fault: Option<&Fault>,
    pki: &Pki,
    shared: &Shared,
) -> Answer {
    let base = format!("https://{}", request.host);
    let now = shared.now();
    let ledger = &mut *shared.ledger.lock().unwrap();
    let number = request.number;
    if let (Some(Fault::Invalid(why)), Some(order)) = (fault, ledger.orders.get_mut(&number)) {
        (order.status, order.error) = ("invalid", Some((*why).to_owned()));
    }
    match request.kind {
        Kind::Directory => Answer::json(200, &directory(&base, ledger.advice.is_some())),
        Kind::Nonce => Answer::json(200, &json!({})),
        Kind::Account => {
            let mut answer = Answer::json(201, &json!({ "status": "valid" }));
            answer.headers.push(("Location", format!("{base}/account/1")));
            answer
        }
        Kind::NewOrder => new_order(ledger, &base, &payload(&request.body)),
        Kind::Advice => match &ledger.advice {
            Some(advice) => {
                let body = advice(now);
                let headers = vec![("Retry-After", "172800".to_owned())];
                Answer { status: 200, media: "application/json", headers, body }
            }
            None => Answer::problem(404, "malformed", &[]),
        },
        _ => {
            let Some(mut order) = ledger.orders.get(&number).cloned() else {
                return Answer::problem(404, "malformed", &[]);
            };
            let answer = match request.kind {
                Kind::Authorization => authorization(&order, number, &base),
                Kind::Challenge => told(&mut order, number, &base),
                Kind::Finalize => {
                    let signing = payload(&request.body);
                    let signing = from_base64(signing["csr"].as_str().unwrap_or_default());
                    if order.status == "ready" {
                        order.status = "valid";
                        order.chain = Some(match fault {
                            Some(Fault::WrongKey) => pki.issue_for_another(&signing, now, LIFETIME),
                            _ => pki.issue(&signing, now, LIFETIME),
                        });
                    }
                    Answer::json(200, &state(&order, number, &base))
                }
                Kind::Certificate => {
                    ledger.n_issued += 1;
                    let media = "application/pem-certificate-chain";
                    let body = order.chain.clone().unwrap_or_default();
                    Answer { status: 200, media, headers: Vec::new(), body }
                }
                _ => Answer::json(200, &state(&order, number, &base)),
            };
            ledger.orders.insert(number, order);
            answer
        }
    }
}

fn directory(base: &str, has_advice: bool) -> Value {
    let mut directory = json!({
        "newNonce": format!("{base}/nonce"),
        "newAccount": format!("{base}/account"),
        "newOrder": format!("{base}/new-order"),
        "revokeCert": format!("{base}/revoke"),
        "keyChange": format!("{base}/key-change"),
        "meta": { "caaIdentities": ["authority.test"] },
    });
    if has_advice {
        directory["renewalInfo"] = json!(format!("{base}/advice"));
    }
    directory
}

fn new_order(ledger: &mut Ledger, base: &str, wish: &Value) -> Answer {
    if ledger.refuses_replacements && wish.get("replaces").is_some() {
        return Answer::problem(409, "alreadyReplaced", &[]);
    }
    let number = ledger.orders.len() as u64 + 1;
    let identifiers = wish["identifiers"].clone();
    let order = Order { identifiers, status: "pending", error: None, chain: None };
    let mut answer = Answer::json(201, &state(&order, number, base));
    answer.headers.push(("Location", format!("{base}/order/{number}")));
    ledger.orders.insert(number, order);
    ledger.wishes.push(wish.clone());
    answer
}

fn state(order: &Order, number: u64, base: &str) -> Value {
    let mut state = json!({
        "status": order.status,
        "identifiers": order.identifiers,
        "authorizations": [format!("{base}/authorization/{number}")],
        "finalize": format!("{base}/finalize/{number}"),
    });
    if order.chain.is_some() {
        state["certificate"] = json!(format!("{base}/certificate/{number}"));
    }
    if let Some(why) = &order.error {
        let kind = "urn:ietf:params:acme:error:unauthorized";
        state["error"] = json!({ "type": kind, "detail": why });
    }
    state
}

fn authorization(order: &Order, number: u64, base: &str) -> Answer {
    let name = order.identifiers[0]["value"].as_str().unwrap_or_default();
    let challenges = ["http-01", "dns-01"].map(|kind| challenge(order, kind, number, base));
    let mut body = json!({
        "status": proof(order),
        "identifier": { "type": "dns", "value": name.trim_start_matches("*.") },
        "challenges": challenges,
    });
    if name.starts_with("*.") {
        body["wildcard"] = json!(true);
    }
    Answer::json(200, &body)
}

/// The client says that it is ready; it is believed.
fn told(order: &mut Order, number: u64, base: &str) -> Answer {
    if order.status == "pending" {
        order.status = "ready";
    }
    Answer::json(200, &challenge(order, "http-01", number, base))
}

fn challenge(order: &Order, kind: &str, number: u64, base: &str) -> Value {
    let mut challenge = json!({
        "type": kind, "url": format!("{base}/challenge/{number}"),
        "token": format!("token{number}"), "status": proof(order),
    });
    if let Some(why) = &order.error {
        let kind = "urn:ietf:params:acme:error:unauthorized";
        challenge["error"] = json!({ "type": kind, "detail": why, "status": 403 });
    }
    challenge
}

/// Whether the name of an order is proven.
fn proof(order: &Order) -> &'static str {
    match order.status {
        "pending" | "invalid" => order.status,
        _ => "valid",
    }
}

/// What a signed request says; an empty payload is `null`.
fn payload(body: &[u8]) -> Value {
    let signed: Value = serde_json::from_slice(body).unwrap_or_default();
    let payload = from_base64(signed["payload"].as_str().unwrap_or_default());
    serde_json::from_slice(&payload).unwrap_or_default()
}

/// Base64 with the alphabet of URLs and without padding.
fn from_base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (mut bytes, mut held, mut bits) = (Vec::new(), 0_u32, 0);
    for digit in text.bytes() {
        let value = DIGITS.iter().position(|one| *one == digit).unwrap();
        held = (held << 6 | value as u32) & 0xffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
        }
    }
    bytes
}
