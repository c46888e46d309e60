//! Changes from one ruleset to another.

use crate::fixture::{example, ip, policies};
use jaco_firewall_core::{Change, Ruleset, diff, ended_flows, ruleset};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_change_leads_from_one_to_the_other(a in policies(), b in policies()) {
        let (from, to) = (ruleset(&a), ruleset(&b));
        match diff(&from, &to) {
            Change::Nothing => prop_assert_eq!(&from, &to),
            Change::Everything => prop_assert!(!same_rules(&from, &to)),
            Change::Elements(delta) => {
                prop_assert!(same_rules(&from, &to));
                let mut changed = from.clone();
                delta.apply(&mut changed);
                prop_assert_eq!(&changed, &to);
                prop_assert_eq!(&changed.chains, &from.chains);
                prop_assert!(!delta.is_empty());
            }
        }
        prop_assert_eq!(diff(&to, &to), Change::Nothing);
    }

    #[test]
    fn what_stays_allowed_keeps_its_connections(a in policies(), b in policies()) {
        let (from, to) = (ruleset(&a), ruleset(&b));
        let ended = ended_flows(&from, &to, &b);
        for scope in &b.scopes {
            for other in scope.remote.iter().chain([&scope.local]) {
                let flow = jaco_firewall_core::Flow {
                    source: crate::fixture::host(scope.local, 7),
                    destination: crate::fixture::host(*other, 8),
                    port: Some(1),
                    redirected: false,
                };
                prop_assert!(!ended.iter().any(|filter| filter.matches(&flow)), "{flow:?}");
            }
        }
    }
}

fn same_rules(a: &Ruleset, b: &Ruleset) -> bool {
    a.chains == b.chains && a.sets.keys().eq(b.sets.keys())
}

#[test]
fn options_that_are_in_rules_need_a_full_write() {
    let before = example();
    let mut after = before.clone();
    after.block_metadata = true;
    assert_eq!(diff(&ruleset(&before), &ruleset(&after)), Change::Everything);
}

#[test]
fn a_revoked_host_port_ends_its_connections_to_this_host_alone() {
    let before = example();
    let mut after = before.clone();
    after.host_ports.clear();
    let ended = ended_flows(&ruleset(&before), &ruleset(&after), &after);
    let flow = |source: &str, destination: &str, port| jaco_firewall_core::Flow {
        source: ip(source),
        destination: ip(destination),
        port: Some(port),
        redirected: false,
    };
    let ends = |flow| ended.iter().any(|filter| filter.matches(&flow));
    assert!(ends(flow("10.81.0.5", "10.81.0.1", 9100)));
    assert!(ends(flow("10.81.0.5", "192.168.7.1", 9100)));
    assert!(!ends(flow("10.81.0.5", "10.81.0.1", 53)));
    assert!(!ends(flow("10.81.0.5", "1.2.3.4", 9100)));
    assert!(!ends(flow("192.168.7.9", "192.168.7.1", 9100)));
}

#[test]
fn the_last_scope_of_a_block_length_ends_its_connections() {
    let after = example();
    let mut before = after.clone();
    let (here, there) = (crate::fixture::block(1, 24), crate::fixture::block(2, 24));
    crate::fixture::add_scope(&mut before, "jaco-cccccccccc", here, &[there], false);
    let ended = ended_flows(&ruleset(&before), &ruleset(&after), &after);
    assert_eq!(ended.len(), 3, "{ended:?}");
}
