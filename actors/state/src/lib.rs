//! The replicated state machine: `State`, and command → [`apply`] → event.
//!
//! Reading is by public fields and the queries of [`State`]; writing is by applying commands
//! alone. The maps are persistent: a clone is cheap, so that readers, the scheduler and the
//! snapshot writer each hold a consistent view while commands go on being applied.

#![forbid(unsafe_code)]

mod state;

mod digest;
mod record;
mod space;
mod store;

mod apply;
mod check;
mod query;
#[cfg(feature = "seeded-bugs")]
mod seeded;
mod snapshot;

pub use apply::{Applied, apply, apply_members};
pub use check::Violation;
pub use query::{
    AcmeBudget, AcmeWish, CertificateAlarm, CertificateRow, CertificateStatus, DeploymentStatus,
    RouteOf, ServiceCount, StatusOfDeployment, acme_budget, acme_domains, certificate,
    certificates, dependency_met, deployment_status, eligible_nodes, is_acme_due, is_converged,
    is_up_to_date, order_allowed_at, own_certificate_alarm, own_provider, owner_of, route_of_path,
    routed_specs, routes_of_host, shown_instance, target_hash, token_over_at, wanted_count,
};
pub use record::{AuditLine, RequestRecord};
#[cfg(feature = "seeded-bugs")]
pub use seeded::{SeededBug, seed_bug};
pub use snapshot::{Section, SnapshotError};
pub use space::Space;
pub use state::{ServiceKey, State};
