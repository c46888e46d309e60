//! The [`Core`] trait: everything that can happen goes in, everything wanted comes out.

use crate::{Mono, Now};

/// A deterministic state machine that one shell drives.
///
/// `step` and `wake` are total: no input makes them panic, block, or touch a clock, a file, a
/// socket, an environment variable or a global random source. Equal calls on equal cores return
/// equal effects, so the simulator can replay a run from its seed.
pub trait Core {
    /// Facts and requests from outside, as one closed enum.
    type Input;
    /// Orders to the outside, as one closed enum. Effects run in the order returned.
    type Effect;

    /// Takes one input and returns what must be done about it.
    fn step(&mut self, now: Now, input: Self::Input) -> Vec<Self::Effect>;

    /// Takes inputs that have come in together, in order. A core for which it is cheaper to look at
    /// all of them before it acts does so; whoever steps it one by one gets the same promises.
    fn step_all(&mut self, now: Now, inputs: Vec<Self::Input>) -> Vec<Self::Effect> {
        inputs.into_iter().flat_map(|input| self.step(now, input)).collect()
    }

    /// Called once [`Core::deadline`] has passed.
    fn wake(&mut self, now: Now) -> Vec<Self::Effect>;

    /// The one timer of this core; the shell re-reads it after every call.
    fn deadline(&self) -> Option<Mono>;

    /// Asserts the invariants of `docs/invariants.md` that this core can see by itself.
    ///
    /// Shells call it after every step in debug builds, the simulator always.
    fn check_invariants(&self) {}
}
