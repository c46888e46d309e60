//! How much was dropped, and why.

use crate::error::Error;
use crate::numbers::{ANY_TABLE, family, object, operation, subsystem};
use crate::socket::Socket;
use crate::wire::{find, text};
use jaco_firewall_core::TABLE;
use std::collections::BTreeMap;

/// What a counter has counted since the table was last written in full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Packets.
    pub packets: u64,
    /// Bytes, with their headers.
    pub bytes: u64,
}

/// The counters of our table by reason, such as `cross_scope`; none without a table. Takes well
/// under a millisecond.
///
/// # Errors
/// When the kernel does not answer.
pub fn drop_counters() -> Result<BTreeMap<String, Counted>, Error> {
    let objects =
        Socket::open()?.list(subsystem::NFTABLES, operation::GET_OBJECT, family::INET, |body| {
            _ = body.text(ANY_TABLE, TABLE)
        })?;
    let counters = objects.iter().filter_map(|body| {
        let name = find(body, object::NAME).map(text)?;
        let data = find(body, object::DATA)?;
        let count = |kind| find(data, kind)?.try_into().ok().map(u64::from_be_bytes);
        let counted = Counted {
            packets: count(object::COUNTER_PACKETS)?,
            bytes: count(object::COUNTER_BYTES)?,
        };
        Some((name.strip_prefix("drop_")?.to_owned(), counted))
    });
    Ok(counters.collect())
}
