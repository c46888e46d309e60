//! Whether the filter is known to work.

use std::fmt;

/// Whether containers may start on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// The filter was read back and is what it should be.
    Available,
    /// It is not known to be. Running containers go on, no new ones start.
    Unavailable {
        /// Why.
        reason: Reason,
        /// There was no filter at all for ten seconds: the node leaves routing where others can
        /// serve.
        exposed: bool,
    },
}

/// Why the filter is not known to work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It was not written yet.
    Starting,
    /// Somebody else changed it, and it is about to be repaired.
    Changed,
    /// The kernel refused it.
    Refused(String),
    /// The kernel took it and shows something else.
    SelfTest(String),
    /// The kernel does not show it.
    Unreadable(String),
}

impl Isolation {
    /// Whether containers may start.
    pub fn is_available(&self) -> bool {
        *self == Isolation::Available
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Starting => f.write_str("the packet filter is not installed yet"),
            Reason::Changed => f.write_str("another program changed the packet filter"),
            Reason::Refused(why) => write!(f, "the kernel refused the packet filter: {why}"),
            Reason::SelfTest(what) => {
                write!(f, "the packet filter differs from what was written: {what}")
            }
            Reason::Unreadable(why) => write!(f, "the packet filter cannot be read: {why}"),
        }
    }
}
