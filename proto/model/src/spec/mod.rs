//! What users want: a deployment after every file was merged, interpolated and checked.
//!
//! `proto/manifest` is the only maker of these values; every field is resolved (no default is
//! left to the reader) so that the same spec means the same thing on every member and version.

mod container;
mod deploy;
mod dns_provider;
mod health;
mod network;
mod route;
mod secret;
mod storage;

pub use container::{
    BlkioDevice, BlkioLimits, ContainerSpec, DeviceMapping, DeviceRequest, Hook, Isolation,
    Logging, PullPolicy, Resources, Security, Ulimit,
};
pub use deploy::{
    Condition, Constraint, ConstraintKey, Dependency, DeploymentSpec, FailureAction,
    NodeLossAction, NodeLossPolicy, Placement, PlacementPolicy, Preference, RestartCondition,
    RestartPolicy, ServiceMode, ServiceSpec, UpdateOrder, UpdatePolicy,
};
pub use dns_provider::{DnsMethod, DnsProvider, TsigAlgorithm};
pub use health::{Healthcheck, HealthcheckTest, HttpProbe, Probe, ProbeCheck, ProbeSpec};
pub use network::{
    NetworkAttachment, NetworkMode, NetworkSpec, PortMode, PortOptions, PortPolicy, PortSpec,
    Protocol, ProxyVersion, Sharing,
};
pub use route::{
    AccessLog, BasicAuth, Challenge, HeaderRules, HostHeader, LbPolicy, LoadBalancing, Maintenance,
    RateKey, RateLimit, Redirect, RouteOptions, RouteSpec, RouteTarget, RouteTimeouts, SameSite,
    Sticky, TlsMode, UpstreamProtocol,
};
pub use secret::SecretText;
pub use storage::{Mount, MountKind, VolumeSpec};
