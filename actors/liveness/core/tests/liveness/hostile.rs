//! Any input at all, in any order: nothing panics, and no timer is in the past.

use crate::alone::{at, id, peers};
use crate::network::Dice;
use jaco_kit_core::{Core, OpId};
use jaco_liveness_core::{Input, LivenessCore, Settings, Word};
use jaco_model::{ErrorCode, Fault};
use proptest::prelude::*;

fn any_word(dice: &mut Dice) -> Word {
    let suspects = 0..dice.throw(4);
    Word {
        epoch: dice.throw(3),
        impaired: dice.throw(4) == 0,
        pausing: dice.throw(8) == 0,
        suspects: suspects.map(|_| id(dice.index(12))).collect(),
        applied_index: if dice.throw(20) == 0 { u64::MAX } else { dice.throw(9) },
        stalled_ms: u32::MAX,
        checkpoint: None,
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
