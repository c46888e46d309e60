//! How much may be ordered of an authority before it would say no: less than what the largest one
//! allows, so that its own limits are never met.

use crate::State;
use jaco_model::entity::{AcmeOrder, CaKind};
use jaco_model::name::registered_domain;
use jaco_model::{Millis, WallMs};

/// Time over which orders of an account are counted.
pub(crate) const ORDERS_WINDOW: Millis = Millis::secs(3 * 3600);
/// Time over which certificates are counted.
pub(crate) const CERTIFICATES_WINDOW: Millis = Millis::secs(7 * 86_400);
/// Most orders of an account.
const ORDERS: usize = 250;
/// Most certificates of a registered domain.
const CERTIFICATES: usize = 40;
/// Most certificates of one name.
const DUPLICATES: usize = 4;
/// Before it is looked again whether an order that is under way came to nothing.
const LOOK_AGAIN: Millis = Millis::secs(60);

/// What is left of the limits for one domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcmeBudget {
    /// Orders of the account within three hours.
    pub orders: usize,
    /// Certificates of the registered domain within a week.
    pub certificates: usize,
    /// Certificates of the same name within a week.
    pub duplicates: usize,
}

/// What is left for a domain at an account, (directory, contact).
pub fn acme_budget(
    state: &State,
    account: &(String, String),
    domain: &str,
    now: WallMs,
) -> AcmeBudget {
    AcmeBudget {
        orders: ORDERS.saturating_sub(orders(state, account, now).len()),
        certificates: CERTIFICATES.saturating_sub(certificates(state, domain, now).len()),
        duplicates: DUPLICATES.saturating_sub(duplicates(state, domain, now).len()),
    }
}

/// When a domain may be ordered that counts against the limits; not after `now` when it may at
/// once. Limits of certificates are those of public authorities alone.
pub fn order_allowed_at(
    state: &State,
    account: &(String, String),
    domain: &str,
    kind: CaKind,
    now: WallMs,
) -> WallMs {
    let by_orders = free_at(&orders(state, account, now), ORDERS, ORDERS_WINDOW);
    if kind != CaKind::Production {
        return by_orders.unwrap_or(now);
    }
    let registered = registered_domain(domain);
    let counts = |order: &&std::sync::Arc<AcmeOrder>| {
        order.kind == kind && order.counted && registered_domain(&order.domain) == registered
    };
    let n_live = state.acme_orders.values().filter(counts).count();
    let issued = certificates(state, domain, now);
    let by_live =
        (issued.len() + n_live >= CERTIFICATES).then(|| WallMs(now.0.saturating_add(LOOK_AGAIN.0)));
    [
        by_orders,
        by_live,
        free_at(&issued, CERTIFICATES, CERTIFICATES_WINDOW),
        free_at(&duplicates(state, domain, now), DUPLICATES, CERTIFICATES_WINDOW),
    ]
    .into_iter()
    .flatten()
    .max()
    .unwrap_or(now)
}

/// When there is room for one more among these times, in order; `None` when there is now.
fn free_at(times: &[WallMs], most: usize, window: Millis) -> Option<WallMs> {
    let oldest = times.len().checked_sub(most).and_then(|at| times.get(at))?;
    Some(WallMs(oldest.0.saturating_add(window.0)))
}

fn recent(times: &[WallMs], window: Millis, now: WallMs) -> impl Iterator<Item = WallMs> + '_ {
    times.iter().copied().filter(move |at| now.0.saturating_sub(at.0) < window.0)
}

fn orders(state: &State, account: &(String, String), now: WallMs) -> Vec<WallMs> {
    let standing = state.acme_standings.get(account);
    standing.map_or_else(Vec::new, |known| recent(&known.orders, ORDERS_WINDOW, now).collect())
}

fn certificates(state: &State, domain: &str, now: WallMs) -> Vec<WallMs> {
    let registered = registered_domain(domain);
    let known = state.certificates.values();
    let ours = known.filter(|known| registered_domain(&known.domain) == registered);
    let mut times: Vec<WallMs> =
        ours.flat_map(|known| recent(&known.counted, CERTIFICATES_WINDOW, now)).collect();
    times.sort_unstable();
    times
}

fn duplicates(state: &State, domain: &str, now: WallMs) -> Vec<WallMs> {
    let known = state.certificates.get(domain);
    known.map_or_else(Vec::new, |known| recent(&known.counted, CERTIFICATES_WINDOW, now).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jaco_model::entity::{AcmeStanding, Certificate};
    use std::sync::Arc;

    const NOW: WallMs = WallMs(2_000_000_000_000);
    const HOUR: u64 = 3_600_000;

    fn ago(hours: u64) -> WallMs {
        WallMs(NOW.0 - hours * HOUR)
    }

    fn account() -> (String, String) {
        ("https://ca.example".to_owned(), String::new())
    }

    fn certified(state: &mut State, domain: &str, counted: Vec<WallMs>) {
        let domain = domain.to_owned();
        let known = Certificate { domain: domain.clone(), counted, ..Certificate::default() };
        state.certificates.insert(domain, Arc::new(known));
    }

    fn wait(state: &State, domain: &str, kind: CaKind) -> u64 {
        (order_allowed_at(state, &account(), domain, kind, NOW).0 - NOW.0) / HOUR
    }

    #[test]
    fn orders_of_an_account_are_limited_in_three_hours() {
        let mut state = State::default();
        let mut orders = vec![ago(4); 40];
        orders.extend([ago(2)].iter().chain(&vec![ago(1); 248]));
        let standing = |orders: &[WallMs]| {
            Arc::new(AcmeStanding { orders: orders.to_vec(), ..AcmeStanding::default() })
        };
        state.acme_standings.insert(account(), standing(&orders));
        assert_eq!(wait(&state, "a.example", CaKind::Custom), 0);
        assert_eq!(acme_budget(&state, &account(), "a.example", NOW).orders, 1);
        orders.push(ago(1));
        state.acme_standings.insert(account(), standing(&orders));
        assert_eq!(wait(&state, "a.example", CaKind::Custom), 1, "until the one of two hours ago");
    }

    #[test]
    fn certificates_of_a_registered_domain_are_limited_in_a_week() {
        let mut state = State::default();
        for n in 0..39 {
            certified(&mut state, &format!("n{n}.example.com"), vec![ago(24 + n)]);
        }
        certified(&mut state, "old.example.com", vec![ago(24 * 8)]);
        assert_eq!(wait(&state, "new.example.com", CaKind::Production), 0);
        certified(&mut state, "example.com", vec![ago(1)]);
        assert_eq!(wait(&state, "new.example.com", CaKind::Production), 7 * 24 - 62);
        assert_eq!(wait(&state, "new.example.com", CaKind::Custom), 0);
        assert_eq!(wait(&state, "new.example.org", CaKind::Production), 0);
    }

    #[test]
    fn the_same_name_is_certified_four_times_a_week() {
        let mut state = State::default();
        certified(&mut state, "a.example", vec![ago(100), ago(90), ago(80)]);
        assert_eq!(wait(&state, "a.example", CaKind::Production), 0);
        certified(&mut state, "a.example", vec![ago(100), ago(90), ago(80), ago(70)]);
        assert_eq!(wait(&state, "a.example", CaKind::Production), 68);
        assert_eq!(acme_budget(&state, &account(), "a.example", NOW).duplicates, 0);
    }
}
