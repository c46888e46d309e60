//! What somebody else deletes is noticed and made again.

use crate::world::{World, index, mesh_address, net, netlink, wait};
use futures_util::TryStreamExt;
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::route::{RouteAttribute, RouteProtocol, RouteScope, RouteType};
use std::net::Ipv4Addr;
use std::time::Duration;

/// Longest time for a repair; the goal of a second is measured where the machine is idle.
const LIMIT: Duration = Duration::from_secs(10);

async fn our_routes() -> Vec<(RouteType, Option<u32>)> {
    let all = RouteMessageBuilder::<Ipv4Addr>::new().build();
    let found: Vec<_> = netlink().route().get(all).execute().try_collect().await.unwrap();
    let ours = found.iter().filter(|route| route.header.protocol == RouteProtocol::Other(201));
    let metric = |attributes: &[RouteAttribute]| {
        attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Priority(metric) => Some(*metric),
            _ => None,
        })
    };
    ours.map(|route| (route.header.kind, metric(&route.attributes))).collect()
}

pub(crate) fn count_routes(world: &World) -> usize {
    world.hosts[0].run(|| async { our_routes().await.len() })
}

fn has_both_routes(world: &World) -> bool {
    let mut routes = world.hosts[0].run(|| async { our_routes().await });
    routes.sort_by_key(|(_, metric)| *metric);
    routes == [(RouteType::Unicast, None), (RouteType::Unreachable, Some(4_294_967_294))]
}

#[test]
fn a_deleted_route_comes_back() {
    let world = World::new();
    let _nodes = world.connected();
    assert!(has_both_routes(&world));
    for is_tunnel in [true, false] {
        world.hosts[0].run(move || async move {
            let pool = net("10.80.0.0/12");
            let route = RouteMessageBuilder::<Ipv4Addr>::new()
                .protocol(RouteProtocol::Other(201))
                .destination_prefix(pool.network(), pool.prefix_len());
            let route = if is_tunnel {
                let tunnel = index(&netlink(), "wg-jaco").await.unwrap();
                route.output_interface(tunnel).scope(RouteScope::Link)
            } else {
                route.kind(RouteType::Unreachable).priority(4_294_967_294)
            };
            netlink().route().del(route.build()).execute().await.unwrap();
        });
        let clock = jaco_kit::Clock::new();
        wait("the route is back", LIMIT, || has_both_routes(&world), String::new);
        println!("route back after {} ms", clock.mono().0);
    }
}

#[test]
fn a_deleted_interface_comes_back() {
    let world = World::new();
    let nodes = world.connected();
    world.echo(1, 9000);
    let pid = world.helper(0);
    world.hosts[0].run(|| async {
        let netlink = netlink();
        let tunnel = index(&netlink, "wg-jaco").await.unwrap();
        netlink.link().del(tunnel).execute().await.unwrap();
    });
    let clock = jaco_kit::Clock::new();
    wait("the routes are back", LIMIT, || has_both_routes(&world), String::new);
    println!("interface and routes back after {} ms", clock.mono().0);
    assert!(!world.has_helper(0) || world.helper(0) != pid);
    nodes[0].wait_for_paths(1);
    nodes[1].wait_for_paths(1);
    assert!(world.ping(0, 9000, "again", 20) >= 18);
}

#[test]
fn an_interface_that_is_set_down_or_loses_its_address_is_repaired() {
    let world = World::new();
    let nodes = world.connected();
    world.hosts[0].run(|| async {
        let netlink = netlink();
        let down = rtnetlink::LinkUnspec::new_with_name("wg-jaco").down().mtu(1300).build();
        netlink.link().change(down).execute().await.unwrap();
    });
    wait("the routes are back", LIMIT, || has_both_routes(&world), String::new);
    nodes[0].wait_for_paths(1);
    world.hosts[0].run(|| async {
        let netlink = netlink();
        let tunnel = index(&netlink, "wg-jaco").await.unwrap();
        let address = rtnetlink::AddressMessageBuilder::<Ipv4Addr>::new()
            .index(tunnel)
            .address(mesh_address(0), 32)
            .build();
        netlink.address().del(address).execute().await.unwrap();
    });
    wait("the routes are back", LIMIT, || has_both_routes(&world), String::new);
    nodes[0].wait_for_paths(1);
    nodes[1].wait_for_paths(1);
}

#[test]
fn kernel_settings_are_made() {
    let world = World::new();
    let _nodes = world.connected();
    let read = |file: &'static str| {
        world.hosts[0].run(move || async move {
            std::fs::read_to_string(format!("/proc/sys/net/{file}")).map(|t| t.trim().to_owned())
        })
    };
    assert_eq!(read("ipv4/ip_forward").unwrap(), "1");
    assert_eq!(read("ipv4/conf/wg-jaco/rp_filter").unwrap(), "2");
    assert_eq!(read("ipv4/conf/wg-jaco/send_redirects").unwrap(), "0");
    let is_off = read("ipv6/conf/wg-jaco/disable_ipv6");
    assert!(is_off.is_err() || is_off.unwrap() == "1");
}
