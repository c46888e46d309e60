//! The run of one compilation, in the order of the contract.

use super::admission::{ALLOW_LABEL, gated_fields};
use super::cx::{Cx, Fields, Item, Place, Spot};
use super::mounts::MountContext;
use super::objects::ObjectSource;
use super::options::Options;
use super::providers::Provider;
use super::resolve::{self, World};
use super::route_secrets::RouteSecrets;
use super::service::{self, Draft};
use super::service_index::Services;
use super::top::{self, Cluster};
use super::{
    Input, Outcome, graph, networks, objects, port_checks, route_checks, storage, volumes,
};
use crate::{Problem, Problems, Reason};
use jaco_model::spec::{DeploymentSpec, DnsProvider, NetworkSpec, ServiceSpec};
use jaco_model::{DeploymentName, ErrorCode, ServiceName};
use std::collections::{BTreeMap, BTreeSet};

/// Compiles the documents of one deployment.
pub fn compile(input: &Input<'_>) -> Outcome {
    let mut cx = Cx::default();
    let mut privileged = BTreeMap::new();
    let mut name_derived = false;
    let root = Item::root(input.compose);
    let (mut spec, mut wanted, mut wanted_configs) = (None, BTreeMap::new(), BTreeMap::new());
    if !top::check_v1(&mut cx, &root) {
        let compiled = documents(&mut cx, input, &root);
        name_derived = compiled.name_derived;
        privileged = admit(&mut cx, input, &compiled);
        spec = Some(compiled.spec);
        wanted = compiled.wanted;
        wanted_configs = compiled.wanted_configs;
    }
    Outcome { wanted, wanted_configs, ..finish(cx, input, spec, name_derived, privileged) }
}

struct Compiled {
    spec: DeploymentSpec,
    name_derived: bool,
    places: BTreeMap<ServiceName, Place>,
    wanted: BTreeMap<String, ObjectSource>,
    wanted_configs: BTreeMap<String, ObjectSource>,
}

fn documents(cx: &mut Cx, input: &Input<'_>, root: &Item<'_>) -> Compiled {
    let fields = root.map(cx, &top::COMPOSE);
    refuse_unresolved(cx, input);
    let overlay = input.overlay.map(|node| top::decode_overlay(cx, &Item::root(node)));
    let mut overlay = overlay.unwrap_or_default();
    let mut extension = top::decode_extension(cx, &fields);
    let written = top::written_name(cx, &overlay, &extension, &fields);
    let named = top::deployment_name(cx, input.name, written.as_ref(), input.directory);
    let (name, name_derived) = named.unwrap_or_else(|| (DeploymentName::new("unnamed"), false));
    let declared = networks::decode_declared(cx, &fields);
    let volumes = volumes::decode_declared(cx, &fields, &name);
    let objects = objects::decode_declared(cx, &fields);
    let mut drafts = decode_services(cx, input, &fields);
    merge_options(cx, &mut drafts, &mut overlay, &mut extension, input);
    let routes = route_sources(&mut drafts, &mut overlay, &mut extension, input);
    let services = Services::new(&drafts, &input.disabled);
    let volumes = storage::volumes(cx, &name, volumes, &services);
    let world = World { networks: &declared, volumes: &volumes };
    let mut specs = BTreeMap::new();
    for draft in services.iter() {
        let mounts = storage::mounts(cx, draft, &services, &volumes);
        let mut spec = resolve::resolve(cx, draft, &draft.options, mounts, &world);
        spec.depends_on = graph::dependencies(cx, draft, &services);
        graph::check_joins(cx, draft, &services);
        draft.objects.iter().for_each(|reference| objects.check(cx, reference));
        specs.insert(draft.name.clone(), spec);
    }
    add_link_aliases(&services, &mut specs);
    check_groups(cx, &services, &specs);
    graph::check_cycles(cx, &services);
    let acme = overlay.acme.or(extension.acme).unwrap_or(true);
    let mut secrets = RouteSecrets::new(&input.secrets, &input.configs);
    let routes = route_checks::check(cx, routes, &services, &objects, acme, &mut secrets);
    let acme_dns = providers(cx, &mut overlay, &mut extension, &objects, &mut secrets);
    port_checks::check(cx, &services);
    check_names(cx, &name, &services);
    let places = services.iter().map(|draft| (draft.name.clone(), draft.place.clone())).collect();
    let spec = DeploymentSpec {
        networks: used_networks(declared, &specs),
        services: specs,
        volumes,
        history: overlay.history.or(extension.history),
        routes,
        acme_email: overlay.acme_email.take().or(extension.acme_email.take()),
        acme_dns,
        secrets: secrets.used,
        name,
    };
    let RouteSecrets { wanted, wanted_configs, .. } = secrets;
    Compiled { spec, name_derived, places, wanted, wanted_configs }
}

/// Those of jaco.yaml over those of `x-jaco`, with their secrets taken.
fn providers(
    cx: &mut Cx,
    overlay: &mut Cluster,
    extension: &mut Cluster,
    objects: &objects::Declared,
    secrets: &mut RouteSecrets<'_>,
) -> BTreeMap<String, DnsProvider> {
    let mut all = std::mem::take(&mut extension.providers);
    all.append(&mut overlay.providers);
    let mut providers = BTreeMap::new();
    for (name, Provider { provider, secret }) in all {
        if let Some(secret) = &secret {
            secrets.credentials(cx, objects, secret);
        }
        providers.insert(name, provider);
    }
    providers
}

/// `include`, `env_file` and the like are the client's to resolve.
fn refuse_unresolved(cx: &mut Cx, input: &Input<'_>) {
    let mut leftovers = Problems::default();
    crate::check_resolved(input.compose, &mut leftovers);
    cx.errors.append(&mut leftovers.errors);
}

fn decode_services(cx: &mut Cx, input: &Input<'_>, fields: &Fields<'_>) -> Vec<Draft> {
    let Some(item) = fields.require(cx, "services") else { return Vec::new() };
    let context = MountContext { look: input.look };
    let mut drafts: Vec<Draft> = Vec::new();
    let mut folded: BTreeMap<String, String> = BTreeMap::new();
    for (key, place, value) in item.entries(cx) {
        if let Some(other) = folded.insert(key.to_ascii_lowercase(), key.to_owned()) {
            let message = format!("differs from service {other} only by case");
            cx.fail(&place, Reason::Conflict, message);
        }
        drafts.push(service::decode(cx, key, &place, &value, &context));
    }
    let enabled = drafts.iter().any(|draft| !input.disabled.contains(draft.name.as_str()));
    if !enabled && item.is_map() {
        let message = if input.disabled.is_empty() {
            "at least one service is required"
        } else {
            "every service is disabled by its profiles"
        };
        cx.fail(&item.place, Reason::Required, message);
    }
    drafts
}

/// jaco.yaml over a service's own `x-jaco` over the top-level `x-jaco`.
fn merge_options(
    cx: &mut Cx,
    drafts: &mut [Draft],
    overlay: &mut Cluster,
    extension: &mut Cluster,
    input: &Input<'_>,
) {
    let by_name: BTreeMap<String, usize> =
        drafts.iter().enumerate().map(|(i, draft)| (draft.name.to_string(), i)).collect();
    let mut unknown: Vec<Spot<String>> = Vec::new();
    let mut layer = |drafts: &mut [Draft], list: Vec<(Spot<String>, Options)>, over: bool| {
        for (name, options) in list {
            let target = by_name.get(&name.value).and_then(|index| drafts.get_mut(*index));
            let Some(draft) = target else {
                unknown.push(name);
                continue;
            };
            let own = std::mem::take(&mut draft.options);
            draft.options = if over { options.or(own) } else { own.or(options) };
        }
    };
    layer(drafts, std::mem::take(&mut extension.services), false);
    layer(drafts, std::mem::take(&mut overlay.services), true);
    let services = Services::new(drafts, &input.disabled);
    for name in unknown {
        graph::unknown_service(cx, &name.value, &name.place, &services);
    }
}

/// Routes by source, the strongest first.
fn route_sources(
    drafts: &mut [Draft],
    overlay: &mut Cluster,
    extension: &mut Cluster,
    input: &Input<'_>,
) -> Vec<route_checks::Source> {
    let own = drafts
        .iter_mut()
        .filter(|draft| !input.disabled.contains(draft.name.as_str()))
        .flat_map(|draft| std::mem::take(&mut draft.routes))
        .collect();
    vec![std::mem::take(&mut overlay.routes), own, std::mem::take(&mut extension.routes)]
}

/// `links: [db:database]` gives db one more name on the networks that both are on.
fn add_link_aliases(services: &Services<'_>, specs: &mut BTreeMap<ServiceName, ServiceSpec>) {
    let mut aliases: BTreeMap<&ServiceName, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for draft in services.iter() {
        let Some(own) = specs.get(&draft.name) else { continue };
        for link in &draft.links {
            let Some(alias) = &link.value.alias else { continue };
            let named = aliases.entry(&link.value.service).or_default();
            for attachment in &own.container.networks {
                named.entry(attachment.network.clone()).or_default().insert(alias.clone());
            }
        }
    }
    for (service, mut by_network) in aliases {
        let Some(target) = specs.get_mut(service) else { continue };
        for attachment in &mut target.container.networks {
            let mut names = by_network.remove(&attachment.network).unwrap_or_default();
            names.extend(attachment.aliases.drain(..));
            attachment.aliases = names.into_iter().collect();
        }
    }
}

/// Services that share a namespace live on one node, so they must agree on where that is.
fn check_groups(cx: &mut Cx, services: &Services<'_>, specs: &BTreeMap<ServiceName, ServiceSpec>) {
    for draft in services.iter() {
        for join in &draft.joins {
            let (Some(own), Some(other)) = (specs.get(&draft.name), specs.get(&join.value.service))
            else {
                continue;
            };
            let field = join.value.field;
            let fault = if own.mode != other.mode {
                Some("as many replicas")
            } else if own.placement != Default::default() && own.placement != other.placement {
                Some("the same placement")
            } else {
                None
            };
            if let Some(what) = fault {
                let message = format!("{field} needs {what} as {}", other.name);
                cx.fail(&join.place, Reason::Conflict, message);
            }
        }
    }
}

fn check_names(cx: &mut Cx, deployment: &DeploymentName, services: &Services<'_>) {
    for draft in services.iter() {
        let id = jaco_model::name::replica_id(deployment, &draft.name, 0);
        if id.as_str().len() > 63 {
            cx.warn(&draft.place, format!("replica {id} is too long for a DNS name of its own"));
        }
    }
}

/// Declared networks, and the implicit one if a service is on it.
fn used_networks(
    declared: BTreeMap<String, Spot<NetworkSpec>>,
    specs: &BTreeMap<ServiceName, ServiceSpec>,
) -> BTreeMap<String, NetworkSpec> {
    let mut networks: BTreeMap<String, NetworkSpec> =
        declared.into_iter().map(|(key, spot)| (key, spot.value)).collect();
    let on_default = specs.values().flat_map(|spec| &spec.container.networks);
    if on_default.into_iter().any(|attachment| attachment.network == networks::DEFAULT) {
        networks.entry(networks::DEFAULT.to_owned()).or_default();
    }
    networks
}

/// The label half of admission; the token half is the server's.
fn admit(
    cx: &mut Cx,
    input: &Input<'_>,
    compiled: &Compiled,
) -> BTreeMap<ServiceName, Vec<String>> {
    let mut privileged = BTreeMap::new();
    let spec = &compiled.spec;
    for (name, service) in &spec.services {
        let fields = gated_fields(service, &spec.volumes, &input.bind_paths);
        if fields.is_empty() {
            continue;
        }
        let label = service.container.labels.get(ALLOW_LABEL).map(String::as_str);
        if label != Some("true") {
            let place = compiled.places.get(name).cloned().unwrap_or_default();
            let list = fields.join(", ");
            let message = format!("needs the label {ALLOW_LABEL}: \"true\" for {list}");
            cx.push(
                Problem::new(ErrorCode::PrivilegedRequired, place.at, &place.path, message)
                    .with("service", name)
                    .with("fields", &list)
                    .with("needs", "label"),
            );
        }
        privileged.insert(name.clone(), fields);
    }
    privileged
}

fn finish(
    cx: Cx,
    input: &Input<'_>,
    spec: Option<DeploymentSpec>,
    name_derived: bool,
    privileged: BTreeMap<ServiceName, Vec<String>>,
) -> Outcome {
    let Cx { errors, warnings, mut later, mut fields, .. } = cx;
    let mut problems = Problems { files: input.files.clone(), errors, warnings };
    problems.finish();
    later.sort_by(|a, b| (a.at, &a.path, &a.message).cmp(&(b.at, &b.path, &b.message)));
    later.dedup();
    fields.sort_by(|a, b| (a.at, &a.path).cmp(&(b.at, &b.path)));
    fields.dedup();
    Outcome {
        spec: spec.filter(|_| problems.errors.is_empty()),
        name_derived,
        problems,
        fields,
        not_in_version: later,
        wanted: BTreeMap::new(),
        wanted_configs: BTreeMap::new(),
        privileged,
    }
}
