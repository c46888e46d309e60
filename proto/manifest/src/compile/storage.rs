//! Mounts of all services against the declared volumes.

use super::cx::{CANDIDATES_MAX, Cx, Place, Spot};
use super::mounts::MountDraft;
use super::objects::listing;
use super::service::Draft;
use super::service_index::Services;
use super::volumes;
use crate::Problem;
use jaco_model::spec::{Mount, MountKind, VolumeSpec};
use jaco_model::{DeploymentName, ErrorCode};
use std::collections::{BTreeMap, BTreeSet};

/// All volumes of a deployment: declared ones, and those made of relative paths.
pub(super) fn volumes(
    cx: &mut Cx,
    deployment: &DeploymentName,
    declared: BTreeMap<String, Spot<VolumeSpec>>,
    services: &Services<'_>,
) -> BTreeMap<String, VolumeSpec> {
    let is_declared: BTreeSet<String> = declared.keys().cloned().collect();
    let mut volumes: BTreeMap<String, VolumeSpec> =
        declared.into_iter().map(|(key, spot)| (key, spot.value)).collect();
    let mut made: BTreeMap<String, &str> = BTreeMap::new();
    for spot in services.iter().flat_map(|draft| &draft.mounts) {
        let MountDraft { mount, made_from, labels } = &spot.value;
        let MountKind::Volume { volume: key, .. } = &mount.kind else { continue };
        if let Some(path) = made_from {
            let first = *made.entry(key.clone()).or_insert(path);
            if first != path || is_declared.contains(key) {
                cx.push(taken(spot, path, key));
            }
            volumes.entry(key.clone()).or_insert_with(|| volumes::plain(deployment, key));
        }
        if let Some(volume) = volumes.get_mut(key).filter(|volume| !volume.external) {
            let more = labels.iter().map(|(key, value)| (key.clone(), value.clone()));
            volume.labels.extend(more);
        }
    }
    volumes
}

/// Two places must never share one volume because their names happen to look alike.
fn taken(spot: &Spot<MountDraft>, path: &str, key: &str) -> Problem {
    let message = format!("./{path}: would become the volume {key}, which is another one already");
    Problem::new(ErrorCode::BindMountInvalid, spot.place.at, &spot.place.path, message)
}

/// The mounts of one service, with those it copies by `volumes_from`.
pub(super) fn mounts(
    cx: &mut Cx,
    draft: &Draft,
    services: &Services<'_>,
    volumes: &BTreeMap<String, VolumeSpec>,
) -> Vec<Mount> {
    for spot in &draft.mounts {
        check_declared(cx, spot, volumes);
    }
    let mut mounts: Vec<Mount> = draft.mounts.iter().map(|spot| spot.value.mount.clone()).collect();
    let mut targets: BTreeSet<String> = mounts.iter().map(|mount| mount.target.clone()).collect();
    for from in &draft.volumes_from {
        let Some(source) = services.enabled(&from.value.service) else { continue };
        if !cx.expand(&from.place, source.mounts.len()) {
            continue;
        }
        for spot in &source.mounts {
            let mut mount = spot.value.mount.clone();
            mount.read_only |= from.value.read_only;
            if targets.insert(mount.target.clone()) {
                mounts.push(mount);
            }
        }
    }
    mounts
}

fn check_declared(cx: &mut Cx, spot: &Spot<MountDraft>, volumes: &BTreeMap<String, VolumeSpec>) {
    let MountKind::Volume { volume, .. } = &spot.value.mount.kind else { return };
    if volumes.contains_key(volume) {
        return;
    }
    let names: Vec<&str> = volumes.keys().map(String::as_str).take(CANDIDATES_MAX).collect();
    let message = format!("volume \"{volume}\" is not declared{}", listing(&names));
    let Place { at, path } = &spot.place;
    let mut problem = Problem::new(ErrorCode::UnknownVolume, *at, path, message)
        .with("volume", volume)
        .with_declared(&names);
    problem.suggestion = cx.nearest(volume, names);
    cx.push(problem);
}
