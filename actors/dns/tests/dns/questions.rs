//! Questions by UDP.

use crate::world::{World, ask, own, question, receive, socket, told, web, zones};
use hickory_proto::op::ResponseCode;
use jaco_dns_core::{Effect, Zones};
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

#[test]
fn containers_are_answered_and_strangers_are_not() {
    let world = World::new(&[]);
    let stranger = socket(own(99));
    stranger.send(&question(1, "web A").to_vec().unwrap()).unwrap();
    let web_addresses = (ResponseCode::NoError, vec![own(2), own(3)]);
    for source in [own(2), own(3), own(4)] {
        assert_eq!(told(&ask(source, "WEB.webshop A")), web_addresses);
        assert_eq!(told(&ask(source, "nope A")).0, ResponseCode::NXDomain);
        let answer = ask(source, "web AAAA");
        assert_eq!((told(&answer).0, answer.authorities.len()), (ResponseCode::NoError, 1));
    }
    // Its question came first; had it an answer, it would be there.
    stranger.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!(stranger.recv(&mut [0; 512]).is_err());
    let counts = world.handle.counts();
    assert_eq!((counts.answered, counts.ignored), (9, 1));
}

#[test]
fn new_tables_are_used_at_once() {
    let world = World::new(&[]);
    assert_eq!(told(&ask(web(), "web A")).1.len(), 2);
    world.handle.run(Effect::Serve(Arc::new(Zones::default())));
    world.handle.run(Effect::Serve(zones(&[])));
    assert_eq!(told(&ask(web(), "tasks.web A")).1.len(), 3);
}

#[test]
fn the_protocol_is_kept_on_the_wire() {
    let _world = World::new(&[]);
    let socket = socket(web());
    let exchange = |bytes: &[u8]| {
        socket.send(bytes).unwrap();
        let mut packet = [0; 4096];
        let length = socket.recv(&mut packet).unwrap();
        packet[..length].to_vec()
    };
    let good = question(9, "wEb A").to_vec().unwrap();
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut packet = good.clone();
        change(&mut packet);
        exchange(&packet)
    };
    let code = |answer: Vec<u8>| answer[3] & 15;
    assert_eq!(&exchange(&good)[12..16], b"\x03wEb", "case is echoed");
    assert_eq!(code(with(&|p| p[5] = 0)), 1, "no question");
    assert_eq!(code(with(&|p| p[5] = 2)), 1, "two questions");
    assert_eq!(code(with(&|p| p.truncate(14))), 1, "cut");
    assert_eq!(code(with(&|p| p[2] = 15 << 3)), 4, "opcode");
    assert_eq!(code(with(&|p| p[20] = 3)), 5, "class");
    assert_eq!(code(with(&|p| p[18] = 252)), 5, "transfer");
    let badvers = with(&|p| {
        p[11] = 1;
        p.extend([0, 0, 41, 16, 0, 0, 100, 0x80, 0, 0, 0]);
    });
    assert_eq!(badvers[badvers.len() - 6..], [1, 0, 0x80, 0, 0, 0]);
    let edns = with(&|p| {
        p[11] = 1;
        p.extend(b"\0\0\x29\x10\0\0\0\xff\xff\0\x07\0\x64\0\x03abc");
    });
    assert_eq!(edns[edns.len() - 11..], [0, 0, 41, 4, 0xd0, 0, 0, 0x80, 0, 0, 0]);
}

#[test]
fn noise_is_survived() {
    let world = World::new(&[]);
    let socket = socket(web());
    let mut state = 1_u64;
    for round in 0..600_usize {
        let mut noise = Vec::new();
        for _ in 0..round % 300 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            noise.push((state >> 56) as u8);
        }
        socket.send(&noise).unwrap();
    }
    // The noise may have filled the socket; then the kernel drops what comes after it.
    let other = crate::world::socket(own(3));
    other.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let packet = question(1, "web A").to_vec().unwrap();
    let is_answered = (0..100).any(|_| {
        other.send(&packet).unwrap();
        other.recv(&mut [0; 512]).is_ok()
    });
    assert!(is_answered);
    assert_eq!(told(&ask(web(), "web A")).0, ResponseCode::NoError);
    drop(world);
}

#[test]
fn who_asks_too_much_is_not_answered_and_others_are() {
    let world = World::new(&[]);
    let socket = socket(web());
    let packet = question(1, "web A").to_vec().unwrap();
    let mut sent = 0_u64;
    // More at once than one second and the burst allow, however slow this machine is.
    while world.handle.counts().excess == 0 {
        for _ in 0..500 {
            drop(socket.send(&packet));
        }
        sent += 500;
        assert!(sent < 1_000_000, "{:?}", world.handle.counts());
    }
    assert!(world.handle.counts().answered >= 2_000);
    // The flood may have filled the socket; then the kernel drops what comes after it.
    let other = crate::world::socket(own(3));
    other.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let is_answered = (0..100).any(|_| {
        other.send(&packet).unwrap();
        other.recv(&mut [0; 512]).is_ok()
    });
    assert!(is_answered);
}

#[test]
fn answers_come_from_the_gateway() {
    let _world = World::new(&[]);
    let socket = UdpSocket::bind((web(), 0)).unwrap();
    socket.set_read_timeout(Some(crate::world::PATIENCE)).unwrap();
    let gateway = (own(1), crate::world::PORT);
    socket.send_to(&question(1, "web A").to_vec().unwrap(), gateway).unwrap();
    let (_, peer) = socket.recv_from(&mut [0; 512]).unwrap();
    assert_eq!(peer, gateway.into());
    socket.connect(gateway).unwrap();
    socket.send(&question(2, "web A").to_vec().unwrap()).unwrap();
    assert_eq!(receive(&socket).metadata.id, 2);
}
