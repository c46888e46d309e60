//! Addresses of the pool that are somebody else's on the host are noticed.

use crate::world::{World, index, netlink};
use std::net::{IpAddr, Ipv4Addr};

#[test]
fn an_address_of_the_pool_on_another_interface_is_a_conflict() {
    let world = World::new();
    let nodes = world.connected();
    nodes[0].wait("no conflict", |view| view.conflict.is_none());
    let foreign = IpAddr::V4(Ipv4Addr::new(10, 83, 7, 1));
    world.hosts[0].run(move || async move {
        let netlink = netlink();
        let wire = index(&netlink, "wire").await.unwrap();
        netlink.address().add(wire, foreign, 24).execute().await.unwrap();
    });
    nodes[0].wait("the conflict is seen", |view| {
        view.conflict.as_ref().is_some_and(|other| other.to_string() == "10.83.7.0/24 on wire")
    });
    world.hosts[0].run(move || async move {
        let netlink = netlink();
        let wire = index(&netlink, "wire").await.unwrap();
        let address = rtnetlink::AddressMessageBuilder::<Ipv4Addr>::new()
            .index(wire)
            .address(Ipv4Addr::new(10, 83, 7, 1), 24)
            .build();
        netlink.address().del(address).execute().await.unwrap();
    });
    nodes[0].wait("its end is seen", |view| view.conflict.is_none());
    nodes[0].wait_for_paths(1);
}
