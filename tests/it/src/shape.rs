//! The shape of answers: keys that scripts rely on.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Checks that an object has all these keys, given as words.
///
/// # Errors
/// Naming the first key that is not there.
pub fn has_keys(value: &Value, keys: &str) -> Result<()> {
    let object = value.as_object().with_context(|| format!("no object: {value}"))?;
    for key in keys.split_whitespace() {
        ensure!(object.contains_key(key), "no key {key} in {value:#}");
    }
    Ok(())
}

/// The elements of a list.
///
/// # Errors
/// When it is none.
pub fn list(value: &Value) -> Result<&Vec<Value>> {
    value.as_array().with_context(|| format!("no list: {value}"))
}

/// The only element of a list.
///
/// # Errors
/// When it is no list of exactly one.
pub fn only(value: &Value) -> Result<&Value> {
    let list = list(value)?;
    ensure!(list.len() == 1, "one element wanted: {value:#}");
    Ok(&list[0])
}
