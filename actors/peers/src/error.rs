//! What can go wrong with certificates, TLS and the start of the transport.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// A failure of this crate, except those of single calls and of joining.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel gave no randomness.
    #[error("cannot draw randomness")]
    Random(#[source] io::Error),
    /// A certificate or a key could not be made.
    #[error("cannot make a {what}")]
    Make {
        /// What was to be made.
        what: &'static str,
        /// Why not.
        #[source]
        source: rcgen::Error,
    },
    /// A certificate is not one of ours, or not readable.
    #[error("unusable certificate: {reason}")]
    Certificate {
        /// What is wrong.
        reason: &'static str,
    },
    /// A private key is not readable, or not that of its certificate.
    #[error("unusable private key: {reason}")]
    Key {
        /// What is wrong.
        reason: &'static str,
    },
    /// A certificate signing request is refused.
    #[error("certificate request refused: {reason}")]
    Request {
        /// What is wrong.
        reason: &'static str,
    },
    /// A name does not fit into a certificate.
    #[error("the {what} {name:?} does not fit into a certificate")]
    Name {
        /// Which name.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A moment is outside what certificates can express.
    #[error("the time {0} ms does not fit into a certificate")]
    Time(u64),
    /// TLS refuses the configuration.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
    /// The peer port cannot be opened.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The thread of the transport cannot be started.
    #[error("cannot start the thread of the peer transport")]
    Thread(#[source] io::Error),
    /// A file of the identity cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// For `map_err` on calls of `rcgen`.
    pub(crate) fn make(what: &'static str) -> impl FnOnce(rcgen::Error) -> Error {
        move |source| Error::Make { what, source }
    }
}
