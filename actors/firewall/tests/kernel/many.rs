//! Two thousand scopes.

use crate::fixture::{add_scope, many_scopes};
use crate::looped::Loop;
use crate::namespace::Namespace;
use crate::rig::Rig;
use jaco_firewall_core::{Change, diff, ruleset};
use jaco_kit::Clock;

#[test]
fn a_change_among_two_thousand_scopes_is_one_small_transaction() {
    Namespace::new().run(|| {
        let rig = Rig::new();
        let clock = Clock::new();
        let policy = many_scopes(2_000);
        let before = ruleset(&policy);
        assert_eq!(before.sets["allow_26"].elements.len(), 2_000 * 7 + 4);
        let started = clock.mono();
        let written = rig.write(&before).unwrap();
        let full = clock.mono().since(started);
        let mut wider = policy.clone();
        add_scope(&mut wider, "jaco-cccccccccc", "10.81.1.0/26", &["10.81.1.64/26"], false);
        let wanted = ruleset(&wider);
        let Change::Elements(delta) = diff(&before, &wanted) else { panic!("other rules") };
        assert_eq!(delta.len(), 5);
        let started = clock.mono();
        let changed = rig.write_elements(delta, written.generation).unwrap();
        let small = clock.mono().since(started);
        assert_eq!(changed.generation, written.generation + 1, "more than one transaction");
        let started = clock.mono();
        let found = rig.read();
        println!("full {full:?}, change {small:?}, read {:?}", clock.mono().since(started));
        assert_eq!(found.ruleset, Some(wanted));
    });
}

#[test]
fn many_scopes_come_and_go_under_the_core() {
    Namespace::new().run(|| {
        let mut this = Loop::start(&many_scopes(2_000));
        let before = this.writes;
        this.enforce(&many_scopes(10));
        this.enforce(&many_scopes(1_500));
        assert_eq!((this.writes.0, this.writes.1), (before.0, before.1 + 2));
        assert_eq!(Rig::new().read().ruleset, Some(this.wanted()));
    });
}
