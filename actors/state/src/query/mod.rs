//! Questions that the API, the command line and the scheduler ask of the state.

mod dependency;
mod eligible;
mod ports;
mod replica;
mod status;

pub use replica::ReplicaView;
pub use status::{DeploymentStatus, DeploymentView, ServiceView};
