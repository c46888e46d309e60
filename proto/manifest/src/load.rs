//! From a PATH to one compose tree and one overlay tree, with nothing left to look up.
//!
//! This is the client's half of reading a manifest: it finds the files, replaces variables,
//! resolves `extends`, `include`, `env_file`, `label_file` and profiles, and settles the
//! deployment's name. What the fields mean is left to compiling, which the server repeats on the
//! resolved documents.

mod compose;
mod env;
mod extends;
mod files;
mod fold;
mod include;
mod interpolate;
mod locate;
mod merge;
mod name;
mod paths;
mod resolved;
mod session;
#[cfg(test)]
mod tests;

pub use files::{FileKind, Files, MemFiles};
pub use interpolate::Variables;
pub use name::NameChoice;
pub use resolved::check_resolved;

use crate::node::{Node, Position, Value};
use crate::problem::{Problem, Problems, Reason};
use crate::yaml::{MAX_NODES, syntax};
use compose::{Scope, load_compose};
use env::{EnvFormat, parse_env};
use files::resolve;
use jaco_model::ErrorCode;
use session::{STDIN, Session};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What the command line says about the files. Relative paths start at `current_dir`.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// PATH: a directory, an overlay, a compose file, or `-` for standard input.
    pub path: PathBuf,
    /// Where the caller is; absolute.
    pub current_dir: PathBuf,
    /// `--compose`, in order.
    pub compose: Vec<PathBuf>,
    /// `--jaco`.
    pub overlay: Option<PathBuf>,
    /// `--name`.
    pub name: Option<String>,
    /// `--profile`, in order; `*` enables all.
    pub profiles: Vec<String>,
    /// `--env-file`, in order.
    pub env_files: Vec<PathBuf>,
    /// `--env`, in order: `KEY=VALUE`, or `KEY` to take it from `process_env`.
    pub env: Vec<String>,
    /// The caller's environment; only what `--env KEY` names is used.
    pub process_env: Variables,
    /// `--strict`: warnings are errors.
    pub strict: bool,
}

/// A deployment's files, resolved.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The deployment's name.
    pub name: NameChoice,
    /// The compose tree: a map, without `include`, `extends`, `env_file` and `label_file`.
    pub compose: Node,
    /// The overlay tree, a map, if there is one.
    pub overlay: Option<Node>,
    /// The directory of the first compose file, where relative paths start; absolute.
    pub compose_dir: PathBuf,
    /// The compose files that were named, absolute, in merge order; `-` for standard input.
    pub compose_files: Vec<PathBuf>,
    /// The overlay file, absolute.
    pub overlay_file: Option<PathBuf>,
    /// Services left out because none of their profiles is enabled, sorted.
    pub disabled_services: Vec<String>,
    /// What interpolation used; `environment:` of secrets and configs reads it too.
    pub variables: Variables,
    /// Warnings, and the names of all files that positions point into.
    pub problems: Problems,
    /// Sentences for the user that are not about a fault.
    pub notices: Vec<String>,
}

/// The overlay before and after interpolation.
#[derive(Debug)]
struct Overlay {
    path: PathBuf,
    root: Node,
}

/// Reads and resolves a deployment's files. All faults are reported together, sorted.
pub fn load(options: &LoadOptions, files: &dyn Files) -> Result<Loaded, Problems> {
    let mut session = Session::new(files, &options.current_dir);
    let loaded = load_into(&mut session, options);
    let mut problems = std::mem::take(&mut session.problems);
    if options.strict {
        problems.errors.append(&mut problems.warnings);
    }
    problems.finish();
    match loaded {
        Some(mut loaded) if problems.errors.is_empty() => {
            loaded.notices = session.notices;
            loaded.problems = problems;
            Ok(loaded)
        }
        Some(_) | None => Err(problems),
    }
}

fn load_into(session: &mut Session<'_>, options: &LoadOptions) -> Option<Loaded> {
    let located = locate::locate(session, options)?;
    let (first, _) = located.compose.first()?;
    let compose_dir = match first.parent() {
        Some(parent) if parent.is_absolute() => parent.to_owned(),
        _ => options.current_dir.clone(),
    };
    let variables = variables(session, options, &located, &compose_dir);
    let overlay = located.overlay.map(|mut overlay| {
        session.interpolate(&mut overlay.root, &variables, "environment");
        overlay
    });
    let scope = Scope { directory: &compose_dir, target: &compose_dir, variables: &variables };
    let mut chain: Vec<PathBuf> = located.compose.iter().map(|(path, _)| path.clone()).collect();
    let mut compose = load_compose(session, &located.compose, "", &scope, &mut chain)?;
    let overlay_root = overlay.as_ref().map(|overlay| &overlay.root);
    let enabled = profiles(options, overlay_root, &compose);
    let disabled_services = drop_disabled(&mut compose, &enabled);
    fold::fold(session, &mut compose, &compose_dir, &variables);
    if session::count(&compose) > MAX_NODES {
        let message = "more than 100 000 keys and values after `extends` and `include`";
        session.error(syntax(compose.at, message));
    }
    let name = name::choose(session, options, overlay_root, &compose, &compose_dir)?;
    let (overlay_file, overlay) = overlay.map(|overlay| (overlay.path, overlay.root)).unzip();
    Some(Loaded {
        name,
        compose,
        overlay,
        compose_dir,
        compose_files: located.compose.into_iter().map(|(path, _)| path).collect(),
        overlay_file,
        disabled_services,
        variables,
        problems: Problems::default(),
        notices: Vec::new(),
    })
}

/// All variables of interpolation, later sources over earlier ones.
fn variables(
    session: &mut Session<'_>,
    options: &LoadOptions,
    located: &locate::Located,
    compose_dir: &Path,
) -> Variables {
    let mut variables = Variables::new();
    for (path, at) in env_files(session, options, located, compose_dir) {
        if let Some((file, text)) = session.text(&path, at, "environment") {
            let entries = parse_env(&text, file, EnvFormat::Usual, &mut session.problems);
            variables.extend(entries.into_iter().map(|entry| (entry.key, entry.value)));
        }
    }
    for item in &options.env {
        let (key, value) = match item.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (item.as_str(), options.process_env.get(item).cloned()),
        };
        let at = session.place(compose_dir);
        if key.is_empty() || interpolate::name_len(key) != key.len() {
            let message = format!("`{}` is not a variable name", key.escape_debug());
            session
                .error(Problem::new(ErrorCode::Usage, at, "--env", message).with("flag", "--env"));
        } else if let Some(value) = value {
            variables.insert(key.to_owned(), value);
        } else {
            let message = format!("{key} is not set in this process");
            session.warn(Problem::invalid(at, "--env", Reason::Required, message));
        }
    }
    variables
}

/// The environment files, each with the place that names it.
fn env_files(
    session: &mut Session<'_>,
    options: &LoadOptions,
    located: &locate::Located,
    compose_dir: &Path,
) -> Vec<(PathBuf, Position)> {
    if !options.env_files.is_empty() {
        let at = session.place(compose_dir);
        let resolved = |path: &PathBuf| (resolve(&options.current_dir, path), at);
        return options.env_files.iter().map(resolved).collect();
    }
    let overlay = located.overlay.as_ref().map(|overlay| &overlay.root);
    if let Some(node) = overlay.and_then(|overlay| overlay.get("environment")) {
        return include::files(session, node, "environment").unwrap_or_default();
    }
    // Only the variables are wanted here; the files are read again, from memory, for their content.
    let mut named = None;
    for (path, at) in &located.compose {
        let before = session.problems.errors.len();
        let root = session.document(path, *at, "");
        session.problems.errors.truncate(before);
        if let Some(node) = root.as_ref().and_then(|root| root.get("x-jaco")?.get("environment")) {
            named = Some(node.clone());
        }
    }
    if let Some(node) = named {
        return include::files(session, &node, "x-jaco.environment").unwrap_or_default();
    }
    let default = compose_dir.join(".env");
    let is_stdin = options.path == Path::new(STDIN);
    let is_wanted = overlay.is_none() && options.env.is_empty() && !is_stdin;
    if !is_wanted || session.kind(&default) != FileKind::File {
        return Vec::new();
    }
    let notice = format!("variables read from {}", session.display(&default));
    session.notices.push(notice);
    let at = session.place(&default);
    vec![(default, at)]
}

/// Profiles from the overlay, `x-jaco` and the command line.
fn profiles(options: &LoadOptions, overlay: Option<&Node>, compose: &Node) -> BTreeSet<String> {
    let mut enabled: BTreeSet<String> = options.profiles.iter().cloned().collect();
    let extension = compose.get("x-jaco");
    for node in [overlay, extension].into_iter().flatten() {
        enabled.extend(texts(node.get("profiles")));
    }
    enabled
}

fn texts(node: Option<&Node>) -> impl Iterator<Item = String> {
    let items = match node.map(|node| &node.value) {
        Some(Value::List(items)) => items.as_slice(),
        Some(Value::Null | Value::Scalar { .. } | Value::Map(_)) | None => &[],
    };
    items.iter().filter_map(|item| extends::text_of(Some(item))).map(|(text, _)| text)
}

/// Removes the services none of whose profiles is enabled; their names, sorted.
fn drop_disabled(compose: &mut Node, enabled: &BTreeSet<String>) -> Vec<String> {
    let mut disabled = Vec::new();
    if let Some(Node { value: Value::Map(services), .. }) = paths::get_mut(compose, "services") {
        services.retain(|service| {
            let mut wanted = texts(service.value.get("profiles")).peekable();
            let is_enabled = wanted.peek().is_none()
                || enabled.contains("*")
                || wanted.any(|profile| enabled.contains(&profile));
            if !is_enabled {
                disabled.push(service.key.clone());
            }
            is_enabled
        });
    }
    disabled.sort();
    disabled
}
