//! The thread that waits for the disk, so that nobody else has to.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use jaco_raft_core::{Batch, Input, Position};

use crate::store::Store;

/// A handle to the thread that owns the [`Store`]; dropping it ends the thread after its work.
///
/// The queue has no bound of its own: the core has at most one batch and one load outstanding.
#[derive(Debug)]
pub struct Persister {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Job {
    Persist(Arc<Batch>),
    Load(Position),
}

impl Persister {
    /// Starts the thread. `done` is called on it with the inputs that answer the effects.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn spawn(store: Store, done: impl FnMut(Input) + Send + 'static) -> io::Result<Persister> {
        let (jobs, receiver) = channel();
        let thread = thread::Builder::new()
            .name("raft-disk".into())
            .spawn(move || run(store, &receiver, done))?;
        Ok(Persister { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Runs the effect `Persist`.
    pub fn persist(&self, batch: Arc<Batch>) {
        self.send(Job::Persist(batch));
    }

    /// Runs the effect `LoadSnapshot`.
    pub fn load_snapshot(&self, at: Position) {
        self.send(Job::Load(at));
    }

    fn send(&self, job: Job) {
        // The thread ends only after this handle, or by a panic, which ends the process.
        if self.jobs.as_ref().is_none_or(|jobs| jobs.send(job).is_err()) {
            tracing::error!("the raft disk thread is gone");
        }
    }
}

impl Drop for Persister {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the raft disk thread panicked");
        }
    }
}

fn run(mut store: Store, jobs: &Receiver<Job>, mut done: impl FnMut(Input)) {
    for job in jobs {
        match job {
            Job::Persist(batch) => {
                let result = store.persist(&batch).map_err(|error| chain(&error));
                done(Input::Persisted { seq: batch.seq, result });
            }
            Job::Load(at) => {
                let data = match store.load_snapshot(at) {
                    Ok(bytes) => Some(Arc::new(bytes)),
                    Err(error) => {
                        tracing::error!(error = chain(&error), index = at.index, "no snapshot");
                        None
                    }
                };
                done(Input::SnapshotLoaded { at, data });
            }
        }
    }
}

/// The error and its causes, for the core carries text only.
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
