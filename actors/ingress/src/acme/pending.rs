//! Looks for an order that was made but whose URL was never written down: the leader that asked for
//! it died. Authorities that keep a list of an account's orders (RFC 8555 §7.1.2.1) tell.

use super::call::patient;
use super::http::Conversation;
use instant_acme::{Account, Error};
use serde_json::Value;

/// Parts of the list that are looked through.
const PAGES: usize = 10;
/// Orders that are looked at; the newest come first or last.
const ORDERS: usize = 40;

/// An order of just this name that may still be used.
///
/// # Errors
/// When the authority does not answer. That it keeps no list is none.
pub(super) async fn find(
    conversation: &Conversation,
    account: &Account,
    account_url: &str,
    domain: &str,
) -> Result<Option<String>, Error> {
    let Some(known) = fetch(conversation, account, account_url).await? else { return Ok(None) };
    let mut next = known.get("orders").and_then(Value::as_str).map(str::to_owned);
    let mut n_orders = 0;
    for _ in 0..PAGES {
        let Some(url) = next.take() else { break };
        let Some(list) = fetch(conversation, account, &url).await? else { break };
        next = conversation.seen().next;
        let urls = list.get("orders").and_then(Value::as_array).cloned().unwrap_or_default();
        for url in urls.iter().rev().filter_map(Value::as_str) {
            n_orders += 1;
            if n_orders > ORDERS {
                return Ok(None);
            }
            let order = fetch(conversation, account, url).await?;
            if order.is_some_and(|order| is_usable(&order, domain)) {
                return Ok(Some(url.to_owned()));
            }
        }
    }
    Ok(None)
}

fn is_usable(order: &Value, domain: &str) -> bool {
    let status = order.get("status").and_then(Value::as_str).unwrap_or_default();
    let names = order.get("identifiers").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let is_ours =
        matches!(names, [only] if only.get("value").and_then(Value::as_str) == Some(domain));
    is_ours && matches!(status, "pending" | "ready")
}

/// What is at a URL, asked in the account's name. The client reads orders alone: what else comes is
/// taken from the answer. `None` when the authority does not have it.
async fn fetch(
    conversation: &Conversation,
    account: &Account,
    url: &str,
) -> Result<Option<Value>, Error> {
    match patient(async || account.order(url.to_owned()).await).await {
        Ok(_) | Err(Error::Json(_)) => {}
        Err(Error::Api(_)) if (400..500).contains(&conversation.seen().status) => return Ok(None),
        Err(error) => return Err(error),
    }
    let seen = conversation.seen();
    let is_there = (200..300).contains(&seen.status);
    Ok(serde_json::from_slice(&seen.body).ok().filter(|_| is_there))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_open_order_of_the_one_name_is_taken_up() {
        let order = |status: &str, names: &[&str]| {
            let names: Vec<Value> = names
                .iter()
                .map(|name| serde_json::json!({"type": "dns", "value": name}))
                .collect();
            serde_json::json!({"status": status, "identifiers": names})
        };
        for (usable, status, names) in [
            (true, "pending", &["a.example"][..]),
            (true, "ready", &["a.example"]),
            (false, "valid", &["a.example"]),
            (false, "invalid", &["a.example"]),
            (false, "pending", &["b.example"]),
            (false, "pending", &["a.example", "b.example"]),
            (false, "pending", &[]),
        ] {
            assert_eq!(is_usable(&order(status, names), "a.example"), usable, "{status} {names:?}");
        }
        assert!(!is_usable(&Value::Null, "a.example"));
    }
}
