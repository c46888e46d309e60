//! Changes from one ruleset to another.

use crate::fixture::{example, ip, policies};
use jaco_firewall_core::{Change, FlowFilter, Ruleset, diff, ended_flows, ruleset};
use proptest::prelude::*;
use std::sync::Arc;

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
        masqueraded: false,
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
        masqueraded: false,
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

#[test]
fn after_a_hole_only_what_may_begin_goes_on() {
    let filter = FlowFilter::Unlawful(Arc::new(example()));
    // The first scope is open and has remote blocks, the second is internal and here alone.
    let (a, remote, b) = ("10.81.0.5", "10.81.0.70", "10.81.0.200");
    let (node, outside) = ("192.168.7.2", "1.2.3.4");
    let (mesh, mesh_of_other) = ("10.80.0.1", "10.80.0.2");
    let none = None;
    for (source, destination, port, masqueraded, goes_on) in [
        (a, "10.81.0.6", Some(80), false, true),
        (a, remote, Some(80), false, true),
        (remote, a, none, false, true),
        (a, b, Some(80), false, false),
        (b, remote, none, false, false),
        // Gateways: the own one for names, echoes and what the host offers.
        (a, "10.81.0.1", Some(53), false, true),
        (a, "10.81.0.1", none, false, true),
        (a, "10.81.0.1", Some(9100), false, true),
        (a, "10.81.0.1", Some(7000), false, false),
        (a, "10.81.0.193", none, false, false),
        (remote, "10.81.0.1", none, false, false),
        // Nodes in the mesh are reached by nodes alone.
        (mesh_of_other, a, Some(80), false, true),
        (mesh, mesh_of_other, Some(7001), false, true),
        (a, mesh, none, false, false),
        (a, mesh_of_other, Some(7000), false, false),
        // What leaves is masqueraded; what is not has reached this host itself.
        (a, outside, Some(443), true, true),
        (a, node, Some(22), true, true),
        (a, node, Some(7000), true, false),
        (a, "192.168.7.1", Some(22), false, false),
        (b, outside, Some(443), true, false),
        // From outside only what is published comes in.
        ("192.168.7.77", a, Some(80), false, false),
        ("192.168.7.77", "10.81.0.1", none, false, false),
        ("192.168.7.77", node, Some(80), false, true),
    ] {
        let (source, destination) = (ip(source), ip(destination));
        let flow =
            jaco_firewall_core::Flow { source, destination, port, redirected: false, masqueraded };
        assert_eq!(!filter.matches(&flow), goes_on, "{flow:?}");
        let published = jaco_firewall_core::Flow { redirected: true, ..flow };
        assert!(!filter.matches(&published), "{published:?}");
    }
}
