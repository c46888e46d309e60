//! One compose service: a draft that still knows where each cross-checked part was written.

use super::cx::{Cx, Fields, Item, Place, Spot};
use super::deploy::Deploy;
use super::mounts::{MountContext, MountDraft};
use super::options::Options;
use super::routes::Route;
use super::service_keys::{BUILD, SERVICE};
use super::{container, depends, deploy, health, mounts, networks, objects, options, ports};
use super::{resources, routes, security};
use crate::Reason;
use jaco_model::ServiceName;
use jaco_model::spec::{ContainerSpec, Dependency, NetworkAttachment, PortSpec, RestartPolicy};

/// A service after decoding, before defaults and cross checks.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) name: ServiceName,
    pub(super) place: Place,
    /// Everything that needs no other part of the file.
    pub(super) container: ContainerSpec,
    pub(super) networks: Vec<Spot<NetworkAttachment>>,
    /// `network_mode`, `ipc` and `pid` with `service:<name>`.
    pub(super) joins: Vec<Spot<Join>>,
    pub(super) mac_address_at: Option<Place>,
    pub(super) mounts: Vec<Spot<MountDraft>>,
    pub(super) volumes_from: Vec<Spot<VolumesFrom>>,
    pub(super) ports: Vec<Spot<PortSpec>>,
    pub(super) depends_on: Vec<Spot<Dependency>>,
    pub(super) links: Vec<Spot<Link>>,
    pub(super) objects: Vec<Spot<objects::Reference>>,
    pub(super) deploy: Deploy,
    pub(super) scale: Option<Spot<u32>>,
    pub(super) restart: Option<RestartPolicy>,
    pub(super) options: Options,
    pub(super) routes: Vec<Route>,
    pub(super) container_name: Option<String>,
}

/// A namespace shared with a replica of another service.
#[derive(Clone, Debug)]
pub(super) struct Join {
    pub(super) field: &'static str,
    pub(super) service: ServiceName,
}

/// One entry of `volumes_from`.
#[derive(Clone, Debug)]
pub(super) struct VolumesFrom {
    pub(super) service: ServiceName,
    pub(super) read_only: bool,
}

/// One entry of `links`.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) service: ServiceName,
    pub(super) alias: Option<String>,
}

/// Decodes one entry of `services`.
pub(super) fn decode(
    cx: &mut Cx,
    key: &str,
    key_place: &Place,
    item: &Item<'_>,
    mount_context: &MountContext<'_>,
) -> Draft {
    check_name(cx, key, key_place);
    let name = ServiceName::new(key);
    let fields = item.map(cx, &SERVICE);
    check_image(cx, key_place, &fields, item.is_map() || item.node.is_null());
    let mut joins = Vec::new();
    let deploy = deploy::decode(cx, &fields);
    let mut container = container::decode(cx, &fields);
    container.resources = resources::decode(cx, &fields, &deploy);
    container.security = security::decode(cx, &fields, &mut joins);
    container.network_mode = networks::decode_mode(cx, &fields, &mut joins);
    container.healthcheck = health::decode(cx, &fields);
    let (cluster, service_routes) = cluster_part(cx, &name, &fields);
    Draft {
        networks: networks::decode_attachments(cx, &fields),
        joins,
        mac_address_at: fields.get("mac_address").map(|item| item.place),
        mounts: mounts::decode(cx, &fields, mount_context),
        volumes_from: mounts::decode_volumes_from(cx, &fields),
        ports: ports::decode(cx, &fields),
        depends_on: depends::decode(cx, &fields),
        links: depends::decode_links(cx, &fields),
        objects: objects::decode_references(cx, &fields),
        deploy,
        scale: fields.get("scale").and_then(|item| Some(item.spot(item.count(cx, 0)?))),
        restart: deploy::decode_restart(cx, &fields),
        options: cluster,
        routes: service_routes,
        container_name: fields.word(cx, "container_name"),
        container,
        name,
        place: key_place.clone(),
    }
}

fn cluster_part(cx: &mut Cx, name: &ServiceName, fields: &Fields<'_>) -> (Options, Vec<Route>) {
    let Some(extension) = fields.get("x-jaco") else {
        return (Options::default(), Vec::new());
    };
    let extension = extension.map(cx, &options::EXTENSION);
    let decoded = options::decode(cx, &extension);
    (decoded, routes::decode_of_service(cx, &extension, name))
}

/// `[a-zA-Z0-9._-]+`, at most 63 characters.
fn check_name(cx: &mut Cx, name: &str, place: &Place) {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || !name.chars().all(legal) {
        let message = "a service name may have only letters, digits, dots, dashes and underscores";
        return cx.fail(place, Reason::Format, message);
    }
    if name.len() > 63 {
        let message = format!("a service name has at most 63 characters, this has {}", name.len());
        return cx.fail(place, Reason::Range, message);
    }
    if name.contains('.') {
        cx.warn(place, "a dot in a service name is ambiguous in DNS");
    }
}

fn check_image(cx: &mut Cx, place: &Place, fields: &Fields<'_>, is_map: bool) {
    if let Some(build) = fields.get("build").filter(Item::is_map) {
        build.map(cx, &BUILD);
    }
    if fields.has("image") || !is_map {
        return;
    }
    let Some(build) = fields.get("build") else {
        return cx.fail(place, Reason::Required, "image is required");
    };
    let message = "not supported: images are never built here; build it, `jaco image push` it, \
                   and name it in image";
    cx.fail(&build.place, Reason::Unsupported, message);
}
