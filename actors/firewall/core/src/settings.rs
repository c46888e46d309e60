//! What the operator chose, and how patient the core is.

use std::collections::BTreeSet;
use std::time::Duration;

/// What the node's configuration says about isolation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Ports of this host that containers may reach.
    pub host_ports: BTreeSet<u16>,
    /// Whether the metadata address of clouds is closed to containers.
    pub block_metadata: bool,
    /// Ports of nodes that containers must not reach.
    pub control_ports: BTreeSet<u16>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            host_ports: BTreeSet::new(),
            block_metadata: false,
            control_ports: [7000, 7001, 51820, 2375, 2376, 2377].into(),
        }
    }
}

/// Periods and limits; the defaults are those of the product.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a change waits for more of its kind.
    pub debounce: Duration,
    /// How long at most.
    pub debounce_max: Duration,
    /// Time between two read-backs of the whole table.
    pub read_every: Duration,
    /// Time between two full writes at least, when somebody keeps changing the table.
    pub repair_gap: Duration,
    /// Wait after a failure at first; doubles each time.
    pub retry_first: Duration,
    /// The longest wait after a failure.
    pub retry_limit: Duration,
    /// Failing changes of elements for this long lead to a full write.
    pub rewrite_after: Duration,
    /// Without a table for this long the node counts as exposed.
    pub exposed_after: Duration,
    /// Time between two reports about repairs.
    pub report_every: Duration,
    /// Read-backs that may be interrupted in a row, and writes that may come too late.
    pub tries_at_once: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            debounce: Duration::from_millis(50),
            debounce_max: Duration::from_millis(200),
            read_every: Duration::from_secs(30),
            repair_gap: Duration::from_millis(100),
            retry_first: Duration::from_secs(1),
            retry_limit: Duration::from_secs(30),
            rewrite_after: Duration::from_secs(30),
            exposed_after: Duration::from_secs(10),
            report_every: Duration::from_secs(60),
            tries_at_once: 5,
        }
    }
}
