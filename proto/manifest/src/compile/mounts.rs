//! What a service mounts: `volumes`, `tmpfs` and `volumes_from`.

use super::binds;
use super::cx::{Cx, Fields, Item, Place, Spot};
use super::schema::{Schema, closed, compose, h, s};
use super::service::VolumesFrom;
use crate::{Problem, Reason};
use jaco_model::ServiceName;
use jaco_model::spec::{Mount, MountKind};
use std::collections::{BTreeMap, BTreeSet};

const MOUNT: Schema = compose(&[
    h("bind"),
    s("consistency"),
    h("image"),
    h("read_only"),
    h("source"),
    h("target"),
    h("tmpfs"),
    h("type"),
    h("volume"),
    h("x-jaco"),
]);
const BIND: Schema =
    compose(&[h("create_host_path"), h("propagation"), h("recursive"), h("selinux")]);
const VOLUME: Schema = compose(&[h("labels"), h("nocopy"), h("subpath")]);
const TMPFS: Schema = compose(&[h("mode"), h("size")]);
const IMAGE: Schema = compose(&[h("subpath")]);
const EXTENSION: Schema = closed(&[h("seed")]);

/// What is at a path beside the compose file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathKind {
    /// Nothing.
    Missing,
    /// A directory without entries.
    EmptyDir,
    /// A directory with entries.
    NonEmptyDir,
    /// A regular file of this many bytes.
    File(u64),
    /// A socket, a device, or something that cannot be read.
    Other,
}

/// What mounts need to know of the world.
#[derive(Clone, Copy)]
pub(super) struct MountContext<'a> {
    /// What is at a path relative to the compose file; `None` on the server, which believes that
    /// the client has looked.
    pub(super) look: Option<&'a dyn Fn(&str) -> PathKind>,
}

/// A mount, and what it asks of the deployment's volumes.
#[derive(Clone, Debug)]
pub(super) struct MountDraft {
    pub(super) mount: Mount,
    /// The volume was made from this relative path; nobody declares it.
    pub(super) made_from: Option<String>,
    /// Labels for the named volume.
    pub(super) labels: BTreeMap<String, String>,
}

impl From<Mount> for MountDraft {
    fn from(mount: Mount) -> MountDraft {
        MountDraft { mount, made_from: None, labels: BTreeMap::new() }
    }
}

/// Decodes `volumes` and `tmpfs`.
pub(super) fn decode(
    cx: &mut Cx,
    fields: &Fields<'_>,
    context: &MountContext<'_>,
) -> Vec<Spot<MountDraft>> {
    let mut mounts = Vec::new();
    for entry in fields.get("volumes").map(|item| item.list(cx)).unwrap_or_default() {
        let draft =
            if entry.is_map() { long(cx, &entry, context) } else { short(cx, &entry, context) };
        mounts.extend(draft.map(|draft| entry.spot(draft)));
    }
    for entry in fields.get("tmpfs").map(|item| item.one_or_many()).unwrap_or_default() {
        mounts.extend(tmpfs_line(cx, &entry).map(|mount| entry.spot(mount.into())));
    }
    check_targets(cx, &mounts);
    mounts
}

fn check_targets(cx: &mut Cx, mounts: &[Spot<MountDraft>]) {
    let mut seen = BTreeSet::new();
    for spot in mounts {
        let target = &spot.value.mount.target;
        if !seen.insert(target) {
            cx.fail(&spot.place, Reason::Conflict, format!("{target} is mounted twice"));
        }
    }
}

/// `[SRC:]TARGET[:opts]`.
fn short(cx: &mut Cx, item: &Item<'_>, context: &MountContext<'_>) -> Option<MountDraft> {
    let text = item.word(cx)?;
    let parts: Vec<&str> = text.split(':').collect();
    let (source, path, options) = match parts.as_slice() {
        [path] => (None, *path, ""),
        [source, path] => (Some(*source), *path, ""),
        [source, path, options] => (Some(*source), *path, *options),
        _ => {
            let message = format!("expected [source:]target[:options], got \"{text}\"");
            cx.fail(&item.place, Reason::Format, message);
            return None;
        }
    };
    let target = target(cx, &item.place, path)?;
    let options = ShortOptions::read(cx, item, options)?;
    let Some(source) = source else {
        warn_anonymous(cx, &item.place, &target);
        let kind = MountKind::Anonymous;
        return Some(Mount { kind, target, read_only: options.read_only }.into());
    };
    if source.is_empty() {
        cx.fail(&item.place, Reason::Format, "the source is empty");
        return None;
    }
    if source.contains('/') && !source.starts_with(['/', '.', '~']) {
        let message = format!("\"{source}\" is neither a volume name nor a path");
        let problem = Problem::invalid(item.place.at, &item.place.path, Reason::Format, message);
        cx.push(problem.suggest(format!("./{text}")));
        return None;
    }
    if binds::is_path(source) {
        let bind = binds::Bind {
            source: source.to_owned(),
            target,
            read_only: options.read_only,
            create_host_path: false,
            propagation: options.propagation,
            recursive: None,
            selinux: options.selinux,
            seed: false,
        };
        return binds::decode(cx, &item.place, bind, context);
    }
    let kind =
        MountKind::Volume { volume: source.to_owned(), no_copy: options.no_copy, subpath: None };
    Some(Mount { kind, target, read_only: options.read_only }.into())
}

#[derive(Default)]
struct ShortOptions {
    read_only: bool,
    no_copy: bool,
    propagation: Option<String>,
    selinux: Option<String>,
}

impl ShortOptions {
    fn read(cx: &mut Cx, item: &Item<'_>, text: &str) -> Option<ShortOptions> {
        let mut options = ShortOptions::default();
        for option in text.split(',').filter(|option| !option.is_empty()) {
            match option {
                "ro" => options.read_only = true,
                "rw" | "cached" | "delegated" | "consistent" => {}
                "z" | "Z" => options.selinux = Some(option.to_owned()),
                "nocopy" => options.no_copy = true,
                _ if binds::PROPAGATION.contains(&option) => {
                    options.propagation = Some(option.to_owned());
                }
                _ => {
                    let words = ["ro", "rw", "z", "Z", "nocopy", "rprivate", "rshared", "rslave"];
                    cx.unknown_word(&item.place, option, &words);
                    return None;
                }
            }
        }
        Some(options)
    }
}

#[derive(Clone, Copy)]
enum Type {
    Volume,
    Bind,
    Tmpfs,
    Image,
    Unsupported,
}

fn long(cx: &mut Cx, item: &Item<'_>, context: &MountContext<'_>) -> Option<MountDraft> {
    let fields = item.map(cx, &MOUNT);
    let types = [
        ("volume", Type::Volume),
        ("bind", Type::Bind),
        ("tmpfs", Type::Tmpfs),
        ("image", Type::Image),
        ("cluster", Type::Unsupported),
        ("npipe", Type::Unsupported),
    ];
    let kind_item = fields.require(cx, "type")?;
    let kind = kind_item.choice(cx, &types)?;
    let target_item = fields.require(cx, "target")?;
    let path = target_item.text(cx)?;
    let target = target(cx, &target_item.place, path)?;
    let read_only = fields.boolean(cx, "read_only").unwrap_or_default();
    let seed = fields
        .get("x-jaco")
        .is_some_and(|item| item.map(cx, &EXTENSION).boolean(cx, "seed").unwrap_or_default());
    let kind = match kind {
        Type::Volume => return named_or_anonymous(cx, &fields, target, read_only),
        Type::Bind => return bind(cx, &fields, target, read_only, seed, context),
        Type::Tmpfs => tmpfs(cx, &fields),
        Type::Image => image(cx, &fields)?,
        Type::Unsupported => {
            let message = "not supported: cluster and npipe mounts; use a named volume";
            cx.fail(&kind_item.place, Reason::Unsupported, message);
            return None;
        }
    };
    Some(Mount { kind, target, read_only }.into())
}

fn named_or_anonymous(
    cx: &mut Cx,
    fields: &Fields<'_>,
    target: String,
    read_only: bool,
) -> Option<MountDraft> {
    let options = fields.get("volume").map(|item| item.map(cx, &VOLUME));
    let Some(source) = fields.get("source") else {
        warn_anonymous(cx, &fields.place, &target);
        return Some(Mount { kind: MountKind::Anonymous, target, read_only }.into());
    };
    let volume = source.word(cx)?;
    if binds::is_path(&volume) {
        let message = format!("\"{volume}\" is a path; use type: bind");
        cx.fail(&source.place, Reason::Conflict, message);
        return None;
    }
    let no_copy = options.as_ref().and_then(|fields| fields.boolean(cx, "nocopy"));
    let subpath = options.as_ref().and_then(|fields| fields.word(cx, "subpath"));
    let labels = options.map(|fields| fields.pairs(cx, "labels")).unwrap_or_default();
    let kind = MountKind::Volume { volume, no_copy: no_copy.unwrap_or_default(), subpath };
    Some(MountDraft { mount: Mount { kind, target, read_only }, made_from: None, labels })
}

fn bind(
    cx: &mut Cx,
    fields: &Fields<'_>,
    target: String,
    read_only: bool,
    seed: bool,
    context: &MountContext<'_>,
) -> Option<MountDraft> {
    let source = fields.require(cx, "source")?;
    let options = fields.get("bind").map(|item| item.map(cx, &BIND));
    let mut bind = binds::Bind {
        source: source.word(cx)?,
        target,
        read_only,
        create_host_path: false,
        propagation: None,
        recursive: None,
        selinux: None,
        seed,
    };
    if let Some(options) = options {
        let words = binds::PROPAGATION.map(|word| (word, word));
        let recursive = ["enabled", "disabled", "writable", "readonly"].map(|word| (word, word));
        bind.create_host_path = options.boolean(cx, "create_host_path").unwrap_or_default();
        bind.propagation = options.choice(cx, "propagation", &words).map(str::to_owned);
        bind.recursive = options.choice(cx, "recursive", &recursive).map(str::to_owned);
        bind.selinux = options.choice(cx, "selinux", &[("z", "z"), ("Z", "Z")]).map(str::to_owned);
    }
    binds::decode(cx, &source.place, bind, context)
}

fn tmpfs(cx: &mut Cx, fields: &Fields<'_>) -> MountKind {
    let Some(item) = fields.get("tmpfs") else {
        return MountKind::Tmpfs { size: None, mode: None };
    };
    let fields = item.map(cx, &TMPFS);
    let mode = fields.get("mode").and_then(|item| item.file_mode(cx));
    MountKind::Tmpfs { size: fields.size(cx, "size"), mode }
}

fn image(cx: &mut Cx, fields: &Fields<'_>) -> Option<MountKind> {
    let image = fields.require(cx, "source")?.word(cx)?;
    let options = fields.get("image").map(|item| item.map(cx, &IMAGE));
    let subpath = options.and_then(|fields| fields.word(cx, "subpath"));
    Some(MountKind::Image { image, subpath })
}

/// `/run[:size=64m,mode=1777]`.
fn tmpfs_line(cx: &mut Cx, item: &Item<'_>) -> Option<Mount> {
    let text = item.word(cx)?;
    let (path, options) = text.split_once(':').unwrap_or((&text, ""));
    let target = target(cx, &item.place, path)?;
    let (mut size, mut mode) = (None, None);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        let read = match key {
            "size" => {
                size = super::units::size(value);
                size.is_some()
            }
            "mode" => {
                mode = u32::from_str_radix(value.trim_start_matches("0o"), 8).ok();
                mode.is_some()
            }
            "rw" | "exec" | "noexec" | "suid" | "nosuid" | "dev" | "nodev" | "uid" | "gid" => true,
            _ => false,
        };
        if !read {
            let message = format!("\"{option}\" is no tmpfs option such as size=64m or mode=1777");
            cx.fail(&item.place, Reason::Format, message);
        }
    }
    Some(Mount { kind: MountKind::Tmpfs { size, mode }, target, read_only: false })
}

/// An absolute path in the container, other than its root.
fn target(cx: &mut Cx, place: &Place, path: &str) -> Option<String> {
    let trimmed = path.trim_end_matches('/');
    if !path.starts_with('/') {
        let message = format!("the target must be an absolute path, got \"{path}\"");
        cx.fail(place, Reason::Format, message);
        return None;
    }
    if trimmed.is_empty() {
        cx.fail(place, Reason::Format, "the target must not be the root of the container");
        return None;
    }
    Some(trimmed.to_owned())
}

fn warn_anonymous(cx: &mut Cx, place: &Place, target: &str) {
    cx.warn(place, format!("the volume of {target} has no name: it goes away with its replica"));
}

/// Decodes `volumes_from`: `<service>[:ro|rw]`.
pub(super) fn decode_volumes_from(cx: &mut Cx, fields: &Fields<'_>) -> Vec<Spot<VolumesFrom>> {
    let Some(item) = fields.get("volumes_from") else { return Vec::new() };
    item.list(cx).iter().filter_map(|item| volumes_from(cx, item)).collect()
}

fn volumes_from(cx: &mut Cx, item: &Item<'_>) -> Option<Spot<VolumesFrom>> {
    let text = item.word(cx)?;
    if text.starts_with("container:") {
        let message = "not supported: containers come and go; name a service";
        cx.fail(&item.place, Reason::Unsupported, message);
        return None;
    }
    let (service, mode) = text.split_once(':').unwrap_or((&text, "rw"));
    if !matches!(mode, "ro" | "rw") {
        cx.unknown_word(&item.place, mode, &["ro", "rw"]);
        return None;
    }
    let service = ServiceName::new(service);
    Some(item.spot(VolumesFrom { service, read_only: mode == "ro" }))
}
