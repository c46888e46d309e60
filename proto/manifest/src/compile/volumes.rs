//! The top level's `volumes`.

use super::cx::{Cx, Fields, Item, Spot};
use super::networks::external;
use super::schema::{Schema, closed, compose, h};
use crate::Reason;
use jaco_model::spec::VolumeSpec;
use jaco_model::{DeploymentName, Millis, name};
use std::collections::BTreeMap;

const VOLUME: Schema =
    compose(&[h("driver"), h("driver_opts"), h("external"), h("labels"), h("name"), h("x-jaco")]);
const EXTENSION: Schema = closed(&[h("grace"), h("on_node_loss"), h("per_replica")]);
/// Default wait before a lost volume is replaced by an empty one.
const RECREATE_GRACE: Millis = Millis::secs(600);

/// Decodes `volumes`.
pub(super) fn decode_declared(
    cx: &mut Cx,
    root: &Fields<'_>,
    deployment: &DeploymentName,
) -> BTreeMap<String, Spot<VolumeSpec>> {
    let mut volumes = BTreeMap::new();
    let Some(item) = root.get("volumes") else { return volumes };
    for (key, place, value) in item.entries(cx) {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if key.is_empty() || !key.chars().all(legal) {
            let message =
                "a volume name may have only letters, digits, dots, dashes and underscores";
            cx.fail(&place, Reason::Format, message);
            continue;
        }
        let volume = declared(cx, key, &value, deployment);
        volumes.insert(key.to_owned(), Spot::new(volume, &place));
    }
    volumes
}

/// The volume of a key that nobody configured.
pub(super) fn plain(deployment: &DeploymentName, key: &str) -> VolumeSpec {
    VolumeSpec {
        name: name::volume_name(deployment, key),
        driver: "local".to_owned(),
        ..VolumeSpec::default()
    }
}

fn declared(cx: &mut Cx, key: &str, item: &Item<'_>, deployment: &DeploymentName) -> VolumeSpec {
    let fields = item.map(cx, &VOLUME);
    let external = fields.get("external").and_then(|item| external(cx, &item));
    let name = fields.word(cx, "name");
    let mut volume = plain(deployment, key);
    if let Some(old_name) = external {
        volume.external = true;
        volume.name = name.or(old_name).unwrap_or_else(|| key.to_owned());
        refuse_creation_options(cx, &fields);
    } else if let Some(name) = name {
        volume.name = name;
    }
    volume.driver = fields.word(cx, "driver").unwrap_or(volume.driver);
    volume.driver_opts = fields.pairs(cx, "driver_opts");
    volume.labels = fields.pairs(cx, "labels");
    decode_extension(cx, &fields, &mut volume);
    volume
}

fn refuse_creation_options(cx: &mut Cx, fields: &Fields<'_>) {
    for key in ["driver", "driver_opts", "labels"] {
        if let Some(item) = fields.get(key) {
            let message = format!("an external volume is never created, {key} has no place here");
            cx.fail(&item.place, Reason::Conflict, message);
        }
    }
}

fn decode_extension(cx: &mut Cx, fields: &Fields<'_>, volume: &mut VolumeSpec) {
    let Some(item) = fields.get("x-jaco") else { return };
    let fields = item.map(cx, &EXTENSION);
    volume.per_replica = fields.boolean(cx, "per_replica").unwrap_or_default();
    let recreate = fields.choice(cx, "on_node_loss", &[("wait", false), ("recreate", true)]);
    let grace = fields.duration(cx, "grace");
    if recreate == Some(true) {
        volume.recreate_after = Some(grace.unwrap_or(RECREATE_GRACE));
    } else if let Some(item) = fields.get("grace") {
        cx.warn(&item.place, "ignored: only on_node_loss: recreate has a grace");
    }
}
