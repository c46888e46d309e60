//! The cluster's root, certificates of nodes, and the token that a node joins with.
//!
//! Plain functions: time comes in, randomness from the kernel. Whether a presented certificate is
//! valid is decided by `rustls` (see [`crate::tls`]); this module only makes certificates and reads
//! the names in them.

mod authority;
mod base32;
mod encoding;
mod identity;
mod request;
mod token;

pub use authority::{Authority, NODE_LIFETIME, NodeCertificate};
pub use encoding::{certificates_from_pem, hex, spki_digest};
pub(crate) use encoding::{key_from_pem, spki_digest_of_der};
pub use identity::dns_name;
pub use identity::{PeerId, Validity, validity};
pub use request::{NodeKey, csr_key_digest};
pub use token::{BadToken, JoinToken};
