//! The disk as the hub sees it: one thread for fsync, one for encoding snapshots.

use jaco_raft::Persister;
use jaco_raft_core::{Batch, Input, Members, Position};
use jaco_state::State;
use jaco_wiring::encode_state;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;

/// Gives inputs back to the raft shell, from any thread.
pub(crate) type Deliver = Arc<dyn Fn(Input) + Send + Sync>;

/// The threads behind the raft shell.
pub(crate) struct Disk {
    persister: Persister,
    encoder: Sender<(Position, Members, Arc<State>)>,
}

impl Disk {
    /// Starts the encoder beside a running log writer.
    pub(crate) fn new(persister: Persister, deliver: Deliver) -> io::Result<Disk> {
        let (encoder, jobs) = channel::<(Position, Members, Arc<State>)>();
        thread::Builder::new().name("raft-snapshot".into()).spawn(move || {
            for (at, members, state) in jobs {
                deliver(match encode_state(&state, at, &members) {
                    Ok(data) => Input::SnapshotTaken { at, data: Arc::new(data) },
                    Err(error) => {
                        tracing::error!(%error, index = at.index, "cannot encode the state");
                        Input::SnapshotFailed { at }
                    }
                });
            }
        })?;
        Ok(Disk { persister, encoder })
    }

    /// Makes a batch durable.
    pub(crate) fn persist(&self, batch: Arc<Batch>) {
        self.persister.persist(batch);
    }

    /// Encodes the state as a snapshot file.
    pub(crate) fn encode(&self, at: Position, members: Members, state: Arc<State>) {
        // The thread lives as long as this handle.
        let _ = self.encoder.send((at, members, state));
    }

    /// Reads the newest snapshot file.
    pub(crate) fn load(&self, at: Position) {
        self.persister.load_snapshot(at);
    }
}
