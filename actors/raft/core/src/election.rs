//! Random numbers from a seed, so that a replay elects the same leader.

/// Ticks without a leader before the earliest election.
pub(crate) const ELECTION_TICKS: usize = 10;

/// Draws election timeouts.
#[derive(Debug)]
pub(crate) struct ElectionTimeouts {
    state: u64,
}

impl ElectionTimeouts {
    pub(crate) fn new(seed: u64) -> ElectionTimeouts {
        ElectionTimeouts { state: seed }
    }

    /// The next timeout in ticks: at least one election, less than two.
    pub(crate) fn draw(&mut self) -> usize {
        let spread = self.random() % ELECTION_TICKS as u64;
        ELECTION_TICKS + usize::try_from(spread).unwrap_or(0)
    }

    /// The next random number.
    pub(crate) fn random(&mut self) -> u64 {
        jaco_kit_core::mix::draw(&mut self.state)
    }
}
