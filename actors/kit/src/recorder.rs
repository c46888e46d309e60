//! The last things that happened, for the panic message.

use jaco_kit_core::Mono;
use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// A ring of the newest steps of all shells; cheap to copy and share.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    steps: Arc<Mutex<VecDeque<Step>>>,
}

#[derive(Debug)]
struct Step {
    at: Mono,
    actor: &'static str,
    kind: String,
}

impl Recorder {
    /// Steps kept.
    const KEPT: usize = 64;

    /// Notes that an actor got an input; keeps only the name of the input's kind.
    pub fn note(&self, at: Mono, actor: &'static str, input: &dyn fmt::Debug) {
        let mut kind = FirstWord(String::new());
        // The writer refuses everything after the first word, which ends the formatting early.
        let _ = write!(kind, "{input:?}");
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        if steps.len() == Recorder::KEPT {
            steps.pop_front();
        }
        steps.push_back(Step { at, actor, kind: kind.0 });
    }

    /// The steps kept, oldest first, one line each.
    pub fn tail(&self) -> String {
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        steps.iter().fold(String::new(), |mut text, Step { at, actor, kind }| {
            let _ = writeln!(text, "{:>10} ms  {actor:<10} {kind}", at.0);
            text
        })
    }
}

struct FirstWord(String);

impl Write for FirstWord {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
        self.0.push_str(&text[..end.unwrap_or(text.len())]);
        if end.is_some() { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    #[expect(dead_code, reason = "only its name is looked at")]
    enum Input {
        Deliver { secret: &'static str },
        Tick,
    }

    #[test]
    fn only_the_kind_of_an_input_is_kept() {
        let recorder = Recorder::default();
        recorder.note(Mono(5), "raft", &Input::Deliver { secret: "hush" });
        recorder.note(Mono(7), "runtime", &Input::Tick);
        let tail = recorder.tail();
        assert!(tail.contains("raft       Deliver\n"), "{tail}");
        assert!(tail.contains("runtime    Tick\n"), "{tail}");
        assert!(!tail.contains("hush"));
    }

    #[test]
    fn old_steps_are_dropped() {
        let recorder = Recorder::default();
        for at in 0..100 {
            recorder.note(Mono(at), "raft", &Input::Tick);
        }
        assert_eq!(recorder.tail().lines().count(), Recorder::KEPT);
    }
}
