//! Host paths as mounts: absolute ones, and relative ones that become volumes.

use super::cx::{Cx, Place};
use super::mounts::{MountContext, MountDraft, PathKind};
use crate::Problem;
use jaco_model::ErrorCode;
use jaco_model::spec::{Mount, MountKind};
use std::collections::BTreeMap;

pub(super) const PROPAGATION: [&str; 6] =
    ["private", "rprivate", "shared", "rshared", "slave", "rslave"];
/// The largest file that becomes a config.
const CONFIG_MAX: u64 = 512 << 10;

/// A bind as written.
#[derive(Debug)]
pub(super) struct Bind {
    pub(super) source: String,
    pub(super) target: String,
    pub(super) read_only: bool,
    pub(super) create_host_path: bool,
    pub(super) propagation: Option<String>,
    pub(super) recursive: Option<String>,
    pub(super) selinux: Option<String>,
    pub(super) seed: bool,
}

/// Whether a mount source is a path and not the name of a volume.
pub(super) fn is_path(source: &str) -> bool {
    source.starts_with(['/', '.', '~', '\\']) || source.contains('/')
}

/// An absolute path stays a bind; a relative one becomes a volume, a config, or a fault.
pub(super) fn decode(
    cx: &mut Cx,
    place: &Place,
    bind: Bind,
    context: &MountContext<'_>,
) -> Option<MountDraft> {
    if bind.source.starts_with('/') {
        return Some(absolute(bind));
    }
    let Some(inside) = normalise(&bind.source) else {
        let what = if bind.source.starts_with('~') {
            "home directories"
        } else {
            "paths that leave the project directory"
        };
        let message =
            format!("{what} differ between nodes; write an absolute path or use a volume");
        fail(cx, place, &bind.source, message);
        return None;
    };
    if bind.seed {
        cx.later(place, "the first content of a volume (seed)");
        return Some(volume(cx, place, bind, &inside));
    }
    match context.look.map(|look| look(&inside)) {
        None | Some(PathKind::Missing | PathKind::EmptyDir) => {
            Some(volume(cx, place, bind, &inside))
        }
        Some(PathKind::File(size)) => {
            file(cx, place, &bind, size);
            None
        }
        Some(PathKind::NonEmptyDir) => {
            let message = "the directory has content that other nodes lack; use configs, put it \
                           into the image, or write an absolute path";
            fail(cx, place, &bind.source, message.to_owned());
            None
        }
        Some(PathKind::Other) => {
            let message = "neither a regular file nor a directory that can be read";
            fail(cx, place, &bind.source, message.to_owned());
            None
        }
    }
}

fn absolute(bind: Bind) -> MountDraft {
    let trimmed = bind.source.trim_end_matches('/');
    let kind = MountKind::Bind {
        source: if trimmed.is_empty() { "/".to_owned() } else { trimmed.to_owned() },
        create_host_path: bind.create_host_path,
        propagation: bind.propagation,
        recursive: bind.recursive,
        selinux: bind.selinux,
    };
    Mount { kind, target: bind.target, read_only: bind.read_only }.into()
}

/// A regular file is small and mounted read-only, or refused.
fn file(cx: &mut Cx, place: &Place, bind: &Bind, size: u64) {
    if !bind.read_only {
        let message = "a file can only be mounted read-only; add :ro";
        return fail(cx, place, &bind.source, message.to_owned());
    }
    if size > CONFIG_MAX {
        let message = format!("the file has {size} bytes, at most {CONFIG_MAX} can be a config");
        return fail(cx, place, &bind.source, message);
    }
    cx.later(place, "a file from the project directory, mounted as a config,");
}

fn volume(cx: &mut Cx, place: &Place, bind: Bind, inside: &str) -> MountDraft {
    let slug = slug(inside);
    let message = format!("{} becomes the node-local volume {slug}, it is not shared", bind.source);
    cx.warn(place, message);
    let kind = MountKind::Volume { volume: slug, no_copy: false, subpath: None };
    MountDraft {
        mount: Mount { kind, target: bind.target, read_only: bind.read_only },
        made_from: Some(inside.to_owned()),
        labels: BTreeMap::new(),
    }
}

fn fail(cx: &mut Cx, place: &Place, source: &str, message: String) {
    let code = ErrorCode::BindMountInvalid;
    let message = format!("{source}: {message}");
    cx.push(Problem::new(code, place.at, &place.path, message));
}

/// A relative path without `.` and `..`; `None` if it leaves the directory it starts in.
fn normalise(path: &str) -> Option<String> {
    if path.starts_with('~') || path.contains('\\') {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// A volume key made of a path: `./data/db` is `data-db`.
fn slug(path: &str) -> String {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let slug: String = path.chars().map(|c| if legal(c) { c } else { '-' }).collect();
    let slug = slug.trim_matches(['-', '.', '_']);
    if slug.is_empty() { "project".to_owned() } else { slug.to_ascii_lowercase() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_are_normalised_and_named() {
        for (path, inside, name) in [
            ("./data", Some("data"), "data"),
            ("data/db/", Some("data/db"), "data-db"),
            ("./a/../b", Some("b"), "b"),
            (".", Some(""), "project"),
            ("../x", None, ""),
            ("~/x", None, ""),
        ] {
            let found = normalise(path);
            assert_eq!(found.as_deref(), inside, "{path}");
            assert_eq!(found.map(|path| slug(&path)).unwrap_or_default(), name, "{path}");
        }
    }
}
