//! What requests are answered from: a value that is made anew, never changed.

use crate::listeners::ListenKey;
use crate::names::{Named, Names};
use jaco_model::spec::{PortOptions, RouteOptions, RouteSpec, RouteTarget, TlsMode};
use jaco_model::{DeploymentName, InstanceId, Millis, NodeId, ServiceName, WallMs};
use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Everything one node serves.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Domains by name; those with a wildcard begin with `*.`, and `*` is any other.
    pub sites: Names<Arc<Site>>,
    /// Services that a route or a port leads to, with the replicas that may take requests.
    pub services: BTreeMap<(DeploymentName, ServiceName), Arc<Service>>,
    /// Targets of TCP and UDP listeners.
    pub ports: BTreeMap<ListenKey, Arc<PortTarget>>,
    /// Answers to HTTP-01 challenges by (domain, token).
    pub tokens: BTreeMap<(String, String), String>,
    /// What the keys of TLS session tickets follow from.
    pub ticket_secret: Option<TicketSecret>,
}

impl Table {
    /// The replicas of a service that a route or a port leads to.
    pub fn service(
        &self,
        deployment: &DeploymentName,
        name: &ServiceName,
    ) -> Option<&Arc<Service>> {
        self.services.get(&(deployment, name) as &dyn ServiceKey)
    }
}

/// Both parts of a service's name, owned or borrowed: a look-up copies nothing.
trait ServiceKey {
    fn parts(&self) -> (&DeploymentName, &ServiceName);
}

impl ServiceKey for (DeploymentName, ServiceName) {
    fn parts(&self) -> (&DeploymentName, &ServiceName) {
        (&self.0, &self.1)
    }
}

impl ServiceKey for (&DeploymentName, &ServiceName) {
    fn parts(&self) -> (&DeploymentName, &ServiceName) {
        *self
    }
}

impl<'a> Borrow<dyn ServiceKey + 'a> for (DeploymentName, ServiceName) {
    fn borrow(&self) -> &(dyn ServiceKey + 'a) {
        self
    }
}

impl PartialEq for dyn ServiceKey + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for dyn ServiceKey + '_ {}

impl PartialOrd for dyn ServiceKey + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for dyn ServiceKey + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

/// The same on all nodes, and known to nobody else.
#[derive(Clone, PartialEq, Eq)]
pub struct TicketSecret(pub [u8; 32]);

impl std::fmt::Debug for TicketSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret of tickets)")
    }
}

/// One domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// As in the route: lower case, perhaps with `*.` in front.
    pub domain: String,
    /// The deployment that owns the domain.
    pub owner: DeploymentName,
    /// How it is encrypted.
    pub tls: TlsMode,
    /// The certificate to serve, if there is one: PEM chain and PEM key.
    pub certificate: Option<Arc<ServedCertificate>>,
    /// Routes by path, the empty path being the catch-all.
    pub routes: Names<Arc<Route>>,
}

impl Named for Site {
    fn name(&self) -> &str {
        &self.domain
    }
}

/// A certificate as the driver loads it. Equal values are loaded once.
#[derive(Clone, PartialEq, Eq)]
pub struct ServedCertificate {
    /// Leaf first.
    pub chain_pem: String,
    /// PKCS#8 or SEC1, PEM.
    pub key_pem: String,
}

impl std::fmt::Debug for ServedCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "(certificate, {} bytes, and its key)", self.chain_pem.len())
    }
}

/// One route, ready for use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Whose.
    pub deployment: DeploymentName,
    /// What the user wrote.
    pub spec: Terms,
}

/// What requests need of a route's spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// As in the spec.
    pub domain: String,
    /// As in the spec.
    pub path: String,
    /// As in the spec.
    pub target: Option<RouteTarget>,
    /// As in the spec.
    pub tls: TlsMode,
    /// As in the spec. Most routes of a cluster have the same, and they are large: one copy of
    /// them is in the processor's cache, a thousand are not.
    pub options: Arc<RouteOptions>,
}

impl Route {
    /// A route with these options, which are those of the spec.
    pub fn new(deployment: DeploymentName, spec: &RouteSpec, options: Arc<RouteOptions>) -> Route {
        let spec = Terms {
            domain: spec.domain.clone(),
            path: spec.path.clone(),
            target: spec.target.clone(),
            tls: spec.tls.clone(),
            options,
        };
        Route { deployment, spec }
    }

    /// Whether it is what this spec of this deployment makes.
    pub(crate) fn is_of(&self, deployment: &DeploymentName, spec: &RouteSpec) -> bool {
        let own = &self.spec;
        self.deployment == *deployment
            && (&own.domain, &own.path) == (&spec.domain, &spec.path)
            && (&own.target, &own.tls) == (&spec.target, &spec.tls)
            && *own.options == spec.options
    }
}

impl Named for Route {
    fn name(&self) -> &str {
        &self.spec.path
    }
}

/// A service with those of its replicas that may take requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Whose.
    pub deployment: DeploymentName,
    /// Which.
    pub name: ServiceName,
    /// Eligible replicas by instance, in order.
    pub endpoints: Vec<Endpoint>,
    /// Replicas that are meant to run; for people.
    pub wanted: u32,
    /// Longest wait for what runs when a replica goes.
    pub drain_timeout: Millis,
}

/// One replica that may take requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Which container.
    pub instance: InstanceId,
    /// Where it is.
    pub address: Ipv4Addr,
    /// On which node.
    pub node: NodeId,
    /// Whether that is this one.
    pub is_local: bool,
    /// Since when it is ready, in cluster time.
    pub ready_since: WallMs,
}

/// Where connections to a published port go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortTarget {
    /// Whose.
    pub deployment: DeploymentName,
    /// Which.
    pub service: ServiceName,
    /// Port in the containers.
    pub port: u16,
    /// How it is balanced.
    pub options: PortOptions,
}
