//! The drivers of the shells: every effect goes through the wiring table.

use super::{Boards, Hub};
use jaco_kit::{Broken, Perform};
use jaco_model::event::Event;
use jaco_state::State;
use std::sync::Arc;

/// Performs the effects of the raft core.
pub(crate) struct RaftDriver(pub(crate) Hub);

impl Perform<jaco_raft_core::Effect> for RaftDriver {
    fn perform(&mut self, effect: jaco_raft_core::Effect) -> Result<(), Broken> {
        let now = self.0.now();
        let arrived = match &effect {
            jaco_raft_core::Effect::Restore { at, .. } => Some(at.index),
            // The log may have got there by itself, and then the snapshot is not wanted any more.
            jaco_raft_core::Effect::Apply(entries) => entries.last().map(|entry| entry.index),
            _ => None,
        };
        let steps = self.0.inner.borrow_mut().member.from_raft(now, effect);
        self.0.run(steps);
        if let Some(index) = arrived {
            self.0.inner.borrow_mut().installed(index);
        }
        self.0.broken()
    }
}

/// Performs the effects of the scheduler.
pub(crate) struct SchedulerDriver(pub(crate) Hub);

impl Perform<jaco_scheduler::Effect> for SchedulerDriver {
    fn perform(&mut self, effect: jaco_scheduler::Effect) -> Result<(), Broken> {
        let now = self.0.now();
        let steps = self.0.inner.borrow_mut().member.from_scheduler(now, effect);
        self.0.run(steps);
        Ok(())
    }
}

/// Performs the effects of the runtime core.
pub(crate) struct RuntimeDriver(pub(crate) Hub);

impl Perform<jaco_runtime_core::Effect> for RuntimeDriver {
    fn perform(&mut self, effect: jaco_runtime_core::Effect) -> Result<(), Broken> {
        let now = self.0.now();
        let steps = self.0.inner.borrow_mut().member.from_runtime(now, effect);
        self.0.run(steps);
        Ok(())
    }
}

/// Performs the effects of the liveness core.
pub(crate) struct LivenessDriver(pub(crate) Hub);

impl Perform<jaco_liveness_core::Effect> for LivenessDriver {
    fn perform(&mut self, effect: jaco_liveness_core::Effect) -> Result<(), Broken> {
        let now = self.0.now();
        let steps = self.0.inner.borrow_mut().member.from_liveness(now, effect);
        self.0.run(steps);
        Ok(())
    }
}

/// Shows a new state to all watchers and mirrors the audit log to the log stream. Who leads counts
/// the ends of orders.
pub(super) fn publish(boards: &Boards, state: Arc<State>, events: &[Event], leads: bool) {
    for event in events {
        match event {
            Event::Audited(line) => {
                tracing::info!(
                    target: "audit",
                    kind = line.kind, identity = %line.identity, index = line.raft_index,
                    payload = ?line.payload, "audit event"
                );
                boards.renewals.send_if_modified(|renewals| leads && renewals.count(line));
            }
            Event::InstanceChanged { id, from, to } => {
                let from = from.map_or("new", |state| state.as_str());
                tracing::info!(instance = %id, from, to = to.as_str(), "instance changed");
            }
            Event::Dropped { fault } => tracing::debug!(%fault, "part of a command dropped"),
            Event::ClusterChanged
            | Event::NodeChanged(_)
            | Event::DeploymentChanged(_)
            | Event::CertificateChanged { .. } => {}
        }
    }
    boards.state.send_replace(state);
}
