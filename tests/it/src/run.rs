//! One call of a program and what came of it.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// What a program printed and how it ended.
#[derive(Debug, Clone)]
pub struct Run {
    /// The words, for messages.
    pub words: String,
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Run {
    /// Runs a command to its end.
    ///
    /// # Errors
    /// When it cannot be started; a failure of the program is no error here.
    pub fn of(command: &mut Command) -> Result<Run> {
        let words = command.get_args().map(|word| word.to_string_lossy().into_owned());
        let words = words.collect::<Vec<_>>().join(" ");
        let output = command.stdin(Stdio::null()).output().with_context(|| words.clone())?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        Ok(Run { words, code: output.status.code(), stdout, stderr })
    }

    /// The same run, when it ended with this code.
    ///
    /// # Errors
    /// When it ended otherwise; the message holds all that it printed.
    pub fn exits(self, code: i32) -> Result<Run> {
        let Run { words, stdout, stderr, .. } = &self;
        ensure!(
            self.code == Some(code),
            "{words}\nexit code {:?}, wanted {code}\n{stdout}{stderr}",
            self.code
        );
        Ok(self)
    }

    /// Standard output as JSON.
    ///
    /// # Errors
    /// When it is not exactly one document.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout)
            .with_context(|| format!("{}\n{}", self.words, self.stdout))
    }

    /// The error envelope on standard error of a call with `-o json`.
    ///
    /// # Errors
    /// When the last line is none.
    pub fn error(&self) -> Result<Value> {
        let line = self.stderr.lines().last().unwrap_or_default();
        let envelope: Value = serde_json::from_str(line)
            .with_context(|| format!("{}\nno envelope in {:?}", self.words, self.stderr))?;
        ensure!(envelope["error"]["code"].is_string(), "no code in {envelope}");
        Ok(envelope["error"].clone())
    }
}
