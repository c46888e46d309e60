//! The randomness of answers: which records, and in which order.
//!
//! Seeded from outside, so that a test sees the same order twice. It only spreads load; ids and
//! letter case of queries to upstreams come from the kernel.

/// A small generator.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// A generator that starts at `seed`.
    pub const fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    fn roll(&mut self) -> u64 {
        jaco_kit_core::mix::draw(&mut self.0)
    }

    /// A number below `bound`; 0 when `bound` is 0.
    fn below(&mut self, bound: usize) -> usize {
        let wide = u128::from(self.roll()) * bound as u128;
        (wide >> 64) as usize
    }

    /// A random choice of at most `MOST` positions out of `count`, in random order.
    pub(crate) fn pick<const MOST: usize>(&mut self, count: usize) -> Picked<MOST> {
        let len = count.min(MOST);
        let mut picked = Picked { positions: [0; MOST], len };
        // Floyd's sampling: every subset is equally likely, without a list of all positions.
        for (filled, last) in (count - len..count).enumerate() {
            let draw = self.below(last + 1);
            let taken = picked.positions[..filled].contains(&draw);
            picked.positions[filled] = if taken { last } else { draw };
        }
        for end in (1..len).rev() {
            picked.positions.swap(end, self.below(end + 1));
        }
        picked
    }
}

/// Positions drawn by [`Dice::pick`].
#[derive(Debug)]
pub(crate) struct Picked<const MOST: usize> {
    positions: [usize; MOST],
    len: usize,
}

impl<const MOST: usize> Picked<MOST> {
    /// The positions, in the order drawn.
    pub(crate) fn as_slice(&self) -> &[usize] {
        &self.positions[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_pick_has_no_position_twice_and_none_outside() {
        let mut dice = Dice::new(7);
        for count in 0..80 {
            let picked = dice.pick::<25>(count);
            let distinct: BTreeSet<usize> = picked.as_slice().iter().copied().collect();
            assert_eq!(distinct.len(), count.min(25));
            assert!(distinct.iter().all(|at| *at < count));
        }
    }

    #[test]
    fn every_position_comes_first_about_equally_often() {
        let mut dice = Dice::new(1);
        let mut first = [0_u32; 40];
        for _ in 0..40_000 {
            first[dice.pick::<25>(40).as_slice()[0]] += 1;
        }
        assert!(first.iter().all(|times| (800..1_200).contains(times)), "{first:?}");
    }
}
