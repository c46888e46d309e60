//! Which route a request means, and what is left of its target.

use crate::support::route;
use jaco_ingress_core::request::fields::{self, Origin};
use jaco_ingress_core::request::{normalise, redirected, stripped};
use jaco_ingress_core::{Site, Table};
use jaco_model::DeploymentName;
use jaco_model::name::{ANY_HOST, is_under_wildcard};
use jaco_model::spec::{Redirect, TlsMode};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;

fn table(domains: &BTreeSet<String>, paths: &BTreeSet<String>) -> Table {
    let site = |domain: &String| {
        let routes = paths.iter().map(|path| Arc::new(route(domain, path)));
        Arc::new(Site {
            domain: domain.clone(),
            owner: DeploymentName::new("shop"),
            tls: TlsMode::Off,
            certificate: None,
            routes: routes.collect(),
        })
    };
    Table { sites: domains.iter().map(site).collect(), ..Table::default() }
}

/// Tries every route.
fn longest<'a>(paths: &'a BTreeSet<String>, path: &str) -> Option<&'a String> {
    let fits = |prefix: &&String| {
        let rest = path.strip_prefix(prefix.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    paths.iter().filter(fits).max_by_key(|prefix| prefix.len())
}

fn host() -> impl Strategy<Value = String> {
    prop::collection::vec("[ab]", 1..4).prop_map(|labels| labels.join("."))
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec("[ab]{0,2}", 0..4)
        .prop_map(|parts| parts.iter().map(|part| format!("/{part}")).collect())
}

proptest! {
    #[test]
    fn the_route_is_the_one_that_a_search_of_all_finds(
        hosts in prop::collection::btree_set(host(), 0..5),
        wild in prop::collection::btree_set(host(), 0..4),
        paths in prop::collection::btree_set(path(), 0..6),
        host in host(),
        path in path(),
        has_default in any::<bool>(),
    ) {
        let paths: BTreeSet<_> = paths.iter().map(|p| p.trim_end_matches('/').to_owned()).collect();
        let wild = wild.iter().map(|host| format!("*.{host}"));
        let default = has_default.then(|| ANY_HOST.to_owned());
        let domains: BTreeSet<String> = hosts.into_iter().chain(wild).chain(default).collect();
        let table = table(&domains, &paths);
        let exact = domains.iter().find(|domain| **domain == host);
        let wanted = exact.or_else(|| domains.iter().find(|it| is_under_wildcard(&host, it)));
        let wanted = wanted.or_else(|| domains.get(ANY_HOST));
        let site = table.site(&host);
        prop_assert_eq!(site.map(|site| &site.domain), wanted);
        if let Some(site) = site {
            let path = format!("/{}", path.trim_start_matches('/'));
            let found = site.route(&path).map(|route| &route.spec.path);
            prop_assert_eq!(found, longest(&paths, &path), "{}", path);
        }
    }

    #[test]
    fn a_normal_path_stays_as_it_is(path in "/([a./%]|%[0-9a-f]{2}|%2[ef]|//|[^?#]){0,12}") {
        if let Some(once) = normalise(&path) {
            let twice = normalise(&once).map(|twice| twice.into_owned());
            prop_assert_eq!(twice.as_deref(), Some(&*once), "{}", path);
            prop_assert!(once.starts_with('/'));
            prop_assert!(once.split('/').all(|part| part != "." && part != ".."), "{}", once);
        }
    }

    #[test]
    fn any_text_can_be_a_path_or_an_authority(text in any::<String>()) {
        let _ = normalise(&text);
        if let Some(host) = fields::host_of(&text) {
            prop_assert!(!host.bytes().any(|byte| byte.is_ascii_uppercase()));
            prop_assert!(text.len() >= host.len());
        }
    }
}

#[test]
fn hosts_are_read_from_authorities() {
    for (given, wanted) in [
        ("A.Test", Some("a.test")),
        ("a.test.:80", Some("a.test")),
        ("a.test.", Some("a.test")),
        ("[::1]:80", Some("[::1]")),
        ("", None),
        (":80", None),
        ("a/b", None),
        ("a@b", None),
        ("a b", None),
        ("ä.test", None),
    ] {
        assert_eq!(fields::host_of(given).as_deref(), wanted, "{given}");
    }
}

#[test]
fn what_is_left_of_a_target_is_a_path() {
    for (prefix, path, query, wanted) in [
        ("/api", "/api", None, "/"),
        ("/api", "/api/", None, "/"),
        ("/api", "/api/x", Some("y=1"), "/x?y=1"),
        ("/api", "/api", Some("y"), "/?y"),
        ("", "/x", None, "/x"),
    ] {
        assert_eq!(stripped(prefix, path, query), wanted);
    }
}

#[test]
fn a_redirect_keeps_what_it_is_told_to() {
    let to = |to: &str, keep_path, keep_query| {
        let redirect = Redirect { to: to.to_owned(), status: 308, keep_path, keep_query };
        redirected(&redirect, ("http", "a.test"), ("/old", "/old/x"), Some("y=1"))
    };
    assert_eq!(to("https://b.test/", true, true), "https://b.test/x?y=1");
    assert_eq!(to("{scheme}://www.{host}", true, false), "http://www.a.test/x");
    assert_eq!(to("https://b.test{path}", false, true), "https://b.test/old/x?y=1");
    assert_eq!(to("/new?a=b", false, true), "/new?a=b&y=1");
}

#[test]
fn the_client_is_the_last_that_no_trusted_proxy_vouches_for() {
    let trusted = ["10.0.0.0/8".parse().expect("a net"), "fd00::/8".parse().expect("a net")];
    let of = |peer: &str, chain: &[&str]| {
        let peer = peer.parse().expect("an address");
        fields::client(chain.iter().copied(), peer, &trusted).to_string()
    };
    assert_eq!(of("9.9.9.9", &["1.1.1.1"]), "9.9.9.9", "its word is not taken");
    assert_eq!(of("10.0.0.1", &[]), "10.0.0.1");
    assert_eq!(of("10.0.0.1", &["6.6.6.6, 1.1.1.1"]), "1.1.1.1");
    assert_eq!(of("10.0.0.1", &["6.6.6.6, 1.1.1.1, 10.0.0.2"]), "1.1.1.1");
    assert_eq!(of("10.0.0.1", &["1.1.1.1", "10.0.0.2,fd00::1"]), "1.1.1.1", "one list");
    assert_eq!(of("10.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3", "all of them are ours");
    assert_eq!(of("10.0.0.1", &["1.1.1.1, what, 10.0.0.2"]), "10.0.0.2");
    assert_eq!(of("10.0.0.1", &["1.1.1.1:99"]), "1.1.1.1");
    assert_eq!(of("10.0.0.1", &["[2001:db8::1]:99"]), "2001:db8::1");
    assert_eq!(of("10.0.0.1", &["::ffff:1.1.1.1"]), "1.1.1.1");
}

#[test]
fn placeholders_are_filled_once() {
    let origin = Origin {
        peer: "10.0.0.1".parse().expect("an address"),
        client: "2001:db8::1".parse().expect("an address"),
        is_trusted: true,
        host: "a.test",
        scheme: "https",
        port: 443,
        id: "{host}",
    };
    let filled = |text| fields::filled(text, &origin).into_owned();
    assert_eq!(filled("plain"), "plain");
    assert_eq!(filled("{scheme}://{host}/{request_id}"), "https://a.test/{host}");
    assert_eq!(filled("{what}{client_ip}{"), "{what}2001:db8::1{");
    let wanted = "for=\"[2001:db8::1]\";host=\"a.test\";proto=https";
    assert_eq!(fields::forwarded(&origin, "2001:db8::1"), wanted);
    assert!(fields::is_forged("x_forwarded_for") && fields::is_forged("x-real_ip"));
    assert!(!fields::is_forged("x-forwarded-for") && !fields::is_forged("my_header"));
}

#[test]
fn a_denial_wins() {
    let net = |text: &str| vec![text.parse().expect("a net")];
    let client = "10.1.2.3".parse().expect("an address");
    for (allowed, denied, passes) in [
        (vec![], vec![], true),
        (net("10.0.0.0/8"), vec![], true),
        (net("11.0.0.0/8"), vec![], false),
        (vec![], net("10.1.0.0/16"), false),
        (net("10.0.0.0/8"), net("10.1.2.3/32"), false),
        (vec![], net("11.0.0.0/8"), true),
    ] {
        assert_eq!(fields::admits(&allowed, &denied, client), passes);
    }
}
