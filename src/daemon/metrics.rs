//! `GET /metrics`: what this node counts, as text for Prometheus (its exposition format 0.0.4).
//!
//! Labels are of declared objects alone: what clients make up shares one.

mod page;
mod renewals;

use crate::daemon::hub::Boards;
use jaco_ingress::{Durations, PortCounts, Reading};
use jaco_ingress_core::ListenKey;
use jaco_state::State;
use page::Page;
pub(crate) use renewals::Renewals;
use std::collections::BTreeMap;

/// The domain that requests without a route have.
const STRANGERS: &str = "other";

/// Everything that is counted here.
pub(crate) fn text(boards: &Boards) -> String {
    let mut page = Page::default();
    page.family("jaco_build_info", "gauge", "Version of the daemon.");
    page.sample("", &[("version", crate::version::VERSION)], 1);
    let meters = boards.meters.borrow().clone();
    if let Some((door, ports)) = meters {
        let reading = door.map(|door| door.read()).unwrap_or_default();
        requests(&mut page, &reading);
        durations(&mut page, &reading);
        door_itself(&mut page, &reading);
        let ports = ports.map(|ports| ports.read()).unwrap_or_default();
        l4(&mut page, &ports, &boards.state.borrow());
    }
    certificates(&mut page, &boards.state.borrow());
    let name = "jaco_cert_renewals_total";
    page.family(name, "counter", "Orders of certificates that ended while this node led.");
    for (result, count) in boards.renewals.borrow().results() {
        page.sample("", &[("result", result)], count);
    }
    page.text()
}

fn requests(page: &mut Page, reading: &Reading) {
    let mut sums: BTreeMap<(&str, &str, &str, &str), u64> = BTreeMap::new();
    let strangers = reading.strangers.answers.iter().map(|answer| (STRANGERS, "", answer));
    let routes = reading.routes.iter().flat_map(|route| {
        let answers = route.requests.answers.iter();
        answers.map(|answer| (route.domain.as_str(), route.service.as_str(), answer))
    });
    for (domain, service, (method, code, count)) in routes.chain(strangers) {
        *sums.entry((domain, service, code, method)).or_default() += count;
    }
    page.family("jaco_ingress_requests_total", "counter", "Requests that are over.");
    for ((domain, service, code, method), count) in sums {
        let labels = [("domain", domain), ("service", service), ("code", code), ("method", method)];
        page.sample("", &labels, count);
    }
}

fn durations(page: &mut Page, reading: &Reading) {
    let mut took: BTreeMap<&str, [Durations; 2]> = BTreeMap::new();
    let strangers = std::iter::once(("", &reading.strangers));
    let routes = reading.routes.iter().map(|route| (route.service.as_str(), &route.requests));
    for (service, requests) in routes.chain(strangers) {
        let [whole, upstream] = took.entry(service).or_default();
        whole.add(&requests.took);
        upstream.add(&requests.upstream);
    }
    let families = [
        ("jaco_ingress_duration_seconds", "From a request's header to its answer's end."),
        ("jaco_ingress_upstream_duration_seconds", "Until a replica began its answer."),
    ];
    for (at, (name, help)) in families.into_iter().enumerate() {
        page.family(name, "histogram", help);
        for (service, durations) in &took {
            page.histogram(&[("service", service)], &durations[at]);
        }
    }
}

fn door_itself(page: &mut Page, reading: &Reading) {
    let counts = &reading.counts;
    let single = [
        ("jaco_ingress_connections_total", "counter", "Connections.", counts.connections),
        ("jaco_ingress_active_connections", "gauge", "Connections that are open.", counts.open),
        ("jaco_ingress_active_requests", "gauge", "Requests under way.", counts.active),
        ("jaco_ingress_retries_total", "counter", "Tries after the first.", counts.retries),
        ("jaco_ingress_config_swaps_total", "counter", "Tables put in use.", counts.swaps),
        (
            "jaco_ingress_unlogged_total",
            "counter",
            "Requests that the access log left out.",
            reading.unlogged,
        ),
        (
            "jaco_ingress_handshakes_failed_total",
            "counter",
            "TLS handshakes that failed.",
            counts.handshakes_failed,
        ),
    ];
    for (name, kind, help, value) in single {
        page.family(name, kind, help);
        page.sample("", &[], value);
    }
    page.family("jaco_ingress_rejected_total", "counter", "Requests and connections refused here.");
    let own = [
        ("crowded", counts.crowded),
        ("flood", counts.floods),
        ("no_proxy_header", counts.unproxied),
    ];
    let all = reading.rejected.iter().map(|(reason, count)| (*reason, *count)).chain(own);
    for (reason, count) in all.filter(|(_, count)| *count > 0) {
        page.sample("", &[("reason", reason)], count);
    }
    page.family("jaco_ingress_upstreams", "gauge", "Replicas that may take requests, or may not.");
    for (service, (eligible, wanted)) in &reading.upstreams {
        page.sample("", &[("service", service), ("eligible", "true")], *eligible);
        let rest = wanted.saturating_sub(*eligible);
        page.sample("", &[("service", service), ("eligible", "false")], rest);
    }
}

fn l4(page: &mut Page, ports: &BTreeMap<ListenKey, PortCounts>, state: &State) {
    let owners = owners(state);
    let of = |key: &ListenKey| {
        let listener = key.to_string();
        let service = owners.get(&key.address.port()).cloned().unwrap_or_default();
        (listener, service)
    };
    type Read = fn(&PortCounts) -> u64;
    let families: [(&str, &str, &str, Read); 4] = [
        ("jaco_l4_connections_total", "counter", "Connections and sessions.", |c| c.connections),
        ("jaco_l4_active", "gauge", "Connections and sessions under way.", |c| c.active),
        ("jaco_l4_no_upstream_total", "counter", "Without a replica.", |c| c.no_upstream),
        ("jaco_l4_refused_total", "counter", "Beyond a limit.", |c| c.refused),
    ];
    for (name, kind, help, read) in families {
        page.family(name, kind, help);
        for (key, counts) in ports {
            let (listener, service) = of(key);
            page.sample("", &[("service", &service), ("listener", &listener)], read(counts));
        }
    }
    page.family("jaco_l4_bytes_total", "counter", "Bytes from clients (in) and to them (out).");
    for (key, counts) in ports {
        let (listener, service) = of(key);
        for (direction, bytes) in [("in", counts.received), ("out", counts.sent)] {
            let labels =
                [("service", service.as_str()), ("listener", &listener), ("direction", direction)];
            page.sample("", &labels, bytes);
        }
    }
}

/// Which service has which published port.
fn owners(state: &State) -> BTreeMap<u16, String> {
    let services = jaco_state::routed_specs(state)
        .flat_map(|spec| spec.services.values().map(move |service| (spec, service)));
    let ports = services.flat_map(|(spec, service)| {
        let published = service.ports.iter().filter_map(|port| port.published);
        published.map(move |port| (port, format!("{}/{}", spec.name, service.name)))
    });
    ports.collect()
}

fn certificates(page: &mut Page, state: &State) {
    let name = "jaco_cert_expiry_timestamp_seconds";
    page.family(name, "gauge", "When a certificate that JACO got ends.");
    for certificate in state.certificates.values() {
        if let Some(issued) =
            certificate.issued.as_ref().filter(|_| certificate.unused_since.is_none())
        {
            page.sample("", &[("domain", &certificate.domain)], issued.not_after.0 / 1_000);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jaco_ingress::{RequestCounts, RouteReading};

    fn counts(answers: &[(&'static str, &str, u64)]) -> RequestCounts {
        let answers = answers.iter().map(|(m, code, n)| (*m, (*code).to_owned(), *n));
        RequestCounts { answers: answers.collect(), ..RequestCounts::default() }
    }

    #[test]
    fn routes_of_one_domain_and_service_are_one_series() {
        let route = |answers| RouteReading {
            domain: "shop.test".to_owned(),
            service: "shop/web".to_owned(),
            requests: counts(answers),
        };
        let reading = Reading {
            routes: vec![route(&[("GET", "200", 2)]), route(&[("GET", "200", 3)])],
            strangers: counts(&[("GET", "404", 7)]),
            ..Reading::default()
        };
        let mut page = Page::default();
        requests(&mut page, &reading);
        let wanted = "# HELP jaco_ingress_requests_total Requests that are over.
# TYPE jaco_ingress_requests_total counter
jaco_ingress_requests_total{domain=\"other\",service=\"\",code=\"404\",method=\"GET\"} 7
jaco_ingress_requests_total{domain=\"shop.test\",service=\"shop/web\",code=\"200\",method=\"GET\"} 5
";
        assert_eq!(page.text(), wanted);
    }

    #[test]
    fn a_replica_that_may_take_nothing_is_counted_apart() {
        let upstreams = BTreeMap::from([("shop/web".to_owned(), (1, 3))]);
        let rejected = BTreeMap::from([("rate_limited", 4)]);
        let reading = Reading { upstreams, rejected, ..Reading::default() };
        let mut page = Page::default();
        door_itself(&mut page, &reading);
        let text = page.text();
        for line in [
            "jaco_ingress_upstreams{service=\"shop/web\",eligible=\"true\"} 1",
            "jaco_ingress_upstreams{service=\"shop/web\",eligible=\"false\"} 2",
            "jaco_ingress_rejected_total{reason=\"rate_limited\"} 4",
            "jaco_ingress_active_requests 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
