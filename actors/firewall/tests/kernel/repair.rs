//! Whatever is done to the table, it is back within a second.

use crate::fixture::policy;
use crate::looped::Loop;
use crate::namespace::{Namespace, PATIENCE, nft};
use crate::rig::Rig;

/// What a busy machine may add to the goal of one second.
const REPAIRED_WITHIN: std::time::Duration = PATIENCE;

#[test]
fn what_others_change_is_noticed_and_repaired() {
    Namespace::new().run(|| {
        let mut this = Loop::start(&policy());
        let touches = [
            ("flush ruleset", "the table is gone"),
            ("flush table inet jaco", "chain clamp lacks: "),
            ("delete table inet jaco", "the table is gone"),
            ("insert rule inet jaco forward accept", "chain forward also has: accept"),
            ("delete element inet jaco node_addr { 192.168.7.1 }", "lacks 192.168.7.1"),
            ("add element inet jaco allow_26 { 10.81.0.0 . 10.81.0.128 }", "also has 10.81.0.0"),
            ("add table inet jaco { flags dormant; }", "flags"),
        ];
        for (touch, shown) in touches {
            nft(touch);
            let (difference, by, took) = this.repaired();
            assert!(difference.contains(shown), "{touch}: {difference}");
            assert_eq!(by.as_deref(), Some("nft"), "{touch}");
            assert!(took < REPAIRED_WITHIN, "{touch}: {took:?}");
            assert_eq!(Rig::new().read().ruleset, Some(this.wanted()), "{touch}");
        }
    });
}

#[test]
fn others_who_write_elsewhere_cost_no_full_write() {
    Namespace::new().run(|| {
        let mut this = Loop::start(&policy());
        let before = this.writes;
        nft("add table inet other");
        let mut fenced = policy();
        fenced.fence = ["10.81.0.5".parse().unwrap()].into();
        this.enforce(&fenced);
        assert_eq!(this.writes.0, before.0, "a full write");
        assert_eq!(Rig::new().read().ruleset, Some(this.wanted()));
    });
}

#[test]
fn a_new_life_takes_over_the_table_of_the_old_one() {
    Namespace::new().run(|| {
        drop(Loop::start(&policy()));
        let listing = nft("list table inet jaco");
        assert!(listing.contains("jaco-aaaaaaaaaa"), "it stays when the daemon goes\n{listing}");
        let mut other = policy();
        other.scopes.pop_last();
        let this = Loop::start(&other);
        assert_eq!(Rig::new().read().ruleset, Some(this.wanted()));
    });
}
