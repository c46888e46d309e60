//! What happened, as a hash that two runs of a seed must share, and as text for people.

use crate::queue::Micros;
use std::collections::VecDeque;
use std::fmt;

/// Lines kept for the report of a failure.
const LINES_KEPT: usize = 150;

/// How much of a run is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Only the hash.
    Hash,
    /// The last lines as well.
    Tail,
    /// Every line, printed as it comes.
    All,
}

/// The record of one run.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    count: u64,
    detail: Detail,
    lines: VecDeque<String>,
}

impl Trace {
    pub(crate) fn new(detail: Detail) -> Trace {
        Trace { hash: 0xcbf2_9ce4_8422_2325, count: 0, detail, lines: VecDeque::new() }
    }

    /// Notes one event by its numbers; the text is only made when somebody wants it.
    pub(crate) fn note<T: fmt::Display>(
        &mut self,
        at: Micros,
        numbers: &[u64],
        text: impl FnOnce() -> T,
    ) {
        self.count += 1;
        for number in [at].iter().chain(numbers) {
            // FNV-1a over words, with a shift so that high bits reach low ones.
            self.hash = (self.hash ^ number).wrapping_mul(0x0100_0000_01b3);
            self.hash ^= self.hash >> 29;
        }
        if self.detail == Detail::Hash {
            return;
        }
        let line = format!("{:>4}.{:06} {}", at / 1_000_000, at % 1_000_000, text());
        if self.detail == Detail::All {
            print(&line);
        }
        if self.lines.len() == LINES_KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// The hash of everything noted.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// Events noted.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The last lines.
    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines.into()
    }
}

#[expect(clippy::print_stdout, reason = "a trace on demand is for the terminal")]
fn print(line: &str) {
    println!("{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_tells_runs_apart_whatever_is_written_down() {
        let run = |detail, last| {
            let mut trace = Trace::new(detail);
            trace.note(1, &[1, 2], || "a");
            trace.note(2, &[last], || "b");
            trace.hash()
        };
        assert_eq!(run(Detail::Hash, 3), run(Detail::Tail, 3));
        assert_ne!(run(Detail::Hash, 3), run(Detail::Hash, 4));
    }

    #[test]
    fn the_last_lines_are_kept() {
        let mut trace = Trace::new(Detail::Tail);
        for n in 0..LINES_KEPT as u64 + 5 {
            trace.note(n, &[n], || format!("line {n}"));
        }
        let lines = trace.into_lines();
        assert_eq!(lines.len(), LINES_KEPT);
        assert!(lines[0].ends_with("line 5"));
    }
}
