//! Certificates of members, and the mutually authenticated transport between them.
//!
//! ```text
//! pki          the root, certificates of nodes, join tokens, names in certificates
//! tls          who is accepted: members on the peer port, anybody on the API port, and the API
//!              port as seen by a node that knows only the digest of the root
//! transport    raft messages, snapshots, calls and streams between members
//! join_client  the one request of a node that is not a member yet
//! store        the identity of this node on disk
//! ```
//!
//! What a message means is decided elsewhere: by the raft core, and by the handlers of calls. Here
//! it is only certain who sent it. Frames are those of [`jaco_wire::peer`].

#![forbid(unsafe_code)]

mod error;
mod join_client;
pub mod pki;
mod store;
pub mod tls;
pub mod transport;

pub use error::Error;
pub use jaco_wire::peer::{Method, Refusal};
pub use join_client::{JoinError, join_call};
pub use store::NodeFiles;
