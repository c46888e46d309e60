//! The table as it is now, for people: the core reads it by orders of its own.

use crate::error::Error;
use crate::readback;
use crate::socket::Socket;
use jaco_firewall_core::Ruleset;

/// Times that a reading is begun anew when somebody writes meanwhile.
const TRIES: usize = 5;

/// Reads our table in the network namespace of the calling thread; `None` when there is none.
///
/// # Errors
/// When the kernel does not answer, or somebody keeps writing.
pub fn read_table() -> Result<Option<Ruleset>, Error> {
    let mut socket = Socket::open()?;
    let mut found = readback::read(&mut socket);
    for _ in 1..TRIES {
        if !matches!(found, Err(Error::Overtaken)) {
            break;
        }
        found = readback::read(&mut socket);
    }
    Ok(found?.ruleset)
}
