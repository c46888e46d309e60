//! Where a container is in the network: its node, its networks, its addresses.

use jaco_model::NodeId;
use jaco_model::entity::{Instance, Node, NodeStatus, Scope};
use jaco_model::spec::NetworkMode;
use jaco_state::State;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// A container and what it is attached to.
#[derive(Clone, Debug)]
pub(crate) struct Seat<'s> {
    /// The container.
    pub(crate) instance: &'s Instance,
    /// How it gets its network.
    pub(crate) mode: NetworkMode,
    /// Its networks, with its addresses there as far as known. In another's namespace those of the
    /// other.
    pub(crate) networks: BTreeMap<Scope, Option<Ipv4Addr>>,
}

impl<'s> Seat<'s> {
    /// The seat of an instance.
    pub(crate) fn of(state: &'s State, instance: &'s Instance) -> Seat<'s> {
        let Some((spec, service)) = state.specs_of(instance) else {
            let (mode, networks) = (NetworkMode::default(), BTreeMap::new());
            return Seat { instance, mode, networks };
        };
        let mode = service.container.network_mode.clone();
        let (holder, seat) = match &mode {
            NetworkMode::Service(name) => {
                (state.host_of(instance, name), spec.services.get(name).unwrap_or(service))
            }
            _ => (Some(instance), service),
        };
        let mut networks: BTreeMap<Scope, Option<Ipv4Addr>> =
            spec.scopes_of(seat).into_iter().map(|scope| (scope, None)).collect();
        for (key, address) in holder.into_iter().flat_map(|holder| &holder.status.addresses) {
            if let Some(known) = networks.get_mut(&spec.scope_of(key)) {
                *known = address.parse().ok();
            }
        }
        Seat { instance, mode, networks }
    }

    /// The node it is on.
    pub(crate) fn node(&self) -> &'s NodeId {
        &self.instance.node
    }

    /// The instance's name, as its container is called.
    pub(crate) fn name(&self) -> String {
        self.instance.id.to_string()
    }

    /// An address to ask from: any, since the view is the container's.
    pub(crate) fn any_address(&self) -> Option<Ipv4Addr> {
        self.networks.values().flatten().next().copied()
    }

    /// Networks that both are in.
    pub(crate) fn shared<'a>(&'a self, other: &'a Seat<'_>) -> impl Iterator<Item = &'a Scope> {
        self.networks.keys().filter(|scope| other.networks.contains_key(*scope))
    }

    /// Its network that has an address.
    pub(crate) fn scope_at(&self, address: Ipv4Addr) -> Option<&Scope> {
        self.networks.iter().find(|(_, own)| **own == Some(address)).map(|(scope, _)| scope)
    }
}

/// The seat that has an address, if a container is known to have it now.
pub(crate) fn seat_at<'s>(state: &'s State, address: Ipv4Addr) -> Option<Seat<'s>> {
    let text = address.to_string();
    let has = |instance: &&'s Instance| {
        instance.status.state.has_process()
            && instance.status.addresses.values().any(|own| *own == text)
    };
    state.instances.values().map(AsRef::as_ref).find(has).map(|found| Seat::of(state, found))
}

/// A node's hostname; its id while it is not known.
pub(crate) fn hostname(state: &State, node: &NodeId) -> String {
    state.nodes.get(node).map_or_else(|| node.to_string(), |node| node.name.to_string())
}

/// Whether the cluster takes a node for dead.
pub(crate) fn is_down(node: &Node) -> bool {
    node.status == NodeStatus::Down
}
