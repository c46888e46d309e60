//! The style of log messages: a constant text in lower case without a full stop.
//!
//! A constant can be searched for and counted; what varies is in the fields.

/// Macros of `tracing` that log.
const MACROS: [&str; 5] = ["trace!(", "debug!(", "info!(", "warn!(", "error!("];

/// Breaches in one file, each with its line after a colon.
pub(super) fn violations(text: &str) -> Vec<String> {
    let mut violations = Vec::new();
    for start in calls(text) {
        let number = text[..start].lines().count().max(1);
        for argument in arguments(&text[start..]) {
            if let Some(reason) = message_of(argument).and_then(breach) {
                violations.push(format!(":{number}: log message {argument}: {reason}"));
            }
        }
    }
    violations
}

/// Where the arguments of each logging call start.
fn calls(text: &str) -> Vec<usize> {
    let mut starts: Vec<usize> = MACROS
        .iter()
        .flat_map(|name| text.match_indices(name).map(|(at, _)| (at, at + name.len())))
        .filter(|(at, _)| is_call(text, *at))
        .map(|(_, start)| start)
        .collect();
    starts.sort_unstable();
    starts
}

/// Whether a macro's name at this place is a call: not the end of a longer name, not in a comment
/// and not in a string that is shown to somebody.
fn is_call(text: &str, at: usize) -> bool {
    let line = text[..at].rsplit('\n').next().unwrap_or_default();
    let longer = line.ends_with(|c: char| c.is_alphanumeric() || c == '_');
    !longer && !line.contains("//") && line.matches('"').count().is_multiple_of(2)
}

/// The arguments of a call, given the text after its opening bracket.
fn arguments(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut depth, mut start) = (0_u32, 0);
    let (mut in_string, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = byte == b'\\' && !escaped;
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' if depth == 0 => {
                found.push(text[start..at].trim());
                break;
            }
            b')' | b']' | b'}' => depth -= 1,
            b',' if depth == 0 => {
                found.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    found
}

/// The text of an argument that is nothing but a string; fields are `name = value`.
fn message_of(argument: &str) -> Option<&str> {
    argument.strip_prefix('"')?.strip_suffix('"')
}

fn breach(message: &str) -> Option<&'static str> {
    let mut start = message.chars();
    let (first, second) = (start.next()?, start.next().unwrap_or(' '));
    if message.contains('{') {
        return Some("put what varies into fields");
    }
    if message.ends_with('.') {
        return Some("no full stop");
    }
    // A word in capitals, such as TLS, stays as it is.
    let capitalised = first.is_uppercase() && !second.is_uppercase() && !second.is_numeric();
    capitalised.then_some("start in lower case")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_messages_pass() {
        for line in [
            r#"info!(%node_id, name = "Big Name.", "node joined");"#,
            r#"warn!("TLS handshake failed");"#,
            r#"error!(error = %f("Bad {} text.", x), "cannot write");"#,
            r#"// info!("A comment.")"#,
            r#"my_info!("Another macro.")"#,
            "debug!(\n    index,\n    \"entry applied\",\n);",
        ] {
            assert_eq!(violations(line), Vec::<String>::new(), "{line}");
        }
    }

    #[test]
    fn bad_messages_are_found_with_their_line() {
        for message in ["Node joined", "node joined.", "node {id} joined"] {
            let text = format!("fn f() {{\n    tracing::info!(%node_id, \"{message}\");\n}}\n");
            let found = violations(&text);
            assert!(found.len() == 1 && found[0].starts_with(":2: "), "{found:?}");
        }
        assert_eq!(violations("warn!(\n    a = \"(\",\n    \"Say \\\"x\\\".\"\n);").len(), 1);
    }
}
