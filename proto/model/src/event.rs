//! What applying a command changed, for those who watch.

use crate::entity::{AuditEvent, InstanceState};
use crate::{DeploymentName, Fault, InstanceId, NodeId};

/// One change. Watchers use events to be fast; a full look at the state makes them right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The cluster or one of its settings.
    ClusterChanged,
    /// A member came, changed or went.
    NodeChanged(NodeId),
    /// A deployment, its replicas or rollouts.
    DeploymentChanged(DeploymentName),
    /// An instance took a step in its life.
    InstanceChanged {
        /// Which one.
        id: InstanceId,
        /// The state before; `None` for a new one.
        from: Option<InstanceState>,
        /// The state now.
        to: InstanceState,
    },
    /// A certificate, or what is answered to the check of a domain.
    CertificateChanged {
        /// Which name.
        domain: String,
    },
    /// A line was added to the audit log.
    Audited(AuditEvent),
    /// A part of a command did not fit the state any more and was left out.
    Dropped {
        /// What and why.
        fault: Fault,
    },
}
