//! Rules for each source file on its own.

/// Longest file that needs no reason.
const LINES_GOOD: usize = 500;

/// Longest file.
const LINES_MAX: usize = 800;

/// How a module doc gives the reason for a length between the two.
const REASON: &str = "Long because";

/// What must not be in a file, and what to do instead. The words are cut so that this file obeys.
const FORBIDDEN: [(&str, &str); 5] = [
    (concat!("#[ig", "nore"), "a test runs or is deleted"),
    (concat!("#[should", "_panic"), "assert the error instead"),
    (concat!("to", "do!("), "finish it"),
    (concat!("db", "g!("), "use tracing"),
    (concat!("#[al", "low("), "use #[expect(lint, reason = ..)]"),
];

/// Breaches in one file, each with its line after a colon.
pub(super) fn violations(text: &str) -> Vec<String> {
    let mut violations = Vec::new();
    if !text.starts_with("//!") {
        violations.push(":1: starts without a //! module doc".to_owned());
    }
    let count = text.lines().count();
    let module_doc = text.lines().take_while(|line| line.starts_with("//!"));
    if count > LINES_MAX {
        violations.push(format!(": {count} lines, the limit is {LINES_MAX}"));
    } else if count > LINES_GOOD && !module_doc.collect::<String>().contains(REASON) {
        violations.push(format!(": {count} lines without a `{REASON}` in the module doc"));
    }
    for (number, line) in (1..).zip(text.lines()) {
        let code = line.trim_start();
        if code.starts_with("//") {
            if has_loose_marker(code) {
                violations.push(format!(":{number}: a marker for later needs an issue number"));
            }
            continue;
        }
        for (word, instead) in FORBIDDEN {
            if code.contains(word) {
                violations.push(format!(":{number}: {word}: {instead}"));
            }
        }
    }
    violations
}

/// Whether a comment puts something off without saying where it is tracked.
fn has_loose_marker(comment: &str) -> bool {
    let tracked = concat!("TO", "DO(#");
    let marker = tracked.trim_end_matches("(#");
    let words = |text: &str| text.split(|c: char| !c.is_alphanumeric()).any(|word| word == marker);
    words(comment) && !comment.contains(tracked) || comment.contains(concat!("FIX", "ME"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_starts_with_its_doc() {
        assert!(violations("//! What.\n\nfn main() {}\n").is_empty());
        assert_eq!(violations("fn main() {}\n").len(), 1);
    }

    #[test]
    fn long_files_need_a_reason_and_have_a_limit() {
        let body = "\n".repeat(LINES_GOOD);
        assert_eq!(violations(&format!("//! What.\n{body}")).len(), 1);
        assert!(violations(&format!("//! What. {REASON} of a table.\n{body}")).is_empty());
        let body = "\n".repeat(LINES_MAX);
        assert_eq!(violations(&format!("//! What. {REASON} of a table.\n{body}")).len(), 1);
    }

    #[test]
    fn every_forbidden_word_is_found_with_its_line() {
        for (word, _) in FORBIDDEN {
            let found = violations(&format!("//! What.\n    {word}\n"));
            assert!(found.len() == 1 && found[0].starts_with(":2: "), "{found:?}");
            assert!(violations(&format!("//! What.\n// not {word}\n")).is_empty());
        }
    }

    #[test]
    fn what_is_put_off_needs_an_issue() {
        let marker = concat!("TO", "DO");
        assert_eq!(violations(&format!("//! What.\n// {marker}: later\n")).len(), 1);
        assert!(violations(&format!("//! What.\n// {marker}(#12): later\n")).is_empty());
    }
}
