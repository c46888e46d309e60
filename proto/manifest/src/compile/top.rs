//! Top-level keys: of the compose file, of its `x-jaco`, and of jaco.yaml.

use super::cx::{Cx, Fields, Item, Spot};
use super::options::{self, Options};
use super::providers::{self, Provider};
use super::routes::{self, Route};
use super::schema::{Schema, c, closed, compose, h, r, s};
use crate::{Problem, Reason};
use jaco_model::{DeploymentName, name};
use std::collections::{BTreeMap, BTreeSet};

/// The compose file.
pub(super) const COMPOSE: Schema = compose(&[
    h("configs"),
    c("include"),
    r("models", "there is no model runner; run the model as a service"),
    h("name"),
    h("networks"),
    h("secrets"),
    h("services"),
    s("version"),
    h("volumes"),
    h("x-jaco"),
]);

macro_rules! cluster_keys {
    ($($own:expr),*) => {
        closed(&[
            $($own,)*
            h("acme"),
            h("acme_dns"),
            h("acme_email"),
            r("compose_service", "no such key; make name equal the compose service"),
            h("deployment"),
            c("environment"),
            h("history"),
            c("profiles"),
            h("routes"),
            h("services"),
        ])
    };
}

const OVERLAY: Schema = cluster_keys!(c("compose"));
const EXTENSION: Schema = cluster_keys!();
/// What jaco.yaml or the top-level `x-jaco` says.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    pub(super) deployment: Option<Spot<String>>,
    pub(super) history: Option<u32>,
    pub(super) routes: Vec<Route>,
    pub(super) services: Vec<(Spot<String>, Options)>,
    /// Providers of DNS-01 by name.
    pub(super) providers: BTreeMap<String, Provider>,
    /// What a route without `tls` gets.
    pub(super) acme: Option<bool>,
    pub(super) acme_email: Option<String>,
}

/// Decodes jaco.yaml.
pub(super) fn decode_overlay(cx: &mut Cx, item: &Item<'_>) -> Cluster {
    let fields = item.map(cx, &OVERLAY);
    decode(cx, &fields)
}

/// Decodes the compose file's own `x-jaco`.
pub(super) fn decode_extension(cx: &mut Cx, compose: &Fields<'_>) -> Cluster {
    let Some(item) = compose.get("x-jaco") else { return Cluster::default() };
    let fields = item.map(cx, &EXTENSION);
    decode(cx, &fields)
}

fn decode(cx: &mut Cx, fields: &Fields<'_>) -> Cluster {
    for key in ["environment", "compose", "profiles"] {
        fields.one_or_more_strings(cx, key);
    }
    let history = fields.int(cx, "history", 1..=100).and_then(|n| u32::try_from(n).ok());
    let mut cluster = Cluster {
        deployment: fields.get("deployment").and_then(|item| Some(item.spot(item.word(cx)?))),
        history,
        routes: routes::decode(cx, fields),
        services: services(cx, fields),
        acme: fields.boolean(cx, "acme"),
        ..Cluster::default()
    };
    cluster.acme_email = email(cx, fields, cluster.acme.unwrap_or(true));
    cluster.providers = providers::decode(cx, fields);
    cluster
}

fn services(cx: &mut Cx, fields: &Fields<'_>) -> Vec<(Spot<String>, Options)> {
    let Some(item) = fields.get("services") else { return Vec::new() };
    let mut services: Vec<(Spot<String>, Options)> = Vec::new();
    let mut seen = BTreeSet::new();
    for entry in item.list(cx) {
        let fields = entry.map(cx, &options::OVERLAY);
        let decoded = options::decode(cx, &fields);
        let Some(item) = fields.require(cx, "name") else { continue };
        let Some(name) = item.word(cx) else { continue };
        if !seen.insert(name.clone()) {
            cx.fail(&item.place, Reason::Conflict, format!("service {name} is listed twice"));
            continue;
        }
        services.push((item.spot(name), decoded));
    }
    services
}

fn email(cx: &mut Cx, fields: &Fields<'_>, acme: bool) -> Option<String> {
    let item = fields.get("acme_email")?;
    let text = item.text(cx)?;
    let shaped = text.split_once('@').is_some_and(|(user, host)| {
        !user.is_empty() && host.contains('.') && !text.contains(char::is_whitespace)
    });
    if acme && !shaped {
        cx.fail(&item.place, Reason::Format, format!("\"{text}\" is not an email address"));
    }
    Some(text.to_owned())
}

/// The deployment's name, and whether it was derived from a directory.
pub(super) fn deployment_name(
    cx: &mut Cx,
    flag: Option<&str>,
    written: Option<&Spot<String>>,
    directory: Option<&str>,
) -> Option<(DeploymentName, bool)> {
    let root = Spot::new(String::new(), &super::cx::Place::default());
    let (text, place) = match (flag, written) {
        (Some(flag), _) => (flag, &root.place),
        (None, Some(written)) => (written.value.as_str(), &written.place),
        (None, None) => {
            let derived = directory.and_then(name::normalise_deployment_name);
            if derived.is_none() {
                let message = "the deployment has no name; write deployment: in jaco.yaml, name: \
                               in the compose file, or pass --name";
                cx.fail(&root.place, Reason::Required, message);
            }
            return derived.map(|name| (name, true));
        }
    };
    if name::is_deployment_name(text) {
        return Some((DeploymentName::new(text), false));
    }
    let message = if name::RESERVED_DEPLOYMENTS.contains(&text) {
        format!("\"{text}\" is a reserved name")
    } else {
        format!(
            "\"{text}\" is not a deployment name: 1 to 40 of a-z, 0-9, - and _, starting and \
             ending with a letter or digit"
        )
    };
    let mut problem = Problem::invalid(place.at, &place.path, Reason::Format, message);
    problem.suggestion = name::normalise_deployment_name(text).map(|name| name.as_str().to_owned());
    cx.push(problem);
    None
}

/// The name to use, by precedence: jaco.yaml, `x-jaco`, then compose's own `name`.
pub(super) fn written_name(
    cx: &mut Cx,
    overlay: &Cluster,
    extension: &Cluster,
    compose: &Fields<'_>,
) -> Option<Spot<String>> {
    let native = compose.get("name").and_then(|item| Some(item.spot(item.word(cx)?)));
    overlay.deployment.clone().or_else(|| extension.deployment.clone()).or(native)
}

/// A v1 compose file has its services at the top level.
pub(super) fn check_v1(cx: &mut Cx, root: &Item<'_>) -> bool {
    let crate::node::Value::Map(entries) = &root.node.value else { return false };
    let looks_like_service =
        |node: &crate::node::Node| node.get("image").is_some() || node.get("build").is_some();
    let v1 = root.node.get("services").is_none()
        && !entries.is_empty()
        && entries.iter().any(|entry| looks_like_service(&entry.value));
    for entry in entries.iter().filter(|entry| v1 && looks_like_service(&entry.value)) {
        let modern = "services:";
        let message = "a service at the top level (v1 file); put it under services:";
        let code = jaco_model::ErrorCode::LegacyComposeField;
        cx.push(
            Problem::new(code, entry.key_at, &entry.key, message).with("modern_equivalent", modern),
        );
    }
    v1
}
