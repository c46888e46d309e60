//! Who asks, and for what.

use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::{Context, Result};
use jaco_dns_core::{Attachment, ContainerEntry, Description, ServiceEntry, Zones};
use jaco_model::DeploymentName;
use jaco_model::entity::Scope;

/// The bridge and its address, where the server answers.
pub(super) const BRIDGE: &str = "jaco-bench";
pub(super) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 84, 0, 1);
/// Length of the bridge's block.
pub(super) const LENGTH: u8 = 22;
/// Containers that ask: 500,000 questions per second may come from them.
pub(super) const CONTAINERS: u16 = 500;
/// Services, each with one replica elsewhere.
const SERVICES: u16 = 100;
const DEPLOYMENT: &str = "webshop";

/// The address of a container that asks.
pub(super) fn container(number: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(GATEWAY.to_bits() + 1 + u32::from(number))
}

/// All names and their addresses.
pub(super) fn hosts() -> impl Iterator<Item = (String, Ipv4Addr)> {
    let address = |number: u16| Ipv4Addr::from_bits(0x0a54_0800 + u32::from(number));
    (0..SERVICES).map(move |number| (format!("{}.{}", service(number), zone()), address(number)))
}

/// The zone that all of them are in.
pub(super) fn zone() -> String {
    format!("{DEPLOYMENT}.jaco.internal")
}

fn service(number: u16) -> String {
    format!("service-{number}")
}

/// A question for each name, with the address that is the right answer.
pub(super) fn questions() -> Result<Vec<(Vec<u8>, Ipv4Addr)>> {
    hosts().map(|(name, address)| Ok((question(&name)?, address))).collect()
}

/// A question of type A with recursion desired and id 0 (RFC 1035, 4.1).
fn question(name: &str) -> Result<Vec<u8>> {
    let mut message = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).context("a long label")?);
        message.extend_from_slice(label.as_bytes());
    }
    message.extend_from_slice(&[0, 0, 1, 0, 1]);
    Ok(message)
}

/// The same names as our responder has them.
pub(super) fn zones() -> Result<Zones> {
    let deployment = DeploymentName::new(DEPLOYMENT);
    let scope = Scope::new(deployment.clone(), "default");
    let entry = |service: String, address: Ipv4Addr, is_local| ContainerEntry {
        replica: format!("{service}-1"),
        deployment: deployment.clone(),
        service,
        networks: [(scope.clone(), Attachment { address: Some(address), aliases: Vec::new() })]
            .into(),
        ports: Vec::new(),
        is_running: true,
        is_ready: true,
        is_local,
        is_lodger: false,
        forwarders: Vec::new(),
    };
    let asking =
        (0..CONTAINERS).map(|number| entry(format!("ask-{number}"), container(number), true));
    let asked = (0..).zip(hosts()).map(|(at, (_, address))| entry(service(at), address, false));
    let containers: Vec<ContainerEntry> = asking.chain(asked).collect();
    let services = containers.iter().map(|container| ServiceEntry {
        deployment: deployment.clone(),
        name: container.service.clone(),
        networks: [(scope.clone(), Vec::new())].into(),
        ports: Vec::new(),
    });
    let description = Description {
        pool: Some("10.80.0.0/12".parse().context("no prefix")?),
        deployments: [deployment.clone()].into(),
        services: services.collect(),
        containers,
        ..Description::default()
    };
    Ok(Zones::build(&description, 1))
}

/// The zones in the form that the responder takes.
pub(super) fn shared_zones() -> Result<Arc<Zones>> {
    zones().map(Arc::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jaco_dns_core::{Transport, respond_alone};

    #[test]
    fn every_question_has_its_answer_from_the_first_and_the_last_container() {
        let zones = zones().unwrap();
        for (question, address) in questions().unwrap() {
            for number in [0, CONTAINERS - 1] {
                let answer = respond_alone(&zones, container(number), &question, Transport::Udp);
                assert!(answer.unwrap().ends_with(&address.octets()));
            }
        }
    }
}
