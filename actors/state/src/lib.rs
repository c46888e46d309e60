//! The replicated state machine.

#![forbid(unsafe_code)]
