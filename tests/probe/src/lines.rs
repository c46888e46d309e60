//! Numbered lines on stdout and stderr: what tests of log streams read back.

use std::process::ExitCode;

use crate::clock;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
    Both,
}

/// How many lines to print, how far apart, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    count: u64,
    every_ms: u64,
    stream: Stream,
}

impl Plan {
    pub(crate) fn from_args(count: &str, rest: &[&str]) -> Result<Self, String> {
        let (every_ms, stream) = match rest {
            [] => (None, None),
            [ms] => (Some(*ms), None),
            [ms, stream] => (Some(*ms), Some(*stream)),
            _ => return Err("log takes at most three arguments".into()),
        };
        Self::parse(Some(count), every_ms, stream)
    }

    /// Parses the texts of a command line or a query; what is absent takes its default.
    pub(crate) fn parse(
        count: Option<&str>,
        every_ms: Option<&str>,
        stream: Option<&str>,
    ) -> Result<Self, String> {
        let number = |text: &str| {
            text.parse::<u64>().map_err(|_| format!("{text:?} is not a number of lines or ms"))
        };
        Ok(Self {
            count: count.map_or(Ok(1), number)?,
            every_ms: every_ms.map_or(Ok(0), number)?,
            stream: match stream {
                None | Some("stdout") => Stream::Stdout,
                Some("stderr") => Stream::Stderr,
                Some("both") => Stream::Both,
                Some(other) => return Err(format!("{other:?} is not stdout, stderr or both")),
            },
        })
    }

    /// Prints all lines; blocks between them.
    pub(crate) fn print(self) -> ExitCode {
        for number in 1..=self.count {
            if number > 1 && self.every_ms > 0 {
                clock::sleep_ms(self.every_ms);
            }
            if self.stream != Stream::Stderr {
                println!("line {number} of {} on stdout", self.count);
            }
            if self.stream != Stream::Stdout {
                eprintln!("line {number} of {} on stderr", self.count);
            }
        }
        ExitCode::SUCCESS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_have_defaults() {
        let plan = Plan::from_args("5", &[]).unwrap();
        assert_eq!(plan, Plan { count: 5, every_ms: 0, stream: Stream::Stdout });
        let plan = Plan::from_args("5", &["20", "both"]).unwrap();
        assert_eq!(plan, Plan { count: 5, every_ms: 20, stream: Stream::Both });
    }

    #[test]
    fn wrong_arguments_are_refused() {
        assert!(Plan::from_args("many", &[]).is_err());
        assert!(Plan::from_args("1", &["1", "file"]).is_err());
        assert!(Plan::from_args("1", &["1", "both", "more"]).is_err());
    }
}
