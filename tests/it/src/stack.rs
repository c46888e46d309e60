//! A user's directory with a compose file, and the services that tests put into it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::node::IMAGE;

/// A directory with a `compose.yaml`, removed at the end.
#[derive(Debug)]
pub struct Stack {
    name: String,
    dir: TempDir,
}

impl Stack {
    /// A stack of this deployment name; JSON is YAML.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn new(name: &str, compose: Value) -> Result<Stack> {
        let stack = Stack { name: name.to_owned(), dir: tempfile::tempdir()? };
        stack.write(compose)?;
        Ok(stack)
    }

    /// Replaces the compose file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, mut compose: Value) -> Result<()> {
        compose["name"] = json!(self.name);
        let path = self.dir.path().join("compose.yaml");
        fs::write(&path, format!("{compose:#}\n")).context("cannot write the compose file")
    }

    /// The deployment.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The directory as a command line takes it.
    #[must_use]
    pub fn path(&self) -> String {
        self.dir.path().display().to_string()
    }
}

/// A service that runs the probe and is healthy within half a second; `more` is laid over it.
#[must_use]
pub fn probe(more: Value) -> Value {
    let service = json!({
        "image": IMAGE,
        "pull_policy": "never",
        "stop_grace_period": "2s",
        "healthcheck": {
            "test": ["CMD", "/probe", "check", "http://127.0.0.1:8080/health"],
            "interval": "500ms",
            "timeout": "3s",
            "retries": 3,
            "start_period": "10s",
            "start_interval": "200ms",
        },
        "deploy": { "update_config": quick_update() },
    });
    over(service, more)
}

/// An update policy that trusts a replica after half a second.
#[must_use]
pub fn quick_update() -> Value {
    json!({ "monitor": "500ms" })
}

/// Lays one document over another: maps are merged, everything else is replaced; null removes.
fn over(base: Value, top: Value) -> Value {
    match (base, top) {
        (Value::Object(mut base), Value::Object(top)) => {
            for (key, value) in top {
                let value = over(base.remove(&key).unwrap_or(Value::Null), value);
                if !value.is_null() {
                    base.insert(key, value);
                }
            }
            Value::Object(base)
        }
        (_, top) => top,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_merged_and_null_removes() {
        let base = json!({ "a": { "b": 1, "c": 2 }, "d": [1] });
        let top = json!({ "a": { "b": null, "e": 3 }, "d": [2] });
        assert_eq!(over(base, top), json!({ "a": { "c": 2, "e": 3 }, "d": [2] }));
    }
}
