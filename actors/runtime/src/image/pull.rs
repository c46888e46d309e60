//! Pulls by digest, each image once however many replicas wait for it.

use super::fault::pull_fault;
use super::reference::Reference;
use super::resolve::absent;
use crate::engine::Engine;
use bollard::errors::Error as ClientError;
use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::future::{BoxFuture, FutureExt as _, Shared};
use futures_util::{Stream, StreamExt as _};
use jaco_model::InstanceId;
use jaco_model::entity::ImagePin;
use jaco_model::spec::PullPolicy;
use jaco_runtime_core::PullFault;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A pull that reports nothing for so long is given up. Engines report several times a second
/// while they download or unpack, and their own network timeouts are shorter.
const STALL: Duration = Duration::from_secs(300);

/// How far a pull has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PullProgress {
    /// Layers that are unpacked, or were there before.
    pub layers_done: u32,
    /// Layers known so far.
    pub layers_total: u32,
    /// Bytes downloaded so far.
    pub bytes_done: u64,
    /// Bytes of the layers whose size is known.
    pub bytes_total: u64,
}

/// The pulls under way. Cloning shares the table.
#[derive(Clone, Default)]
pub struct PullTable {
    pulls: Arc<Mutex<Pulls>>,
}

type Outcome = Result<(), PullFault>;
type Progress = Arc<Mutex<PullProgress>>;

/// Repository, digest and platform.
type Key = (String, String, Option<String>);

#[derive(Default)]
struct Pulls {
    running: BTreeMap<Key, (Shared<BoxFuture<'static, Outcome>>, Progress)>,
    waiting: BTreeMap<InstanceId, Progress>,
}

impl PullTable {
    /// How far the pull has come that this instance waits for.
    pub fn progress(&self, instance: &InstanceId) -> Option<PullProgress> {
        self.lock().waiting.get(instance).map(|progress| *held(progress))
    }

    /// Makes an image present.
    pub(crate) async fn pull(
        &self,
        engine: &Engine,
        instance: &InstanceId,
        image: &ImagePin,
        policy: PullPolicy,
        platform: Option<String>,
    ) -> Outcome {
        let name = Reference::parse(&image.reference).name;
        let exact =
            if image.local { image.digest.clone() } else { format!("{name}@{}", image.digest) };
        // A digest cannot go stale: a copy is as good as the registry's, also for `always`.
        let wrong_platform = |arch: Option<&str>| {
            let wanted = platform.as_deref().and_then(|platform| platform.split('/').nth(1));
            wanted.is_some_and(|wanted| arch.is_some_and(|arch| arch != wanted))
        };
        if let Some(present) = engine.local_image(&exact).await?
            && (image.local || !wrong_platform(present.architecture.as_deref()))
        {
            return Ok(());
        }
        if image.local || policy == PullPolicy::Never {
            return Err(absent(&image.reference));
        }
        let outcome = self.join(engine, instance, (name, image.digest.clone(), platform));
        let outcome = outcome.await;
        self.lock().waiting.remove(instance);
        outcome
    }

    /// The pull of `key` that is under way, or a new one.
    fn join(
        &self,
        engine: &Engine,
        instance: &InstanceId,
        key: Key,
    ) -> Shared<BoxFuture<'static, Outcome>> {
        let mut pulls = self.lock();
        let (outcome, progress) = match pulls.running.get(&key) {
            Some(running) => running.clone(),
            None => {
                let progress = Progress::default();
                let run = run(self.clone(), engine.clone(), key.clone(), progress.clone());
                let started = (run.boxed().shared(), progress);
                pulls.running.insert(key, started.clone());
                started
            }
        };
        pulls.waiting.insert(instance.clone(), progress);
        outcome
    }

    fn lock(&self) -> MutexGuard<'_, Pulls> {
        held(&self.pulls)
    }
}

impl fmt::Debug for PullTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pulls = self.lock();
        f.debug_struct("PullTable").field("waiting", &pulls.waiting).finish_non_exhaustive()
    }
}

/// A panic while a number was written cannot leave it half written.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn run(table: PullTable, engine: Engine, key: Key, progress: Progress) -> Outcome {
    let (name, digest, platform) = &key;
    let mut options = CreateImageOptionsBuilder::new().from_image(name).tag(digest);
    if let Some(platform) = platform {
        options = options.platform(platform);
    }
    let stream = engine.waiting(STALL).create_image(Some(options.build()), None, None);
    let outcome = follow(Box::pin(stream), &progress).await;
    table.lock().running.remove(&key);
    outcome
}

async fn follow(
    mut stream: impl Stream<Item = Result<CreateImageInfo, ClientError>> + Unpin,
    progress: &Progress,
) -> Outcome {
    let mut layers = Layers::default();
    loop {
        match tokio::time::timeout(STALL, stream.next()).await {
            Ok(Some(Ok(line))) => {
                layers.take(&line);
                *held(progress) = layers.sum();
            }
            Ok(Some(Err(error))) => return Err(pull_fault(&error)),
            Ok(None) => return Ok(()),
            Err(_) => return Err(pull_fault(&ClientError::RequestTimeoutError)),
        }
    }
}

/// What the engine has said of each layer.
#[derive(Default)]
struct Layers(BTreeMap<String, Layer>);

#[derive(Default)]
struct Layer {
    done: bool,
    bytes: u64,
    size: u64,
}

impl Layers {
    fn take(&mut self, line: &CreateImageInfo) {
        let (Some(id), Some(status)) = (&line.id, &line.status) else { return };
        let detail = line.progress_detail.as_ref();
        let bytes = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok()).unwrap_or_default();
        let (current, total) =
            (bytes(detail.and_then(|d| d.current)), bytes(detail.and_then(|d| d.total)));
        // Other lines, such as "Pulling from …", have the tag where layers have their id.
        match status.as_str() {
            "Pulling fs layer" | "Waiting" | "Verifying Checksum" | "Extracting" => {
                self.layer(id);
            }
            "Downloading" => {
                let layer = self.layer(id);
                layer.bytes = current;
                layer.size = total.max(current);
            }
            "Download complete" => {
                let layer = self.layer(id);
                layer.bytes = layer.size;
            }
            "Pull complete" | "Already exists" => {
                let layer = self.layer(id);
                layer.done = true;
                layer.bytes = layer.size;
            }
            _ => {}
        }
    }

    fn layer(&mut self, id: &str) -> &mut Layer {
        self.0.entry(id.to_owned()).or_default()
    }

    fn sum(&self) -> PullProgress {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        PullProgress {
            layers_done: count(self.0.values().filter(|layer| layer.done).count()),
            layers_total: count(self.0.len()),
            bytes_done: self.0.values().map(|layer| layer.bytes).sum(),
            bytes_total: self.0.values().map(|layer| layer.size).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> CreateImageInfo {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn progress_adds_up_the_layers() {
        let mut layers = Layers::default();
        for text in [
            r#"{"status":"Pulling from web","id":"v1"}"#,
            r#"{"status":"Pulling fs layer","progressDetail":{},"id":"aa"}"#,
            r#"{"status":"Already exists","progressDetail":{},"id":"bb"}"#,
            r#"{"status":"Downloading","progressDetail":{"current":10,"total":40},"id":"aa"}"#,
        ] {
            layers.take(&line(text));
        }
        let half =
            PullProgress { layers_done: 1, layers_total: 2, bytes_done: 10, bytes_total: 40 };
        assert_eq!(layers.sum(), half);
        layers.take(&line(r#"{"status":"Download complete","progressDetail":{},"id":"aa"}"#));
        layers.take(&line(r#"{"status":"Pull complete","progressDetail":{},"id":"aa"}"#));
        let whole =
            PullProgress { layers_done: 2, layers_total: 2, bytes_done: 40, bytes_total: 40 };
        assert_eq!(layers.sum(), whole);
    }
}
