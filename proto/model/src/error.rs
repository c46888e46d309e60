//! The closed table of error codes and the fault that carries one to a user.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

macro_rules! error_codes {
    ($($variant:ident $text:literal $http:literal $exit:literal $retry:literal),+ $(,)?) => {
        /// What went wrong, as a word that scripts may branch on.
        ///
        /// The table is closed: codes are added, never renamed or used for something else. HTTP
        /// status, exit code and whether the same call may succeed later follow from the code
        /// alone.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ErrorCode {
            $(#[doc = concat!("`", $text, "`")] $variant),+
        }

        impl ErrorCode {
            /// Every code, in the order of the table.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$variant),+];

            /// The code as it is written in answers, logs and scripts.
            pub const fn as_str(self) -> &'static str {
                match self { $(ErrorCode::$variant => $text),+ }
            }

            /// HTTP status of an answer with this code; codes that only clients raise have 500.
            pub const fn http_status(self) -> u16 {
                match self { $(ErrorCode::$variant => $http),+ }
            }

            /// Exit code of the command line.
            pub const fn exit_code(self) -> u8 {
                match self { $(ErrorCode::$variant => $exit),+ }
            }

            /// Whether the same call may succeed later unchanged.
            pub const fn is_retryable(self) -> bool {
                match self { $(ErrorCode::$variant => $retry),+ }
            }
        }
    };
}

error_codes! {
    ClusterUninitialized "cluster_uninitialized" 503 1 false,
    ClusterAlreadyInitialized "cluster_already_initialized" 409 1 false,
    NodeAlreadyMember "node_already_member" 409 1 false,
    NoLeader "no_leader" 503 1 true,
    QuorumLost "quorum_lost" 503 1 true,
    EpochSuperseded "epoch_superseded" 409 1 false,
    WouldLoseQuorum "would_lose_quorum" 409 1 false,
    TokenInvalid "token_invalid" 401 1 false,
    CaDigestMismatch "ca_digest_mismatch" 500 1 false,
    ClockSkew "clock_skew" 409 1 false,
    NodeFenced "node_fenced" 503 1 false,
    StateDivergence "state_divergence" 503 1 false,
    Forbidden "forbidden" 403 1 false,
    PrivilegedRequired "privileged_required" 403 1 false,
    PermissionDenied "permission_denied" 500 1 false,
    Unreachable "unreachable" 500 1 true,
    NodeUnreachable "node_unreachable" 502 1 true,
    Usage "usage" 400 2 false,
    ParseFailed "parse_failed" 400 1 false,
    ValidationFailed "validation_failed" 422 1 false,
    InterpolationFailed "interpolation_failed" 422 1 false,
    EnvFileUnresolved "env_file_unresolved" 422 1 false,
    LegacyComposeField "legacy_compose_field" 422 1 false,
    UnknownService "unknown_service" 422 1 false,
    UnknownHost "unknown_host" 422 1 false,
    UnknownNetwork "unknown_network" 422 1 false,
    UnknownVolume "unknown_volume" 422 1 false,
    UnknownSecret "unknown_secret" 422 1 false,
    UnknownConfig "unknown_config" 422 1 false,
    InvalidDependsOn "invalid_depends_on" 422 1 false,
    UnknownDependsOnService "unknown_depends_on_service" 422 1 false,
    UnsupportedDependsOnCondition "unsupported_depends_on_condition" 422 1 false,
    RouteTlsMixed "route_tls_mixed" 422 1 false,
    RouteMultipleCatchall "route_multiple_catchall" 422 1 false,
    HostClaimed "host_claimed" 409 1 false,
    ReservedPort "reserved_port" 422 1 false,
    PortConflict "port_conflict" 409 1 false,
    ReplicasExceedPinnedHosts "replicas_exceed_pinned_hosts" 422 1 false,
    CannotSatisfyHostPlacement "cannot_satisfy_host_placement" 503 1 true,
    Unschedulable "unschedulable" 503 1 true,
    VolumeWaiting "volume_waiting" 503 1 true,
    SubnetPoolExhausted "subnet_pool_exhausted" 409 1 false,
    PoolConflict "pool_conflict" 409 1 false,
    NetworkBlockFull "network_block_full" 409 1 true,
    IsolationUnavailable "isolation_unavailable" 503 1 true,
    BindMountInvalid "bind_mount_invalid" 422 1 false,
    ImagePullFailed "image_pull_failed" 424 1 true,
    DockerError "docker_error" 502 1 true,
    InspectFailed "inspect_failed" 502 1 true,
    DependsOnUnmet "depends_on_unmet" 503 1 true,
    ContainerExited "container_exited" 503 1 true,
    Unhealthy "unhealthy" 503 1 true,
    StartTimeout "start_timeout" 503 1 true,
    HookFailed "hook_failed" 503 1 true,
    RestartExhausted "restart_exhausted" 503 1 false,
    NodeLost "node_lost" 503 1 true,
    CertInvalid "cert_invalid" 422 1 false,
    DeploymentNotFound "deployment_not_found" 404 1 false,
    NoPreviousRevision "no_previous_revision" 409 1 false,
    RevisionNotFound "revision_not_found" 404 1 false,
    NotFound "not_found" 404 1 false,
    AlreadyExists "already_exists" 409 1 false,
    InUse "in_use" 409 1 false,
    RevisionConflict "revision_conflict" 409 1 false,
    Conflict "conflict" 409 1 true,
    RequestIdConflict "request_id_conflict" 409 1 false,
    ResyncRequired "resync_required" 410 1 true,
    NameCollision "name_collision" 409 1 false,
    StorageLow "storage_low" 507 1 true,
    StorageFailed "storage_failed" 503 1 false,
    StorageCorrupt "storage_corrupt" 503 1 false,
    UpgradeRequired "upgrade_required" 503 1 false,
    LimitExceeded "limit_exceeded" 413 1 false,
    TooManyRequests "too_many_requests" 429 1 true,
    RolloutFailed "rollout_failed" 200 1 false,
    RolledBack "rolled_back" 200 4 false,
    WaitTimeout "wait_timeout" 200 3 true,
    VersionSkew "version_skew" 409 1 false,
    Unsupported "unsupported" 501 1 false,
    Canceled "canceled" 499 130 false,
    Internal "internal" 500 1 true,
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A code this version does not know reads as [`ErrorCode::Internal`].
impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let known = ErrorCode::ALL.iter().find(|code| code.as_str() == text);
        Ok(known.copied().unwrap_or(ErrorCode::Internal))
    }
}

/// One failure as a user sees it: a code, a sentence, and flat details.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What scripts branch on.
    pub code: ErrorCode,
    /// One sentence for people; may change between versions.
    pub message: String,
    /// Keys of the closed table for this code, such as `file`, `line`, `path`, `hint`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
}

impl Fault {
    /// A fault without details.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Fault {
        Fault { code, message: message.into(), details: BTreeMap::new() }
    }

    /// The same fault with one more detail.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl fmt::Display) -> Fault {
        self.details.insert(key.to_owned(), value.to_string());
        self
    }

    /// One detail by its key.
    pub fn detail(&self, key: &str) -> Option<&str> {
        self.details.get(key).map(String::as_str)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_code_has_a_name_of_its_own() {
        let names: BTreeSet<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), ErrorCode::ALL.len());
    }

    #[test]
    fn an_unknown_code_reads_as_internal() {
        let fault: Fault =
            serde_json::from_str(r#"{"code":"from_the_future","message":"x"}"#).unwrap();
        assert_eq!(fault.code, ErrorCode::Internal);
    }
}
