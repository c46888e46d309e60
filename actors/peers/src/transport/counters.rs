//! How often what happened.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// Events since the start of the transport.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64),+
        }

        /// The running counters.
        #[derive(Debug, Default)]
        pub(super) struct Tally {
            $(pub(super) $name: AtomicU64),+
        }

        impl Tally {
            pub(super) fn snapshot(&self) -> Counters {
                Counters { $($name: self.$name.load(Ordering::Relaxed)),+ }
            }
        }
    };
}

counters! {
    /// Connections of members that were accepted.
    accepted,
    /// Connections that were closed unheard, since too many were not authenticated yet.
    turned_away,
    /// Incoming connections that failed before they were authenticated.
    refused_handshakes,
    /// Authenticated connections that were refused for what their hello said.
    refused_hellos,
    /// Connections that this member opened.
    dialled,
    /// Connections that this member could not open.
    failed_dials,
    /// Connections closed for frames that are malformed, too large or out of place.
    broken_frames,
    /// Messages dropped for a false sender, a wrong addressee or a forbidden kind.
    violations,
    /// Raft messages dropped, since the queue was full, the connection broke or the member is
    /// unknown.
    dropped_messages,
    /// Raft messages received.
    received_messages,
    /// Snapshots sent and installed by the receiver.
    snapshots_sent,
    /// Snapshots that could not be sent, or were not installed.
    snapshots_failed,
    /// Snapshots received and installed.
    snapshots_received,
    /// Calls and streams of others that were started.
    calls_served,
}

/// Counts one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
