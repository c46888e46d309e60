//! Routes: which requests go to which port of which service.

use super::cx::{Cx, Fields, Item, Spot};
use super::route_options;
use super::schema::{Key, Schema, closed, h, r};
use crate::{Problem, Reason};
use jaco_model::spec::{
    Challenge, RouteOptions, RouteSpec, RouteTarget, TlsMode, UpstreamProtocol,
};
use jaco_model::{DeploymentName, ServiceName, name};
use std::collections::BTreeSet;

const ROUTE: &[Key] = &[
    h("access_log"),
    h("acme_passthrough"),
    h("basic_auth"),
    h("body_limit"),
    h("challenge"),
    r("compose_service", "no such key; make service equal the compose service"),
    h("compress"),
    h("domain"),
    h("error_pages"),
    h("headers"),
    h("host_header"),
    h("hsts"),
    h("https_redirect"),
    h("ip_allow"),
    h("ip_deny"),
    h("lb"),
    h("maintenance"),
    h("max_concurrent"),
    h("methods"),
    h("path"),
    h("port"),
    h("rate_limit"),
    h("redirect"),
    h("service"),
    h("shared_with"),
    h("sticky"),
    h("strip_path"),
    h("timeouts"),
    h("tls"),
    h("tls_pending"),
    h("upstream_protocol"),
    h("verify"),
];
const SCHEMA: Schema = closed(ROUTE);

/// What other routes and services are checked against.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) domain: Spot<String>,
    pub(super) path: Spot<String>,
    pub(super) service: Option<Spot<ServiceName>>,
    pub(super) tls: Option<Spot<String>>,
    pub(super) port: Option<u16>,
    /// `None` takes what the service says of the port.
    pub(super) protocol: Option<UpstreamProtocol>,
    pub(super) verify: bool,
    pub(super) challenge: Challenge,
    pub(super) shared_with: BTreeSet<DeploymentName>,
    pub(super) options: RouteOptions,
    /// The secret with names and passwords.
    pub(super) password_file: Option<Spot<String>>,
    /// Names of the configs with the pages of some statuses.
    pub(super) pages: Vec<(u16, Spot<String>)>,
}

impl Route {
    /// The secret with its own certificate.
    pub(super) fn certificate(&self) -> Option<&Spot<String>> {
        self.tls.as_ref().filter(|tls| !matches!(tls.value.as_str(), "auto" | "off"))
    }

    /// What the proxy gets. `acme` says what a route without `tls` means.
    pub(super) fn spec(&self, acme: bool) -> RouteSpec {
        let tls = match self.tls.as_ref().map(|tls| tls.value.as_str()) {
            Some("auto") => TlsMode::Auto,
            Some("off") => TlsMode::Off,
            Some(secret) => TlsMode::Own(secret.to_owned()),
            None if acme => TlsMode::Auto,
            None => TlsMode::Off,
        };
        let target = self.service.as_ref().zip(self.port).map(|(service, port)| RouteTarget {
            service: service.value.clone(),
            port,
            protocol: self.protocol.unwrap_or_default(),
            verify: self.verify,
        });
        let mut options = self.options.clone();
        if let Some(auth) = options.basic_auth.as_mut().filter(|auth| auth.realm.is_empty()) {
            auth.realm.clone_from(&self.domain.value);
        }
        if let Some(sticky) = options.sticky.as_mut().filter(|sticky| sticky.cookie.is_empty()) {
            sticky.cookie = cookie_name(&self.domain.value, &self.path.value);
        }
        RouteSpec {
            domain: self.domain.value.clone(),
            path: self.path.value.clone(),
            target,
            challenge: match tls {
                TlsMode::Auto => self.challenge.clone(),
                TlsMode::Off | TlsMode::Own(_) => Challenge::Http,
            },
            tls,
            shared_with: self.shared_with.clone(),
            options,
        }
    }
}

/// Decodes the `routes` of jaco.yaml or of the top-level `x-jaco`.
pub(super) fn decode(cx: &mut Cx, fields: &Fields<'_>) -> Vec<Route> {
    let Some(item) = fields.get("routes") else { return Vec::new() };
    item.list(cx).iter().filter_map(|item| route(cx, item, None)).collect()
}

/// Decodes the `routes` of a service's own `x-jaco`, which name no service.
pub(super) fn decode_of_service(
    cx: &mut Cx,
    fields: &Fields<'_>,
    service: &ServiceName,
) -> Vec<Route> {
    let Some(item) = fields.get("routes") else { return Vec::new() };
    item.list(cx).iter().filter_map(|item| route(cx, item, Some(service))).collect()
}

fn route(cx: &mut Cx, item: &Item<'_>, owner: Option<&ServiceName>) -> Option<Route> {
    let fields = item.map(cx, &SCHEMA);
    let named = fields.get("service");
    if let (Some(_), Some(item)) = (owner, &named) {
        let message = "a route inside a service belongs to that service; leave service out";
        cx.fail(&item.place, Reason::Conflict, message);
    }
    let service = match owner {
        Some(owner) => Some(item.spot(owner.clone())),
        None => named.as_ref().and_then(|item| Some(item.spot(ServiceName::new(item.word(cx)?)))),
    };
    let decoded = route_options::decode(cx, &fields);
    let port = check_target(cx, &fields, service.is_some() || named.is_some(), decoded.answers);
    let domain_item = fields.require(cx, "domain")?;
    let domain = domain(cx, &domain_item)?;
    let path = fields.get("path");
    let path_text = match &path {
        Some(item) => route_path(cx, item)?,
        None => String::new(),
    };
    let challenge = challenge(cx, &fields, &domain);
    let tls = tls(cx, &fields, &domain, &domain_item);
    let shared_with = shared_with(cx, &fields);
    let route = Route {
        path: Spot::new(path_text, path.as_ref().map_or(&item.place, |item| &item.place)),
        service,
        tls,
        domain: domain_item.spot(domain),
        port,
        protocol: decoded.protocol,
        verify: decoded.verify,
        challenge,
        shared_with,
        options: decoded.options,
        password_file: decoded.password_file,
        pages: decoded.pages,
    };
    check_redirect_loop(cx, &fields, &route);
    Some(route)
}

/// A route leads to a port of a service, or answers by itself.
fn check_target(cx: &mut Cx, fields: &Fields<'_>, has_service: bool, answers: bool) -> Option<u16> {
    let port = fields.get("port");
    let number = port.as_ref().and_then(|item| item.port(cx));
    if answers {
        return number;
    }
    for (key, there) in [("service", has_service), ("port", port.is_some())] {
        if !there {
            let message = format!("{key} is required unless redirect or maintenance: true is set");
            cx.fail(&fields.place, Reason::Required, message);
        }
    }
    number
}

/// Deployments that may add to this domain.
fn shared_with(cx: &mut Cx, fields: &Fields<'_>) -> BTreeSet<DeploymentName> {
    let mut made = BTreeSet::new();
    for entry in fields.get("shared_with").map(|item| item.list(cx)).unwrap_or_default() {
        let Some(text) = entry.word(cx) else { continue };
        if name::is_deployment_name(&text) {
            made.insert(DeploymentName::new(text));
        } else {
            let message = format!("\"{text}\" is not a deployment name");
            cx.fail(&entry.place, Reason::Format, message);
        }
    }
    made
}

/// No certificate is for every name.
fn tls(cx: &mut Cx, fields: &Fields<'_>, domain: &str, of: &Item<'_>) -> Option<Spot<String>> {
    let said = fields.get("tls").and_then(|item| Some(item.spot(item.word(cx)?)));
    if domain != name::ANY_HOST {
        return said;
    }
    if let Some(tls) = said.as_ref().filter(|tls| tls.value != "off") {
        let message = "a route for any host has no certificate; leave tls out";
        cx.fail(&tls.place, Reason::Conflict, message);
    }
    Some(of.spot("off".to_owned()))
}

/// Lower case, no trailing dot, one leftmost wildcard at most.
fn domain(cx: &mut Cx, item: &Item<'_>) -> Option<String> {
    let text = item.word(cx)?;
    let lower = text.to_lowercase();
    let domain = lower.trim_end_matches('.');
    let fault = domain_fault(domain);
    if let Some(fault) = fault {
        cx.fail(&item.place, Reason::Format, format!("\"{text}\" is not a domain: {fault}"));
        return None;
    }
    Some(domain.to_owned())
}

fn domain_fault(domain: &str) -> Option<&'static str> {
    if domain.contains("://") {
        return Some("leave the scheme out");
    }
    if domain.contains('/') {
        return Some("a path goes into path");
    }
    if domain.parse::<std::net::IpAddr>().is_ok() {
        return Some("an address has no certificate");
    }
    if domain.contains(':') {
        return Some("leave the port out");
    }
    if !domain.is_ascii() {
        return Some("write an international name in its ASCII form, xn--…");
    }
    if domain == name::ANY_HOST {
        return None;
    }
    let bare = domain.strip_prefix("*.").unwrap_or(domain);
    if bare.contains('*') {
        return Some("only the leftmost label may be a wildcard");
    }
    let label = |label: &str| {
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        (1..=63).contains(&label.len())
            && label.chars().all(legal)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if bare.len() > 253 || !bare.split('.').all(label) {
        return Some("each label has 1 to 63 letters, digits or dashes");
    }
    (!bare.contains('.')).then_some("it needs at least two labels")
}

/// An absolute prefix without query and `..`; `/` is the catch-all.
fn route_path(cx: &mut Cx, item: &Item<'_>) -> Option<String> {
    let text = item.text(cx)?;
    let fault = if !text.is_empty() && !text.starts_with('/') {
        Some("starts with /")
    } else if text.contains(['?', '#']) {
        Some("has no query")
    } else if text.split('/').any(|part| part == "..") {
        Some("has no ..")
    } else {
        None
    };
    if let Some(fault) = fault {
        cx.fail(&item.place, Reason::Format, format!("a path {fault}, got \"{text}\""));
        return None;
    }
    Some(text.trim_end_matches('/').to_owned())
}

/// How the authority checks the domain: a wildcard by DNS, others by HTTP where nothing is said. A
/// provider without a name is the only one that there is.
fn challenge(cx: &mut Cx, fields: &Fields<'_>, domain: &str) -> Challenge {
    let is_wildcard = domain.starts_with("*.");
    let unsaid = if is_wildcard { Challenge::Dns(String::new()) } else { Challenge::Http };
    let Some(item) = fields.get("challenge") else { return unsaid };
    let Some(text) = item.word(cx) else { return unsaid };
    match text.as_str() {
        "http" if is_wildcard => {
            cx.fail(&item.place, Reason::Conflict, "a wildcard certificate needs challenge dns");
            unsaid
        }
        "http" => Challenge::Http,
        "dns" => Challenge::Dns(String::new()),
        other => match other.strip_prefix("dns:").filter(|name| !name.is_empty()) {
            Some(name) => Challenge::Dns(name.to_owned()),
            None => {
                cx.unknown_word(&item.place, &text, &["http", "dns", "dns:<provider>"]);
                unsaid
            }
        },
    }
}

fn check_redirect_loop(cx: &mut Cx, fields: &Fields<'_>, route: &Route) {
    let Some(item) = fields.get("redirect") else { return };
    let to = if item.is_map() { item.node.get("to") } else { Some(item.node) };
    let Some(crate::node::Value::Scalar { text, .. }) = to.map(|node| &node.value) else { return };
    let here = format!("{}{}", route.domain.value, route.path.value);
    let there = text.trim_start_matches("https://").trim_end_matches('/');
    if there == here {
        let message = format!("{text} leads back to this route");
        let place = &item.place;
        cx.push(Problem::invalid(place.at, &place.path, Reason::Conflict, message));
    }
}

/// The name of a route's cookie, another one for each route: routes of one domain see the cookies
/// of each other. Letters that a name may not have are escaped.
fn cookie_name(domain: &str, path: &str) -> String {
    let mut name = "jaco_lb_".to_owned();
    for byte in domain.bytes().chain(path.bytes()) {
        match byte {
            b'/' => name.push('~'),
            _ if byte.is_ascii_alphanumeric() || b".-_*".contains(&byte) => {
                name.push(char::from(byte));
            }
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::route_headers::is_token;
    use std::collections::BTreeSet;

    #[test]
    fn every_route_has_a_cookie_of_its_own() {
        let routes = [
            ("a.b", ""),
            ("a.b", "/x"),
            ("a.b", "/x_y"),
            ("a.b", "/x/y"),
            ("*.b", ""),
            ("a.b", "/~"),
            ("a.b", "/%7E"),
            ("a.b", "/ä;="),
        ];
        let names: BTreeSet<String> = routes.iter().map(|(d, p)| cookie_name(d, p)).collect();
        assert_eq!(names.len(), routes.len());
        assert!(names.iter().all(|name| is_token(name)), "{names:?}");
        assert!(names.contains("jaco_lb_a.b~x_y"));
    }
}
