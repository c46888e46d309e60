//! Everything the firewall core may ask of the outside.

use crate::conntrack::FlowFilter;
use crate::diff::Delta;
use crate::isolation::Isolation;
use crate::ruleset::Ruleset;
use jaco_kit_core::OpId;
use std::sync::Arc;
use std::time::Duration;

/// Orders. Those with an `op` are each answered once; at most one of `Write`, `WriteElements` and
/// `ReadBack` is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Replace the whole table in one transaction, whether it is there or not. Comes back as
    /// `Written`.
    Write {
        /// Returns with the outcome.
        op: OpId,
        /// What it should hold.
        ruleset: Arc<Ruleset>,
    },
    /// Add and delete elements in one transaction, if the kernel is still at the generation. Comes
    /// back as `Written`.
    WriteElements {
        /// Returns with the outcome.
        op: OpId,
        /// Which elements.
        delta: Delta,
        /// The generation that the change was made for.
        generation: u32,
    },
    /// Read the whole table. Comes back as `ReadBack`.
    ReadBack {
        /// Returns with the outcome.
        op: OpId,
    },
    /// Forget connections. Comes back as `FlowsEnded`.
    EndFlows {
        /// Returns with the outcome.
        op: OpId,
        /// Which; a connection that any of them matches ends.
        flows: Vec<FlowFilter>,
    },
    /// Tell others. Has no answer.
    Report(Report),
}

/// What others should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// Whether containers may start; only when it has changed.
    Isolation(Isolation),
    /// The table differed from what was written; audit `isolation_self_test_failed`.
    SelfTestFailed {
        /// In what.
        difference: String,
    },
    /// The table was changed by somebody else and is right again; audit
    /// `isolation_ruleset_reconciled`.
    Reconciled {
        /// What had been changed, of the last time.
        difference: String,
        /// The program that did it, as far as known.
        by: Option<String>,
        /// From the notice to the end of the self-test.
        took: Duration,
        /// Repairs since the last report.
        count: u32,
    },
}
