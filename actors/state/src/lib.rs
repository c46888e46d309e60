//! The replicated state machine: `State`, and (soon beside it) command → apply → event.
//!
//! Reading is by public fields and the queries of [`State`]; writing is by applying commands
//! alone. The maps are persistent: a clone is cheap, so that readers, the scheduler and the
//! snapshot writer each hold a consistent view while commands go on being applied.

#![forbid(unsafe_code)]

mod state;

pub use state::{ServiceKey, State};
