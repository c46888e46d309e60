//! Whole manifests through loading and compiling.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod golden;
mod mutations;
mod support;
