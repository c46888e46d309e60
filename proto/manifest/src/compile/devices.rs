//! Host devices and devices asked for by capability.

use super::cx::{Cx, Fields, Item};
use super::schema::{Schema, compose, h};
use crate::Reason;
use jaco_model::spec::{DeviceMapping, DeviceRequest, Resources};

const DEVICE: Schema = compose(&[h("permissions"), h("source"), h("target")]);
const REQUEST: Schema =
    compose(&[h("capabilities"), h("count"), h("device_ids"), h("driver"), h("options")]);

/// Adds `devices` and `gpus` of a service.
pub(super) fn decode(cx: &mut Cx, fields: &Fields<'_>, resources: &mut Resources) {
    if let Some(item) = fields.get("devices") {
        for device in item.list(cx) {
            decode_device(cx, &device, resources);
        }
    }
    if let Some(item) = fields.get("gpus") {
        resources.device_requests.extend(gpus(cx, &item));
    }
}

fn decode_device(cx: &mut Cx, item: &Item<'_>, resources: &mut Resources) {
    if !item.is_map() {
        let Some(text) = item.word(cx) else { return };
        if !text.starts_with('/') && text.contains('=') {
            return resources.device_requests.push(DeviceRequest {
                driver: Some("cdi".to_owned()),
                device_ids: vec![text],
                ..DeviceRequest::default()
            });
        }
        return resources.devices.extend(short(cx, item, &text));
    }
    let fields = item.map(cx, &DEVICE);
    let Some(source) = fields.require(cx, "source").and_then(|item| item.word(cx)) else { return };
    let target = fields.word(cx, "target").unwrap_or_else(|| source.clone());
    let permissions = fields.word(cx, "permissions").unwrap_or_else(|| "rwm".to_owned());
    resources.devices.extend(mapping(cx, item, source, target, permissions));
}

/// `/dev/host[:/dev/container][:rwm]`.
fn short(cx: &mut Cx, item: &Item<'_>, text: &str) -> Option<DeviceMapping> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, permissions) = match parts.as_slice() {
        [source] => (*source, *source, "rwm"),
        [source, second] if second.starts_with('/') => (*source, *second, "rwm"),
        [source, second] => (*source, *source, *second),
        [source, target, permissions] => (*source, *target, *permissions),
        _ => ("", "", ""),
    };
    mapping(cx, item, source.to_owned(), target.to_owned(), permissions.to_owned())
}

fn mapping(
    cx: &mut Cx,
    item: &Item<'_>,
    source: String,
    target: String,
    permissions: String,
) -> Option<DeviceMapping> {
    let paths = source.starts_with('/') && target.starts_with('/');
    let known = !permissions.is_empty() && permissions.chars().all(|c| "rwm".contains(c));
    if !paths || !known {
        let message = "expected /dev/host[:/dev/container][:rwm]";
        cx.fail(&item.place, Reason::Format, message);
        return None;
    }
    Some(DeviceMapping { source, target, permissions })
}

/// `all`, or a list of requests whose capability is `gpu` unless given.
fn gpus(cx: &mut Cx, item: &Item<'_>) -> Vec<DeviceRequest> {
    if item.is_scalar() {
        let all = DeviceRequest {
            count: Some(-1),
            capabilities: vec!["gpu".to_owned()],
            ..DeviceRequest::default()
        };
        return item.choice(cx, &[("all", ())]).map(|()| all).into_iter().collect();
    }
    let mut requests: Vec<_> = item.list(cx).iter().map(|item| request(cx, item)).collect();
    for request in requests.iter_mut().filter(|request| request.capabilities.is_empty()) {
        request.capabilities.push("gpu".to_owned());
    }
    requests
}

/// One request of `gpus` or `deploy.resources.reservations.devices`.
pub(super) fn request(cx: &mut Cx, item: &Item<'_>) -> DeviceRequest {
    let fields = item.map(cx, &REQUEST);
    let device_ids = fields.strings(cx, "device_ids");
    let count = fields.get("count").and_then(|item| count(cx, &item));
    if count.is_some() && !device_ids.is_empty() {
        cx.fail(&item.place, Reason::Conflict, "count and device_ids exclude each other");
    }
    DeviceRequest {
        driver: fields.word(cx, "driver"),
        count: count.or(device_ids.is_empty().then_some(-1)),
        device_ids,
        capabilities: fields.strings(cx, "capabilities"),
        options: fields.pairs(cx, "options"),
    }
}

fn count(cx: &mut Cx, item: &Item<'_>) -> Option<i64> {
    if item.text(cx)? == "all" { Some(-1) } else { item.int(cx, 1..=1024) }
}
