//! The ACME client: carries out the calls of `jaco_ingress_core::acme`.

mod call;
mod certificate;
mod driver;
mod http;

pub use driver::{AcmeDriver, Config};
