//! All that containers with the same networks may know.

use crate::describe::{ContainerEntry, PortName, ServiceEntry};
use crate::name::{Key, key};
use crate::tlds::is_top_level;
use jaco_model::DeploymentName;
use jaco_model::entity::Scope;
use jaco_model::spec::Protocol;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// The zone under which every name of ours also exists.
pub(crate) const ZONE: &str = "jaco.internal";

/// Names and reverse names of one deployment's containers with one set of networks.
#[derive(Debug)]
pub(crate) struct View {
    names: BTreeMap<Key, Records>,
    pointers: BTreeMap<Ipv4Addr, Key>,
}

/// What a name has. A name without either exists all the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Records {
    /// A records.
    pub(crate) addresses: Box<[Ipv4Addr]>,
    /// SRV records.
    pub(crate) services: Box<[Target]>,
}

/// One SRV record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Port in the container.
    pub(crate) port: u16,
    /// The replica's name, complete but for the root.
    pub(crate) name: Arc<[u8]>,
    /// Its address.
    pub(crate) address: Ipv4Addr,
}

impl View {
    pub(crate) fn build<'d>(
        deployment: &DeploymentName,
        scopes: &BTreeSet<&Scope>,
        services: impl Iterator<Item = &'d ServiceEntry>,
        containers: impl Iterator<Item = &'d ContainerEntry>,
    ) -> View {
        let mut names = Names { deployment, own: BTreeMap::new(), guests: BTreeMap::new() };
        for service in services {
            names.declare(service, scopes);
        }
        let mut pointers = BTreeMap::new();
        for container in containers {
            names.enter(container, scopes, &mut pointers);
        }
        View { names: names.finish(), pointers }
    }

    /// What a name in lower case has; `None` when it does not exist here.
    pub(crate) fn find(&self, name: &[u8]) -> Option<&Records> {
        self.names.get(name)
    }

    /// The name that an address has.
    pub(crate) fn reverse(&self, address: Ipv4Addr) -> Option<&[u8]> {
        self.pointers.get(&address).map(|name| &**name)
    }
}

/// Records of one name while they are gathered.
#[derive(Default)]
struct Gathered {
    addresses: BTreeSet<Ipv4Addr>,
    services: BTreeSet<Target>,
}

/// A view under construction. Names without a deployment in them belong to the own deployment
/// first; those of deployments that share a network fill the gaps.
struct Names<'d> {
    deployment: &'d DeploymentName,
    own: BTreeMap<Key, Gathered>,
    guests: BTreeMap<Key, Gathered>,
}

impl Names<'_> {
    /// The names of a service exist, also without a replica.
    fn declare(&mut self, service: &ServiceEntry, scopes: &BTreeSet<&Scope>) {
        let shared = service.networks.iter().filter(|(scope, _)| scopes.contains(scope));
        let aliases: BTreeSet<&str> =
            shared.flat_map(|(_, names)| names).map(String::as_str).collect();
        for name in aliases.into_iter().chain([service.name.as_str()]) {
            self.add(name, &service.deployment, |_| {});
            for port in &service.ports {
                self.add(&srv_name(port, name), &service.deployment, |_| {});
            }
        }
        self.add(&format!("tasks.{}", service.name), &service.deployment, |_| {});
    }

    fn enter(
        &mut self,
        container: &ContainerEntry,
        scopes: &BTreeSet<&Scope>,
        pointers: &mut BTreeMap<Ipv4Addr, Key>,
    ) {
        let ContainerEntry { replica, deployment, service, .. } = container;
        // The name of a replica exists as long as the replica.
        self.add(replica, deployment, |_| {});
        let full_name = key(&format!("{replica}.{deployment}.{ZONE}"));
        for (scope, attachment) in &container.networks {
            let Some(address) = attachment.address.filter(|_| scopes.contains(scope)) else {
                continue;
            };
            if !container.is_running {
                continue;
            }
            self.add(replica, deployment, |records| {
                records.addresses.insert(address);
            });
            self.add(&format!("tasks.{service}"), deployment, |records| {
                records.addresses.insert(address);
            });
            if let Some(name) = full_name.as_ref().filter(|_| !container.is_lodger) {
                pointers.insert(address, name.clone());
            }
            if !container.is_ready {
                continue;
            }
            let aliases = attachment.aliases.iter().map(String::as_str);
            for name in aliases.chain([service.as_str()]) {
                self.add(name, deployment, |records| {
                    records.addresses.insert(address);
                });
                for port in &container.ports {
                    let Some(target) = &full_name else { break };
                    let target = Target { port: port.port, name: Arc::from(&**target), address };
                    self.add(&srv_name(port, name), deployment, |records| {
                        records.services.insert(target.clone());
                    });
                }
            }
        }
    }

    /// Adds to every spelling of a name.
    fn add(&mut self, name: &str, deployment: &DeploymentName, add: impl Fn(&mut Gathered)) {
        let bare = match deployment == self.deployment {
            true => &mut self.own,
            false => &mut self.guests,
        };
        for spelling in [name.to_owned(), format!("{name}.{ZONE}")] {
            if let Some(key) = key(&spelling) {
                add(bare.entry(key).or_default());
            }
        }
        let short = (!is_top_level(deployment.as_str())).then(|| format!("{name}.{deployment}"));
        for spelling in short.into_iter().chain([format!("{name}.{deployment}.{ZONE}")]) {
            if let Some(key) = key(&spelling) {
                // A spelling with the deployment in it is the same for everybody.
                add(self.own.entry(key).or_default());
            }
        }
    }

    fn finish(self) -> BTreeMap<Key, Records> {
        let mut all = self.guests;
        all.extend(self.own);
        let zone = key(ZONE).unwrap_or_default();
        let mut names: BTreeMap<Key, Records> = BTreeMap::new();
        for (name, gathered) in all {
            if name.ends_with(&zone) {
                exist_above(&name, &zone, &mut names);
            }
            let records = Records {
                addresses: gathered.addresses.into_iter().collect(),
                services: gathered.services.into_iter().collect(),
            };
            names.insert(name, records);
        }
        exist_above(&zone, &zone, &mut names);
        names
    }
}

/// Makes the names between `name` and the zone exist: a name that others lie under is there, if
/// empty (RFC 8020 §2).
fn exist_above(name: &[u8], zone: &[u8], names: &mut BTreeMap<Key, Records>) {
    let mut above = name;
    while above.len() >= zone.len() {
        if !names.contains_key(above) {
            names.insert(above.into(), Records::default());
        }
        match above.first() {
            Some(length) => above = &above[usize::from(*length) + 1..],
            None => break,
        }
    }
}

fn srv_name(port: &PortName, name: &str) -> String {
    let protocol = match port.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    format!("_{}._{protocol}.{name}", port.name)
}
