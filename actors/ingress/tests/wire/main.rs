//! The proxy on the wire: what it makes of bytes, on both sides, and what it bears.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]
#![expect(clippy::print_stderr, reason = "seeds and what was measured")]

mod child;
mod differential;
mod expect;
mod fuzz;
mod h2;
mod hostile;
mod memory;
mod messages;
mod rude;
mod servers;
#[path = "../proxy/support.rs"]
#[expect(dead_code, reason = "shared with the tests of the proxy's services")]
mod support;
mod tap;
mod tls;
mod vectors;
mod websocket;
