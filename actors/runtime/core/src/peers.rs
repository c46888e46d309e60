//! Containers that live in the namespaces of others: who hosts whom on this node.

use crate::plan::Shared;
use crate::task::{Phase, Task};
use jaco_model::entity::Slot;
use jaco_model::{DeploymentName, InstanceId, ServiceName};
use std::collections::BTreeMap;

/// What tasks must know of each other; empty on a node where nobody shares a namespace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peers(Vec<Peer>);

#[derive(Clone, Debug)]
struct Peer {
    id: InstanceId,
    deployment: DeploymentName,
    service: ServiceName,
    slot: Slot,
    wanted: bool,
    /// Engine id and start of a running process.
    run: Option<Run>,
    /// Whose namespaces its container is in.
    joined: Vec<Run>,
    has_container: bool,
}

/// One run of a container: the engine's id and when its process started.
pub(crate) type Run = (String, Option<u64>);

/// Whether a container still lives in the namespaces it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lodging {
    /// It does, or its host is away and it has to wait.
    Settled,
    /// Its host was started again: it must be as well.
    HostRestarted,
    /// Its host has a new container: so must it.
    HostReplaced,
}

impl Peers {
    /// Looks at all tasks of the node.
    pub(crate) fn of(tasks: &BTreeMap<InstanceId, Task>) -> Peers {
        if !tasks.values().any(Task::is_guest) {
            return Peers::default();
        }
        let peer = |task: &Task| Peer {
            id: task.id().clone(),
            deployment: task.instance.deployment.clone(),
            service: task.instance.service.clone(),
            slot: task.instance.slot.clone(),
            wanted: task.is_wanted(),
            run: task.run(),
            joined: task.joined.clone(),
            has_container: task.container.is_some() && !matches!(task.phase, Phase::Gone),
        };
        Peers(tasks.values().map(peer).collect())
    }

    /// The containers whose namespaces a task is to join, or the service that has none running.
    pub(crate) fn hosts(&self, task: &Task) -> Result<(Shared, Vec<Run>), ServiceName> {
        let [network, ipc, pid] = task.shares();
        let mut runs: Vec<Run> = Vec::new();
        let mut join = |service: Option<&ServiceName>| -> Result<Option<String>, ServiceName> {
            let Some(service) = service else { return Ok(None) };
            let run = self.host(task, service).ok_or_else(|| service.clone())?;
            if !runs.contains(&run) {
                runs.push(run.clone());
            }
            Ok(Some(run.0))
        };
        let shared = Shared { network: join(network)?, ipc: join(ipc)?, pid: join(pid)? };
        Ok((shared, runs))
    }

    /// The present host first, then the one of the same slot, then the lowest id.
    fn host(&self, task: &Task, service: &ServiceName) -> Option<Run> {
        let fits = |peer: &&Peer| {
            peer.deployment == task.instance.deployment && peer.service == *service && peer.wanted
        };
        let mut runs: Vec<_> = self.0.iter().filter(fits).filter(|p| p.run.is_some()).collect();
        runs.sort_by_key(|peer| {
            let present = peer
                .run
                .as_ref()
                .is_some_and(|(id, _)| task.joined.iter().any(|(joined, _)| joined == id));
            (!present, peer.slot != task.instance.slot, peer.id.clone())
        });
        runs.first().and_then(|peer| peer.run.clone())
    }

    /// Whether a task's container still lives where it should.
    pub(crate) fn lodging(&self, task: &Task) -> Lodging {
        if !task.is_guest() || task.joined.is_empty() {
            return Lodging::Settled;
        }
        let Ok((_, runs)) = self.hosts(task) else { return Lodging::Settled };
        if runs == task.joined {
            return Lodging::Settled;
        }
        let same = runs.iter().map(|run| &run.0).eq(task.joined.iter().map(|run| &run.0));
        if same { Lodging::HostRestarted } else { Lodging::HostReplaced }
    }

    /// Whether guests of a container that are to go as well have not gone yet: they go first.
    pub(crate) fn has_leaving_guests(&self, container: &str) -> bool {
        let lives_here = |peer: &Peer| peer.joined.iter().any(|(id, _)| id == container);
        self.0.iter().any(|peer| !peer.wanted && peer.has_container && lives_here(peer))
    }
}

impl Task {
    /// Whether its container lives in a namespace of another.
    pub(crate) fn is_guest(&self) -> bool {
        self.shares().iter().any(Option::is_some)
    }

    /// The present run of its container, once its start is known.
    pub(crate) fn run(&self) -> Option<Run> {
        let container = self.running()?;
        container.started_at_ms.map(|start| (container.id.clone(), Some(start)))
    }
}
