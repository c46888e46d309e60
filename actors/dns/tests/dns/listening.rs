//! Sockets that open, stay and close.

use crate::world::{PORT, World, ask, own, pause, told, web};
use hickory_proto::op::ResponseCode;
use jaco_dns_core::Effect;
use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

#[test]
fn what_cannot_be_opened_says_why() {
    let world = World::new(&[]);
    assert!(world.listen("jaco-nothere", own(5)).unwrap_err().contains("No such device"));
    let elsewhere = "203.0.113.1".parse().unwrap();
    assert!(world.listen("lo", elsewhere).unwrap_err().contains("address"));
    let taken = UdpSocket::bind((own(6), PORT)).unwrap();
    assert!(world.listen("lo", own(6)).unwrap_err().contains("in use"));
    drop(taken);
    world.listen("lo", own(6)).unwrap();
}

#[test]
fn listening_twice_changes_nothing() {
    let world = World::new(&[]);
    let socket = crate::world::socket(web());
    world.listen("lo", own(1)).unwrap();
    socket.send(&crate::world::question(4, "web A").to_vec().unwrap()).unwrap();
    assert_eq!(crate::world::receive(&socket).metadata.id, 4);
}

#[test]
fn a_closed_gateway_is_free_for_others() {
    let world = World::new(&[]);
    assert_eq!(told(&ask(web(), "web A")).0, ResponseCode::NoError);
    world.handle.run(Effect::Unlisten { gateway: own(1) });
    // The next order is carried out after it.
    world.listen("lo", own(7)).unwrap();
    let udp = UdpSocket::bind((own(1), PORT)).unwrap();
    let tcp = TcpListener::bind((own(1), PORT)).unwrap();
    drop((udp, tcp));
    world.listen("lo", own(1)).unwrap();
    assert_eq!(told(&ask(web(), "web A")).0, ResponseCode::NoError);
}

#[test]
fn all_sockets_close_with_the_last_handle() {
    let world = World::new(&[]);
    let clone = world.handle.clone();
    drop(world);
    assert_eq!(told(&ask(web(), "web A")).0, ResponseCode::NoError);
    drop(clone);
    let is_free = (0..200).any(|_| {
        pause(Duration::from_millis(50));
        UdpSocket::bind((own(1), PORT)).is_ok()
    });
    assert!(is_free);
}
