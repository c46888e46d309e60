//! Forgets connections: reads what the kernel tracks, and deletes what a filter matches.
//!
//! Attributes are those of linux/netfilter/nfnetlink_conntrack.h.

use crate::error::Error;
use crate::numbers::{family, subsystem};
use crate::socket::Socket;
use crate::wire::{find, number};
use jaco_firewall_core::{Flow, FlowFilter};
use std::net::Ipv4Addr;

/// `IPCTNL_MSG_CT_GET`, `IPCTNL_MSG_CT_DELETE`.
const GET: u16 = 1;
const DELETE: u16 = 2;

/// `enum ctattr_type`.
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const STATUS: u16 = 3;
const ID: u16 = 12;
const ZONE: u16 = 18;

/// `enum ctattr_tuple`, `ctattr_ip`, `ctattr_l4proto`.
const TUPLE_ADDRESSES: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const SOURCE: u16 = 1;
const DESTINATION_PORT: u16 = 3;

/// The destination was replaced: `IPS_DST_NAT`.
const STATUS_REDIRECTED: u32 = 1 << 5;

/// The source was replaced: `IPS_SRC_NAT`.
const STATUS_MASQUERADED: u32 = 1 << 4;

/// The attribute holds others: `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;

/// Forgets all connections that any of the filters matches; how many there were.
pub(crate) fn forget(socket: &mut Socket, filters: &[FlowFilter]) -> Result<usize, Error> {
    let all = socket.list(subsystem::CONNTRACK, GET, family::IPV4, |_| {})?;
    let mut forgotten = 0;
    for entry in all {
        let Some(flow) = flow(&entry) else { continue };
        if filters.iter().any(|filter| filter.matches(&flow)) {
            forgotten += usize::from(delete(socket, &entry)?);
        }
    }
    Ok(forgotten)
}

/// What a connection is to us. Who answers is known from the answers' source, whatever address
/// the connection was opened to.
fn flow(entry: &[u8]) -> Option<Flow> {
    let (original, reply) = (find(entry, ORIGINAL)?, find(entry, REPLY)?);
    let source = |tuple| -> Option<Ipv4Addr> {
        let octets: [u8; 4] = find(find(tuple, TUPLE_ADDRESSES)?, SOURCE)?.try_into().ok()?;
        Some(octets.into())
    };
    let port = find(original, TUPLE_PROTOCOL).and_then(|tuple| find(tuple, DESTINATION_PORT));
    let port = port.and_then(|bytes| bytes.try_into().ok()).map(u16::from_be_bytes);
    let status = find(entry, STATUS).and_then(number).unwrap_or(0);
    let redirected = status & STATUS_REDIRECTED != 0;
    let masqueraded = status & STATUS_MASQUERADED != 0;
    let (source, destination) = (source(original)?, source(reply)?);
    Some(Flow { source, destination, port, redirected, masqueraded })
}

/// Deletes exactly this connection, not a later one of the same addresses.
fn delete(socket: &mut Socket, entry: &[u8]) -> Result<bool, Error> {
    let Some(original) = find(entry, ORIGINAL) else { return Ok(false) };
    socket.order(subsystem::CONNTRACK, DELETE, family::IPV4, |body| {
        body.bytes(ORIGINAL | NESTED, original);
        for kind in [ID, ZONE] {
            if let Some(value) = find(entry, kind) {
                body.bytes(kind, value);
            }
        }
    })
}
