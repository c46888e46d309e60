//! The proxy on loopback, between real clients and real services.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod http1;
mod smuggling;
mod support;
mod tls;
