//! The end of the filter: only when the node leaves the cluster or the product goes.
//!
//! The driver never does this by itself. Whoever calls it has stopped the containers and the core.

use crate::encode;
use crate::error::Error;
use crate::socket::{Socket, is_absent};

/// Deletes our table in the network namespace of the calling thread; false when there is none.
///
/// # Errors
/// When the kernel refuses.
pub fn remove_table() -> Result<bool, Error> {
    match Socket::open()?.transact(None, encode::nothing()) {
        Ok(()) => Ok(true),
        Err(error) if is_absent(&error) => Ok(false),
        Err(error) => Err(error),
    }
}
