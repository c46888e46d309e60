//! Mistakes put in on purpose, to prove that the simulator finds them.
//!
//! Those of a core live in that core behind its feature `seeded-bugs`, the others here. A build
//! without the feature has no code for any of them and knows no name.

/// One mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Applies and answers before the batch is durable.
    #[cfg(feature = "seeded-bugs")]
    AckBeforeFsync,
    /// The batch that installs a snapshot carries the commit index from before it.
    #[cfg(feature = "seeded-bugs")]
    CommitNotRaised,
    /// Votes and acknowledgements leave before what they depend on is durable.
    #[cfg(feature = "seeded-bugs")]
    MessagesEarly,
    /// An empty entry is dropped before anybody looks at its type.
    #[cfg(feature = "seeded-bugs")]
    SkipEmptyConf,
    /// Reads are answered from leadership alone.
    #[cfg(feature = "seeded-bugs")]
    LeaseReads,
    /// A wiped disk goes on under its old raft id.
    #[cfg(feature = "seeded-bugs")]
    RaftIdReused,
    /// A join token works again.
    #[cfg(feature = "seeded-bugs")]
    TokenTwice,
    /// A request id is forgotten at once.
    #[cfg(feature = "seeded-bugs")]
    ForgetfulApply,
    /// Containers start whether or not the packet filter stands.
    #[cfg(feature = "seeded-bugs")]
    UnfilteredStarts,
    /// Now and then the responder goes on with its old tables.
    #[cfg(feature = "seeded-bugs")]
    LostTables,
}

/// Without the feature there is none.
#[cfg(not(feature = "seeded-bugs"))]
const ALL: [(Bug, &str); 0] = [];

#[cfg(feature = "seeded-bugs")]
const ALL: [(Bug, &str); 10] = [
    (Bug::AckBeforeFsync, "ack-before-fsync"),
    (Bug::CommitNotRaised, "commit-not-raised"),
    (Bug::MessagesEarly, "messages-early"),
    (Bug::SkipEmptyConf, "skip-empty-conf"),
    (Bug::LeaseReads, "lease-reads"),
    (Bug::RaftIdReused, "raft-id-reused"),
    (Bug::TokenTwice, "token-twice"),
    (Bug::ForgetfulApply, "forgetful-apply"),
    (Bug::UnfilteredStarts, "unfiltered-starts"),
    (Bug::LostTables, "lost-tables"),
];

impl Bug {
    /// All that this build knows.
    pub fn all() -> impl Iterator<Item = Bug> {
        ALL.iter().map(|(bug, _)| *bug)
    }

    /// The one of that name.
    pub fn from_name(name: &str) -> Option<Bug> {
        ALL.iter().find(|(_, of)| *of == name).map(|(bug, _)| *bug)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        ALL.iter().find(|(bug, _)| *bug == self).map_or("", |(_, name)| name)
    }
}
