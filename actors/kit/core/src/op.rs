//! Ids that tie a slow effect to the input that carries its outcome.

/// One outstanding effect of one core; unique within that core's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u64);

/// Hands out [`OpId`]s in order, so that a replay gives the same ones.
#[derive(Debug, Default)]
pub struct OpIds {
    last: u64,
}

impl OpIds {
    /// Ids that no other epoch hands out: for a core that is built anew while answers to the one
    /// before are still under way.
    pub fn of_epoch(epoch: u32) -> OpIds {
        OpIds { last: u64::from(epoch) << 32 }
    }

    /// The next id; the first is 1.
    pub fn next_id(&mut self) -> OpId {
        self.last += 1;
        OpId(self.last)
    }
}
