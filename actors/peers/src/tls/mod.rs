//! Who may connect to whom.
//!
//! Each verifier first lets the one of `rustls` decide whether the chain leads to the cluster's
//! root, holds now and may be used so; only then it looks at the names. No path leaves the first
//! step out. Between members sessions are never resumed, since a resumed one presents no
//! certificate.

mod config;
mod identity;
mod member;
mod pin;
mod roster;

pub use config::{
    PEER_ALPN, api_server_config, peer_client_config, peer_server_config, pinned_client_config,
};
pub use identity::Identity;
pub use pin::DigestMismatch;
pub use roster::{NotAdmitted, Roster, RosterEntry};
