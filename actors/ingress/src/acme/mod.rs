//! The ACME client: carries out the calls of `jaco_ingress_core::acme`.

mod ari;
mod base64;
mod binding;
mod call;
mod certificate;
pub mod dns;
mod driver;
mod http;
mod lookup;
mod pending;
mod preflight;

pub use binding::AccountBinding;
pub use driver::{AcmeDriver, Config};
pub use lookup::{LookupError, Resolvers};
pub use preflight::{caa_identities, preflight};
