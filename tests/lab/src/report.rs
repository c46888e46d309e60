//! The only output of this crate: what happens beside the caller's business.

/// Writes a line to stderr.
#[expect(clippy::print_stderr, reason = "tests and tasks have no log, only their terminal")]
pub(crate) fn report(line: &str) {
    eprintln!("{line}");
}
