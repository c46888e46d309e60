//! What a document that is sent to the server may no longer hold.

use crate::node::{Entry, Node, Position, Value};
use crate::problem::{Problem, Problems};
use jaco_model::ErrorCode;

/// Refuses `include`, `extends`, `env_file` and `label_file`: only the client can resolve them,
/// because only the client has the files.
pub fn check_resolved(compose: &Node, problems: &mut Problems) {
    let leftover = |at: Position, path: String, field: &str| {
        let message = "only files can resolve this; apply with `jaco apply`".to_owned();
        Problem::new(ErrorCode::EnvFileUnresolved, at, path, message).with("field", field)
    };
    if let Some(entry) = compose.entry("include") {
        problems.errors.push(leftover(entry.key_at, "include".to_owned(), "include"));
    }
    let Some(Node { value: Value::Map(services), .. }) = compose.get("services") else {
        return;
    };
    for Entry { key: service, value, .. } in services {
        for field in ["env_file", "extends", "label_file"] {
            if let Some(entry) = value.entry(field) {
                let path = format!("services.{service}.{field}");
                let problem = leftover(entry.key_at, path, field);
                problems.errors.push(problem.with("service", service));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::parse_document;

    #[test]
    fn leftovers_are_named() {
        let text = "include: [x]\nservices:\n  a: {env_file: x, image: y}\n  b: {extends: a}\n";
        let mut problems = Problems::default();
        check_resolved(&parse_document(text, "f").unwrap(), &mut problems);
        let paths: Vec<_> = problems.errors.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(paths, ["include", "services.a.env_file", "services.b.extends"]);
        assert!(problems.errors.iter().all(|p| p.code == ErrorCode::EnvFileUnresolved));
    }
}
