//! What can go wrong in the driver of the mesh.

use jaco_netmesh_core::MeshFault;
use std::io;

/// A failure of the tunnel, the kernel or the helper.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file, socket or process.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The kernel refused a request about links, addresses or routes.
    #[error("{what}")]
    Netlink {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        #[source]
        source: rtnetlink::Error,
    },
    /// The private key's file holds something else.
    #[error("{0} holds no private key")]
    NotAKey(String),
    /// The helper process speaks nonsense or said that it failed.
    #[error("mesh helper: {0}")]
    Helper(String),
    /// The built-in tunnel.
    #[error("tunnel: {0}")]
    Tunnel(String),
    /// Neither the kernel's WireGuard nor `/dev/net/tun` can be used.
    #[error("no WireGuard in the kernel, and no helper: {0}")]
    NoTunnel(String),
}

impl Error {
    pub(crate) fn io(what: &'static str) -> impl Fn(io::Error) -> Error {
        move |source| Error::Io { what, source }
    }

    pub(crate) fn netlink(what: &'static str) -> impl Fn(rtnetlink::Error) -> Error {
        move |source| Error::Netlink { what, source }
    }

    /// As an outcome for the core.
    pub(crate) fn fault(&self, op: &'static str) -> MeshFault {
        let mut reason = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            reason = format!("{reason}: {error}");
            cause = error.source();
        }
        MeshFault { op, reason }
    }
}
