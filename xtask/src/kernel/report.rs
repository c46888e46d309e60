//! What a guest's serial line says about the tests.

use std::collections::BTreeMap;
use std::process::ExitCode;

use super::plan::Run;

/// Results by the name of the run.
#[derive(Debug, Default)]
pub(super) struct Report {
    at: Option<String>,
    /// Exit code of the binary, once it ended, and tests that passed.
    runs: BTreeMap<String, Outcome>,
    is_done: bool,
    /// What the kernel said of itself that must not be.
    complaints: Vec<String>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    code: Option<i32>,
    passed: u32,
    failed: u32,
}

/// Words by which a kernel tells of its own faults.
const COMPLAINTS: [&str; 6] =
    ["Kernel panic", "BUG:", "Oops:", "general protection fault", "Out of memory", "WARNING: CPU"];

impl Report {
    /// Takes the next line.
    pub(super) fn line(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix("guest: begin ") {
            self.at = Some(name.to_owned());
            self.runs.insert(name.to_owned(), Outcome::default());
        } else if let Some(rest) = line.strip_prefix("guest: end ") {
            let (name, code) = rest.split_once(' ').unwrap_or((rest, ""));
            if let Some(outcome) = self.runs.get_mut(name) {
                outcome.code = code.parse().ok();
            }
            self.at = None;
        } else if line == "guest: done" {
            self.is_done = true;
        } else if let Some(counts) = line.strip_prefix("test result: ") {
            // A test's own output may hold such a line; the last one is the runner's.
            if let Some(outcome) = self.at.as_ref().and_then(|at| self.runs.get_mut(at)) {
                outcome.passed = count(counts, " passed");
                outcome.failed = count(counts, " failed");
            }
        } else if COMPLAINTS.iter().any(|words| line.contains(words)) {
            self.complaints.push(line.to_owned());
        }
    }

    /// Prints the results; success only when every run ended well and ran something.
    pub(super) fn conclude(&self, wanted: &[Run]) -> ExitCode {
        println!("==> results of the guest");
        let none = Outcome::default();
        for run in wanted {
            let outcome = self.runs.get(run.name).unwrap_or(&none);
            let word = if outcome.is_good() { "ok" } else { "FAILED" };
            let Outcome { passed, failed, code } = outcome;
            let code = code.map_or("did not end".to_owned(), |code| format!("code {code}"));
            println!("{word:6} {:24} {passed} passed, {failed} failed, {code}", run.name);
        }
        for complaint in &self.complaints {
            println!("FAILED {complaint}");
        }
        if !self.is_done {
            println!("FAILED the guest did not come to its end");
        }
        if self.is_good(wanted) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn is_good(&self, wanted: &[Run]) -> bool {
        let ran = |run: &Run| self.runs.get(run.name).is_some_and(Outcome::is_good);
        self.is_done && self.complaints.is_empty() && wanted.iter().all(ran)
    }
}

impl Outcome {
    fn is_good(&self) -> bool {
        self.code == Some(0) && self.failed == 0 && self.passed > 0
    }
}

/// The number before a word.
fn count(text: &str, word: &str) -> u32 {
    let before = text.split(word).next().unwrap_or_default();
    before.rsplit(' ').next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &'static str) -> Run {
        let (environment, before) = ("", "");
        Run { name, binary: "/t".into(), environment, arguments: String::new(), before }
    }

    fn report(lines: &[&str]) -> Report {
        let mut report = Report::default();
        lines.iter().for_each(|line| report.line(line));
        report
    }

    const GOOD: [&str; 4] = [
        "guest: begin mesh",
        "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out",
        "guest: end mesh 0",
        "guest: done",
    ];

    #[test]
    fn a_run_that_passed_is_good() {
        let report = report(&GOOD);
        assert_eq!(report.runs["mesh"], Outcome { code: Some(0), passed: 12, failed: 0 });
        assert!(report.is_good(&[run("mesh")]));
        assert!(!report.is_good(&[run("mesh"), run("other")]), "a run is missing");
    }

    #[test]
    fn anything_else_is_not() {
        for left_out in 0..GOOD.len() {
            let lines: Vec<_> = (0..4).filter(|at| *at != left_out).map(|at| GOOD[at]).collect();
            assert!(!report(&lines).is_good(&[run("mesh")]), "without line {left_out}");
        }
        for (at, line) in [
            (1, "test result: ok. 0 passed; 0 failed; 0 ignored"),
            (1, "test result: FAILED. 3 passed; 1 failed; 0 ignored"),
            (2, "guest: end mesh 101"),
        ] {
            let mut lines = GOOD;
            lines[at] = line;
            assert!(!report(&lines).is_good(&[run("mesh")]), "{line}");
        }
        let panic = ["[ 1.0] Kernel panic - not syncing: no init"];
        let lines: Vec<_> = GOOD.into_iter().chain(panic).collect();
        assert!(!report(&lines).is_good(&[run("mesh")]));
    }
}
