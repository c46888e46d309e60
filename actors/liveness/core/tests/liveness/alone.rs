//! One core by itself: answers that come too late or from nobody, proposals, and any input at all.

use crate::network::Dice;
use jaco_kit_core::{Core, Mono, Now, OpId, Wall};
use jaco_liveness_core::{Effect, Input, LivenessCore, Peer, Settings, Word};
use jaco_model::{ErrorCode, Fault, NodeId, NodeName};
use proptest::prelude::*;

fn id(n: usize) -> NodeId {
    NodeId::new(format!("{n:032x}"))
}

fn peers(count: usize, voters: usize) -> Vec<Peer> {
    let peer = |n| Peer {
        node: id(n),
        name: NodeName::new(format!("node-{n}")),
        voter: n < voters,
        is_down: false,
        epoch: 0,
    };
    (0..count).map(peer).collect()
}

fn at(millis: u64) -> Now {
    Now { mono: Mono(millis), wall: Wall(0) }
}

fn core(count: usize, voters: usize) -> LivenessCore {
    let mut core = LivenessCore::new(id(0), Settings::default(), 3);
    assert!(core.step(at(0), Input::Roster(peers(count, voters))).is_empty());
    core
}

/// Wakes the core whenever it wants, up to a time, and answers no probe; what it ordered else.
fn starve(core: &mut LivenessCore, until: u64) -> Vec<(u64, Effect)> {
    let mut orders = Vec::new();
    while let Some(deadline) = core.deadline().filter(|deadline| deadline.0 <= until) {
        let effects = core.wake(at(deadline.0));
        core.check_invariants();
        let others = effects.into_iter().filter(|e| !matches!(e, Effect::Probe { .. }));
        orders.extend(others.map(|effect| (deadline.0, effect)));
    }
    orders
}

/// The first probe and when it is sent.
fn first_probe(core: &mut LivenessCore) -> (u64, OpId, NodeId) {
    let deadline = core.deadline().unwrap();
    match core.wake(at(deadline.0)).first() {
        Some(Effect::Probe { op, peer, .. }) => (deadline.0, *op, peer.clone()),
        other => panic!("{other:?}"),
    }
}

fn contact(core: &LivenessCore, peer: &NodeId) -> Option<Mono> {
    core.view()[peer].last_contact
}

#[test]
fn an_answer_counts_within_its_time_and_not_after() {
    let mut early = core(3, 3);
    let (sent, op, peer) = first_probe(&mut early);
    starve(&mut early, sent + 399);
    early.step(at(sent + 399), Input::Answered { op, word: Word::default() });
    assert_eq!(contact(&early, &peer), Some(Mono(sent + 399)));

    let mut late = core(3, 3);
    let (sent, op, peer) = first_probe(&mut late);
    starve(&mut late, sent + 399);
    late.step(at(sent + 400), Input::Answered { op, word: Word::default() });
    assert_eq!(contact(&late, &peer), None);
}

#[test]
fn an_answer_counts_once() {
    let mut core = core(3, 3);
    let (sent, op, peer) = first_probe(&mut core);
    core.step(at(sent + 10), Input::Answered { op, word: Word::default() });
    core.step(at(sent + 20), Input::Answered { op, word: Word::default() });
    core.step(at(sent + 30), Input::Failed { op });
    assert_eq!(contact(&core, &peer), Some(Mono(sent + 10)));
}

#[test]
fn strangers_and_the_own_id_are_not_heard() {
    let mut core = core(3, 3);
    for from in [id(0), id(77)] {
        let word = Word { applied_index: 9, ..Word::default() };
        core.step(at(1), Input::Heard { from, word });
    }
    assert!(core.view().values().all(|peer| peer.last_contact.is_none()));
}

#[test]
fn an_answered_proposal_is_not_repeated_before_the_state_had_time() {
    let mut core = core(2, 1);
    core.step(at(0), Input::Leadership(true));
    let orders = starve(&mut core, 60_000);
    let proposals: Vec<_> = orders
        .iter()
        .filter_map(|(at, effect)| match effect {
            Effect::Propose { op, .. } => Some((*at, *op)),
            _ => None,
        })
        .collect();
    let [(_, op)] = proposals[..] else { panic!("two are on their way: {orders:?}") };
    core.step(at(60_000), Input::Proposed { op, result: Ok(()) });
    assert!(starve(&mut core, 60_999).is_empty());
    let again = starve(&mut core, 62_000);
    assert!(matches!(again[..], [(_, Effect::Propose { .. })]), "{again:?}");
}

#[test]
fn who_no_longer_leads_forgets_its_proposals() {
    let mut core = core(2, 1);
    core.step(at(0), Input::Leadership(true));
    assert_eq!(starve(&mut core, 10_000).len(), 2, "suspects, and a proposal");
    core.step(at(10_000), Input::Leadership(false));
    assert!(starve(&mut core, 20_000).is_empty());
    let effects = core.step(at(20_000), Input::Leadership(true));
    assert!(matches!(effects[..], [Effect::Propose { .. }]), "{effects:?}");
}

#[test]
fn a_word_names_64_suspects_at_most() {
    let mut core = core(120, 7);
    core.step(at(0), Input::Leadership(true));
    let orders = starve(&mut core, 3_000);
    let Some((_, Effect::Suspects(all))) = orders.last() else { panic!("{orders:?}") };
    assert_eq!(all.len(), 119);
    let word = core.word();
    assert_eq!(word.suspects.len(), 64);
    assert!(word.impaired, "all its probes failed");
    assert_eq!(Word::decode(&word.encode()).unwrap(), word);
}

#[test]
fn a_restart_that_does_not_come_is_announced_for_thirty_seconds() {
    let mut core = core(3, 3);
    let told = core.step(at(5), Input::Pausing);
    let everybody = told.iter().all(|effect| match effect {
        Effect::Probe { word, .. } => word.pausing,
        _ => false,
    });
    assert!(told.len() == 2 && everybody, "{told:?}");
    starve(&mut core, 29_900);
    assert!(core.word().pausing);
    starve(&mut core, 30_700);
    assert!(!core.word().pausing);
}

fn any_word(dice: &mut Dice) -> Word {
    let suspects = 0..dice.throw(4);
    Word {
        epoch: dice.throw(3),
        impaired: dice.throw(4) == 0,
        pausing: dice.throw(8) == 0,
        suspects: suspects.map(|_| id(dice.index(12))).collect(),
        applied_index: if dice.throw(20) == 0 { u64::MAX } else { dice.throw(9) },
        stalled_ms: u32::MAX,
    }
}

fn any_input(dice: &mut Dice) -> Input {
    let op = OpId(dice.throw(400));
    match dice.throw(12) {
        0 => {
            let count = dice.index(10);
            let mut peers = peers(count, dice.index(8));
            for peer in &mut peers {
                peer.is_down = dice.throw(3) == 0;
                peer.epoch = if dice.throw(20) == 0 { u64::MAX } else { dice.throw(5) };
            }
            if dice.throw(4) == 0 {
                peers.reverse();
                peers.extend(peers.clone());
            }
            Input::Roster(peers)
        }
        1 => Input::Leadership(dice.throw(2) == 0),
        2 => Input::Applied(dice.throw(u64::MAX)),
        3 if dice.throw(5) == 0 => Input::Pausing,
        4 => Input::Proposed { op, result: Ok(()) },
        5 => Input::Proposed { op, result: Err(Fault::new(ErrorCode::NoLeader, "no")) },
        6 => Input::Failed { op },
        7 | 8 => Input::Answered { op, word: any_word(dice) },
        _ => Input::Heard { from: id(dice.index(12)), word: any_word(dice) },
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_input_breaks_the_core(seed in any::<u64>()) {
        let mut dice = Dice(seed);
        let mut core = LivenessCore::new(id(0), Settings::default(), seed);
        let mut now = dice.throw(3) * 1_000_000;
        for _ in 0..400 {
            let input = any_input(&mut dice);
            core.step(at(now), input);
            core.check_invariants();
            now += [0, 1, dice.throw(100), dice.throw(4_000)][dice.index(4)];
            if core.deadline().is_some_and(|deadline| deadline.0 <= now) {
                core.wake(at(now));
                core.check_invariants();
            }
            let bounded = core.view().len() <= 9;
            prop_assert!(bounded);
        }
    }
}
