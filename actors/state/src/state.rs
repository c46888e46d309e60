//! [`State`]: all entities, their indexes, and the questions others ask of them.

use crate::digest::Sum;
use crate::record::{AuditLine, RequestRecord};
use crate::space::Space;
use imbl::{OrdMap, OrdSet};
use ipnet::Ipv4Net;
use jaco_model::entity::{
    AcmeAccount, AcmeOrder, AcmeStanding, AuditEvent, Block, Certificate, ChallengeToken,
    ClusterMeta, Deployment, Instance, JoinToken, Node, Quarantine, Replica, RevisionRecord,
    Rollout, Scope, ScopeRecord, Tombstone, Volume,
};
use jaco_model::spec::{DeploymentSpec, ServiceMode, ServiceSpec};
use jaco_model::{
    DeploymentName, Generation, InstanceId, NodeId, ReplicaId, RequestId, Revision, ServiceName,
    WallMs,
};
use std::sync::Arc;

/// A (deployment, service) pair: the key of counters, rollouts and the replica index.
pub type ServiceKey = (DeploymentName, ServiceName);

/// Everything the cluster has agreed on, at one log index.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// The log index of the last applied entry.
    pub applied_index: u64,
    /// Facts of the cluster; `None` before `cluster init`.
    pub cluster: Option<Arc<ClusterMeta>>,
    /// Members.
    pub nodes: OrdMap<NodeId, Arc<Node>>,
    /// Raft ids that are never used again.
    pub tombstones: OrdMap<u64, Arc<Tombstone>>,
    /// Rights to join by the hash of their secret.
    pub join_tokens: OrdMap<String, Arc<JoinToken>>,
    /// Deployments, also those being deleted.
    pub deployments: OrdMap<DeploymentName, Arc<Deployment>>,
    /// Kept revisions. One that an instance still runs is kept beyond the limit.
    pub revisions: OrdMap<(DeploymentName, Revision), Arc<RevisionRecord>>,
    /// Slots.
    pub replicas: OrdMap<ReplicaId, Arc<Replica>>,
    /// Instances that are not stopped yet.
    pub instances: OrdMap<InstanceId, Arc<Instance>>,
    /// The last rollout of each service.
    pub rollouts: OrdMap<ServiceKey, Arc<Rollout>>,
    /// The next replica index of each service; survives the service.
    pub counters: OrdMap<ServiceKey, u32>,
    /// The highest generation among removed slots of a global service. Their names come back with
    /// their node, and a generation is never used again.
    pub floors: OrdMap<ServiceKey, Generation>,
    /// Named volumes by engine name and node.
    pub volumes: OrdMap<(String, NodeId), Arc<Volume>>,
    /// Scopes that have a block on some node.
    pub scopes: OrdMap<Scope, Arc<ScopeRecord>>,
    /// The addresses of each scope on each node that has or had a replica of it.
    pub blocks: OrdMap<(Scope, NodeId), Arc<Block>>,
    /// Addresses that were given back a short while ago.
    pub quarantine: OrdMap<Ipv4Net, Arc<Quarantine>>,
    /// Accounts at certificate authorities, by directory and contact.
    pub acme_accounts: OrdMap<(String, String), Arc<AcmeAccount>>,
    /// What is remembered of authorities beside that, by directory and contact.
    pub acme_standings: OrdMap<(String, String), Arc<AcmeStanding>>,
    /// The live order of each domain.
    pub acme_orders: OrdMap<String, Arc<AcmeOrder>>,
    /// What is answered to the checks of authorities, by domain and token.
    pub challenge_tokens: OrdMap<(String, String), Arc<ChallengeToken>>,
    /// Automatic certificates by domain, also those that could not be had yet.
    pub certificates: OrdMap<String, Arc<Certificate>>,
    /// Answers kept for retries.
    pub requests: OrdMap<RequestId, Arc<RequestRecord>>,
    /// The audit log by line number, oldest first.
    pub audit: OrdMap<u64, Arc<AuditLine>>,
    /// Index: slots by service.
    pub(crate) replicas_by_service: OrdMap<ServiceKey, OrdSet<ReplicaId>>,
    /// Index: instances by node.
    pub(crate) instances_by_node: OrdMap<NodeId, OrdSet<InstanceId>>,
    /// Index: scopes by node that have a block there.
    pub(crate) blocks_by_node: OrdMap<NodeId, OrdSet<Scope>>,
    /// Index: blocks that nobody uses, by when that began.
    pub(crate) blocks_by_idle: OrdSet<(WallMs, Scope, NodeId)>,
    /// Index: what is neither mesh nor block nor kept back.
    pub(crate) space: Space,
    /// Index: kept answers by age.
    pub(crate) requests_by_age: OrdSet<(WallMs, RequestId)>,
    /// Bytes of all audit lines.
    pub(crate) audit_bytes: u64,
    /// Sum of the digests of all entities.
    pub(crate) sum: Sum,
}

impl State {
    /// The latest stamp of any command, before which none is stamped; zero before there is a
    /// cluster.
    pub fn cluster_time(&self) -> WallMs {
        self.cluster.as_ref().map_or(WallMs(0), |cluster| cluster.cluster_time)
    }

    /// The deployment's current revision.
    pub fn current(&self, deployment: &DeploymentName) -> Option<&Arc<RevisionRecord>> {
        let revision = self.deployments.get(deployment)?.revision;
        self.revision(deployment, revision)
    }

    /// One kept revision.
    pub fn revision(
        &self,
        deployment: &DeploymentName,
        revision: Revision,
    ) -> Option<&Arc<RevisionRecord>> {
        self.revisions.get(&(deployment.clone(), revision))
    }

    /// The spec that an instance runs; `None` only for an instance whose revision was lost.
    pub fn spec_of(&self, instance: &Instance) -> Option<&ServiceSpec> {
        self.specs_of(instance).map(|(_, service)| service)
    }

    /// The spec that an instance runs, behind that of its deployment in the same revision.
    pub fn specs_of(&self, instance: &Instance) -> Option<(&DeploymentSpec, &ServiceSpec)> {
        let record = self.revision(&instance.deployment, instance.revision)?;
        Some((&record.spec, record.spec.services.get(&instance.service)?))
    }

    /// The running instance of a service in whose network namespace an instance is.
    pub fn host_of(&self, instance: &Instance, service: &ServiceName) -> Option<&Instance> {
        let is_host = |other: &&Instance| {
            other.deployment == instance.deployment
                && other.service == *service
                && other.status.state.has_process()
        };
        self.instances_on(&instance.node).map(AsRef::as_ref).find(is_host)
    }

    /// The slots of a service, by id.
    pub fn replicas_of<'a>(
        &'a self,
        key: &ServiceKey,
    ) -> impl Iterator<Item = &'a Arc<Replica>> + use<'a> {
        let ids = self.replicas_by_service.get(key);
        ids.into_iter().flatten().filter_map(|id| self.replicas.get(id))
    }

    /// All services of a deployment that have slots, current or not.
    pub fn services_with_replicas(&self, deployment: &DeploymentName) -> Vec<ServiceName> {
        let first = (deployment.clone(), ServiceName::new(""));
        let of_deployment = |entry: &(&ServiceKey, _)| entry.0.0 == *deployment;
        let range = self.replicas_by_service.range(first..).take_while(of_deployment);
        range.map(|((_, service), _)| service.clone()).collect()
    }

    /// The instances of one slot, oldest generation first.
    pub fn instances_of<'a>(
        &'a self,
        replica: &ReplicaId,
    ) -> impl Iterator<Item = &'a Arc<Instance>> + use<'a> {
        let first = jaco_model::name::instance_id(replica, Generation(0));
        let replica = replica.clone();
        self.instances
            .range(first..)
            .take_while(move |(id, _)| id.replica == replica)
            .map(|(_, instance)| instance)
    }

    /// The instances of one node, by id.
    pub fn instances_on<'a>(
        &'a self,
        node: &NodeId,
    ) -> impl Iterator<Item = &'a Arc<Instance>> + use<'a> {
        let ids = self.instances_by_node.get(node);
        ids.into_iter().flatten().filter_map(|id| self.instances.get(id))
    }

    /// The same cluster in which nothing runs: what a member that was removed is shown, so that it
    /// takes its containers down.
    #[must_use]
    pub fn without_instances(&self) -> State {
        let mut state = self.clone();
        let all: Vec<InstanceId> = self.instances.keys().cloned().collect();
        for id in all {
            state.take::<Instance>(&id);
        }
        state
    }

    /// The audit log, oldest line first.
    pub fn audit(&self) -> impl DoubleEndedIterator<Item = &AuditEvent> {
        self.audit.values().map(|line| &line.event)
    }

    /// How many replicas a service of the current revision should have, after `jaco scale`.
    /// `None` for global services.
    pub fn wanted_replicas(&self, deployment: &Deployment, service: &ServiceSpec) -> Option<u32> {
        let ServiceMode::Replicated { replicas } = service.mode else { return None };
        let scale = deployment.scale.get(&service.name);
        Some(scale.filter(|scale| scale.file == replicas).map_or(replicas, |s| s.replicas))
    }
}
