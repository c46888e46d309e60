//! Carries out the core's orders and returns their outcomes.

use crate::engine::Engine;
use crate::error::last_512;
use crate::files::Files;
use crate::image::PullTable;
use crate::probe::probe;
use crate::watch::{Deliver, watch};
use jaco_model::entity::ImagePin;
use jaco_model::spec::{Hook, ProbeCheck, PullPolicy};
use jaco_model::{ClusterId, ErrorCode, Fault, InstanceId, Millis};
use jaco_runtime_core::{Effect, EngineFault, Input, PullFault, PullReason};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

/// Where the engine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// `unix:///path/to/docker.sock`.
    pub docker_host: String,
    /// Directory for files that containers are given; made when it is needed. The engine must see
    /// the same directory.
    pub files: PathBuf,
}

/// The engine driver, before it runs.
#[derive(Debug)]
pub struct Driver;

/// A running driver. Cloning shares it; the last clone to go ends the watch over the engine, while
/// orders that are under way run to their end.
#[derive(Clone)]
pub struct DriverHandle {
    hands: Arc<Hands>,
    runtime: Handle,
    _watch: Arc<Watch>,
}

impl Driver {
    /// Starts to watch the engine. Inputs go to `deliver`, which must not block.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn spawn(
        config: EngineConfig,
        cluster_id: &ClusterId,
        deliver: impl Fn(Input) + Send + Sync + 'static,
    ) -> DriverHandle {
        let runtime = Handle::current();
        let deliver: Deliver = Arc::new(deliver);
        let (current, engine) = tokio::sync::watch::channel(None);
        let cluster_id = cluster_id.as_str().to_owned();
        let task = watch(config.docker_host, cluster_id.clone(), current, deliver.clone());
        let watch = Arc::new(Watch(runtime.spawn(task).abort_handle()));
        let files = Files::new(config.files);
        let hands = Hands { engine, pulls: PullTable::default(), cluster_id, files, deliver };
        DriverHandle { hands: Arc::new(hands), runtime, _watch: watch }
    }
}

impl DriverHandle {
    /// Carries out one order in the background. Its outcome arrives as exactly one input.
    ///
    /// Proposals and seats are not for the engine: the ones are answered with an error, the others
    /// not at all.
    pub fn run(&self, effect: Effect) {
        let hands = self.hands.clone();
        self.runtime.spawn(async move {
            if let Some(input) = hands.execute(effect).await {
                (hands.deliver)(input);
            }
        });
    }

    /// The engine, while it answers.
    pub fn engine(&self) -> Option<Engine> {
        self.hands.engine.borrow().clone()
    }

    /// The pulls under way.
    pub fn pulls(&self) -> &PullTable {
        &self.hands.pulls
    }
}

impl fmt::Debug for DriverHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DriverHandle").field("engine", &self.engine()).finish_non_exhaustive()
    }
}

/// Ends the watch when dropped.
struct Watch(AbortHandle);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Hands {
    engine: tokio::sync::watch::Receiver<Option<Engine>>,
    pulls: PullTable,
    cluster_id: String,
    files: Files,
    deliver: Deliver,
}

impl Hands {
    async fn execute(&self, effect: Effect) -> Option<Input> {
        Some(match effect {
            Effect::Seated(_) => return None,
            Effect::Propose { op, .. } => {
                let fault = Fault::new(ErrorCode::Internal, "the engine takes no proposals");
                Input::Proposed { op, result: Err(fault) }
            }
            Effect::Observe { op } => {
                let asked = async { self.up("observe")?.observe(&self.cluster_id).await };
                Input::Observed { op, result: asked.await }
            }
            Effect::Pull { op, instance, image, policy, platform } => {
                let result = self.pull(&instance, &image, policy, platform).await;
                Input::Pulled { op, result }
            }
            Effect::EnsureNetwork { op, plan } => {
                let made = async { self.up("create network")?.ensure_network(&plan).await };
                Input::Finished { op, result: made.await }
            }
            Effect::EnsureVolume { op, plan } => {
                let made = async { self.up("create volume")?.ensure_volume(&plan).await };
                Input::Finished { op, result: made.await }
            }
            Effect::Create { op, plan } => {
                let made = async { self.up("create")?.create(&plan, &self.files).await };
                Input::Created { op, result: made.await }
            }
            Effect::Start { op, container } => {
                let started = async { self.up("start")?.start(&container).await };
                Input::Finished { op, result: started.await }
            }
            Effect::Stop { op, container, grace } => {
                let stopped = async { self.up("stop")?.stop(&container, grace).await };
                Input::Finished { op, result: stopped.await }
            }
            Effect::Remove { op, container } => {
                let removed = async { self.up("remove")?.remove(&container, &self.files).await };
                Input::Finished { op, result: removed.await }
            }
            Effect::Inspect { op, container } => {
                let asked = async { self.up("inspect")?.inspect(&container).await };
                Input::Inspected { op, result: asked.await }
            }
            Effect::Exec { op, container, hook, timeout } => {
                let ran = async { self.up("exec")?.exec(&container, &hook, timeout).await };
                Input::Executed { op, result: ran.await }
            }
            Effect::Probe { op, address, check, timeout, container } => {
                let result = self.probe(&address, check, timeout, &container).await;
                Input::Probed { op, result }
            }
            Effect::CountConnections { op, container, ports, from } => {
                let counted = async {
                    self.up("count connections")?.connections(&container, &ports, &from).await
                };
                Input::Counted { op, result: counted.await }
            }
            Effect::RemoveNetwork { op, name } => {
                let removed = async { self.up("remove network")?.remove_network(&name).await };
                Input::Finished { op, result: removed.await }
            }
            Effect::RemoveVolume { op, name } => {
                let removed = async { self.up("remove volume")?.remove_volume(&name).await };
                Input::Finished { op, result: removed.await }
            }
        })
    }

    async fn pull(
        &self,
        instance: &InstanceId,
        image: &ImagePin,
        policy: PullPolicy,
        platform: Option<String>,
    ) -> Result<(), PullFault> {
        let engine = self.up("pull").map_err(|fault| PullFault {
            reason: PullReason::Network,
            message: fault.reason,
            retry_after_ms: None,
        })?;
        self.pulls.pull(&engine, instance, image, policy, platform).await
    }

    async fn probe(
        &self,
        address: &str,
        check: ProbeCheck,
        timeout: Millis,
        container: &str,
    ) -> Result<(), String> {
        let ProbeCheck::Exec { command } = check else {
            return probe(address, &check, timeout).await;
        };
        let hook = Hook {
            command,
            user: None,
            privileged: false,
            working_dir: None,
            environment: BTreeMap::new(),
        };
        let ran = async { self.up("exec")?.exec(container, &hook, timeout).await };
        match ran.await {
            Ok(ended) if ended.exit_code == 0 => Ok(()),
            Ok(ended) => Err(last_512(&format!("exit code {}: {}", ended.exit_code, ended.output))),
            Err(fault) => Err(last_512(&fault.reason)),
        }
    }

    /// The engine, if it answers.
    fn up(&self, op: &'static str) -> Result<Engine, EngineFault> {
        self.engine.borrow().clone().ok_or_else(|| EngineFault {
            op,
            reason: "Docker Engine does not answer".to_owned(),
            retry: true,
        })
    }
}
