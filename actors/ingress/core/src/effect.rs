//! Everything the ingress core may ask of the outside.

use crate::listeners::{ListenKey, SocketFault};
use crate::table::Table;
use jaco_kit_core::OpId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Orders to the proxy.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Serve from this table from now on. Running requests keep theirs.
    Serve(Arc<Table>),
    /// Open a socket. When it is open already nothing is done.
    Listen {
        /// Returns as `Listening`.
        op: OpId,
        /// Where, and for what.
        key: ListenKey,
    },
    /// Accept nothing there any more; what runs may end.
    Unlisten {
        /// Which one.
        key: ListenKey,
    },
    /// All sockets that could not be opened when it was last tried, whenever that changes, and
    /// once at the beginning. Each is tried again.
    ShowClosed(BTreeMap<ListenKey, SocketFault>),
}
