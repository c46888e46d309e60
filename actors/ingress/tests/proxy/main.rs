//! The proxy on loopback, between real clients and real services.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod access;
mod admission;
mod balance;
mod crowd;
mod expect;
mod floods;
mod http1;
mod keepalive;
mod meters;
mod options;
mod proxied;
mod refused;
mod resume;
mod retry;
mod smuggling;
mod stopping;
mod support;
mod tls;
mod upstream;
mod waiting;
