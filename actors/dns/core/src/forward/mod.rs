//! Names of the world outside: whom to ask, what to believe, what to keep.

mod cache;
mod chain;
mod guard;
mod query;
mod reply;

pub use cache::{Cache, CacheKey};
pub use chain::{Chain, Health};
pub use guard::{Rejected, usable};
pub use query::Query;
pub use reply::{Reply, Unfit, Verdict};
