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
        // SplitMix64 (Steele, Lea, Flood 2014).
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
