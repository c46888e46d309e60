//! Everything that may change the replicated state.
//!
//! A command carries every time, random value and id it needs: applying it uses none of its own,
//! so that every member reaches the same state.

mod acme;

pub use acme::{AcmeChange, AcmeStep};

use crate::entity::{
    Documents, ImagePin, InstanceState, Ipam, Leaving, Node, NodeFacts, NodeStatus, Origin,
    RevisionStatus, Rollout, Scope, Slot, Trust,
};
use crate::spec::DeploymentSpec;
use crate::{
    ClusterId, DeploymentName, Fault, Generation, Identity, InstanceId, NodeId, NodeName,
    ReplicaId, RequestId, Revision, ServiceName, WallMs,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A command with who sent it, when, and the id that makes a retry harmless.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Chosen by the client, or by the proposer for its own commands.
    pub request_id: RequestId,
    /// Stamped by the proposer.
    pub at: WallMs,
    /// Who asked.
    pub identity: Identity,
    /// Name and id of the local user, for commands over the unix socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_user: Option<String>,
    /// What to change.
    pub command: Command,
}

/// One change. Users send the first group, the scheduler and the nodes the second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Command {
    /// Makes the first member; refused in a state that has one.
    InitCluster(Box<InitCluster>),
    /// A new revision of a deployment, or nothing when it equals the current one.
    Apply(Box<ApplyDeployment>),
    /// Content of an earlier revision as a new one.
    Rollback(Rollback),
    /// Starts the removal of a deployment.
    Delete {
        /// Which one.
        deployment: DeploymentName,
        /// Whether its volumes go as well.
        volumes: bool,
    },
    /// Numbers of replicas over those of the files.
    Scale {
        /// Which deployment.
        deployment: DeploymentName,
        /// Wanted replicas by service.
        services: BTreeMap<ServiceName, u32>,
    },
    /// Replaces or restarts what matches, with the same spec.
    Restart {
        /// What to restart.
        target: RestartTarget,
        /// Restart the container instead of replacing it.
        in_place: bool,
    },
    /// A right to join, once.
    IssueJoinToken {
        /// SHA-256 of the secret, as hex.
        secret_hash: String,
        /// When it ends.
        expires_at: WallMs,
    },
    /// Begins the removal of a member; the leader ends it with `ForgetNode`.
    RemoveNode {
        /// Which one.
        node: NodeId,
        /// Whether its replicas move away first.
        leaving: Leaving,
    },

    /// A new member, by the leader in the joiner's name. Uses up the token.
    JoinNode(Box<JoinNode>),
    /// A member whose log was lost goes on under a new raft id, by the leader in its name.
    RejoinNode {
        /// Which one.
        node: NodeId,
        /// The id that is never used again. Another one than the member's: somebody was faster.
        old_raft_id: u64,
        /// The new id: random, not zero, never used.
        raft_id: u64,
    },
    /// A certificate that the leader has signed; from now on its serial is accepted.
    RecordCertificate {
        /// Whose.
        node: NodeId,
        /// Serial in hex, lower case.
        serial: String,
    },
    /// The authority of a cluster that was begun without one.
    EstablishTrust(Trust),
    /// The address plan of a cluster that was begun without one; nothing once there is one.
    EstablishAddresses(Ipam),
    /// The end of a removal: the raft group no longer has the member.
    ForgetNode {
        /// Which one.
        node: NodeId,
    },
    /// The leader and its peers found a member down, or well again.
    SetLiveness {
        /// Which one.
        node: NodeId,
        /// Whether it is up.
        up: bool,
        /// The member's liveness epoch plus one; another number means that something came between.
        epoch: u64,
        /// The members that agree.
        evidence: Vec<NodeName>,
    },
    /// Decisions of one scheduler pass, applied together.
    Schedule {
        /// The log index of the state the pass looked at.
        based_on: u64,
        /// In order. A step whose subject changed meanwhile is dropped alone.
        steps: Vec<Step>,
    },
    /// One step of an automatic certificate, by the leader.
    Acme(Box<AcmeStep>),
    /// Something that happened on a node and belongs into the audit log.
    Witness {
        /// Which node says so.
        node: NodeId,
        /// What happened.
        sight: Sight,
        /// The particulars.
        facts: BTreeMap<String, String>,
    },
    /// What a node says about itself.
    ReportNode {
        /// Which node.
        node: NodeId,
        /// Whether it may take work.
        status: NodeStatus,
        /// Its facts.
        facts: Box<NodeFacts>,
    },
    /// What a node says about its instances and volumes.
    Report {
        /// Which node.
        node: NodeId,
        /// Instances whose state changed.
        instances: Vec<InstanceReport>,
        /// Volumes made or removed.
        volumes: Vec<VolumeReport>,
    },
}

impl Command {
    /// The command's name in logs and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Command::InitCluster(_) => "init_cluster",
            Command::Apply(_) => "apply",
            Command::Rollback(_) => "rollback",
            Command::Delete { .. } => "delete",
            Command::Scale { .. } => "scale",
            Command::Restart { .. } => "restart",
            Command::IssueJoinToken { .. } => "issue_join_token",
            Command::RemoveNode { .. } => "remove_node",
            Command::JoinNode(_) => "join_node",
            Command::RejoinNode { .. } => "rejoin_node",
            Command::RecordCertificate { .. } => "record_certificate",
            Command::EstablishTrust(_) => "establish_trust",
            Command::EstablishAddresses(_) => "establish_addresses",
            Command::ForgetNode { .. } => "forget_node",
            Command::SetLiveness { .. } => "set_liveness",
            Command::Schedule { .. } => "schedule",
            Command::Acme(_) => "acme",
            Command::Witness { .. } => "witness",
            Command::ReportNode { .. } => "report_node",
            Command::Report { .. } => "report",
        }
    }
}

/// What a node may witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sight {
    /// The packet filter is not known to work.
    IsolationUnavailable,
    /// The packet filter was not what had been written.
    IsolationSelfTestFailed,
    /// The packet filter was changed by somebody else and repaired.
    IsolationRulesetReconciled,
}

impl Sight {
    /// Its name in the audit log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Sight::IsolationUnavailable => "isolation_unavailable",
            Sight::IsolationSelfTestFailed => "isolation_self_test_failed",
            Sight::IsolationRulesetReconciled => "isolation_ruleset_reconciled",
        }
    }
}

/// The first command of every cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitCluster {
    /// A UUID.
    pub cluster_id: ClusterId,
    /// What people call the cluster.
    pub name: String,
    /// Key of the spec hashes, 64 hex digits.
    pub hash_key: String,
    /// Revisions kept per deployment.
    pub history_limit: u32,
    /// The first member.
    pub node: Node,
    /// The cluster's authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<Trust>,
    /// The address plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipam: Option<Ipam>,
}

/// A node that wants to become a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinNode {
    /// SHA-256 of the token's secret, as hex.
    pub secret_hash: String,
    /// SHA-256 of the joiner's public key, as hex: a retry of the same joiner has the same.
    pub key_digest: String,
    /// The member as it begins; ids by the leader, facts by the joiner.
    pub node: Node,
}

/// A new revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplyDeployment {
    /// What it means.
    pub spec: DeploymentSpec,
    /// What the user wrote.
    pub documents: Documents,
    /// The image of each service, pinned.
    pub images: BTreeMap<ServiceName, ImagePin>,
    /// Refuse unless this is the current revision; 0 means "does not exist yet".
    pub expected_revision: Option<Revision>,
    /// Where it was applied.
    pub origin: Origin,
    /// Services whose containers are in a privileged class, for the audit log.
    pub privileged: BTreeMap<ServiceName, Vec<String>>,
}

/// A return to an earlier revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollback {
    /// Which deployment.
    pub deployment: DeploymentName,
    /// Which revision; `None` is the one before.
    pub to: Option<Revision>,
    /// Why, when the scheduler asks for it; the failed revision then ends as `rolled_back`.
    pub cause: Option<Fault>,
    /// Refuse unless this is the current revision.
    pub expected_revision: Option<Revision>,
}

/// What `jaco restart` acts on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum RestartTarget {
    /// All replicas of a deployment.
    Deployment {
        /// Which one.
        deployment: DeploymentName,
    },
    /// All replicas of a service.
    Service {
        /// Which deployment.
        deployment: DeploymentName,
        /// Which service.
        service: ServiceName,
    },
    /// One replica.
    Replica {
        /// Which one.
        replica: ReplicaId,
    },
}

/// One decision of the scheduler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "step")]
pub enum Step {
    /// Makes a slot. An index must be the service's next one.
    AddReplica {
        /// Its name.
        replica: ReplicaId,
        /// The deployment.
        deployment: DeploymentName,
        /// The service.
        service: ServiceName,
        /// Which slot.
        slot: Slot,
    },
    /// Makes the next generation of a slot on a node.
    Place {
        /// The slot.
        replica: ReplicaId,
        /// Must be the slot's generation plus one.
        generation: Generation,
        /// Where.
        node: NodeId,
        /// The revision whose spec it runs; must be kept.
        revision: Revision,
    },
    /// Wants an instance drained, stopped and removed.
    Retire {
        /// Which one.
        instance: InstanceId,
    },
    /// Removes a slot that has no instance.
    RemoveReplica {
        /// Which one.
        replica: ReplicaId,
    },
    /// Says why a slot has no instance it should have, or that it no longer waits.
    Explain {
        /// Which slot.
        replica: ReplicaId,
        /// Why; `None` clears it.
        waiting: Option<Fault>,
    },
    /// Writes where a service's rollout stands.
    SetRollout {
        /// The whole new value.
        rollout: Rollout,
    },
    /// Writes how a revision ended.
    SettleRevision {
        /// The deployment.
        deployment: DeploymentName,
        /// The revision.
        revision: Revision,
        /// How.
        status: RevisionStatus,
    },
    /// Forgets a deployment that is being deleted and has no replica left.
    Purge {
        /// Which one.
        deployment: DeploymentName,
    },
    /// Gives back the addresses of a scope on a node that has had no replica of it for a while.
    ReleaseBlock {
        /// Which scope.
        scope: Scope,
        /// Which node.
        node: NodeId,
    },
}

/// One transition of one instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceReport {
    /// Which instance.
    pub id: InstanceId,
    /// Where it stands now.
    pub state: InstanceState,
    /// Why, when that needs saying.
    pub fault: Option<Fault>,
    /// The container, once created.
    pub container_id: Option<String>,
    /// Address by network key.
    pub addresses: BTreeMap<String, String>,
    /// Restarts so far.
    pub restarts: u32,
    /// Code of the last end of the process.
    pub exit_code: Option<i64>,
    /// The `in_place` number the container has been restarted for.
    pub in_place_done: u64,
    /// When it happened, by the node's clock.
    pub at: WallMs,
    /// When the container first started.
    pub started_at: Option<WallMs>,
    /// When it was last found healthy or ready.
    pub last_health_at: Option<WallMs>,
}

/// A volume made or removed on the reporting node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeReport {
    /// The engine's name for it.
    pub name: String,
    /// The deployment that made it.
    pub deployment: DeploymentName,
    /// Compose key within the deployment.
    pub key: String,
    /// Driver.
    pub driver: String,
    /// `false` once it is gone.
    pub present: bool,
}

/// What a command answered. Kept for a while, so that a retry gets the same answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reply")]
pub enum Reply {
    /// Nothing to say.
    Done,
    /// The answer to `apply` and `rollback`.
    Revised {
        /// The revision that should run now.
        revision: Revision,
        /// The one before, if any.
        previous: Option<Revision>,
        /// `false` when the files equal the current revision.
        changed: bool,
        /// The revision whose content came back.
        restored: Option<Revision>,
    },
    /// The answer to `scale`: numbers before and after.
    Scaled {
        /// `(from, to)` by service.
        services: BTreeMap<ServiceName, (u32, u32)>,
    },
    /// The answer to `JoinNode` and `RejoinNode`.
    Joined {
        /// The member; that of the first time for a retry.
        node: NodeId,
        /// Its raft id.
        raft_id: u64,
    },
    /// The answer to `restart`: what will be replaced or restarted.
    Restarted {
        /// Instances.
        instances: Vec<InstanceId>,
    },
}
