//! How patient the core is with sockets, and how long answers last.

use std::time::Duration;

/// Periods and limits; the defaults are those of the product.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long an answer may be kept, in seconds; at most 5.
    pub ttl: u32,
    /// The first wait after a socket could not be opened; doubles. Bridges come up moments after
    /// the state asks for them.
    pub retry_first: Duration,
    /// The longest wait.
    pub retry_limit: Duration,
    /// Time between two looks whether open sockets are still bound to a living bridge.
    pub look_every: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            ttl: 5,
            retry_first: Duration::from_millis(100),
            retry_limit: Duration::from_secs(5),
            look_every: Duration::from_secs(5),
        }
    }
}
