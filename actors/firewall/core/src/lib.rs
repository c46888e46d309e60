//! What the packet filter of one node should be, and when it is written.
//!
//! Turns the replicated state into a [`Policy`], a policy into a [`Ruleset`], and the difference
//! between two rulesets into a [`Change`]. [`FirewallCore`] decides when changes are written, when
//! the filter is read back, and what follows when it is not what it should be. It deliberately
//! speaks no netlink: orders leave as [`Effect`]s and come back as [`Input`]s.

#![forbid(unsafe_code)]

mod policy;
mod prefix;

mod chains;
mod diff;
mod expr;
mod rule;
mod ruleset;
mod sets;
mod text;

mod conntrack;
mod core;
mod desired;
mod effect;
mod flows;
mod input;
mod isolation;
mod pending;
mod repair;
mod settings;
mod source;

pub use crate::core::FirewallCore;
pub use chains::ruleset;
pub use conntrack::{Flow, FlowFilter, ended_flows};
pub use diff::{Change, Delta, diff};
pub use effect::{Effect, Report};
pub use expr::{Compare, CtKey, Expr, HeaderBase, MetaKey, Slot, Verdict};
pub use input::{Fault, FaultKind, Found, Input, Written};
pub use isolation::{Isolation, Reason};
pub use policy::{Bridge, Policy, ScopeBlocks};
pub use prefix::Prefix;
pub use ruleset::{
    Chain, ChainKind, Element, Field, Hook, Rule, Ruleset, Set, TABLE, interface_key,
};
pub use settings::{Options, Settings};
