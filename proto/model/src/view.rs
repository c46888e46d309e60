//! JSON shapes of the API: what answers and requests look like on the wire and with `-o json`.
//!
//! Keys are the compatibility surface: they are added, never renamed. Optional ones are left out
//! when unset; lists are never null.

mod certificate;
mod deploy;
mod look;
mod node;
mod why;

pub use certificate::CertificateView;
pub use deploy::{
    AppliedView, ApplyRequest, ChangeView, DiffFile, DiffView, DocumentsRequest, PlanRequest,
    PlanView, Progress, ResolveImage, RestartRequest, RestartedView, RestoredReason, RevisionView,
    RollbackRequest, RollbackView, ScaleRequest, ScaledService, ScaledView, ServiceProgress,
    UnplacedView, WaitFor, Warning,
};
pub use look::{
    DependencyView, DeploymentRow, DeploymentSummary, DeploymentView, LogLine, NetworkView,
    PlacementView, ReplicaDetail, ReplicaRow, ReplicaStatusRow, RolloutView, RouteEntry, RouteRow,
    RouteView, ServiceSummary, StatusView, TransitionView, UpstreamRow, VolumeView,
};
pub use node::{
    CapacityView, ClusterView, InitRequest, InitView, JoinRequest, JoinTokenRequest, JoinTokenView,
    JoinView, MeshNodeView, NodeView, QuorumView, RemoveNodeRequest, VersionView,
};
pub use why::{WhyQuestion, WhyStep, WhyView};

use crate::Fault;
use serde::{Deserialize, Serialize};

/// The body of every failed call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The fault; the first by position when there are several.
    pub error: Fault,
    /// All faults of a manifest, at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
}
