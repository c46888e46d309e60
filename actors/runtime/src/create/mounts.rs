//! Volumes, binds, tmpfs and image mounts.

use super::{Translation, Unsupported};
use bollard::models::{
    Mount as EngineMount, MountBindOptions, MountBindOptionsPropagationEnum as Propagation,
    MountImageOptions, MountTmpfsOptions, MountType, MountVolumeOptions,
};
use jaco_model::spec::{Mount, MountKind};
use jaco_runtime_core::PlannedMount;

/// The engine's two ways to say it.
pub(super) struct Mounts {
    pub(super) mounts: Vec<EngineMount>,
    /// `source:target:options`, for what the other way lacks.
    pub(super) binds: Vec<String>,
}

pub(super) fn mounts(t: &mut Translation, planned: &[PlannedMount]) -> Result<Mounts, Unsupported> {
    let mut mounts = Mounts { mounts: Vec::new(), binds: Vec::new() };
    for planned in planned {
        let mount = &planned.mount;
        let plain = EngineMount {
            target: Some(mount.target.clone()),
            read_only: Some(mount.read_only),
            ..EngineMount::default()
        };
        match &mount.kind {
            MountKind::Volume { no_copy, subpath, .. } => {
                if subpath.is_some() {
                    t.require(45, "volumes.volume.subpath")?;
                }
                let options = MountVolumeOptions {
                    no_copy: Some(*no_copy),
                    subpath: subpath.clone(),
                    ..MountVolumeOptions::default()
                };
                mounts.mounts.push(EngineMount {
                    typ: Some(MountType::VOLUME),
                    source: planned.volume.clone(),
                    volume_options: Some(options),
                    ..plain
                });
            }
            MountKind::Anonymous => {
                mounts.mounts.push(EngineMount { typ: Some(MountType::VOLUME), ..plain });
            }
            MountKind::Bind { .. } => bind(t, &mut mounts, mount, plain),
            MountKind::Tmpfs { size, mode } => {
                let options = MountTmpfsOptions {
                    size_bytes: *size,
                    mode: mode.map(i64::from),
                    options: None,
                };
                mounts.mounts.push(EngineMount {
                    typ: Some(MountType::TMPFS),
                    tmpfs_options: Some(options),
                    ..plain
                });
            }
            MountKind::Image { image, subpath } => {
                t.require(48, "volumes of type image")?;
                mounts.mounts.push(EngineMount {
                    typ: Some(MountType::IMAGE),
                    source: Some(image.clone()),
                    image_options: Some(MountImageOptions { subpath: subpath.clone() }),
                    ..plain
                });
            }
        }
    }
    Ok(mounts)
}

/// SELinux labels exist only in the short form, and before API 1.42 only that form makes missing
/// directories.
fn bind(t: &mut Translation, mounts: &mut Mounts, mount: &Mount, plain: EngineMount) {
    let MountKind::Bind { source, create_host_path, propagation, recursive, selinux } = &mount.kind
    else {
        return;
    };
    let short_only = selinux.is_some() || (*create_host_path && t.api < super::ApiVersion::v1(42));
    if short_only {
        let access = if mount.read_only { "ro" } else { "rw" };
        let options = [Some(access), selinux.as_deref(), propagation.as_deref()];
        let options = options.into_iter().flatten().collect::<Vec<_>>().join(",");
        mounts.binds.push(format!("{source}:{}:{options}", mount.target));
        if recursive.is_some() {
            t.warnings.push(format!(
                "bind.recursive of {} is left out: it cannot be joined with bind.selinux or, \
                 before engine API 1.42, with create_host_path",
                mount.target
            ));
        }
        return;
    }
    let recursive = match recursive.as_deref() {
        Some("writable" | "readonly") if !t.has(44, "volumes.bind.recursive") => None,
        other => other,
    };
    let options = MountBindOptions {
        propagation: propagation.as_deref().and_then(propagation_of),
        non_recursive: (recursive == Some("disabled")).then_some(true),
        create_mountpoint: create_host_path.then_some(true),
        read_only_non_recursive: (recursive == Some("writable")).then_some(true),
        read_only_force_recursive: (recursive == Some("readonly")).then_some(true),
    };
    mounts.mounts.push(EngineMount {
        typ: Some(MountType::BIND),
        source: Some(source.clone()),
        bind_options: (options != MountBindOptions::default()).then_some(options),
        ..plain
    });
}

fn propagation_of(text: &str) -> Option<Propagation> {
    match text {
        "private" => Some(Propagation::PRIVATE),
        "rprivate" => Some(Propagation::RPRIVATE),
        "shared" => Some(Propagation::SHARED),
        "rshared" => Some(Propagation::RSHARED),
        "slave" => Some(Propagation::SLAVE),
        "rslave" => Some(Propagation::RSLAVE),
        _ => None,
    }
}
