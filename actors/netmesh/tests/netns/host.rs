//! A host: a network namespace on a thread of its own, which runs what it is given.

use nix::sched::{CloneFlags, unshare};
use std::fs::File;
use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc;
use std::time::Duration;

type Job = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// Longest time for anything; the machine may be slow and busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// By how much everything may take longer here: `JACO_TEST_PATIENCE`, for a guest whose processor
/// is emulated.
pub(crate) fn patience(limit: Duration) -> Duration {
    let factor = std::env::var("JACO_TEST_PATIENCE").ok().and_then(|text| text.parse().ok());
    limit * factor.unwrap_or(1)
}

/// The namespace goes with the thread and with what runs in it.
pub(crate) struct Host {
    jobs: Option<tokio::sync::mpsc::UnboundedSender<Job>>,
    thread: Option<std::thread::JoinHandle<()>>,
    namespace: File,
}

impl Host {
    pub(crate) fn new() -> Host {
        let (jobs, mut todo) = tokio::sync::mpsc::unbounded_channel::<Job>();
        let (send, made) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("these tests need root");
            send.send(File::open("/proc/thread-self/ns/net").unwrap()).unwrap();
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, async move {
                while let Some(job) = todo.recv().await {
                    tokio::task::spawn_local(job());
                }
            });
        });
        let namespace = made.recv_timeout(patience(PATIENCE)).unwrap();
        Host { jobs: Some(jobs), thread: Some(thread), namespace }
    }

    pub(crate) fn namespace(&self) -> &File {
        &self.namespace
    }

    /// Runs something inside and waits for what comes of it.
    pub(crate) fn run<T, F>(&self, job: impl FnOnce() -> F + Send + 'static) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
    {
        let (send, done) = mpsc::channel();
        self.spawn(move || async move {
            let _ = send.send(job().await);
        });
        done.recv_timeout(patience(PATIENCE)).expect("it ends in time")
    }

    /// Begins something inside.
    pub(crate) fn spawn<F>(&self, job: impl FnOnce() -> F + Send + 'static)
    where
        F: Future<Output = ()> + 'static,
    {
        let job: Job = Box::new(move || Box::pin(job()));
        assert!(self.jobs.as_ref().unwrap().send(job).is_ok());
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
