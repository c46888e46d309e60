//! What the tables of names are made of, in the words of the domain.
//!
//! A [`Description`] is a plain value without addresses of memory or time, so two can be compared:
//! equal descriptions make equal tables.

use ipnet::Ipv4Net;
use jaco_model::DeploymentName;
use jaco_model::entity::Scope;
use jaco_model::spec::Protocol;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};

/// Everything that names are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// All addresses of containers come from here. Their reverse names are never asked elsewhere.
    pub pool: Option<Ipv4Net>,
    /// How long an answer may be kept, in seconds, 0 to 5.
    pub ttl: u32,
    /// All deployments of the cluster.
    pub deployments: BTreeSet<DeploymentName>,
    /// Services that share a network with a container of this node.
    pub services: Vec<ServiceEntry>,
    /// Containers that share a network with a container of this node.
    pub containers: Vec<ContainerEntry>,
}

impl Default for Description {
    fn default() -> Description {
        Description {
            pool: None,
            ttl: 5,
            deployments: BTreeSet::new(),
            services: Vec::new(),
            containers: Vec::new(),
        }
    }
}

/// A service, with or without replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceEntry {
    /// Its deployment.
    pub deployment: DeploymentName,
    /// Its name.
    pub name: String,
    /// Networks that its containers join, and their aliases there.
    pub networks: BTreeMap<Scope, Vec<String>>,
    /// Ports with a name.
    pub ports: Vec<PortName>,
}

/// A port that has an SRV record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortName {
    /// Its name.
    pub name: String,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Port in the container.
    pub port: u16,
}

/// A container of any node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerEntry {
    /// The replica whose container it is.
    pub replica: String,
    /// The deployment.
    pub deployment: DeploymentName,
    /// The service.
    pub service: String,
    /// Its networks; the address once known, and further names there.
    pub networks: BTreeMap<Scope, Attachment>,
    /// Ports with a name.
    pub ports: Vec<PortName>,
    /// Whether its process runs on a node that is not down.
    pub is_running: bool,
    /// Whether it also takes new connections.
    pub is_ready: bool,
    /// Whether it is on this node, and so may ask.
    pub is_local: bool,
    /// Whether its addresses are those of another container, whose namespace it is in.
    pub is_lodger: bool,
    /// Who answers its questions about other names; empty for the node's choice.
    pub forwarders: Vec<SocketAddr>,
}

/// A container in one network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attachment {
    /// Its address there.
    pub address: Option<Ipv4Addr>,
    /// Further names there.
    pub aliases: Vec<String>,
}
