//! Which files a PATH means.

use super::files::{FileKind, resolve};
use super::include::files;
use super::session::{STDIN, Session};
use super::{LoadOptions, Overlay};
use crate::node::{Node, Position, Value};
use crate::problem::{Problem, Reason};
use jaco_model::ErrorCode;
use std::path::{Path, PathBuf};

const OVERLAY_NAMES: [&str; 2] = ["jaco.yaml", "jaco.yml"];
const COMPOSE_NAMES: [&str; 4] =
    ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];
const OVERRIDE_NAMES: [&str; 4] = [
    "compose.override.yaml",
    "compose.override.yml",
    "docker-compose.override.yaml",
    "docker-compose.override.yml",
];

/// The files of one deployment.
#[derive(Debug)]
pub(crate) struct Located {
    /// In merge order, each with the place that names it; never empty.
    pub(crate) compose: Vec<(PathBuf, Position)>,
    pub(crate) overlay: Option<Overlay>,
}

/// What PATH itself turned out to be.
enum Given {
    Directory(PathBuf),
    Compose(PathBuf),
    Overlay(PathBuf),
}

/// Finds the files. `None`, with faults recorded, when there is nothing to load.
pub(crate) fn locate(session: &mut Session<'_>, options: &LoadOptions) -> Option<Located> {
    let given = given(session, options)?;
    let from_flag = |path: &PathBuf| resolve(session.current_dir(), path);
    let flag_overlay = options.overlay.as_ref().map(from_flag);
    let flag_compose: Vec<PathBuf> = options.compose.iter().map(from_flag).collect();
    let (directory, named) = match &given {
        Given::Directory(path) => (path.clone(), None),
        Given::Compose(path) | Given::Overlay(path) => {
            (path.parent().unwrap_or(path).to_owned(), Some(path.clone()))
        }
    };
    let overlay_path = match (&given, flag_overlay) {
        (Given::Overlay(path), None) => Some(path.clone()),
        (_, Some(path)) => Some(path),
        // Standard input has no directory to look around in.
        (Given::Compose(path), None) if path == Path::new(STDIN) => None,
        (Given::Directory(_) | Given::Compose(_), None) => {
            first_of(session, &directory, &OVERLAY_NAMES)
        }
    };
    let overlay = overlay_path.map(|path| read_overlay(session, path));
    let (overlay, is_broken) = match overlay {
        Some(None) => (None, true),
        Some(overlay) => (overlay, false),
        None => (None, false),
    };
    let compose = match given {
        Given::Compose(path) => {
            let at = session.place(&path);
            let mut compose = vec![(path, at)];
            for path in flag_compose {
                let at = session.place(&path);
                compose.push((path, at));
            }
            compose
        }
        Given::Directory(_) | Given::Overlay(_) if !flag_compose.is_empty() => {
            let place = |path: PathBuf| (path.clone(), session.place(&path));
            flag_compose.into_iter().map(place).collect()
        }
        Given::Directory(_) | Given::Overlay(_) => {
            beside(session, overlay.as_ref(), &directory, named.as_deref())?
        }
    };
    note_overrides(session, &compose);
    if is_broken {
        // Without the overlay the variables are unknown; what can be said is whether it is YAML.
        for (path, at) in &compose {
            session.document(path, *at, "");
        }
        return None;
    }
    Some(Located { compose, overlay })
}

fn given(session: &mut Session<'_>, options: &LoadOptions) -> Option<Given> {
    if options.path == Path::new(STDIN) {
        return Some(Given::Compose(STDIN.into()));
    }
    let path = resolve(session.current_dir(), &options.path);
    match session.kind(&path) {
        FileKind::Directory => Some(Given::Directory(path)),
        FileKind::File | FileKind::Other => {
            let at = session.place(&path);
            let root = session.document(&path, at, "")?;
            Some(if is_overlay(&root, &path) { Given::Overlay(path) } else { Given::Compose(path) })
        }
        FileKind::Missing => {
            let at = session.place(&path);
            session.error(Problem::invalid(at, "", Reason::Required, "no such file or directory"));
            None
        }
    }
}

/// Compose has a map of services, an overlay a list of them. A file without services is told by
/// the keys that only an overlay has, or by its name.
fn is_overlay(root: &Node, path: &Path) -> bool {
    match root.get("services").map(|node| &node.value) {
        Some(Value::List(_)) => true,
        Some(Value::Map(_) | Value::Scalar { .. }) => false,
        Some(Value::Null) | None => {
            let has = |key| root.entry(key).is_some();
            ["deployment", "routes", "acme", "environment"].into_iter().any(has)
                || OVERLAY_NAMES.into_iter().any(|name| path.ends_with(name))
        }
    }
}

fn read_overlay(session: &mut Session<'_>, path: PathBuf) -> Option<Overlay> {
    let at = session.place(&path);
    let mut root = session.document(&path, at, "")?;
    if root.is_null() {
        root.value = Value::Map(Vec::new());
    }
    if !matches!(root.value, Value::Map(_)) {
        let message = format!("an overlay is a map, but this is {}", root.kind());
        session.error(Problem::invalid(root.at, "", Reason::Type, message));
        return None;
    }
    Some(Overlay { path, root })
}

/// The compose files that the overlay names, or the one in the directory.
fn beside(
    session: &mut Session<'_>,
    overlay: Option<&Overlay>,
    directory: &Path,
    named: Option<&Path>,
) -> Option<Vec<(PathBuf, Position)>> {
    if let Some(node) = overlay.and_then(|overlay| overlay.root.get("compose")) {
        return files(session, node, "compose").filter(|files| !files.is_empty());
    }
    if let Some(path) = first_of(session, directory, &COMPOSE_NAMES) {
        let at = session.place(&path);
        return Some(vec![(path, at)]);
    }
    let next_to = named.or(overlay.map(|overlay| overlay.path.as_path())).unwrap_or(directory);
    let at = session.place(next_to);
    let message = format!(
        "no compose file found next to {}; pass --compose explicitly",
        session.display(next_to)
    );
    session.error(Problem::invalid(at, "", Reason::Required, message));
    None
}

/// The first of `names` in the directory; a warning names the others.
fn first_of(session: &mut Session<'_>, directory: &Path, names: &[&str]) -> Option<PathBuf> {
    let paths = names.iter().map(|name| directory.join(name));
    let mut found = paths.filter(|path| session.kind(path) == FileKind::File).collect::<Vec<_>>();
    if found.is_empty() {
        return None;
    }
    let first = found.remove(0);
    if !found.is_empty() {
        let others: Vec<String> = found.iter().map(|path| session.display(path)).collect();
        let at = session.place(&first);
        let message = format!("used instead of {}", others.join(", "));
        session.warn(Problem::new(ErrorCode::ValidationFailed, at, "", message));
    }
    Some(first)
}

/// Compose loads an override file by itself; a cluster must not depend on one that happens to
/// lie there.
fn note_overrides(session: &mut Session<'_>, compose: &[(PathBuf, Position)]) {
    let Some(directory) = compose.first().and_then(|(path, _)| path.parent()) else {
        return;
    };
    for name in OVERRIDE_NAMES {
        let path = directory.join(name);
        let is_used = compose.iter().any(|(used, _)| *used == path);
        if !is_used && path.is_absolute() && session.kind(&path) == FileKind::File {
            let shown = session.display(&path);
            let notice = format!("{shown} is not loaded by itself; add it with --compose");
            session.notices.push(notice);
        }
    }
}
