//! Who this node is and how patient it is.

use jaco_model::entity::Capacity;
use jaco_model::{ClusterId, NodeId};
use std::collections::BTreeMap;
use std::time::Duration;

/// What the node knows about itself without asking anybody.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its id.
    pub node: NodeId,
    /// The cluster whose containers it owns.
    pub cluster: ClusterId,
    /// Address that peers and people see; empty while there is no peer port.
    pub address: String,
    /// Host and port of its API; empty while there is none.
    pub api_address: String,
    /// Version of the daemon.
    pub version: String,
    /// Kept back from placement.
    pub reserved: Capacity,
    /// Labels from the node's configuration.
    pub labels: BTreeMap<String, String>,
}

/// Limits and waits; the defaults are those of the product.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Most pulls at once.
    pub pulls: usize,
    /// Most creations and starts at once.
    pub starts: usize,
    /// Time between two looks at everything the engine has.
    pub observe_every: Duration,
    /// How long the engine may be silent before the node says so.
    pub engine_silence: Duration,
    /// How long a pull may take before its place is given to another.
    pub pull_limit: Duration,
    /// How long transitions are collected before they are reported together.
    pub report_window: Duration,
    /// Mean time between two reports of one instance.
    pub report_gap: Duration,
    /// Reports that an instance may make without that gap after it was quiet.
    pub report_burst: u32,
    /// How long a container without any check must run to count as ready.
    pub settle: Duration,
    /// How long a replica may be degraded before it is restarted.
    pub patience: Duration,
    /// First and longest wait after failures.
    pub retry: (Duration, Duration),
    /// How long a replica must be ready to be trusted again after failures.
    pub forgive: Duration,
    /// How long a replica that routes or published ports lead to is left alone once it is given
    /// up: by then the front doors of all nodes send it nothing new. Its process gets the signal
    /// when they have no connection to it any more, or after the service's `drain_timeout`.
    pub drain: Duration,
    /// Whether a packet filter of ours stands between deployments: containers wait for
    /// [`crate::Input::Isolation`], and the engine need not keep anything apart. Without it the
    /// engine does what it can.
    pub needs_isolation: bool,
    /// Whether gateways of networks answer questions for names: containers ask them.
    pub has_dns: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            pulls: 4,
            starts: 8,
            observe_every: Duration::from_secs(30),
            engine_silence: Duration::from_secs(10),
            pull_limit: Duration::from_secs(600),
            report_window: Duration::from_millis(100),
            report_gap: Duration::from_secs(1),
            report_burst: 4,
            settle: Duration::from_secs(5),
            patience: Duration::from_secs(30),
            retry: (Duration::from_secs(1), Duration::from_secs(300)),
            forgive: Duration::from_secs(600),
            drain: Duration::from_secs(1),
            needs_isolation: false,
            has_dns: false,
        }
    }
}
