//! From the words of a question to what is in the state.

use crate::seat::hostname;
use jaco_model::entity::{Instance, Node, Replica};
use jaco_model::name::ANY_HOST;
use jaco_model::suggest::closest;
use jaco_model::view::WhyQuestion;
use jaco_model::{ErrorCode, Fault, InstanceId, NodeId, ReplicaId};
use jaco_state::{State, routed_specs, routes_of_host, shown_instance};
use std::net::Ipv4Addr;

/// A question whose subjects exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Replica(Slot),
    Node(NodeId),
    Name { name: String, from: Slot },
    Path { from: Slot, to: End, port: Option<Port> },
    Route { host: String, path: String },
    Cert { host: String },
}

/// A replica, and which of its instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) replica: ReplicaId,
    /// `None` while it has none.
    pub(crate) instance: Option<InstanceId>,
}

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Slot(Slot),
    Address(Ipv4Addr),
}

/// A port and its protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) number: u16,
    pub(crate) protocol: &'static str,
}

impl Slot {
    /// The instance, as long as it is there.
    pub(crate) fn instance<'s>(&self, state: &'s State) -> Option<&'s Instance> {
        state.instances.get(self.instance.as_ref()?).map(AsRef::as_ref)
    }
}

impl Subject {
    /// Reads a question.
    ///
    /// # Errors
    /// `not_found` with the closest name for what does not exist, `usage` for what is no question.
    pub(crate) fn read(state: &State, question: &WhyQuestion) -> Result<Subject, Fault> {
        let WhyQuestion { subject, node, name, route, cert, from, to } = question;
        match (subject, node, name, route, cert, from, to) {
            (Some(text), None, None, None, None, None, None) => any(state, text),
            (None, Some(text), None, None, None, None, None) => known_node(state, text),
            (None, None, Some(name), None, None, Some(from), None) => {
                let name = name.trim().trim_end_matches('.').to_owned();
                if name.is_empty() {
                    return Err(Fault::new(ErrorCode::Usage, "the name is empty"));
                }
                Ok(Subject::Name { name, from: known_slot(state, from)? })
            }
            (None, None, None, Some(text), None, None, None) => {
                let (host, path) = host_and_path(text)?;
                Ok(Subject::Route { host, path })
            }
            (None, None, None, None, Some(text), None, None) => match host_and_path(text)? {
                (host, path) if path == "/" => Ok(Subject::Cert { host }),
                _ => Err(Fault::new(ErrorCode::Usage, "a certificate is of a domain, not a path")),
            },
            (None, None, None, None, None, Some(from), Some(to)) => path(state, from, to),
            _ => {
                let message = "ask for subject, for node, for route, for cert, for name and from, \
                               or for from and to";
                Err(Fault::new(ErrorCode::Usage, message))
            }
        }
    }
}

/// Takes `https://Shop.Example.com:443/api?x` apart as far as a route is concerned: host and path.
fn host_and_path(text: &str) -> Result<(String, String), Fault> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let rest = rest.unwrap_or(text);
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = host.split(':').next().unwrap_or_default().trim_end_matches('.');
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._*".contains(&byte);
    if host.is_empty() || !host.bytes().all(is_host) {
        let message = format!("\"{host}\" is no domain such as shop.example.com");
        return Err(Fault::new(ErrorCode::Usage, message));
    }
    let path = if path.is_empty() { "/" } else { path };
    Ok((host.to_ascii_lowercase(), path.to_owned()))
}

fn path(state: &State, from: &str, to: &str) -> Result<Subject, Fault> {
    let from = known_slot(state, from)?;
    let (to, port) = split_port(to)?;
    let to = match to.parse::<Ipv4Addr>() {
        Ok(address) => End::Address(address),
        Err(_) => End::Slot(known_slot(state, to)?),
    };
    Ok(Subject::Path { from, to, port })
}

/// Cuts `:<port>[/tcp|/udp]` off.
fn split_port(text: &str) -> Result<(&str, Option<Port>), Fault> {
    let Some((to, port)) = text.split_once(':') else { return Ok((text, None)) };
    let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    let protocol = ["tcp", "udp"].into_iter().find(|known| *known == protocol);
    match (number.parse::<u16>(), protocol) {
        (Ok(number), Some(protocol)) if number > 0 => Ok((to, Some(Port { number, protocol }))),
        _ => {
            let message = format!("\"{port}\" is no port such as 5432, 5432/tcp or 53/udp");
            Err(Fault::new(ErrorCode::Usage, message))
        }
    }
}

/// A replica, else a node, else a domain.
fn any(state: &State, text: &str) -> Result<Subject, Fault> {
    if let Some(slot) = find_slot(state, text) {
        return Ok(Subject::Replica(slot));
    }
    if let Some(node) = find_node(state, text) {
        return Ok(Subject::Node(node.id.clone()));
    }
    if let Ok((host, path)) = host_and_path(text)
        && is_routed(state, text, &host)
    {
        return Ok(Subject::Route { host, path });
    }
    let names = slot_names(state).chain(node_names(state)).chain(domains(state));
    let message = format!("there is no replica, node or domain named \"{text}\"");
    Err(unknown("replica", message, text, names))
}

/// Where any host is routed a word is one only if it says so.
fn is_routed(state: &State, text: &str, host: &str) -> bool {
    let routes = routes_of_host(state, host);
    let is_default = routes.first().is_some_and(|(_, route)| route.domain == ANY_HOST);
    !routes.is_empty() && (!is_default || host == ANY_HOST || text.starts_with("http"))
}

fn known_node(state: &State, text: &str) -> Result<Subject, Fault> {
    match find_node(state, text) {
        Some(node) => Ok(Subject::Node(node.id.clone())),
        None => {
            let message = format!("no member is called \"{text}\"");
            Err(unknown("node", message, text, node_names(state)))
        }
    }
}

fn known_slot(state: &State, text: &str) -> Result<Slot, Fault> {
    find_slot(state, text).ok_or_else(|| {
        let message = format!("there is no replica named \"{text}\"");
        unknown("replica", message, text, slot_names(state))
    })
}

/// A replica, one of its instances, or of a service the replica that serves first.
fn find_slot(state: &State, text: &str) -> Option<Slot> {
    if let Some(replica) = state.replicas.get(text) {
        return Some(slot_of(state, replica));
    }
    if let Ok(id) = text.parse::<InstanceId>() {
        let replica = id.replica.clone();
        return state.instances.contains_key(&id).then_some(Slot { replica, instance: Some(id) });
    }
    let (deployment, service) = text.split_once('/')?;
    let slots = state.replicas.values().filter(|replica| {
        replica.deployment.as_str() == deployment && replica.service.as_str() == service
    });
    let rank = |replica: &&std::sync::Arc<Replica>| {
        let state = shown_instance(state, replica).map(|instance| instance.status.state);
        let best = match state {
            Some(state) if state.is_ready() => 0,
            Some(state) if state.has_process() => 1,
            _ => 2,
        };
        (best, replica.slot.clone())
    };
    slots.min_by_key(rank).map(|replica| slot_of(state, replica))
}

fn slot_of(state: &State, replica: &Replica) -> Slot {
    let instance = shown_instance(state, replica).map(|instance| instance.id.clone());
    Slot { replica: replica.id.clone(), instance }
}

fn find_node<'s>(state: &'s State, text: &str) -> Option<&'s Node> {
    state.nodes.values().map(AsRef::as_ref).find(|node| node.name.as_str() == text)
}

fn slot_names(state: &State) -> impl Iterator<Item = String> {
    state.replicas.keys().map(ToString::to_string)
}

fn node_names(state: &State) -> impl Iterator<Item = String> {
    state.nodes.keys().map(|node| hostname(state, node))
}

/// Domains of all routes.
pub(crate) fn domains(state: &State) -> impl Iterator<Item = String> {
    routed_specs(state).flat_map(|spec| spec.routes.iter().map(|route| route.domain.clone()))
}

fn unknown(kind: &str, message: String, text: &str, names: impl Iterator<Item = String>) -> Fault {
    let fault = Fault::new(ErrorCode::NotFound, message).with("kind", kind).with("name", text);
    let names: Vec<String> = names.collect();
    match closest(text, names.iter().map(String::as_str)) {
        Some(near) => fault.with("suggestion", near),
        None => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_cut_off_or_refused() {
        let port =
            |text| split_port(text).map(|(to, port)| (to, port.map(|p| (p.number, p.protocol))));
        assert_eq!(port("shop-db-0"), Ok(("shop-db-0", None)));
        assert_eq!(port("shop-db-0:5432"), Ok(("shop-db-0", Some((5432, "tcp")))));
        assert_eq!(port("10.80.1.2:53/udp"), Ok(("10.80.1.2", Some((53, "udp")))));
        for bad in ["a:", "a:0", "a:70000", "a:80/icmp", "a:web"] {
            assert_eq!(port(bad).map_err(|fault| fault.code), Err(ErrorCode::Usage), "{bad}");
        }
    }

    #[test]
    fn an_address_as_people_paste_it_is_a_host_and_a_path() {
        for (text, host, path) in [
            ("shop.test", "shop.test", "/"),
            ("Shop.Test./api", "shop.test", "/api"),
            ("https://shop.test:8443/api/v1?x=1#y", "shop.test", "/api/v1"),
            ("*.shop.test", "*.shop.test", "/"),
        ] {
            assert_eq!(host_and_path(text), Ok((host.to_owned(), path.to_owned())), "{text}");
        }
        for text in ["", "/api", "a b", "shöp.test"] {
            assert!(host_and_path(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_question_is_of_one_kind() {
        let state = State::default();
        let text = |text: &str| Some(text.to_owned());
        for question in [
            WhyQuestion::default(),
            WhyQuestion { name: text("db"), ..WhyQuestion::default() },
            WhyQuestion { subject: text("a"), node: text("b"), ..WhyQuestion::default() },
        ] {
            let fault = Subject::read(&state, &question).unwrap_err();
            assert_eq!(fault.code, ErrorCode::Usage, "{question:?}");
        }
        let question = WhyQuestion { subject: text("shop-web-0"), ..WhyQuestion::default() };
        assert_eq!(Subject::read(&state, &question).unwrap_err().code, ErrorCode::NotFound);
    }
}
