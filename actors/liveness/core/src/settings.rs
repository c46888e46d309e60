//! How patient a node is with its peers.

use std::time::Duration;

/// Periods, limits and counts; the defaults are those of the product.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Time between two probes of one peer; longer than `probe_timeout`.
    pub probe_every: Duration,
    /// An answer that takes longer is none.
    pub probe_timeout: Duration,
    /// Failed probes in a row that make a peer suspect.
    pub suspect_after: u32,
    /// Failed probes in a row of every peer that make the observer doubt itself.
    pub doubt_after: u32,
    /// How long observers must suspect a peer without a break before it is declared down.
    pub confirm_after: Duration,
    /// The same with only one observer, counted from the first failure: a cluster of two.
    pub confirm_alone_after: Duration,
    /// A word that is older says nothing about now.
    pub word_valid: Duration,
    /// Being woken later than this makes an observer impaired.
    pub late_after: Duration,
    /// How long it then stays impaired.
    pub impaired_for: Duration,
    /// How long a peer that announced a restart is not suspected.
    pub pause_max: Duration,
    /// How long a new member may take until its first answer.
    pub arrival_grace: Duration,
    /// How long a node that was down must answer every probe before it is declared up.
    pub return_after: Duration,
    /// More than `flaps_max` downs within this time hold a node back.
    pub flap_window: Duration,
    /// Downs within `flap_window` that are forgiven.
    pub flaps_max: usize,
    /// How long a node is held back at first; doubles each time.
    pub hold_first: Duration,
    /// The longest time a node is held back.
    pub hold_limit: Duration,
    /// Time between the end of one proposal about a node and the next.
    pub retry_after: Duration,
    /// Observers of each node.
    pub observers_max: usize,
    /// Places among them that voters fill first.
    pub observer_voters_max: usize,
    /// Peers that every node probes at least, so that it can tell when it is cut off itself.
    pub targets_min: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            probe_every: Duration::from_millis(500),
            probe_timeout: Duration::from_millis(400),
            suspect_after: 3,
            doubt_after: 2,
            confirm_after: Duration::from_millis(1_500),
            confirm_alone_after: Duration::from_secs(5),
            word_valid: Duration::from_secs(2),
            late_after: Duration::from_millis(250),
            impaired_for: Duration::from_secs(2),
            pause_max: Duration::from_secs(30),
            arrival_grace: Duration::from_secs(10),
            return_after: Duration::from_secs(15),
            flap_window: Duration::from_secs(600),
            flaps_max: 3,
            hold_first: Duration::from_secs(60),
            hold_limit: Duration::from_secs(1_800),
            retry_after: Duration::from_secs(1),
            observers_max: 8,
            observer_voters_max: 7,
            targets_min: 2,
        }
    }
}
