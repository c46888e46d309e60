//! Images: what a reference stands for, and making the image present.

mod fault;
mod pull;
mod reference;
mod resolve;

pub use pull::{PullProgress, PullTable};
pub use resolve::ResolvedImage;
