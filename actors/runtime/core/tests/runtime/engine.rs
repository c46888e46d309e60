//! An engine in memory: containers, networks and volumes, and what orders do to them.

use crate::fixture::{CLUSTER, START};
use jaco_model::InstanceId;
use jaco_model::spec::ServiceSpec;
use jaco_runtime_core::{
    BridgePlan, ContainerFacts, ContainerPlan, Endpoint, EngineEvent, EngineFault, Health,
    NetworkPlan, Observation, ObservedNetwork, ObservedVolume,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// One container.
#[derive(Clone, Debug)]
pub(crate) struct FakeContainer {
    pub(crate) facts: ContainerFacts,
    /// Whether it carries our cluster's id.
    pub(crate) ours: bool,
    has_check: bool,
    networks: Vec<(String, Option<Ipv4Addr>)>,
    /// A network it was made with is gone, and one of the same name is another.
    stranded: bool,
}

impl FakeContainer {
    /// Whether it is in a network.
    pub(crate) fn is_in(&self, network: &str) -> bool {
        self.networks.iter().any(|(name, _)| name == network)
    }
}

/// The engine; it does what it is told at once, the world adds time and faults.
#[derive(Debug, Default)]
pub(crate) struct FakeEngine {
    pub(crate) containers: BTreeMap<String, FakeContainer>,
    pub(crate) networks: BTreeMap<String, ObservedNetwork>,
    /// Options of networks.
    pub(crate) options: BTreeMap<String, BTreeMap<String, String>>,
    pub(crate) volumes: BTreeMap<String, BTreeMap<String, String>>,
    next: u32,
}

pub(crate) type Outcome<T> = Result<T, EngineFault>;

/// A refusal that may pass.
pub(crate) fn refusal(op: &'static str, reason: &str) -> EngineFault {
    EngineFault { op, reason: reason.to_owned(), retry: true }
}

impl FakeEngine {
    pub(crate) fn observe(&self) -> Observation {
        let ours = self.containers.values().filter(|container| container.ours);
        let volume = |(name, labels): (&String, &BTreeMap<String, String>)| ObservedVolume {
            name: name.clone(),
            driver: "local".to_owned(),
            labels: labels.clone(),
        };
        Observation {
            containers: ours.map(|container| container.facts.clone()).collect(),
            networks: self
                .networks
                .values()
                .filter(|network| network.labels.contains_key("jaco.cluster_id"))
                .cloned()
                .collect(),
            volumes: self.volumes.iter().map(volume).collect(),
        }
    }

    pub(crate) fn create(&mut self, plan: &ContainerPlan) -> Outcome<(String, Vec<String>)> {
        let labels = &plan.labels;
        assert_eq!(labels.get("jaco.cluster_id").map(String::as_str), Some(CLUSTER));
        let hash = labels.get("jaco.spec_hash").cloned().unwrap_or_default();
        if let Some(held) = self.by_instance(&plan.instance) {
            let facts = &self.containers[&held].facts;
            if !facts.never_started || facts.spec_hash != hash {
                return Err(refusal("create", "the name is in use"));
            }
            if facts.has_addresses_of(plan) {
                return Ok((held, Vec::new()));
            }
            self.containers.remove(&held);
        }
        let endpoint = |e: &Endpoint| (e.network.clone(), e.address);
        let networks: Vec<_> = plan.endpoints.iter().map(endpoint).collect();
        let missing = networks.iter().find(|(name, _)| !self.networks.contains_key(name));
        if let Some((missing, _)) = missing {
            return Err(refusal("create", &format!("network {missing} not found")));
        }
        let host = plan.network_of.as_ref();
        if host.is_some_and(|host| !self.containers.contains_key(host)) {
            return Err(refusal("create", "no such container"));
        }
        let service: &ServiceSpec = &plan.spec.services[&plan.service];
        let id = self.add(&plan.instance, &hash, true);
        let container = self.containers.get_mut(&id).expect("just made");
        let fixed = |(name, asked): &(String, Option<Ipv4Addr>)| {
            Some((name.clone(), (*asked)?.to_string()))
        };
        container.facts.fixed_addresses = networks.iter().filter_map(fixed).collect();
        container.networks = networks;
        container.has_check = service.container.healthcheck.is_some();
        Ok((id, Vec::new()))
    }

    /// Puts a container there that nobody ordered.
    pub(crate) fn add(&mut self, instance: &InstanceId, hash: &str, ours: bool) -> String {
        self.next += 1;
        let id = format!("ctr{}", self.next);
        let facts = ContainerFacts {
            id: id.clone(),
            instance: Some(instance.clone()),
            spec_hash: hash.to_owned(),
            never_started: true,
            ..ContainerFacts::default()
        };
        let container =
            FakeContainer { facts, ours, has_check: false, networks: Vec::new(), stranded: false };
        self.containers.insert(id.clone(), container);
        id
    }

    /// Puts a foreign container with an address there.
    pub(crate) fn squat(&mut self, address: &str) {
        let instance = "other-web-0.g1".parse().expect("an instance");
        let id = self.add(&instance, "", false);
        let facts = &mut self.containers.get_mut(&id).expect("just made").facts;
        facts.running = true;
        facts.addresses.insert("theirs".to_owned(), address.to_owned());
    }

    pub(crate) fn start(&mut self, id: &str, now: u64) -> Outcome<Option<EngineEvent>> {
        let next = self.next;
        let others = self.containers.iter().filter(|(other, c)| *other != id && c.facts.running);
        let others = others.flat_map(|(_, c)| c.facts.addresses.values().cloned());
        let others: BTreeSet<String> = others.collect();
        let Some(container) = self.containers.get_mut(id) else {
            return Err(refusal("start", "no such container"));
        };
        if container.facts.running {
            return Ok(None);
        }
        if container.stranded {
            return Err(refusal("start", "network not found"));
        }
        let facts = &mut container.facts;
        if facts.fixed_addresses.values().any(|address| others.contains(address)) {
            return Err(refusal("start", "Address already in use"));
        }
        facts.running = true;
        facts.never_started = false;
        facts.oom_killed = false;
        facts.exit_code = None;
        facts.started_at_ms = Some(START + now);
        facts.health = if container.has_check { Health::Starting } else { Health::None };
        let address = |(name, asked): &(String, Option<Ipv4Addr>)| {
            let chosen = || format!("10.0.0.{next}");
            (name.clone(), asked.map_or_else(chosen, |asked| asked.to_string()))
        };
        facts.addresses = container.networks.iter().map(address).collect();
        Ok(Some(EngineEvent::Started))
    }

    /// Ends a container's process.
    pub(crate) fn end(&mut self, id: &str, code: i64) -> Option<EngineEvent> {
        let facts = &mut self.containers.get_mut(id)?.facts;
        if !facts.running {
            return None;
        }
        facts.running = false;
        facts.exit_code = Some(code);
        facts.addresses.clear();
        if facts.health != Health::None {
            facts.health = Health::Unhealthy;
        }
        Some(EngineEvent::Died { exit_code: code })
    }

    pub(crate) fn set_health(&mut self, id: &str, health: Health) -> Option<EngineEvent> {
        let facts = &mut self.containers.get_mut(id)?.facts;
        facts.health = health;
        let sick = health == Health::Unhealthy;
        facts.failing_streak = if sick { 3 } else { 0 };
        facts.health_output = if sick { "no answer".to_owned() } else { String::new() };
        Some(EngineEvent::Health(health))
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

    /// Puts a network there that nobody ordered: a foreign one, or one from before there was an
    /// address plan.
    pub(crate) fn put_network(&mut self, name: &str, words: &[&str]) {
        let (name, mut labels) = (name.to_owned(), BTreeMap::new());
        if words.contains(&"ours") {
            labels.insert("jaco.cluster_id".to_owned(), CLUSTER.to_owned());
        }
        let subnet = "172.18.0.0/16".to_owned();
        self.networks.insert(name.clone(), ObservedNetwork { name, labels, subnet });
    }

    /// Makes a network, or refuses as the driver does.
    pub(crate) fn ensure_network(&mut self, plan: &NetworkPlan) -> Outcome<()> {
        let revision = plan.labels.get(BridgePlan::REVISION_LABEL);
        if let Some(found) = self.networks.get(&plan.name) {
            let same = found.labels.get(BridgePlan::REVISION_LABEL) == revision;
            let ours = found.labels.get("jaco.cluster_id").is_some_and(|id| id == CLUSTER);
            let fits = ours && (plan.bridge.is_none() || same);
            return if fits { Ok(()) } else { Err(refusal("create network", "it exists")) };
        }
        let subnet = plan.bridge.as_ref().map(|bridge| bridge.subnet.to_string());
        let (name, labels) = (plan.name.clone(), plan.labels.clone());
        let mut options = plan.bridge.as_ref().map(|b| b.options.clone()).unwrap_or_default();
        if plan.internal {
            options.insert("internal".to_owned(), "true".to_owned());
        }
        self.options.insert(name.clone(), options);
        let subnet = subnet.unwrap_or_else(|| "10.0.0.0/24".to_owned());
        self.networks.insert(name.clone(), ObservedNetwork { name, labels, subnet });
        Ok(())
    }

    pub(crate) fn remove_network(&mut self, name: &str) -> Outcome<()> {
        if self.containers.values().any(|c| c.is_in(name) && c.facts.running) {
            return Err(refusal("remove network", "it has active endpoints"));
        }
        for container in self.containers.values_mut() {
            container.stranded |= container.is_in(name);
        }
        self.networks.remove(name);
        Ok(())
    }

    pub(crate) fn by_instance(&self, id: &InstanceId) -> Option<String> {
        let named =
            |(_, c): &(&String, &FakeContainer)| c.ours && c.facts.instance.as_ref() == Some(id);
        self.containers.iter().find(named).map(|(id, _)| id.clone())
    }

    /// Ends every process, as an engine without live-restore does when it stops.
    pub(crate) fn end_all(&mut self) {
        let ids: Vec<String> = self.containers.keys().cloned().collect();
        for id in ids {
            self.end(&id, 0);
        }
    }
}
