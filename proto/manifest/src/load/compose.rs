//! One compose model out of one or more files: interpolation, `include`, `extends`, merging.

use super::extends::extend;
use super::include::include;
use super::interpolate::Variables;
use super::merge::{drop_resets, merge};
use super::paths::rewrite;
use super::session::Session;
use crate::node::{Node, Position, Value};
use crate::problem::{Problem, Reason};
use std::path::{Path, PathBuf};

/// Where the relative paths of some files start, where those of the result do, and the variables.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope<'s> {
    pub(crate) directory: &'s Path,
    pub(crate) target: &'s Path,
    pub(crate) variables: &'s Variables,
}

/// Reads and merges `files`, which `field` names. `None` when one of them has a fault that hides
/// the rest; other faults are only recorded.
pub(crate) fn load_compose(
    session: &mut Session<'_>,
    files: &[(PathBuf, Position)],
    field: &str,
    scope: &Scope<'_>,
    chain: &mut Vec<PathBuf>,
) -> Option<Node> {
    let mut result: Option<Node> = None;
    let mut is_whole = true;
    for (path, at) in files {
        let Scope { directory, target, variables } = *scope;
        let root = read_compose(session, path, *at, field, directory, target, variables);
        let Some(mut root) = root else {
            is_whole = false;
            continue;
        };
        include(session, &mut root, scope, chain);
        extend(session, &mut root, path, target, variables);
        result = Some(match result {
            Some(base) => merge(base, root, &mut Vec::new(), &session.marks),
            None => root,
        });
    }
    let mut result = result.filter(|_| is_whole)?;
    drop_resets(&mut result, &session.marks);
    Some(result)
}

/// Reads one compose file: variables replaced, paths rewritten, nothing else resolved.
pub(crate) fn read_compose(
    session: &mut Session<'_>,
    path: &Path,
    at: Position,
    field: &str,
    directory: &Path,
    target: &Path,
    variables: &Variables,
) -> Option<Node> {
    let mut root = session.document(path, at, field)?;
    if root.is_null() {
        root.value = Value::Map(Vec::new());
    }
    if !matches!(root.value, Value::Map(_)) {
        let message = format!("a compose file is a map, but this is {}", root.kind());
        session.error(Problem::invalid(root.at, "", Reason::Type, message));
        return None;
    }
    // Names of environment files are read before there are variables.
    session.interpolate(&mut root, variables, "x-jaco.environment");
    rewrite(session, &mut root, directory, target);
    Some(root)
}
