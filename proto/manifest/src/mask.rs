//! Hides values that look secret before a document is shown.

use crate::node::{Node, Value};

/// What stands in place of a hidden value.
pub const MASKED: &str = "***";

/// Replaces the values of environment variables whose names look secret in every service of a
/// compose document, and secrets that are written out. Returns whether anything was hidden.
pub fn mask(document: &mut Node) -> bool {
    let mut hidden = mask_secrets(document);
    let services = entry_mut(document, "services");
    let services = services.and_then(entries_mut).into_iter().flatten();
    for service in services {
        if let Some(environment) = entry_mut(service, "environment") {
            hidden |= mask_environment(environment);
        }
    }
    hidden
}

fn mask_secrets(document: &mut Node) -> bool {
    let mut hidden = false;
    let secrets = entry_mut(document, "secrets").and_then(entries_mut);
    for content in secrets.into_iter().flatten().filter_map(|one| entry_mut(one, "content")) {
        content.value = masked();
        hidden = true;
    }
    hidden
}

/// Whether the value of this variable must not be shown.
pub fn looks_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    ["PASS", "SECRET", "TOKEN", "KEY"].iter().any(|word| name.contains(word))
}

/// Hides values in both forms: a map, and a list of `KEY=value`.
fn mask_environment(environment: &mut Node) -> bool {
    let mut hidden = false;
    match &mut environment.value {
        Value::Map(entries) => {
            for entry in entries.iter_mut().filter(|entry| looks_secret(&entry.key)) {
                entry.value.value = masked();
                hidden = true;
            }
        }
        Value::List(items) => {
            for item in items {
                let Value::Scalar { text, .. } = &mut item.value else { continue };
                let Some((name, _)) = text.split_once('=').filter(|(name, _)| looks_secret(name))
                else {
                    continue;
                };
                *text = format!("{name}={MASKED}");
                hidden = true;
            }
        }
        Value::Null | Value::Scalar { .. } => {}
    }
    hidden
}

fn masked() -> Value {
    Value::Scalar { text: MASKED.to_owned(), plain: false }
}

fn entry_mut<'a>(node: &'a mut Node, key: &str) -> Option<&'a mut Node> {
    match &mut node.value {
        Value::Map(entries) => {
            entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.value)
        }
        Value::Null | Value::Scalar { .. } | Value::List(_) => None,
    }
}

fn entries_mut(node: &mut Node) -> Option<impl Iterator<Item = &mut Node>> {
    match &mut node.value {
        Value::Map(entries) => Some(entries.iter_mut().map(|entry| &mut entry.value)),
        Value::Null | Value::Scalar { .. } | Value::List(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{emit, parse_document};

    #[test]
    fn a_secret_that_is_written_out_is_hidden() {
        let text = "secrets: {cert: {content: hush}, other: {file: ./x}}";
        let mut document = parse_document(text, "compose.yaml").unwrap();
        assert!(mask(&mut document));
        let shown = emit(&document);
        assert!(!shown.contains("hush") && shown.contains("./x"), "{shown}");
    }

    #[test]
    fn names_that_look_secret() {
        for name in ["DB_PASSWORD", "api_key", "SecretSauce", "GITHUB_TOKEN"] {
            assert!(looks_secret(name), "{name}");
        }
        for name in ["PATH", "PORT", "NAME"] {
            assert!(!looks_secret(name), "{name}");
        }
    }
}
