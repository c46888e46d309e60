//! What a node knows about its peers, for status pages.

use jaco_kit_core::Mono;

/// One peer as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerView {
    /// Whether this node or most observers cannot reach it.
    pub suspect: bool,
    /// When it last said anything, by this node's clock.
    pub last_contact: Option<Mono>,
    /// Whether it said that its own observations are not to be trusted.
    pub impaired: bool,
    /// The last index it said it has applied; 0 before its first word.
    pub applied_index: u64,
    /// Whether its return is held back because it went down too often.
    pub flapping: bool,
}
