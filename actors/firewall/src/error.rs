//! What can go wrong between us and the kernel.

use jaco_firewall_core::{Fault, FaultKind};
use std::io;

/// A failure of the driver.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket failed.
    #[error("netlink: cannot {what}")]
    Socket {
        /// What was tried.
        what: &'static str,
        /// The system's word.
        #[source]
        source: io::Error,
    },
    /// The kernel refused a part of a transaction, and with it all of it.
    #[error("{part}: {source}{detail}")]
    Refused {
        /// Which part.
        part: String,
        /// What the kernel explained, in brackets, or nothing.
        detail: String,
        /// Its error.
        source: io::Error,
    },
    /// Somebody else changed nftables in between.
    #[error("another program changed nftables in between")]
    Overtaken,
    /// The engine's own filter program refuses a rule.
    #[error("iptables refuses the rule that lets the mesh through: {said}")]
    Exempt {
        /// What it said.
        said: String,
    },
    /// The engine's own filter program cannot be run.
    #[error("cannot run iptables")]
    Program {
        /// The system's word.
        #[source]
        source: io::Error,
    },
    /// An answer that is not understood.
    #[error("netlink: {0}")]
    Malformed(&'static str),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        let kind = match error {
            Error::Overtaken => FaultKind::Overtaken,
            _ => FaultKind::Refused,
        };
        let message = match &error {
            Error::Socket { what, source } => format!("netlink: cannot {what}: {source}"),
            other => other.to_string(),
        };
        Fault { kind, message }
    }
}
