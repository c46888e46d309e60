//! The whole table as text. `UPDATE_GOLDEN=1` rewrites it.

use crate::fixture::{add_scope, block, example, many_scopes};
use jaco_firewall_core::{Policy, ruleset};
use std::path::Path;

#[test]
fn the_table_is_as_written() {
    check("example.txt", &example());
    let mut wide = example();
    wide.block_metadata = true;
    add_scope(&mut wide, "jaco-cccccccccc", block(1, 24), &[block(2, 24)], true);
    check("two_lengths.txt", &wide);
}

fn check(file: &str, policy: &Policy) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testdata").join(file);
    let actual = ruleset(policy).to_string();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, actual).unwrap();
    } else {
        let expected = std::fs::read_to_string(&file).unwrap();
        assert_eq!(actual, expected, "{}; UPDATE_GOLDEN=1 rewrites it", file.display());
    }
}

#[test]
fn rules_do_not_depend_on_the_number_of_scopes() {
    let (few, many) = (ruleset(&many_scopes(1)), ruleset(&many_scopes(500)));
    assert_eq!(few.chains, many.chains);
    assert_eq!(few.sets.len(), many.sets.len());
    // For each scope 2n - 1 pairs, one bridge and one gateway.
    assert_eq!(many.element_count() - few.element_count(), 499 * (7 + 2));
}

#[test]
fn every_element_has_the_bytes_that_its_set_says() {
    let ruleset = ruleset(&example());
    for (name, set) in &ruleset.sets {
        assert!(set.elements.iter().all(|element| element.len() == set.key_len()), "{name}");
    }
}
