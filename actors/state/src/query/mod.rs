//! Questions that the API, the command line and the scheduler ask of the state.

mod acme;
mod address;
mod budget;
mod certificate;
mod converged;
mod dependency;
mod eligible;
mod instances;
mod route;
mod status;

pub use acme::{
    AcmeWish, CertificateRow, acme_domains, certificate, certificates, is_acme_due, own_provider,
    token_over_at,
};
pub(crate) use acme::{is_token_over, wants_certificate};
pub(crate) use address::IDLE_KEPT;
pub use budget::{AcmeBudget, acme_budget, order_allowed_at};
pub(crate) use budget::{CERTIFICATES_WINDOW, ORDERS_WINDOW};
pub use certificate::{CertificateAlarm, CertificateStatus, own_certificate_alarm};
pub use converged::is_converged;
pub use dependency::dependency_met;
pub use eligible::{eligible_nodes, wanted_count};
pub use instances::{is_up_to_date, shown_instance, target_hash};
pub use route::{RouteOf, owner_of, route_of_path, routed_specs, routes_of_host};
pub use status::{DeploymentStatus, ServiceCount, StatusOfDeployment, deployment_status};
