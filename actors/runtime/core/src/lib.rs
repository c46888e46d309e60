//! Replica state machines of one node.

#![forbid(unsafe_code)]
