//! Everything the dns core may ask of the outside.

use crate::zones::Zones;
use jaco_kit_core::OpId;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Orders to the responder.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Answer from these tables from now on.
    Serve(Arc<Zones>),
    /// Answer on a gateway, by UDP and TCP. When sockets are open there already and their bridge
    /// is still the same interface, nothing is done.
    Listen {
        /// Returns as `Listening`.
        op: OpId,
        /// The bridge: only what comes through it is heard.
        bridge: String,
        /// The bridge's address.
        gateway: Ipv4Addr,
    },
    /// Answer there no more.
    Unlisten {
        /// The bridge's address.
        gateway: Ipv4Addr,
    },
}
