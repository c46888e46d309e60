//! Everything the firewall core can learn.

use crate::policy::Policy;
use crate::ruleset::Ruleset;
use jaco_kit_core::OpId;
use jaco_state::State;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Facts from outside. Each order is answered by exactly one of those with an `op`.
#[derive(Clone, Debug)]
pub enum Input {
    /// The replicated state moved on.
    StateChanged(Arc<State>),
    /// What to enforce, from somebody who does not take it from the state. The next
    /// `StateChanged` replaces it.
    PolicyChanged(Arc<Policy>),
    /// The containers of this node that are to be cut off, all of them.
    Fenced(BTreeSet<Ipv4Addr>),
    /// Somebody else changed our table, or notifications were lost and may have said so.
    Drifted {
        /// The program, as far as the kernel says it.
        by: Option<String>,
    },
    /// The outcome of `Write` or `WriteElements`.
    Written {
        /// Of the order.
        op: OpId,
        /// Where the kernel is now, or why nothing was written.
        result: Result<Written, Fault>,
    },
    /// The outcome of `ReadBack`.
    ReadBack {
        /// Of the order.
        op: OpId,
        /// What is there, or why it is not known.
        result: Result<Found, Fault>,
    },
    /// The outcome of `EndFlows`.
    FlowsEnded {
        /// Of the order.
        op: OpId,
        /// How many connections were forgotten.
        result: Result<usize, Fault>,
    },
}

/// A write that the kernel took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The kernel's generation behind it.
    pub generation: u32,
}

/// What a read-back saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The table; `None` when there is none.
    pub ruleset: Option<Ruleset>,
    /// The kernel's generation that it belongs to.
    pub generation: u32,
}

/// Why an order failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What kind of failure.
    pub kind: FaultKind,
    /// What the kernel said, and about which part.
    pub message: String,
}

/// Kinds of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Somebody else wrote in between; what was read is out of date.
    Overtaken,
    /// The kernel said no.
    Refused,
}
