//! Circles.

use crate::world::{PORT, Upstream, World, address, ask, own, pause, told, web};
use hickory_proto::op::ResponseCode;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

#[test]
fn upstreams_that_are_circles_are_not_asked() {
    let good = Upstream::good(130);
    let circles: [SocketAddr; 3] =
        ["127.0.0.11:53".parse().unwrap(), (own(1), PORT).into(), (own(77), 53).into()];
    let world = World::new(&[circles[0], circles[1], circles[2], good.address]);
    assert_eq!(told(&ask(web(), "a.example A")).1.len(), 1);
    let failing = world.handle.upstreams().iter().any(|upstream| upstream.is_failing);
    assert!(!failing, "a circle was asked");
    drop(world);
    let world = World::new(&circles);
    assert_eq!(told(&ask(web(), "a.example A")).0, ResponseCode::ServFail);
    assert_eq!(told(&ask(web(), "web A")).0, ResponseCode::NoError);
    assert!(world.handle.upstreams().iter().all(|upstream| !upstream.is_failing));
}

#[test]
fn an_upstream_that_asks_us_back_is_found_out() {
    // It passes every question on to the gateway, in the name of a container.
    let relay = Upstream::new(
        (own(130), 0),
        |m, bytes| {
            let socket = UdpSocket::bind((own(3), 0)).unwrap();
            socket.send_to(bytes, (own(1), PORT)).unwrap();
            vec![address(m, 130)]
        },
        |_, _| Vec::new(),
    );
    let good = Upstream::good(131);
    let world = World::new(&[relay.address, good.address]);
    let is_found = |_: &u32| {
        pause(Duration::from_millis(50));
        world.handle.counts().answered > 0
    };
    assert!((0..200).any(|round| is_found(&round)), "the test did not come back");
    assert_eq!(
        told(&ask(web(), "a.example A")).1,
        ["192.0.2.131".parse::<std::net::Ipv4Addr>().unwrap()]
    );
    assert_eq!(relay.asked(), 0);
    ask(web(), "b.example A");
    assert_eq!(relay.asked(), 0);
}
