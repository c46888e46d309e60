//! Mistakes put in on purpose, to see that the simulator finds them. Never part of the product: the
//! whole file exists only under the feature `seeded-bugs`.

use std::cell::Cell;

/// One well-known mistake of replicated state machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeededBug {
    /// A join token that was used works again.
    TokenTwice,
    /// Answers are kept and never found again: a retry takes effect once more.
    ForgetfulApply,
}

thread_local! {
    static BUG: Cell<Option<SeededBug>> = const { Cell::new(None) };
}

/// Chooses the mistake of this thread. Applying has no settings of its own, so that no member can
/// have others than the next.
pub fn seed_bug(bug: Option<SeededBug>) {
    BUG.with(|cell| cell.set(bug));
}

pub(crate) fn is_seeded(bug: SeededBug) -> bool {
    BUG.with(Cell::get) == Some(bug)
}
