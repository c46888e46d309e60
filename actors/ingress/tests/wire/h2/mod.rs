//! HTTP/2 by its frames, over TLS.

pub(crate) mod wire;

mod cases;
mod conformance;
mod downgrade;
mod lives;
mod windows;
