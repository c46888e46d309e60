//! The index of names beside an ordinary map.

use jaco_ingress_core::{Named, Names};
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Thing(String, usize);

impl Named for Thing {
    fn name(&self) -> &str {
        &self.0
    }
}

fn name() -> impl Strategy<Value = String> {
    "[ab*./]{0,5}"
}

proptest! {
    #[test]
    fn the_index_is_a_map(
        given in prop::collection::vec(name(), 0..40),
        more in name(),
        asked in prop::collection::vec(name(), 20),
    ) {
        let things = given.iter().cloned().zip(0..).map(|(name, number)| Thing(name, number));
        let mut map: BTreeMap<String, Thing> =
            things.clone().map(|thing| (thing.0.clone(), thing)).collect();
        let mut names: Names<Thing> = things.collect();
        for _ in 0..2 {
            prop_assert!(names.iter().eq(map.values()), "in order, the last of each name");
            prop_assert_eq!(names.len(), map.len());
            for name in given.iter().chain(&asked).chain([&more]) {
                prop_assert_eq!(names.get(name), map.get(name), "{}", name);
            }
            let fresh = Thing(more.clone(), usize::MAX);
            names.extend([fresh.clone()]);
            map.insert(more.clone(), fresh);
        }
    }
}

#[test]
fn among_many_each_is_found_and_no_other() {
    let many = 0..20_000;
    let names: Names<Thing> = many.clone().map(|n| Thing(format!("h{n}.bench.test"), n)).collect();
    for n in many {
        assert_eq!(names.get(&format!("h{n}.bench.test")).map(|thing| thing.1), Some(n));
        assert_eq!(names.host(&format!("g{n}.bench.test")), None);
    }
}

/// A path as long as a request may have costs no more than the routes' own paths are long.
#[test]
fn a_long_path_is_not_looked_at_beyond_the_longest_name() {
    let names: Names<Thing> =
        [Thing(String::new(), 0), Thing("/a/b".to_owned(), 1)].into_iter().collect();
    let number = |path: &str| names.prefix(path).map(|thing| thing.1);
    assert_eq!(number(&"/a/b".repeat(4_000)), Some(1));
    assert_eq!(number(&"/".repeat(16_000)), Some(0));
    assert_eq!((number("/a/b"), number("/a/bc"), number("/a/")), (Some(1), Some(0), Some(0)));
    assert_eq!(Names::<Thing>::default().prefix("/a"), None);
}
