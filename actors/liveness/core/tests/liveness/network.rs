//! Links between nodes: cut, one-way, lossy, slow. And the one source of chance.

use std::collections::{BTreeMap, BTreeSet};

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn throw(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.throw(len as u64)).unwrap()
    }
}

/// Every direction of every link.
#[derive(Debug)]
pub(crate) struct Network {
    cut: BTreeSet<(usize, usize)>,
    loss: BTreeMap<(usize, usize), u64>,
    /// Messages lost of a hundred, where no link says otherwise.
    pub(crate) loss_everywhere: u64,
    /// Longest time of one message, in milliseconds.
    pub(crate) delay_max: u64,
}

impl Network {
    pub(crate) fn new() -> Network {
        Network { cut: BTreeSet::new(), loss: BTreeMap::new(), loss_everywhere: 0, delay_max: 1 }
    }

    /// Cuts one direction.
    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        self.cut.insert((from, to));
    }

    pub(crate) fn set_loss(&mut self, from: usize, to: usize, percent: u64) {
        self.loss.insert((from, to), percent);
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
        self.loss.clear();
        self.loss_everywhere = 0;
    }

    pub(crate) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cut.contains(&(from, to))
    }

    /// How long a message takes; `None` when it never arrives.
    pub(crate) fn delay(&self, dice: &mut Dice, from: usize, to: usize) -> Option<u64> {
        let loss = self.loss.get(&(from, to)).copied().unwrap_or(self.loss_everywhere);
        let lost = loss > 0 && dice.throw(100) < loss;
        (!lost && !self.is_cut(from, to)).then(|| 1 + dice.throw(self.delay_max))
    }
}
