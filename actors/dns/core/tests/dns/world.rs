//! A small cluster, and a way to ask as one of its containers.

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use jaco_dns_core::{
    Attachment, ContainerEntry, Description, Dice, PortName, Response, ServiceEntry, Transport,
    Zones, respond,
};
use jaco_model::DeploymentName;
use jaco_model::entity::Scope;
use jaco_model::spec::Protocol;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// `webshop`, container `web` 0, on the networks `default` and `back`.
pub(crate) const WEB: Ipv4Addr = Ipv4Addr::new(10, 80, 1, 2);
/// `webshop`, container `db` 0, on `back` alone.
pub(crate) const DB: Ipv4Addr = Ipv4Addr::new(10, 80, 2, 3);
/// `ledger`, a container with its own network and `webshop/front`, which is shared.
pub(crate) const LEDGER: Ipv4Addr = Ipv4Addr::new(10, 80, 3, 2);
/// `dev`, a deployment with the name of a top-level domain.
pub(crate) const DEV: Ipv4Addr = Ipv4Addr::new(10, 80, 4, 2);

pub(crate) fn scope(text: &str) -> Scope {
    let (deployment, network) = text.split_once('/').unwrap();
    Scope::new(DeploymentName::new(deployment), network)
}

/// One container: `(replica, networks with addresses, how it is)`, where `how` holds `r` for
/// ready, `u` for running and `l` for local.
pub(crate) fn container(replica: &str, networks: &[(&str, &str)], how: &str) -> ContainerEntry {
    let (service, _) = replica.rsplit_once('-').unwrap();
    let (deployment, service) = service.split_once('-').unwrap();
    let attach = |(name, address): &(&str, &str)| {
        let address = (!address.is_empty()).then(|| address.parse().unwrap());
        (scope(name), Attachment { address, aliases: Vec::new() })
    };
    ContainerEntry {
        replica: replica.to_owned(),
        deployment: DeploymentName::new(deployment),
        service: service.to_owned(),
        networks: networks.iter().map(attach).collect(),
        ports: Vec::new(),
        is_running: how.contains(['r', 'u']),
        is_ready: how.contains('r'),
        is_local: how.contains('l'),
        is_lodger: false,
        forwarders: Vec::new(),
    }
}

pub(crate) fn service(name: &str, networks: &[&str]) -> ServiceEntry {
    let (deployment, name) = name.split_once('/').unwrap();
    ServiceEntry {
        deployment: DeploymentName::new(deployment),
        name: name.to_owned(),
        networks: networks.iter().map(|network| (scope(network), Vec::new())).collect(),
        ports: Vec::new(),
    }
}

fn port(name: &str, protocol: Protocol, port: u16) -> PortName {
    PortName { name: name.to_owned(), protocol, port }
}

pub(crate) fn description() -> Description {
    let mut services = vec![
        service("webshop/web", &["webshop/default", "webshop/back"]),
        service("webshop/db", &["webshop/back"]),
        service("webshop/idle", &["webshop/default"]),
        service("webshop/a.b", &["webshop/default"]),
        service("webshop/gate", &["webshop/front"]),
        service("ledger/gate", &["ledger/default"]),
        service("ledger/book", &["ledger/default", "webshop/front"]),
        service("dev/web", &["dev/default"]),
    ];
    services[0].ports = vec![port("http", Protocol::Tcp, 8080), port("dns", Protocol::Udp, 53)];
    services[1].networks.insert(scope("webshop/back"), vec!["Postgres".into(), "db.main".into()]);
    let mut containers = vec![
        container(
            "webshop-web-0",
            &[("webshop/default", "10.80.1.2"), ("webshop/back", "10.80.2.2")],
            "rl",
        ),
        container(
            "webshop-web-1",
            &[("webshop/default", "10.80.1.66"), ("webshop/back", "10.80.2.66")],
            "r",
        ),
        container("webshop-web-2", &[("webshop/default", "10.80.1.67"), ("webshop/back", "")], "u"),
        container("webshop-web-3", &[("webshop/default", "10.80.1.68")], ""),
        container("webshop-db-0", &[("webshop/back", "10.80.2.3")], "rl"),
        container("webshop-a.b-0", &[("webshop/default", "10.80.1.9")], "r"),
        container("webshop-gate-0", &[("webshop/front", "10.80.5.9")], "r"),
        container("ledger-gate-0", &[("ledger/default", "10.80.3.9")], "r"),
        container(
            "ledger-book-0",
            &[("ledger/default", "10.80.3.2"), ("webshop/front", "10.80.5.2")],
            "rl",
        ),
        container("dev-web-0", &[("dev/default", "10.80.4.2")], "rl"),
    ];
    for web in &mut containers[..4] {
        web.ports.clone_from(&services[0].ports);
    }
    let back = containers[4].networks.get_mut(&scope("webshop/back")).unwrap();
    back.aliases = vec!["Postgres".into(), "db.main".into()];
    containers[9].forwarders = vec!["192.0.2.9:53".parse().unwrap()];
    Description {
        pool: Some("10.80.0.0/12".parse().unwrap()),
        ttl: 5,
        deployments: ["webshop", "ledger", "dev", "idle-one"].map(DeploymentName::new).into(),
        services,
        containers,
    }
}

pub(crate) fn zones() -> Zones {
    Zones::build(&description(), 77)
}

/// A question in the form `name TYPE`.
pub(crate) fn question(text: &str) -> Message {
    let (name, kind) = text.split_once(' ').unwrap();
    let kind = match kind.strip_prefix("TYPE") {
        Some(number) => RecordType::from(number.parse::<u16>().unwrap()),
        None => kind.parse().unwrap(),
    };
    let mut message = Message::new(4_711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    let mut name = Name::from_ascii(name).unwrap();
    name.set_fqdn(true);
    message.add_query(Query::query(name, kind));
    message
}

/// The answer's bytes; `None` for silence, an error for what others are asked about.
pub(crate) fn raw(
    zones: &Zones,
    source: Ipv4Addr,
    packet: &[u8],
    transport: Transport,
) -> Option<Result<Vec<u8>, String>> {
    let mut out = Vec::new();
    match respond(zones, source, packet, transport, &mut Dice::new(1), &mut out) {
        Response::Silence => None,
        Response::Written => Some(Ok(out)),
        Response::Forward(source) => Some(Err(match source.forwarders() {
            Some(list) => format!("forward {list:?}"),
            None => "forward".to_owned(),
        })),
    }
}

/// Asks and tells the answer in one line: code, flags, records in order of their text.
pub(crate) fn ask(zones: &Zones, source: Ipv4Addr, text: &str) -> String {
    let packet = question(text).to_vec().unwrap();
    match raw(zones, source, &packet, Transport::Udp) {
        None => "silence".to_owned(),
        Some(Err(forward)) => forward,
        Some(Ok(bytes)) => tell(&Message::from_vec(&bytes).unwrap()),
    }
}

pub(crate) fn tell(message: &Message) -> String {
    let code = match message.metadata.response_code {
        ResponseCode::NoError => "NOERROR".to_owned(),
        ResponseCode::NXDomain => "NXDOMAIN".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        other => format!("{other:?}"),
    };
    let mut parts = vec![code];
    if message.metadata.truncation {
        parts.push("TC".to_owned());
    }
    let mut sections: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (section, records) in [
        ("answer", &message.answers),
        ("authority", &message.authorities),
        ("extra", &message.additionals),
    ] {
        for record in records {
            let value = match &record.data {
                RData::SOA(soa) => {
                    format!("SOA {} serial={} min={}", record.name, soa.serial, soa.minimum)
                }
                RData::HINFO(info) => format!("HINFO {}", String::from_utf8_lossy(&info.cpu)),
                other if section == "extra" => format!("{} {other}", record.name),
                other => other.to_string(),
            };
            sections.entry(section).or_default().push(format!("{value} ttl={}", record.ttl));
        }
    }
    for (_, mut records) in sections {
        records.sort();
        parts.extend(records);
    }
    parts.join(" | ")
}
