//! Why a host has the certificate it has, or none.
//!
//! dns → listener of each node → orders at all → certificate → last error → order → hold → loaded
//! by each node.

use crate::chain::{Broken, Chain, Link};
use crate::door::{dns_link, door_links};
use crate::links::View;
use jaco_model::entity::ClockSuspicion;
use jaco_model::spec::TlsMode;
use jaco_model::view::WhyView;
use jaco_model::{ErrorCode, WallMs};
use jaco_state::{
    AcmeBudget, CertificateAlarm, CertificateRow, RouteOf, acme_budget, acme_domains, certificate,
    own_certificate_alarm, owner_of, routes_of_host,
};
use std::collections::BTreeSet;

/// The chain.
pub(crate) fn explain(view: View<'_>, host: &str) -> WhyView {
    let mut chain = Chain::new("cert", host.to_owned());
    let routes = routes_of_host(view.state, host);
    let Some((owner, first)) = owner_of(&routes) else {
        dns_link(view, &mut chain, host);
        let detail = format!("no route has the domain {host}, so nobody wants a certificate");
        let fix = "add a route to jaco.yaml and apply; `jaco get certs` lists all";
        chain.add("route", "state", Err(Broken::new("no_route", detail, fix)));
        return chain.end("");
    };
    dns_link(view, &mut chain, host);
    door_links(view, &mut chain, Some(&first.tls));
    let detail = format!("{} is of {}", first.domain, owner.name);
    chain.add("route", "state", Ok(detail));
    links(view, &mut chain, host, &routes);
    chain.end(match first.tls {
        TlsMode::Off => "none is wanted",
        _ => "it is served and in date",
    })
}

/// Adds the certificate's links.
pub(crate) fn links(view: View<'_>, chain: &mut Chain, host: &str, routes: &[RouteOf<'_>]) {
    let Some((_, route)) = owner_of(routes) else { return };
    match &route.tls {
        TlsMode::Off => {
            let detail = "none: `tls: off`, it is served in clear on the HTTP port";
            chain.add("certificate", "state", Ok(detail.to_owned()));
            return;
        }
        TlsMode::Own(secret) => own(view, chain, secret),
        TlsMode::Auto => auto(view, chain, &route.domain),
    }
    if chain.holds() {
        loaded(view, chain, host);
    }
}

/// Adds nodes that do not have the certificate although the state does.
fn loaded(view: View<'_>, chain: &mut Chain, host: &str) {
    for id in view.state.nodes.keys() {
        let Some(door) = view.facts(id).and_then(|facts| facts.door.as_ref()) else { continue };
        if door.https.is_empty() || door.has_certificate {
            continue;
        }
        let node = view.host(id);
        let detail = format!("{node} does not have the certificate of {host} yet");
        let fix = format!("it comes with the state; `jaco why node {node}` if it stays so");
        chain.add("loaded", &node, Err(Broken::new("cert_not_loaded", detail, fix)));
    }
}

fn own(view: View<'_>, chain: &mut Chain, secret: &str) {
    let now = view.known.now;
    let fix = format!("give the secret {secret} a new chain and key, and apply");
    let link: Link = match &view.known.own_certificate {
        None => Ok(format!("from the secret {secret}")),
        Some(Err(why)) => {
            let detail = format!("the certificate in the secret {secret} cannot be read: {why}");
            Err(Broken::new(ErrorCode::CertInvalid, detail, fix))
        }
        Some(Ok(end)) => {
            let detail = format!("from the secret {secret}, valid until {end}");
            dated(own_certificate_alarm(*end, now), detail, fix)
        }
    };
    chain.add("certificate", "state", link);
}

/// A certificate that is there, with what is to be said of its time.
fn dated(alarm: Option<CertificateAlarm>, detail: String, fix: String) -> Link {
    let code = match alarm {
        None => return Ok(detail),
        Some(CertificateAlarm::Expired) => "expired",
        Some(CertificateAlarm::Ends { .. }) => "expires_soon",
        Some(CertificateAlarm::Overdue) => "renewal_overdue",
    };
    let words = alarm.map(|alarm| format!("; {alarm}")).unwrap_or_default();
    Err(Broken::new(code, format!("{detail}{words}"), fix))
}

fn auto(view: View<'_>, chain: &mut Chain, domain: &str) {
    let (state, now) = (view.state, view.known.now);
    if !acme_domains(state).contains_key(domain) {
        let detail = format!("{domain} cannot have an automatic certificate");
        let fix = "a wildcard needs the challenge dns-01, or a certificate of your own";
        chain.add("certificate", "state", Err(Broken::new("cert_unavailable", detail, fix)));
        return;
    }
    let row = certificate(state, domain);
    let has_failed = row.last_error.is_some();
    if row.not_after.is_none() {
        // What is behind it is told first: a certificate that is missing is only what one sees.
        disabled(view, chain);
        trouble(chain, &row, now);
        order(chain, &row);
        holds(view, chain, domain);
        if row.order.is_none() && chain.holds() {
            let detail = "no order was begun yet: the leader does within a minute";
            let fix = "look again; plain HTTP is served meanwhile";
            chain.add("order", "state", Err(Broken::new("pending", detail, fix)));
        }
        return;
    }
    let end = row.not_after.map(|end| end.to_string()).unwrap_or_default();
    let by = row.environment.unwrap_or("unknown");
    let detail = format!("of a {by} authority, valid until {end}");
    let fix = match has_failed {
        true => "see the links below; it is served on meanwhile".to_owned(),
        false => {
            "the leader renews it; `jaco audit --type certificate_failed` if it stays so".to_owned()
        }
    };
    let alarm = row.alarm(now);
    if alarm.is_some() {
        disabled(view, chain);
    }
    chain.add_since("certificate", "state", row.issued_at, dated(alarm, detail, fix));
    trouble(chain, &row, now);
    order(chain, &row);
    // While nothing is due, it does not matter that an order would have to wait.
    if alarm.is_some() || has_failed {
        holds(view, chain, domain);
    }
}

/// Adds nodes whose configuration says that no certificate is ordered: nothing is while one of them
/// leads.
fn disabled(view: View<'_>, chain: &mut Chain) {
    let nodes = view.state.nodes.keys();
    let told: Vec<_> =
        nodes.filter_map(|id| Some((id, view.facts(id)?.door.as_ref()?.orders?))).collect();
    let off = told.iter().filter(|(_, orders)| !orders);
    let off: Vec<String> = off.map(|(id, _)| view.host(id)).collect();
    if off.is_empty() {
        return;
    }
    let detail = match off.len() == told.len() {
        true => "`acme_enabled` is false: no certificate is ordered or renewed".to_owned(),
        false => format!(
            "`acme_enabled` is false on {}: no certificate is ordered while it leads",
            off.join(", ")
        ),
    };
    let fix = "set `acme_enabled: true` in jacod.yaml of all nodes and restart them; or serve the \
               route with a certificate of your own, or with `tls: off`";
    chain.add("orders", "state", Err(Broken::new("acme_disabled", detail, fix)));
}

/// Adds the order under way.
fn order(chain: &mut Chain, row: &CertificateRow) {
    let Some(kind) = row.order else { return };
    let (kind, step) = (kind.as_str(), row.state);
    let attempt = row.attempts + 1;
    let detail = format!("attempt {attempt} at the {kind} authority is {step}");
    let link = match row.not_after {
        Some(_) => Ok(detail),
        None => {
            let fix = "wait: it is told to the authority when every node can answer its check";
            Err(Broken::new("pending", detail, fix))
        }
    };
    chain.add("order", "state", link);
}

/// Adds why the last order failed.
fn trouble(chain: &mut Chain, row: &CertificateRow, now: WallMs) {
    if let Some(error) = &row.last_error {
        let class = row.class.as_deref().unwrap_or("refused");
        let times = match row.attempts {
            1 => "once".to_owned(),
            n => format!("{n} times in a row"),
        };
        let next = row.next_attempt.filter(|at| *at > now);
        let next = next.map(|at| format!("; next attempt at {at}")).unwrap_or_default();
        let detail = format!("failed {times} ({class}): {error}{next}");
        let broken = Broken::new(code_of(class), detail, fix_of(class, &row.domain));
        chain.add("last_error", "state", Err(broken));
    }
}

/// Accounts that the domain's orders may go by, (directory, contact). Without a contact of its own
/// the domain has that of the cluster, which is not in the state.
fn accounts(view: View<'_>, domain: &str) -> BTreeSet<(String, String)> {
    let Some(wish) = acme_domains(view.state).remove(domain) else { return BTreeSet::new() };
    let state = view.state;
    let all = state.acme_accounts.keys().chain(state.acme_standings.keys());
    let ours = |key: &&(String, String)| wish.contact.is_empty() || key.1 == wish.contact;
    all.filter(ours).cloned().collect()
}

/// Adds what keeps orders of a domain from being begun: the authority, the clocks, or limits that
/// are kept so that the authority's own are not met.
fn holds(view: View<'_>, chain: &mut Chain, domain: &str) {
    let (state, now) = (view.state, view.known.now);
    for key in accounts(view, domain) {
        let authority = &key.0;
        let held = state.acme_accounts.get(&key).and_then(|account| account.held_until);
        if let Some(until) = held.filter(|until| *until > now) {
            let detail = format!("{authority} wants no order of this account before {until}");
            let fix = "wait: orders go on by themselves then; certificates that are there are \
                       served";
            chain.add("hold", "state", Err(Broken::new("rate_limited", detail, fix)));
        }
        let clock = state.acme_standings.get(&key).and_then(|standing| standing.clock);
        if let Some(ClockSuspicion { authority: theirs, cluster }) = clock {
            let detail = format!("{authority} had {theirs} when the cluster had {cluster}");
            let fix = "set the clocks of the nodes right (`timedatectl`, chrony); nothing is \
                       ordered until they are";
            chain.add("clock", "state", Err(Broken::new(ErrorCode::ClockSkew, detail, fix)));
        }
        chain.add("budget", "state", budget(&acme_budget(state, &key, domain, now), authority));
    }
}

fn budget(left: &AcmeBudget, authority: &str) -> Link {
    let AcmeBudget { orders, certificates, duplicates } = left;
    let detail = format!(
        "left at {authority}: {orders} orders in 3 h, {certificates} certificates of the domain \
         and {duplicates} of the name in a week"
    );
    if *orders.min(certificates).min(duplicates) > 0 {
        return Ok(detail);
    }
    let fix = "wait: it goes on by itself when the first of them is old enough";
    Err(Broken::new("budget", detail, fix))
}

fn code_of(class: &str) -> String {
    match class {
        "rate_limited" => "rate_limited".to_owned(),
        "preflight" => "preflight_failed".to_owned(),
        _ => "cert_failed".to_owned(),
    }
}

/// What to do about a class of failures.
fn fix_of(class: &str, domain: &str) -> String {
    match class {
        "validation" => format!(
            "let the authority reach port 80 of every address that {domain} resolves to; try \
             `curl -i http://{domain}/.well-known/acme-challenge/x` from outside: a 404 with \
             `Server: jaco` is right"
        ),
        "preflight" => format!(
            "give {domain} an A record that leads to the nodes, and let its CAA record, if it has \
             one, name the authority"
        ),
        "dns" => "see whether the provider under `acme_dns` takes the record, and whether the \
                  zone's own servers show it"
            .to_owned(),
        "operator" => "this needs you: the authority refuses the name or the account for good; \
                       change what it names, and apply again"
            .to_owned(),
        "account" => {
            "see what the authority says; `acme_email`, `acme_ca` and `acme_eab` are what \
                      it judges"
                .to_owned()
        }
        "rate_limited" => {
            "wait: the authority says how long; it is tried by itself then".to_owned()
        }
        "refused" => {
            "see what the authority says; `acme_email` and `acme_ca` are what it judges".to_owned()
        }
        _ => {
            "it is tried again by itself; look whether the leader reaches the authority".to_owned()
        }
    }
}
