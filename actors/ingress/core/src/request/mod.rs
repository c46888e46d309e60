//! What is decided about one request, without its bytes.
//!
//! Nothing here blocks, and the way of an ordinary request takes no memory and no lock: it reads
//! a table that is not changed, and counts with atomics.

pub mod compress;
pub mod fields;
pub mod framing;
pub mod response;
pub mod sticky;

mod bucket;
mod budget;
mod choose;
mod load;
mod matching;
mod retry;
mod target;

pub use bucket::{Buckets, Who};
pub use budget::Budget;
pub use choose::{Choice, NoReplica, choose};
pub use load::Load;
pub use matching::normalise;
pub use retry::{Retries, Tried};
pub use target::{redirected, stripped};
