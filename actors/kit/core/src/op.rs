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
    /// The next id; the first is 1.
    pub fn next_id(&mut self) -> OpId {
        self.last += 1;
        OpId(self.last)
    }
}
