//! Interfaces, addresses and routes, by rtnetlink.
//!
//! Each call opens a socket of its own, in the network namespace of the calling thread, so none
//! can be broken by what another one left.

use crate::Error;
use futures_util::{StreamExt, TryStreamExt};
use ipnet::Ipv4Net;
use jaco_netmesh_core::{InUse, LAST_METRIC, ROUTE_PROTOCOL, Route};
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::{Handle, LinkUnspec, RouteMessageBuilder};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// ENODEV, ESRCH, EADDRNOTAVAIL: what should go is gone.
const GONE: [i32; 3] = [-19, -3, -99];
/// EEXIST: what should be there is there.
const EXISTS: i32 = -17;

/// A socket to the kernel.
pub(crate) fn connect() -> Result<Handle, Error> {
    let (connection, handle, _) =
        rtnetlink::new_connection().map_err(Error::io("open a netlink socket"))?;
    // Ends when the last handle is dropped.
    tokio::spawn(connection);
    Ok(handle)
}

/// Fine when `done` says that there was nothing to do.
fn settled(
    what: &'static str,
    result: Result<(), rtnetlink::Error>,
    done: &[i32],
) -> Result<(), Error> {
    match result {
        Err(rtnetlink::Error::NetlinkError(message))
            if message.code.is_some_and(|code| done.contains(&code.get())) =>
        {
            Ok(())
        }
        other => other.map_err(Error::netlink(what)),
    }
}

/// An interface as the kernel shows it.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Largest packet, in bytes.
    pub mtu: u32,
    /// Whether it is set up.
    pub is_up: bool,
}

impl Link {
    fn of(message: &LinkMessage) -> Link {
        let mtu = message.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Mtu(mtu) => Some(*mtu),
            _ => None,
        });
        let is_up = message.header.flags.contains(LinkFlags::Up);
        Link { index: message.header.index, mtu: mtu.unwrap_or(0), is_up }
    }
}

/// The interface of a name; `None` when there is none.
pub(crate) async fn find(handle: &Handle, interface: &str) -> Result<Option<Link>, Error> {
    let mut found = Box::pin(handle.link().get().match_name(interface).execute());
    match found.next().await {
        Some(Ok(message)) => Ok(Some(Link::of(&message))),
        None => Ok(None),
        Some(Err(error)) => {
            settled("find the interface", Err(error), &GONE)?;
            Ok(None)
        }
    }
}

/// The interface of a name, in the network namespace of the calling thread; `None` when there is
/// none.
///
/// # Errors
/// When the kernel does not answer.
pub async fn link(interface: &str) -> Result<Option<Link>, Error> {
    find(&connect()?, interface).await
}

/// The index of an interface.
pub(crate) async fn index(interface: &str) -> Result<Option<u32>, Error> {
    Ok(find(&connect()?, interface).await?.map(|link| link.index))
}

/// Deletes an interface; fine when it is gone.
pub(crate) async fn delete(interface: &str) -> Result<(), Error> {
    let handle = connect()?;
    let Some(link) = find(&handle, interface).await? else { return Ok(()) };
    settled("delete the interface", handle.link().del(link.index).execute().await, &GONE)
}

/// Sets the largest packet, in bytes.
pub(crate) async fn set_mtu(handle: &Handle, index: u32, mtu: u16) -> Result<(), Error> {
    let message = LinkUnspec::new_with_index(index).mtu(u32::from(mtu)).build();
    handle.link().change(message).execute().await.map_err(Error::netlink("set the MTU"))
}

/// Sets an interface up or down.
pub(crate) async fn set_up(handle: &Handle, index: u32, is_up: bool) -> Result<(), Error> {
    let message = LinkUnspec::new_with_index(index);
    let message = if is_up { message.up() } else { message.down() };
    let changed = handle.link().change(message.build()).execute().await;
    changed.map_err(Error::netlink("set the interface up or down"))
}

/// The IPv4 addresses of an interface.
pub(crate) async fn addresses(handle: &Handle, index: u32) -> Result<BTreeSet<Ipv4Net>, Error> {
    let request = handle.address().get().set_link_index_filter(index);
    let found: Vec<_> =
        request.execute().try_collect().await.map_err(Error::netlink("list addresses"))?;
    let here = found.iter().filter(|message| message.header.index == index);
    Ok(here.filter_map(local_net).collect())
}

/// An IPv4 address of a host, with the length of its network.
fn local_net(message: &AddressMessage) -> Option<Ipv4Net> {
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(IpAddr::V4(ip)) => Some(*ip),
        _ => None,
    })?;
    Ipv4Net::new(local, message.header.prefix_len).ok()
}

/// Adds an address as /32.
pub(crate) async fn add_address(handle: &Handle, index: u32, ip: Ipv4Addr) -> Result<(), Error> {
    let added = handle.address().add(index, IpAddr::V4(ip), 32).execute().await;
    settled("add the address", added, &[EXISTS])
}

/// Removes an address; fine when it is gone.
pub(crate) async fn remove_address(handle: &Handle, index: u32, net: Ipv4Net) -> Result<(), Error> {
    let message = rtnetlink::AddressMessageBuilder::<Ipv4Addr>::new()
        .index(index)
        .address(net.addr(), net.prefix_len())
        .build();
    settled("remove an address", handle.address().del(message).execute().await, &GONE)
}

/// All IPv4 routes.
pub(crate) async fn routes(handle: &Handle) -> Result<Vec<RouteMessage>, Error> {
    let request = handle.route().get(RouteMessageBuilder::<Ipv4Addr>::new().build());
    request.execute().try_collect().await.map_err(Error::netlink("list routes"))
}

/// Those of the routes that have our mark.
pub(crate) fn our_routes(routes: &[RouteMessage], tunnel: Option<u32>) -> BTreeSet<Route> {
    routes.iter().filter_map(|message| route(message, tunnel)).collect()
}

/// Where a route leads and by what.
#[derive(Default)]
struct Ends {
    to: Option<Ipv4Addr>,
    source: Option<Ipv4Addr>,
    out: Option<u32>,
}

impl Ends {
    fn of(message: &RouteMessage) -> Ends {
        let mut ends = Ends::default();
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(RouteAddress::Inet(ip)) => ends.to = Some(*ip),
                RouteAttribute::PrefSource(RouteAddress::Inet(ip)) => ends.source = Some(*ip),
                RouteAttribute::Oif(index) => ends.out = Some(*index),
                _ => {}
            }
        }
        ends
    }
}

/// A route with our mark, if it is one of the two kinds.
fn route(message: &RouteMessage, tunnel: Option<u32>) -> Option<Route> {
    if message.header.protocol != RouteProtocol::Other(ROUTE_PROTOCOL) {
        return None;
    }
    let Ends { to, source, out } = Ends::of(message);
    let to = to.unwrap_or(Ipv4Addr::UNSPECIFIED);
    let to = Ipv4Net::new(to, message.header.destination_prefix_length).ok()?;
    match message.header.kind {
        RouteType::Unreachable => Some(Route::Unreachable { to }),
        RouteType::Unicast if out.is_some() && out == tunnel => {
            Some(Route::Tunnel { to, source: source.unwrap_or(Ipv4Addr::UNSPECIFIED) })
        }
        _ => None,
    }
}

/// The networks of addresses and the destinations of these routes, all of the host's, on interfaces
/// that are not ours.
pub(crate) async fn in_use(
    handle: &Handle,
    routes: &[RouteMessage],
    is_ours: &impl Fn(&str) -> bool,
) -> Result<BTreeSet<InUse>, Error> {
    let links: Vec<LinkMessage> =
        handle.link().get().execute().try_collect().await.map_err(Error::netlink("list links"))?;
    let name = |link: &LinkMessage| {
        link.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some((link.header.index, name.clone())),
            _ => None,
        })
    };
    let names: BTreeMap<u32, String> =
        links.iter().filter_map(name).filter(|(_, name)| !is_ours(name)).collect();
    let mut in_use = BTreeSet::new();
    let mut add = |index: u32, net: Option<Ipv4Net>| {
        if let (Some(interface), Some(net)) = (names.get(&index), net) {
            in_use.insert(InUse { net: net.trunc(), interface: interface.clone() });
        }
    };
    let addresses: Vec<_> = handle
        .address()
        .get()
        .execute()
        .try_collect()
        .await
        .map_err(Error::netlink("list addresses"))?;
    for message in &addresses {
        add(message.header.index, local_net(message));
    }
    for message in routes.iter().filter(|message| message.header.kind == RouteType::Unicast) {
        let Ends { to, out, .. } = Ends::of(message);
        let prefix = message.header.destination_prefix_length;
        add(out.unwrap_or(0), to.and_then(|ip| Ipv4Net::new(ip, prefix).ok()));
    }
    Ok(in_use)
}

fn message(route: Route, tunnel: u32) -> RouteMessage {
    let marked =
        RouteMessageBuilder::<Ipv4Addr>::new().protocol(RouteProtocol::Other(ROUTE_PROTOCOL));
    match route {
        Route::Tunnel { to, source } => marked
            .destination_prefix(to.network(), to.prefix_len())
            .output_interface(tunnel)
            .pref_source(source)
            .scope(RouteScope::Link)
            .build(),
        Route::Unreachable { to } => marked
            .destination_prefix(to.network(), to.prefix_len())
            .kind(RouteType::Unreachable)
            .priority(LAST_METRIC)
            .build(),
    }
}

/// Adds a route, in place of one to the same destination with the same metric.
pub(crate) async fn add_route(handle: &Handle, route: Route, tunnel: u32) -> Result<(), Error> {
    let added = handle.route().add(message(route, tunnel)).replace().execute().await;
    settled("add a route", added, &[EXISTS])
}

/// Removes a route; fine when it is gone.
pub(crate) async fn remove_route(handle: &Handle, route: Route, tunnel: u32) -> Result<(), Error> {
    settled("remove a route", handle.route().del(message(route, tunnel)).execute().await, &GONE)
}

/// The smallest MTU on the first hop to any of these, or by the default route without any; `None`
/// when there is no way.
pub(crate) async fn underlay_mtu(
    handle: &Handle,
    towards: &BTreeSet<IpAddr>,
    tunnel: Option<u32>,
) -> Result<Option<u32>, Error> {
    // Any address outside will do to find the default route; no packet is sent to it.
    let anywhere = BTreeSet::from([IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))]);
    let towards = if towards.is_empty() { &anywhere } else { towards };
    let mut smallest: Option<u32> = None;
    for ip in towards {
        let Some((out, cached)) = way(handle, *ip).await else { continue };
        if Some(out) == tunnel {
            continue;
        }
        let mut found = Box::pin(handle.link().get().match_index(out).execute());
        let Some(Ok(link)) = found.next().await else { continue };
        let mtu = Link::of(&link).mtu.min(cached.unwrap_or(u32::MAX));
        smallest = Some(smallest.map_or(mtu, |smallest| smallest.min(mtu)));
    }
    Ok(smallest)
}

/// The interface on the way to an address, and the MTU that the kernel has learned of it.
async fn way(handle: &Handle, ip: IpAddr) -> Option<(u32, Option<u32>)> {
    let message = match ip {
        IpAddr::V4(ip) => RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(ip, 32).build(),
        IpAddr::V6(ip) => {
            RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(ip, 128).build()
        }
    };
    let mut found = Box::pin(handle.route().get(message).execute());
    let route = found.next().await?.ok()?;
    let mut cached = None;
    let mut out = None;
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(index) => out = Some(*index),
            RouteAttribute::Metrics(metrics) => {
                cached = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) => Some(*mtu),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    Some((out?, cached))
}
