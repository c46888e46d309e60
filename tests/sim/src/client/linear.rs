//! Whether operations on one deployment could have happened one after another, each between its
//! begin and its end.
//!
//! The search of Wing and Gong with the memory of Lowe (2017): take an operation that nothing
//! unfinished precedes, see whether it fits the state, go on; when stuck, take back the last one.
//! States that were reached with the same operations done are not tried again. A write without an
//! answer may have happened at any time after its begin, or never.

use super::history::{Operation, Outcome};
use crate::queue::Micros;
use std::collections::{BTreeSet, HashSet};

/// Revision and value; `None` while there is no deployment.
type Value = Option<(u64, u64)>;

/// Searches that take longer say nothing; a run of the simulator never comes near.
const STEPS_MAX: u64 = 5_000_000;

/// Checks one deployment.
///
/// # Errors
/// Says how far the search came.
pub(crate) fn check(operations: &[Operation]) -> Result<(), String> {
    let mut operations: Vec<&Operation> = operations.iter().collect();
    operations.sort_by_key(|operation| (operation.begin, operation.end));
    let owned: BTreeSet<u64> = operations.iter().filter_map(|op| revision(op)).collect();
    if owned.len() < operations.iter().filter(|op| revision(op).is_some()).count() {
        return Err("two writes were told the same revision".to_owned());
    }
    let mut search = Search::new(&operations, owned);
    if search.run()? { Ok(()) } else { Err(search.explain()) }
}

fn revision(operation: &Operation) -> Option<u64> {
    match operation.outcome {
        Outcome::Written { revision } => Some(revision),
        Outcome::Conflict | Outcome::Seen(_) | Outcome::Unknown => None,
    }
}

struct Search<'a> {
    operations: &'a [&'a Operation],
    /// Revisions that known writes made.
    owned: BTreeSet<u64>,
    done: Vec<bool>,
    /// Operations in order, with the state before each.
    stack: Vec<(usize, Value)>,
    tried: HashSet<(Vec<u64>, Value)>,
    longest: usize,
    stuck: (Value, Vec<usize>),
}

impl<'a> Search<'a> {
    fn new(operations: &'a [&'a Operation], owned: BTreeSet<u64>) -> Search<'a> {
        Search {
            operations,
            owned,
            done: vec![false; operations.len()],
            stack: Vec::new(),
            tried: HashSet::new(),
            longest: 0,
            stuck: (None, Vec::new()),
        }
    }

    fn run(&mut self) -> Result<bool, String> {
        let mut state: Value = None;
        let mut from = 0;
        for _ in 0..STEPS_MAX {
            if self.is_complete() {
                return Ok(true);
            }
            if let Some((at, next)) = self.next(from, state) {
                self.done[at] = true;
                if self.tried.insert((self.key(), next)) {
                    self.stack.push((at, state));
                    (state, from) = (next, 0);
                    continue;
                }
                self.done[at] = false;
                from = at + 1;
                continue;
            }
            if self.stack.len() >= self.longest {
                self.longest = self.stack.len();
                self.stuck = (state, self.candidates().collect());
            }
            let Some((at, before)) = self.stack.pop() else { return Ok(false) };
            self.done[at] = false;
            (state, from) = (before, at + 1);
        }
        Err(format!("undecided after {STEPS_MAX} steps"))
    }

    fn is_complete(&self) -> bool {
        let left = self.operations.iter().zip(&self.done).filter(|(_, done)| !**done);
        left.into_iter().all(|(operation, _)| operation.end.is_none())
    }

    /// Operations that may be next: they began before every other one left has ended.
    fn candidates(&self) -> impl Iterator<Item = usize> {
        let left = || (0..self.operations.len()).filter(|at| !self.done[*at]);
        let ends = left().filter_map(|at| self.operations[at].end);
        let first_end: Micros = ends.min().unwrap_or(Micros::MAX);
        left().filter(move |at| self.operations[*at].begin <= first_end)
    }

    /// The next one from a position on that fits, and the state after it.
    fn next(&self, from: usize, state: Value) -> Option<(usize, Value)> {
        let later = self.candidates().filter(|at| *at >= from);
        let mut fitting = later.filter_map(|at| {
            let next = self.apply(self.operations[at], state)?;
            // A write that nobody waits for and that changes nothing need not be placed.
            (self.operations[at].end.is_some() || next != state).then_some((at, next))
        });
        fitting.next()
    }

    fn apply(&self, operation: &Operation, state: Value) -> Option<Value> {
        let current = state.map_or(0, |(revision, _)| revision);
        let fits = operation.expected.is_none_or(|expected| expected == current);
        let next = current + 1;
        match operation.outcome {
            Outcome::Seen(seen) => (seen == state).then_some(state),
            Outcome::Conflict => (!fits).then_some(state),
            Outcome::Written { revision } => {
                (fits && revision == next).then_some(Some((next, operation.value)))
            }
            Outcome::Unknown => {
                let is_free = !self.owned.contains(&next);
                (fits && is_free).then_some(Some((next, operation.value)))
            }
        }
    }

    /// Which operations are done, as bits.
    fn key(&self) -> Vec<u64> {
        let bits = |chunk: &[bool]| {
            chunk.iter().enumerate().fold(0, |word, (bit, done)| word | u64::from(*done) << bit)
        };
        self.done.chunks(64).map(bits).collect()
    }

    fn explain(&self) -> String {
        let (state, left) = &self.stuck;
        let left: Vec<String> =
            left.iter().take(6).map(|at| format!("{:?}", self.operations[*at])).collect();
        format!(
            "{} of {} operations fit; then, at {state:?}, none of: {}",
            self.longest,
            self.operations.len(),
            left.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(begin: u64, end: u64, value: u64, revision: u64) -> Operation {
        let outcome = Outcome::Written { revision };
        Operation { begin, end: Some(end), value, expected: None, outcome }
    }

    fn read(begin: u64, end: u64, seen: Value) -> Operation {
        let outcome = Outcome::Seen(seen);
        Operation { begin, end: Some(end), value: 0, expected: None, outcome }
    }

    fn lost(begin: u64, value: u64) -> Operation {
        let outcome = Outcome::Unknown;
        Operation { begin, end: None, value, expected: None, outcome }
    }

    #[test]
    fn what_overlaps_may_be_in_any_order() {
        let history = [write(0, 10, 1, 2), write(5, 15, 2, 1), read(12, 20, Some((2, 1)))];
        assert_eq!(check(&history), Ok(()));
    }

    #[test]
    fn a_stale_read_is_found() {
        let history = [write(0, 1, 1, 1), write(2, 3, 2, 2), read(4, 5, Some((1, 1)))];
        assert!(check(&history).unwrap_err().contains("2 of 3"));
        let history = [write(0, 1, 1, 1), read(4, 5, None)];
        assert!(check(&history).is_err());
    }

    #[test]
    fn reads_that_go_back_are_found() {
        let history = [
            write(0, 1, 1, 1),
            write(2, 20, 2, 2),
            read(3, 5, Some((2, 2))),
            read(6, 8, Some((1, 1))),
        ];
        assert!(check(&history).is_err());
    }

    #[test]
    fn a_write_without_an_answer_may_have_happened_or_not() {
        let history = [write(0, 1, 1, 1), lost(2, 9), read(4, 5, Some((1, 1)))];
        assert_eq!(check(&history), Ok(()));
        let history = [
            write(0, 1, 1, 1),
            lost(2, 9),
            read(4, 5, Some((1, 1))),
            read(6, 7, Some((2, 9))),
            write(8, 9, 3, 3),
        ];
        assert_eq!(check(&history), Ok(()));
        let history = [write(0, 1, 1, 1), read(4, 5, Some((2, 9))), lost(6, 9)];
        assert!(check(&history).is_err(), "it had not begun");
    }

    #[test]
    fn a_conflict_that_took_effect_is_found() {
        let conflict = Operation {
            begin: 2,
            end: Some(3),
            value: 7,
            expected: Some(1),
            outcome: Outcome::Conflict,
        };
        assert!(check(&[write(0, 1, 1, 1), conflict.clone()]).is_err());
        let history = [write(0, 1, 1, 1), write(2, 4, 5, 2), conflict];
        assert_eq!(check(&history), Ok(()));
    }

    #[test]
    fn one_revision_has_one_write() {
        assert!(check(&[write(0, 1, 1, 1), write(0, 1, 2, 1)]).is_err());
    }
}
