//! The HTTP and HTTPS proxy.
//!
//! Each worker is a thread with an event loop of its own that accepts from the same sockets, and
//! keeps its own connections to the replicas. A request uses the table that was there when it
//! began.

mod access;
mod answer;
mod auth;
mod bell;
mod body;
mod certificates;
mod client;
mod connection;
mod counters;
mod crowd;
mod driver;
mod exchange;
mod expect;
mod forward;
mod gates;
mod gzip;
mod headers;
mod http1;
mod http2;
mod lent;
mod line;
mod loads;
mod meter;
mod patience;
mod pipeline;
mod pool;
mod proxied;
mod pulse;
mod reading;
mod replica;
mod secure;
mod tickets;
mod tunnel;
mod upgrade;
mod watched;
mod worker;

pub use counters::Counts;
pub use crowd::Limits;
pub use driver::{Config, Driver, DriverHandle, Error, Health};
pub use meter::{Durations, RequestCounts};
pub use reading::{Meters, Reading, RouteReading};
