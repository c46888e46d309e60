//! The kernel's word that something about the tunnel changed.
//!
//! Only what concerns the tunnel's interface, our routes, or addresses and routes that people make
//! is passed on, once for a burst of messages. What changed is found out by looking.

use crate::links;
use futures_util::StreamExt;
use jaco_netmesh_core::ROUTE_PROTOCOL;
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};
use rtnetlink::packet_route::route::RouteProtocol;
use rtnetlink::{MulticastGroup, new_multicast_connection};
use std::time::Duration;

/// A burst is over when nothing came for this long.
const BURST: Duration = Duration::from_millis(50);
/// Before the next try when the kernel gives no socket.
const AGAIN: Duration = Duration::from_secs(1);

/// Calls `changed` after each change, for ever.
pub(crate) async fn watch(interface: String, changed: impl Fn()) {
    loop {
        match follow(&interface, &changed).await {
            Ok(()) => tracing::warn!(interface, "lost the kernel's events"),
            Err(error) => tracing::warn!(interface, %error, "no events from the kernel"),
        }
        tokio::time::sleep(AGAIN).await;
        // Whatever happened meanwhile was not seen.
        changed();
    }
}

async fn follow(interface: &str, changed: &impl Fn()) -> std::io::Result<()> {
    let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv4Route];
    let (connection, _handle, mut messages) = new_multicast_connection(&groups)?;
    let connection = tokio::spawn(connection);
    let mut index = links::index(interface).await.ok().flatten();
    let mut is_due = false;
    loop {
        let message = if is_due {
            match tokio::time::timeout(BURST, messages.next()).await {
                Ok(message) => message,
                Err(_) => {
                    is_due = false;
                    changed();
                    continue;
                }
            }
        } else {
            messages.next().await
        };
        let Some((message, _)) = message else { break };
        is_due |= concerns(&message, interface, &mut index);
    }
    connection.abort();
    Ok(())
}

fn concerns(
    message: &NetlinkMessage<RouteNetlinkMessage>,
    interface: &str,
    index: &mut Option<u32>,
) -> bool {
    let inner = match &message.payload {
        NetlinkPayload::InnerMessage(inner) => inner,
        // The kernel had more to say than there was room for.
        NetlinkPayload::Overrun(_) | NetlinkPayload::Error(_) => return true,
        _ => return false,
    };
    match inner {
        RouteNetlinkMessage::NewLink(link) if is_named(link, interface) => {
            *index = Some(link.header.index);
            true
        }
        RouteNetlinkMessage::DelLink(link) => is_named(link, interface),
        RouteNetlinkMessage::NewAddress(_) | RouteNetlinkMessage::DelAddress(_) => true,
        RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route) => {
            is_settled(route.header.protocol)
        }
        _ => false,
    }
}

/// Whether a route is ours or one that stays: what routing daemons make comes and goes all day.
fn is_settled(protocol: RouteProtocol) -> bool {
    use RouteProtocol::{Boot, Dhcp, Other, Static};
    matches!(protocol, Other(ROUTE_PROTOCOL) | Boot | Static | Dhcp)
}

fn is_named(link: &LinkMessage, interface: &str) -> bool {
    link.attributes.iter().any(|a| matches!(a, LinkAttribute::IfName(name) if name == interface))
}
