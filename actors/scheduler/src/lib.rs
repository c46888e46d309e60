//! Placement, rollouts and explanations as a pure core.

#![forbid(unsafe_code)]
