//! The generic actix shell, supervisor and clock.

#![forbid(unsafe_code)]
