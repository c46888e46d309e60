//! What clients did and saw, in the form that the checker of linearizability takes.

use super::linear;
use crate::queue::Micros;
use jaco_model::DeploymentName;
use std::collections::BTreeMap;

/// One operation on one deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    pub(crate) begin: Micros,
    /// `None`: nobody knows whether it happened.
    pub(crate) end: Option<Micros>,
    /// The value written.
    pub(crate) value: u64,
    /// Written only over this revision; 0: only if there is none.
    pub(crate) expected: Option<u64>,
    pub(crate) outcome: Outcome,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Written as this revision.
    Written { revision: u64 },
    /// Another revision was expected.
    Conflict,
    /// A read saw revision and value, or no deployment.
    Seen(Option<(u64, u64)>),
    /// A write without an answer.
    Unknown,
}

/// All operations by deployment.
#[derive(Debug, Default)]
pub(crate) struct History {
    operations: BTreeMap<DeploymentName, Vec<Operation>>,
}

impl History {
    pub(crate) fn add(&mut self, name: DeploymentName, operation: Operation) {
        self.operations.entry(name).or_default().push(operation);
    }

    /// Operations of all deployments.
    pub(crate) fn len(&self) -> usize {
        self.operations.values().map(Vec::len).sum()
    }

    /// Whether it is right so far, with these writes still under way.
    ///
    /// # Errors
    /// As [`History::check`].
    pub(crate) fn check_with(
        &self,
        open: impl Iterator<Item = (DeploymentName, Operation)>,
    ) -> Result<(), String> {
        let mut so_far = History { operations: self.operations.clone() };
        open.for_each(|(name, operation)| so_far.add(name, operation));
        so_far.check()
    }

    /// Whether each deployment behaved as if all happened one after another.
    ///
    /// # Errors
    /// Names the first deployment that did not.
    pub(crate) fn check(&self) -> Result<(), String> {
        for (name, operations) in &self.operations {
            linear::check(operations)
                .map_err(|what| format!("invariant 10: {name} is not linearizable: {what}"))?;
        }
        Ok(())
    }

    /// Writes that were acknowledged: deployment, revision and value.
    pub(crate) fn written(&self) -> impl Iterator<Item = (&DeploymentName, u64, u64)> {
        self.operations.iter().flat_map(|(name, operations)| {
            operations.iter().filter_map(move |operation| match operation.outcome {
                Outcome::Written { revision } => Some((name, revision, operation.value)),
                Outcome::Conflict | Outcome::Seen(_) | Outcome::Unknown => None,
            })
        })
    }
}
