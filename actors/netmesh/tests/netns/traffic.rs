//! Packets through the tunnel, and what others see of them.

use crate::world::{World, mesh, peer, ping, wait};
use jaco_netmesh_core::PublicKey;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A text that is in no other packet.
const TEXT: &str = "JACO-in-clear-text-0123456789";

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

#[test]
fn hosts_reach_each_other_and_the_wire_sees_no_clear_text() {
    let world = World::new();
    let nodes = world.connected();
    world.echo(1, 9000);
    world.captured();
    let came = world.ping(0, 9000, TEXT, 50);
    assert!(came >= 45, "{came} of 50 came back");
    let seen = world.captured();
    assert!(seen.len() > 50 * 2 * TEXT.len(), "the wire was looked at: {} bytes", seen.len());
    assert!(!contains(&seen, TEXT), "clear text on the wire");
    // The capture would have shown it: beside the tunnel it does.
    world.hosts[0].run(|| async {
        let socket = tokio::net::UdpSocket::bind("192.168.77.1:0").await.unwrap();
        socket.send_to(TEXT.as_bytes(), "192.168.77.2:9").await.unwrap();
    });
    let mut seen = Vec::new();
    let shows = || {
        seen.extend(world.captured());
        contains(&seen, TEXT)
    };
    wait("the wire shows clear text", Duration::from_secs(10), shows, String::new);
    drop(nodes);
}

#[test]
fn peers_come_and_go_while_packets_flow() {
    let world = World::new();
    let nodes = world.connected();
    world.echo(1, 9000);
    let came = Arc::new(AtomicU32::new(u32::MAX));
    let count = came.clone();
    world.hosts[0].spawn(move || async move {
        count.store(ping(0, 9000, TEXT, 300).await, Ordering::SeqCst);
    });
    let other = peer(1, nodes[1].handle.public_key(), &["10.81.0.0/26"]);
    let stranger = |at: u8| {
        let (_, mut peer) = peer(usize::from(at), PublicKey([at; 32]), &[]);
        peer.allowed.insert(format!("10.90.{at}.0/26").parse().unwrap());
        (PublicKey([at; 32]), peer)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for round in 0..10_u8 {
        let peers = (0..round % 4).map(|at| stranger(20 + at)).chain([other.clone()]);
        nodes[0].want(mesh(0, peers));
        runtime.block_on(async { tokio::time::sleep(Duration::from_millis(200)).await });
    }
    let ended = || came.load(Ordering::SeqCst) != u32::MAX;
    wait("all packets are sent", Duration::from_secs(40), ended, String::new);
    let came = came.load(Ordering::SeqCst);
    assert!(came >= 295, "{came} of 300 came back");
    // Without its peer nothing comes back, with it everything again.
    nodes[0].want(mesh(0, []));
    nodes[0].wait_for_paths(0);
    let gone = || world.ping(0, 9000, TEXT, 3) == 0;
    wait("the peer is gone", Duration::from_secs(30), gone, String::new);
    nodes[0].want(mesh(0, [other]));
    nodes[0].wait_for_paths(1);
    assert!(world.ping(0, 9000, TEXT, 20) >= 18);
}

#[test]
fn full_packets_pass_at_the_size_of_the_way() {
    let world = World::new();
    for host in [0, 1] {
        world.set_wire_mtu(host, 1400);
    }
    let nodes = world.connected();
    nodes[0].wait("the way's size", |view| view.mtu == Some(1320));
    world.echo(1, 9000);
    // 28 bytes of headers; more than this fits no packet of 1400 bytes with the tunnel's 60.
    let text: &'static str = Box::leak("x".repeat(1320 - 28).into_boxed_str());
    assert!(world.ping(0, 9000, text, 20) >= 18);
}
