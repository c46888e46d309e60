//! Random histories: whatever happens, it comes to rest with the table that is wanted.

use crate::fixture::{block, host, policies};
use crate::world::World;
use jaco_firewall_core::{Input, Policy, ruleset};
use proptest::prelude::*;
use std::sync::Arc;

#[derive(Clone, Debug)]
enum Event {
    Policy(Box<Policy>),
    Fence(u32),
    /// Somebody removes the table; whether it is told.
    Flush(bool),
    /// Somebody removes rules or elements; whether it is told.
    Damage(usize, bool),
    /// Somebody writes elsewhere.
    Elsewhere,
    Refuse(bool),
    RefuseElements(bool),
    Torn(u32),
    Time(u64),
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => policies().prop_map(|policy| Event::Policy(Box::new(policy))),
        1 => (2..9_u32).prop_map(Event::Fence),
        1 => any::<bool>().prop_map(Event::Flush),
        2 => (0..100_usize, any::<bool>()).prop_map(|(what, told)| Event::Damage(what, told)),
        1 => Just(Event::Elsewhere),
        1 => any::<bool>().prop_map(Event::Refuse),
        1 => any::<bool>().prop_map(Event::RefuseElements),
        1 => (0..20_u32).prop_map(Event::Torn),
        4 => prop_oneof![1..100_u64, 100..60_000_u64].prop_map(Event::Time),
    ]
}

fn happen(world: &mut World, event: Event) {
    match event {
        Event::Policy(policy) => world.step(Input::PolicyChanged(Arc::new(*policy))),
        Event::Fence(number) => world.step(Input::Fenced([host(block(0, 26), number)].into())),
        Event::Flush(is_told) => world.touch(is_told, |table| *table = None),
        Event::Damage(what, is_told) => world.touch(is_told, |table| {
            let Some(table) = table else { return };
            let sets = table.sets.len();
            if let Some(set) = table.sets.values_mut().nth(what % (sets + 3)) {
                set.elements.pop_first();
            } else if let Some(chain) = table.chains.values_mut().nth(what % 6) {
                chain.rules.pop();
            }
        }),
        Event::Elsewhere => world.generation += 1,
        Event::Refuse(is_so) => world.refuses = is_so,
        Event::RefuseElements(is_so) => world.refuses_elements = is_so,
        Event::Torn(count) => world.torn = count,
        Event::Time(millis) => world.run(millis),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_history_comes_to_rest(
        first in policies(),
        history in prop::collection::vec(events(), 1..40),
    ) {
        let mut world = World::new();
        happen(&mut world, Event::Policy(Box::new(first)));
        for event in history {
            happen(&mut world, event);
            if world.core.is_settled() && !world.is_damaged {
                let wanted = ruleset(world.core.policy().unwrap());
                prop_assert_eq!(world.table.as_ref(), Some(&wanted), "it believes in what is not");
            }
        }
        (world.refuses, world.refuses_elements, world.torn) = (false, false, 0);
        // The longest wait after failures, and the next routine look.
        world.run(70_000);
        prop_assert!(world.core.is_settled(), "{:?}", world.core.isolation());
        prop_assert_eq!(world.table.clone(), Some(ruleset(world.core.policy().unwrap())));
        let before = world.log.len();
        world.run(29_000);
        prop_assert!(world.log.len() <= before + 1, "something is left to do");
    }
}
