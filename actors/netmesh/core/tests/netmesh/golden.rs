//! The repairs over time, as scripts.

use crate::paths::Net;
use jaco_netmesh_core::PathCondition;
use std::path::Path;

/// Compares with a file in `testdata/`; `UPDATE_GOLDEN=1` writes it.
fn expect(name: &str, lines: &[String]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testdata").join(name);
    let text = lines.join("\n") + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap(), "{name}");
}

#[test]
fn first_minute() {
    let mut net = Net::new(2);
    net.run(60_000);
    assert_eq!(net.condition(1, 2), PathCondition::Ok);
    expect("01_first_minute.txt", &net.log(1));
}

#[test]
fn one_path_of_three_is_cut() {
    let mut net = Net::new(4);
    net.run(10_000);
    net.log(1);
    net.cut(1, 2);
    net.run(100_000);
    net.heal();
    net.run(10_000);
    assert_eq!(net.condition(1, 2), PathCondition::Ok);
    expect("02_one_path.txt", &net.log(1));
}

#[test]
fn most_paths_are_cut() {
    let mut net = Net::new(4);
    net.run(10_000);
    net.log(1);
    for other in [2, 3] {
        net.cut(other, 1);
    }
    net.run(80_000);
    assert!(net.view(1).is_impaired);
    net.heal();
    net.run(10_000);
    assert!(!net.view(1).is_impaired);
    expect("03_most_paths.txt", &net.log(1));
}

#[test]
fn large_packets_are_lost() {
    let mut net = Net::new(2);
    net.run(10_000);
    net.log(1);
    net.set_largest(1450);
    net.run(90_000);
    assert_eq!(net.view(1).mtu, Some(1360));
    net.kernel(1).has.underlay_mtu = Some(1440);
    net.set_largest(1440);
    net.run(40_000);
    assert_eq!(net.view(1).mtu, Some(1360));
    expect("04_large_packets.txt", &net.log(1));
}
