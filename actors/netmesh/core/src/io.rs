//! Everything that can happen to the core of the mesh, and everything it may ask.

use crate::{Change, InUse, Installed, MeshView, Probe};
use jaco_kit_core::OpId;
use jaco_model::NodeId;
use jaco_state::State;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// Facts and outcomes from outside.
#[derive(Clone, Debug)]
pub enum Input {
    /// The replicated state has moved on.
    StateChanged(Arc<State>),
    /// Whether the states that follow may be older than what was acknowledged. Then peers of a
    /// tunnel that is there are left as they are.
    Doubted(bool),
    /// The peers that liveness cannot reach: their control path is not fine.
    Suspected(BTreeSet<NodeId>),
    /// The interface, its addresses or our routes may have been changed.
    KernelChanged,
    /// Outcome of [`Effect::Observe`].
    Observed {
        /// Which order.
        op: OpId,
        /// What is installed.
        result: Result<Installed, MeshFault>,
    },
    /// Outcome of [`Effect::Apply`].
    Applied {
        /// Which order.
        op: OpId,
        /// `Ok` when all changes were made.
        result: Result<(), MeshFault>,
    },
    /// Outcome of [`Effect::Listen`].
    Listening {
        /// Which order.
        op: OpId,
        /// Whether probes are received now.
        result: Result<(), MeshFault>,
    },
    /// A probe came through the tunnel.
    Probed {
        /// Mesh address of its sender; the tunnel vouches for it.
        from: Ipv4Addr,
        /// What it says.
        probe: Probe,
    },
}

/// Orders. Those with an `op` end in exactly one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Read what is installed.
    Observe {
        /// Returns as `Observed`.
        op: OpId,
        /// Where peers are reached, to find the smallest MTU on the way.
        towards: BTreeSet<IpAddr>,
    },
    /// Make changes, in this order, up to the first that fails.
    Apply {
        /// Returns as `Applied`.
        op: OpId,
        /// What to change.
        changes: Vec<Change>,
    },
    /// Receive probes at an address from now on, and no longer at another.
    Listen {
        /// Returns as `Listening`.
        op: OpId,
        /// This node's mesh address.
        address: Ipv4Addr,
    },
    /// Send a probe; it may be lost.
    SendProbe {
        /// Mesh address of the receiver.
        to: Ipv4Addr,
        /// What to say.
        probe: Probe,
        /// Size of the IP packet in bytes, for a full-size probe.
        size: Option<u16>,
    },
    /// Something that people should know.
    Notify(Notice),
    /// How the mesh is now.
    Show(Arc<MeshView>),
}

/// What people should know, once each time it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A path carries nothing in at least one direction although the control path is fine.
    PathDegraded {
        /// To which node.
        node: NodeId,
        /// `one_way` or `dead`.
        condition: &'static str,
    },
    /// Full-size packets did not arrive; smaller ones are sent from now on.
    MtuLowered {
        /// To which node they did not arrive.
        node: NodeId,
        /// Largest packet now, in bytes.
        mtu: u16,
    },
    /// Something else on this host uses addresses of the cluster's pool.
    PoolConflict(InUse),
    /// Most paths carry nothing although the control path is fine.
    DataplaneImpaired {
        /// How many paths.
        broken: usize,
        /// Of how many.
        of: usize,
    },
}

impl Notice {
    /// The name of the event.
    pub fn kind(&self) -> &'static str {
        match self {
            Notice::PathDegraded { .. } => "mesh_path_degraded",
            Notice::MtuLowered { .. } => "mtu_lowered",
            Notice::PoolConflict(_) => "pool_conflict",
            Notice::DataplaneImpaired { .. } => "dataplane_impaired",
        }
    }
}

/// An order that was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeshFault {
    /// What was tried, such as `add route`.
    pub op: &'static str,
    /// Why it failed, for people.
    pub reason: String,
}
