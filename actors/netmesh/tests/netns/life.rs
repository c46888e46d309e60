//! A tunnel outlives its daemon, and its key may change.

use crate::world::{World, mesh, peer, wait};
use jaco_netmesh::Driver;
use jaco_netmesh_core::{Change, PathCondition};
use std::time::Duration;

#[test]
fn a_tunnel_outlives_its_daemon_and_is_taken_over_unchanged() {
    let world = World::new();
    let [first, other] = world.connected();
    world.echo(1, 9000);
    let key = other.handle.public_key();
    let index = world.index(0, "wg-jaco");
    assert!(index.is_some());
    first.settled();
    drop(first);
    assert!(world.ping(0, 9000, "no daemon", 50) >= 45);
    let second = world.start(0);
    second.want(mesh(0, [peer(1, key, &[])]));
    second.settled();
    // On a slow host full-size probes get lost and packets become smaller; each daemon begins anew.
    let mut changes = second.rounds().concat();
    changes.retain(|change| !matches!(change, Change::SetMtu(_)));
    assert_eq!(changes, [], "nothing was to be changed");
    second.wait_for_paths(1);
    assert_eq!(world.index(0, "wg-jaco"), index);
    let removed = second.handle.clone();
    world.hosts[0].run(move || async move { removed.remove().await.unwrap() });
    let gone = || world.index(0, "wg-jaco").is_none();
    wait("the interface is gone", Duration::from_secs(20), gone, String::new);
    assert_eq!(crate::repair::count_routes(&world), 0);
}

#[test]
fn another_key_takes_the_place_of_the_old_one() {
    let world = World::new();
    let [first, other] = world.connected();
    let old = first.handle.public_key();
    drop(first);
    let key = Driver::rotate_key(world.home(0)).unwrap();
    assert_ne!(key, old);
    let second = world.start(0);
    assert_eq!(second.handle.public_key(), key);
    second.want(mesh(0, [peer(1, other.handle.public_key(), &[])]));
    // The other side does not know it yet.
    second.settled();
    other.wait("the old key is not heard any more", |view| {
        view.paths.iter().all(|path| path.condition == PathCondition::Dead)
    });
    other.want(mesh(1, [peer(0, key, &[])]));
    second.wait_for_paths(1);
    other.wait_for_paths(1);
    assert_eq!(other.settled().peers.into_keys().collect::<Vec<_>>(), [key]);
}

#[test]
fn another_port_is_listened_on() {
    let world = World::new();
    let [node, other] = world.connected();
    let mut wanted = mesh(0, [peer(1, other.handle.public_key(), &[])]);
    wanted.port = 51900;
    node.want(wanted);
    assert_eq!(node.settled().device.unwrap().port, 51900);
    node.wait_for_paths(1);
    // It is found by the packets that come from there.
    other.wait("the new port is seen", |view| {
        view.paths.iter().all(|path| path.endpoint.is_some_and(|at| at.port() == 51900))
    });
}
