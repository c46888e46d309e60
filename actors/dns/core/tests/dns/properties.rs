//! What holds for every cluster and every packet.

use crate::world::{WEB, ask, container, question, raw, scope, service, zones};
use hickory_proto::op::Message;
use hickory_proto::rr::RData;
use jaco_dns_core::{Description, Query, Reply, Transport, Zones, respond_alone};
use jaco_model::DeploymentName;
use jaco_model::entity::Scope;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

const DEPLOYMENTS: [&str; 3] = ["webshop", "ledger", "infra"];
const NETWORKS: [&str; 3] = ["default", "back", "front"];
const SERVICES: [&str; 3] = ["web", "db", "gate"];

/// Containers as (deployment, service, networks, readiness, whether local).
type Drawn = Vec<(usize, usize, u8, u8, bool)>;

fn build(drawn: &Drawn) -> Description {
    let mut services = BTreeMap::new();
    let mut containers = Vec::new();
    for (at, (deployment, name, networks, how, is_local)) in drawn.iter().enumerate() {
        let (deployment, name) = (DEPLOYMENTS[*deployment], SERVICES[*name]);
        let mut seats = Vec::new();
        for (bit, network) in NETWORKS.iter().enumerate() {
            if networks >> bit & 1 == 1 {
                // The front network belongs to one deployment and is shared by all.
                let owner = if *network == "front" { "webshop" } else { deployment };
                seats.push((format!("{owner}/{network}"), format!("10.80.{bit}.{}", at + 2)));
            }
        }
        let how = format!(
            "{}{}",
            ["", "u", "r"][usize::from(*how % 3)],
            if *is_local { "l" } else { "" }
        );
        let seats: Vec<(&str, &str)> =
            seats.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let replica = format!("{deployment}-{name}-{at}");
        containers.push(container(&replica, &seats, &how));
        let key = format!("{deployment}/{name}");
        let names: Vec<&str> = seats.iter().map(|(name, _)| *name).collect();
        let entry = services.entry(key.clone()).or_insert_with(|| service(&key, &[]));
        entry.networks.extend(names.iter().map(|name| (scope(name), Vec::new())));
    }
    Description {
        pool: Some("10.80.0.0/12".parse().unwrap()),
        deployments: DEPLOYMENTS.map(DeploymentName::new).into(),
        services: services.into_values().collect(),
        containers,
        ..Description::default()
    }
}

fn questions(count: usize) -> Vec<String> {
    let mut names = Vec::new();
    for deployment in DEPLOYMENTS {
        for service in SERVICES {
            let replicas = (0..count).map(|at| format!("{deployment}-{service}-{at}"));
            for name in replicas.chain([service.to_owned(), format!("tasks.{service}")]) {
                for suffix in ["", ".jaco.internal"] {
                    names.push(format!("{name}{suffix}"));
                    names.push(format!("{name}.{deployment}{suffix}"));
                }
            }
        }
    }
    names
}

fn drawn() -> impl Strategy<Value = Drawn> {
    proptest::collection::vec((0..3_usize, 0..3_usize, 0..8_u8, 0..3_u8, any::<bool>()), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_answer_has_an_address_of_a_network_that_the_asker_is_not_in(drawn in drawn()) {
        let description = build(&drawn);
        let zones = Zones::build(&description, 1);
        let mut owners: BTreeMap<Ipv4Addr, (&Scope, bool)> = BTreeMap::new();
        for container in &description.containers {
            for (scope, seat) in &container.networks {
                owners.insert(seat.address.unwrap(), (scope, container.is_running));
            }
        }
        for asker in description.containers.iter().filter(|container| container.is_local) {
            let own: BTreeSet<&Scope> = asker.networks.keys().collect();
            let Some(source) = asker.networks.values().find_map(|seat| seat.address) else { continue };
            for name in questions(drawn.len()) {
                let packet = question(&format!("{name} A")).to_vec().unwrap();
                let bytes = match raw(&zones, source, &packet, Transport::Udp).unwrap() {
                    Ok(bytes) => bytes,
                    // Two labels that mean nothing here may mean something to others.
                    Err(_) if name.starts_with("tasks.") && name.matches('.').count() == 1 => continue,
                    Err(forwarded) => panic!("{name} {forwarded}"),
                };
                prop_assert!(bytes.len() < 512);
                for record in Message::from_vec(&bytes).unwrap().answers {
                    let RData::A(address) = record.data else { panic!("{record:?}") };
                    let (scope, is_running) = owners[&address.0];
                    prop_assert!(own.contains(scope), "{name} {address} {scope}");
                    prop_assert!(is_running);
                }
            }
        }
    }

    #[test]
    fn whoever_shares_no_network_does_not_exist(drawn in drawn()) {
        let description = build(&drawn);
        let zones = Zones::build(&description, 1);
        for asker in description.containers.iter().filter(|container| container.is_local) {
            let own: BTreeSet<&Scope> = asker.networks.keys().collect();
            let Some(source) = asker.networks.values().find_map(|seat| seat.address) else { continue };
            for service in &description.services {
                let is_known = service.networks.keys().any(|scope| own.contains(scope));
                let name = format!("{}.{}.jaco.internal", service.name, service.deployment);
                let answer = ask(&zones, source, &format!("{name} A"));
                prop_assert_eq!(answer.starts_with("NOERROR"), is_known, "{} {}", name, answer);
            }
        }
    }

    #[test]
    fn equal_descriptions_give_equal_answers(drawn in drawn(), packet in any_packet()) {
        let description = build(&drawn);
        let answers = |serial| {
            let zones = Zones::build(&description, serial);
            respond_alone(&zones, Ipv4Addr::new(10, 80, 0, 2), &packet, Transport::Udp)
        };
        prop_assert_eq!(answers(5), answers(5));
    }

    #[test]
    fn no_bytes_make_anything_panic(packet in any_packet(), tcp in any::<bool>()) {
        let transport = if tcp { Transport::Tcp } else { Transport::Udp };
        let answer = respond_alone(&zones(), WEB, &packet, transport);
        if let Some(bytes) = answer {
            prop_assert!(tcp || bytes.len() <= 1232);
            prop_assert!(Message::from_vec(&bytes).is_ok(), "{:?}", bytes);
        }
        let probe = Query::probe("x.loop.jaco.internal", 1).unwrap();
        let _ = Reply::read(&probe, &packet, transport);
        let _ = jaco_kit_core::name_servers(&String::from_utf8_lossy(&packet));
    }
}

/// Noise, and questions with noise in them.
fn any_packet() -> impl Strategy<Value = Vec<u8>> {
    let noise = proptest::collection::vec(any::<u8>(), 0..80);
    let base = question("_http._tcp.web.webshop.jaco.internal SRV").to_vec().unwrap();
    let damaged =
        proptest::collection::vec((0..base.len(), any::<u8>()), 0..4).prop_map(move |changes| {
            let mut packet = base.clone();
            for (at, byte) in changes {
                packet[at] = byte;
            }
            packet
        });
    prop_oneof![noise, damaged]
}
