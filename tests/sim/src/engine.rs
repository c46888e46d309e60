//! A Docker Engine in memory: containers, networks and volumes, and what orders do to them. It
//! belongs to a host, not to a daemon: a killed daemon leaves it running.

use crate::clock::START;
use crate::queue::Micros;
use jaco_model::InstanceId;
use jaco_runtime_core::{
    ContainerFacts, ContainerPlan, Endpoint, EngineEvent, EngineFault, NetworkPlan, Observation,
    ObservedNetwork, ObservedVolume,
};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Whether it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Up,
    /// It takes orders and says nothing.
    Hung,
    Down,
}

/// A container and the networks it is in.
#[derive(Clone, Debug)]
struct Container {
    facts: ContainerFacts,
    /// With the address that was asked for.
    networks: Vec<(String, Option<Ipv4Addr>)>,
}

/// The engine of one host.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) mode: Mode,
    containers: BTreeMap<String, Container>,
    networks: BTreeMap<String, ObservedNetwork>,
    volumes: BTreeMap<String, BTreeMap<String, String>>,
    made: u64,
}

pub(crate) type Outcome<T> = Result<T, EngineFault>;

/// A refusal that may pass.
pub(crate) fn refusal(op: &'static str, reason: &str) -> EngineFault {
    EngineFault { op, reason: reason.to_owned(), retry: true }
}

impl Engine {
    pub(crate) fn new() -> Engine {
        Engine {
            mode: Mode::Up,
            containers: BTreeMap::new(),
            networks: BTreeMap::new(),
            volumes: BTreeMap::new(),
            made: 0,
        }
    }

    /// Every container, running or not.
    pub(crate) fn containers(&self) -> impl Iterator<Item = &ContainerFacts> {
        self.containers.values().map(|container| &container.facts)
    }

    pub(crate) fn inspect(&self, id: &str) -> Option<ContainerFacts> {
        self.containers.get(id).map(|container| container.facts.clone())
    }

    pub(crate) fn observe(&self) -> Observation {
        let volume = |(name, labels): (&String, &BTreeMap<String, String>)| ObservedVolume {
            name: name.clone(),
            driver: "local".to_owned(),
            labels: labels.clone(),
        };
        Observation {
            containers: self.containers().cloned().collect(),
            networks: self.networks.values().cloned().collect(),
            volumes: self.volumes.iter().map(volume).collect(),
        }
    }

    pub(crate) fn create(&mut self, plan: &ContainerPlan) -> Outcome<(String, Vec<String>)> {
        let hash = plan.labels.get("jaco.spec_hash").cloned().unwrap_or_default();
        if let Some(held) = self.by_instance(&plan.instance) {
            if !held.never_started || held.spec_hash != hash {
                return Err(refusal("create", "the name is in use"));
            }
            let id = held.id.clone();
            if held.has_addresses_of(plan) {
                return Ok((id, Vec::new()));
            }
            self.containers.remove(&id);
        }
        let endpoint = |e: &Endpoint| (e.network.clone(), e.address);
        let networks: Vec<_> = plan.endpoints.iter().map(endpoint).collect();
        let missing = networks.iter().find(|(name, _)| !self.networks.contains_key(name));
        if let Some((missing, _)) = missing {
            return Err(refusal("create", &format!("network {missing} not found")));
        }
        self.made += 1;
        let id = format!("ctr{}", self.made);
        let facts = ContainerFacts {
            id: id.clone(),
            instance: Some(plan.instance.clone()),
            spec_hash: hash,
            never_started: true,
            fixed_addresses: networks
                .iter()
                .filter_map(|(name, address)| Some((name.clone(), (*address)?.to_string())))
                .collect(),
            ..ContainerFacts::default()
        };
        self.containers.insert(id.clone(), Container { facts, networks });
        Ok((id, Vec::new()))
    }

    pub(crate) fn start(&mut self, id: &str, now: Micros) -> Outcome<Option<EngineEvent>> {
        let made = self.made;
        let Some(Container { facts, networks }) = self.containers.get_mut(id) else {
            return Err(refusal("start", "no such container"));
        };
        if facts.running {
            return Ok(None);
        }
        facts.running = true;
        facts.never_started = false;
        facts.exit_code = None;
        facts.started_at_ms = Some(START + now / 1_000);
        let chosen = format!("10.0.0.{}", made % 250 + 2);
        let address = |(name, asked): &(String, Option<Ipv4Addr>)| {
            (name.clone(), asked.map_or_else(|| chosen.clone(), |asked| asked.to_string()))
        };
        facts.addresses = networks.iter().map(address).collect();
        Ok(Some(EngineEvent::Started))
    }

    /// Ends a container's process.
    pub(crate) fn end(&mut self, id: &str, exit_code: i64) -> Option<EngineEvent> {
        let facts = &mut self.containers.get_mut(id)?.facts;
        if !facts.running {
            return None;
        }
        facts.running = false;
        facts.exit_code = Some(exit_code);
        facts.addresses.clear();
        Some(EngineEvent::Died { exit_code })
    }

    pub(crate) fn remove(&mut self, id: &str) -> Outcome<Option<EngineEvent>> {
        match self.containers.get(id) {
            None => Ok(None),
            Some(container) if container.facts.running => {
                Err(refusal("remove", "the container is running"))
            }
            Some(_) => {
                self.containers.remove(id);
                Ok(Some(EngineEvent::Destroyed))
            }
        }
    }

    pub(crate) fn ensure_network(&mut self, plan: &NetworkPlan) {
        let subnet = plan.bridge.as_ref().map(|bridge| bridge.subnet.to_string());
        let (name, labels) = (plan.name.clone(), plan.labels.clone());
        let subnet = subnet.unwrap_or_default();
        self.networks.entry(name.clone()).or_insert(ObservedNetwork { name, labels, subnet });
    }

    pub(crate) fn ensure_volume(&mut self, name: String, labels: BTreeMap<String, String>) {
        self.volumes.insert(name, labels);
    }

    pub(crate) fn remove_network(&mut self, name: &str) -> Outcome<()> {
        if self.containers.values().any(|c| c.networks.iter().any(|(n, _)| n == name)) {
            return Err(refusal("remove network", "it has active endpoints"));
        }
        self.networks.remove(name);
        Ok(())
    }

    pub(crate) fn remove_volume(&mut self, name: &str) {
        self.volumes.remove(name);
    }

    /// The container of an instance.
    pub(crate) fn by_instance(&self, id: &InstanceId) -> Option<&ContainerFacts> {
        self.containers().find(|facts| facts.instance.as_ref() == Some(id))
    }

    /// Ends every process, as an engine without live restore does when it stops.
    pub(crate) fn end_all(&mut self) {
        let ids: Vec<String> = self.containers.keys().cloned().collect();
        for id in ids {
            self.end(&id, 137);
        }
    }

    /// Forgets everything, as when a node leaves its cluster.
    pub(crate) fn clear(&mut self) {
        *self = Engine { mode: self.mode, made: self.made, ..Engine::new() };
    }
}
