//! One core by itself: answers that come too late or from nobody, who counts, and proposals.

use jaco_kit_core::{Core, Mono, Now, OpId, Wall};
use jaco_liveness_core::{Effect, Input, LivenessCore, Peer, Settings, Word};
use jaco_model::command::Command;
use jaco_model::{NodeId, NodeName};
use std::collections::VecDeque;

pub(crate) fn id(n: usize) -> NodeId {
    NodeId::new(format!("{n:032x}"))
}

pub(crate) fn peers(count: usize, voters: usize) -> Vec<Peer> {
    let peer = |n| Peer {
        node: id(n),
        name: NodeName::new(format!("node-{n}")),
        voter: n < voters,
        is_down: false,
        epoch: 0,
    };
    (0..count).map(peer).collect()
}

pub(crate) fn at(millis: u64) -> Now {
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

/// Wakes the core whenever it wants, up to a time, and lets each peer answer at once, or not.
fn converse(
    core: &mut LivenessCore,
    until: u64,
    mut answer: impl FnMut(usize) -> Option<Word>,
) -> Vec<Command> {
    let mut commands = Vec::new();
    while let Some(deadline) = core.deadline().filter(|deadline| deadline.0 <= until) {
        let mut effects = VecDeque::from(core.wake(at(deadline.0)));
        while let Some(effect) = effects.pop_front() {
            core.check_invariants();
            match effect {
                Effect::Probe { op, peer, .. } => {
                    let peer = (0..99).find(|n| id(*n) == peer).unwrap();
                    if let Some(word) = answer(peer) {
                        effects.extend(core.step(at(deadline.0), Input::Answered { op, word }));
                    }
                }
                Effect::Propose { command, .. } => commands.push(command),
                Effect::Suspects(_) => {}
            }
        }
    }
    commands
}

/// Whether the leader of a cluster of eight declares the last member down when it cannot reach it,
/// and so many others cannot, can, and do not count.
fn is_declared(suspecting: usize, clear: usize, impaired: usize) -> bool {
    let mut core = core(8, 7);
    core.step(at(0), Input::Leadership(true));
    let commands = converse(&mut core, 8_000, |peer| {
        let suspects = (peer <= suspecting).then(|| id(7)).into_iter().collect();
        let is_impaired = peer > suspecting + clear && peer <= suspecting + clear + impaired;
        let is_there = peer <= suspecting + clear + impaired;
        is_there.then(|| Word { suspects, impaired: is_impaired, ..Word::default() })
    });
    commands.iter().any(|command| match command {
        Command::SetLiveness { node, up: false, .. } => *node == id(7),
        _ => false,
    })
}

#[test]
fn half_of_those_that_count_must_agree() {
    // The leader is one more that suspects.
    let cases = [
        ((6, 0, 0), true),
        ((3, 3, 0), true),
        ((2, 4, 0), false),
        ((2, 3, 1), true),
        ((2, 3, 0), true),
        ((1, 5, 0), false),
        ((1, 2, 3), true),
        ((1, 3, 2), false),
        ((0, 0, 6), false),
        ((0, 1, 5), false),
        ((0, 6, 0), false),
    ];
    for ((suspecting, clear, impaired), expected) in cases {
        let declared = is_declared(suspecting, clear, impaired);
        assert_eq!(declared, expected, "{suspecting} suspect it, {clear} do not, {impaired}");
    }
}

#[test]
fn a_leader_that_reaches_a_node_does_not_declare_it_down() {
    let mut core = core(8, 7);
    core.step(at(0), Input::Leadership(true));
    let commands = converse(&mut core, 20_000, |peer| {
        let suspects = (peer < 7).then(|| id(7)).into_iter().collect();
        Some(Word { suspects, ..Word::default() })
    });
    assert!(commands.is_empty(), "{commands:?}");
}

#[test]
fn a_node_returns_once_it_has_applied_what_happened() {
    let mut members = peers(3, 3);
    members[2].is_down = true;
    members[2].epoch = 1;
    let cases = [(1, 50, true), (1, 49, false), (0, 50, false)];
    for (epoch, applied_index, expected) in cases {
        let mut core = LivenessCore::new(id(0), Settings::default(), 3);
        core.step(at(0), Input::Applied(50));
        core.step(at(0), Input::Roster(members.clone()));
        core.step(at(0), Input::Leadership(true));
        let word = Word { epoch, applied_index, ..Word::default() };
        let commands = converse(&mut core, 30_000, |_| Some(word.clone()));
        assert_eq!(!commands.is_empty(), expected, "{epoch} {applied_index}");
    }
}

#[test]
fn answers_before_the_fall_say_nothing_about_the_return() {
    let mut members = peers(3, 3);
    let mut core = core(3, 3);
    converse(&mut core, 60_000, |_| Some(Word::default()));
    members[2].is_down = true;
    members[2].epoch = 1;
    core.step(at(60_000), Input::Roster(members));
    core.step(at(60_000), Input::Leadership(true));
    let word = Word { epoch: 1, ..Word::default() };
    let early = converse(&mut core, 75_000, |_| Some(word.clone()));
    assert!(early.is_empty(), "{early:?}");
    assert_eq!(converse(&mut core, 76_000, |_| Some(word.clone())).len(), 1);
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
