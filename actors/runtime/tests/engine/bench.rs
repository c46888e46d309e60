//! A driver against the engine of a lab host, and plans for the probe image.

use jaco_kit_core::{OpId, OpIds};
use jaco_lab::{Host, Lab, LabOptions, probe_binary};
use jaco_model::spec::{ContainerSpec, DeploymentSpec};
use jaco_model::{ClusterId, InstanceId};
use jaco_runtime::{Driver, DriverHandle, Engine, EngineConfig};
use jaco_runtime_core::{
    ContainerFacts, ContainerPlan, Effect, EngineEvent, EngineFacts, EngineFault, Input,
};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

pub(crate) const CLUSTER: &str = "6b1f6a3e-0000-4000-8000-000000000001";
pub(crate) const IMAGE: &str = "jaco/probe:runtime";

/// Longest wait for any input; a machine busy with builds is slow.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct Bench {
    pub(crate) lab: Lab,
    pub(crate) driver: DriverHandle,
    pub(crate) facts: EngineFacts,
    inputs: UnboundedReceiver<Input>,
    /// Inputs that came while another was awaited.
    early: Vec<Input>,
    ops: OpIds,
}

impl Bench {
    /// A lab of one host with the probe image, and a driver whose engine is up.
    pub(crate) async fn up(name: &str) -> Bench {
        let lab = Lab::up(LabOptions::new(name, 1)).unwrap();
        let host = &lab.hosts()[0];
        host.import_probe(&probe_binary().unwrap(), IMAGE).unwrap();
        let (sender, inputs) = unbounded_channel();
        let files = host.run_dir().join("files");
        let config = EngineConfig { docker_host: docker_host(host), files };
        let driver = Driver::spawn(config, &ClusterId::new(CLUSTER), move |input| {
            // The receiver goes first when a test ends.
            let _gone = sender.send(input);
        });
        let facts = EngineFacts::default();
        let mut bench =
            Bench { lab, driver, facts, inputs, early: Vec::new(), ops: OpIds::default() };
        bench.facts = bench.engine_up().await;
        bench
    }

    pub(crate) fn host(&self) -> &Host {
        &self.lab.hosts()[0]
    }

    pub(crate) fn engine(&self) -> Engine {
        self.driver.engine().unwrap()
    }

    pub(crate) async fn engine_up(&mut self) -> EngineFacts {
        self.wait("engine up", |input| match input {
            Input::EngineUp(facts) => Some(facts.clone()),
            _ => None,
        })
        .await
    }

    pub(crate) async fn engine_down(&mut self) -> String {
        self.wait("engine down", |input| match input {
            Input::EngineDown { reason } => Some(reason.clone()),
            _ => None,
        })
        .await
    }

    pub(crate) async fn event(&mut self, id: &str, wanted: EngineEvent) {
        self.wait(&format!("{wanted:?}"), |input| match input {
            Input::Event { container, event } => {
                (container == id && *event == wanted).then_some(())
            }
            _ => None,
        })
        .await;
    }

    /// Runs an order and waits for the input with its number.
    pub(crate) async fn run(&mut self, effect: impl FnOnce(OpId) -> Effect) -> Input {
        let op = self.ops.next_id();
        self.driver.run(effect(op));
        self.outcome(op).await
    }

    pub(crate) async fn outcome(&mut self, op: OpId) -> Input {
        self.wait("outcome", |input| (op_of(input) == Some(op)).then(|| input.clone())).await
    }

    pub(crate) async fn finish(
        &mut self,
        effect: impl FnOnce(OpId) -> Effect,
    ) -> Result<(), EngineFault> {
        match self.run(effect).await {
            Input::Finished { result, .. } => result,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn create(&mut self, plan: ContainerPlan) -> Result<String, EngineFault> {
        match self.run(|op| Effect::Create { op, plan: Box::new(plan) }).await {
            Input::Created { result, .. } => result.map(|(id, _)| id),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn start(&mut self, plan: ContainerPlan) -> String {
        let id = self.create(plan).await.unwrap();
        self.finish(|op| Effect::Start { op, container: id.clone() }).await.unwrap();
        id
    }

    pub(crate) async fn inspect(&mut self, container: &str) -> Option<ContainerFacts> {
        let container = container.to_owned();
        match self.run(|op| Effect::Inspect { op, container }).await {
            Input::Inspected { result, .. } => result.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    async fn wait<T>(&mut self, what: &str, mut pick: impl FnMut(&Input) -> Option<T>) -> T {
        if let Some(found) = self.early.iter().position(|input| pick(input).is_some()) {
            let input = self.early.remove(found);
            return pick(&input).unwrap();
        }
        let next = async {
            loop {
                let input = self.inputs.recv().await.unwrap();
                if let Some(found) = pick(&input) {
                    return found;
                }
                self.early.push(input);
            }
        };
        let found = tokio::time::timeout(LIMIT, next).await;
        found.unwrap_or_else(|_| panic!("no {what}; instead {:?}", self.early))
    }
}

pub(crate) fn docker_host(host: &Host) -> String {
    format!("unix://{}", host.docker_socket().display())
}

fn op_of(input: &Input) -> Option<OpId> {
    match input {
        Input::Observed { op, .. }
        | Input::Pulled { op, .. }
        | Input::Created { op, .. }
        | Input::Inspected { op, .. }
        | Input::Executed { op, .. }
        | Input::Probed { op, .. }
        | Input::Counted { op, .. }
        | Input::Proposed { op, .. }
        | Input::Finished { op, .. } => Some(*op),
        Input::StateChanged(_)
        | Input::Doubted(_)
        | Input::Isolation(_)
        | Input::Mtu(_)
        | Input::PoolConflict(_)
        | Input::PortInUse(_)
        | Input::Mesh(_)
        | Input::EngineUp(_)
        | Input::EngineDown { .. }
        | Input::Event { .. } => None,
    }
}

/// A plan of the probe image with the labels of the cluster and without any network.
pub(crate) fn plan(instance: &str, container: ContainerSpec) -> ContainerPlan {
    let instance: InstanceId = instance.parse().unwrap();
    let policy = json!({
        "parallelism": 1, "delay": 0, "order": "start-first", "order_explicit": false,
        "monitor": 5000, "failure_action": "rollback", "max_failure_ppm": 0, "max_unavailable": 0,
    });
    let service = json!({
        "name": "web", "mode": {"kind": "replicated", "replicas": 1},
        "placement": {"policy": "spread", "hosts": [], "constraints": [], "preferences": [],
            "max_per_node": null},
        "container": container, "probe": null, "start_limit": 0, "drain_timeout": 0,
        "update": policy, "rollback": policy,
        "restart": {"condition": "any", "delay": 1000, "max_attempts": null, "window": 30000},
        "depends_on": [], "ports": [], "labels": {},
        "on_node_loss": {"action": "reschedule", "grace": null},
        "singleton": false, "rebalance": true,
    });
    let spec = DeploymentSpec {
        name: "shop".into(),
        services: [("web".into(), serde_json::from_value(service).unwrap())].into(),
        networks: BTreeMap::new(),
        volumes: BTreeMap::new(),
        history: None,
        routes: Vec::new(),
        acme_email: None,
        acme_dns: BTreeMap::new(),
        secrets: BTreeMap::new(),
    };
    let label = |key: &str, value: String| (format!("jaco.{key}"), value);
    let labels = BTreeMap::from([
        label("cluster_id", CLUSTER.to_owned()),
        label("replica_id", instance.replica.to_string()),
        label("generation", instance.generation.0.to_string()),
        label("spec_hash", "hash".to_owned()),
    ]);
    ContainerPlan {
        instance,
        image: IMAGE.to_owned(),
        spec: Arc::new(spec),
        service: "web".into(),
        labels,
        mounts: Vec::new(),
        endpoints: Vec::new(),
        network_of: None,
        ipc_of: None,
        pid_of: None,
        resolv_conf: None,
        publish: Vec::new(),
    }
}

pub(crate) fn texts(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

/// The probe with a command line, without a network.
pub(crate) fn probe_plan(instance: &str, command: &[&str]) -> ContainerPlan {
    plan(instance, ContainerSpec { command: Some(texts(command)), ..ContainerSpec::default() })
}
