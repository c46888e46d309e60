//! The helper's life: it outlives daemons, and is replaced when it does not fit.

use crate::node::{Node, PORT};
use crate::world::{World, is_alive, mesh, netlink, peer, wait};
use jaco_model::entity::MeshKind;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

#[test]
fn a_helper_outlives_its_daemon_and_is_adopted() {
    let world = World::with([MeshKind::Userspace; 2]);
    let [first, other] = world.connected();
    world.echo(1, 9000);
    let pid = world.helper(0);
    assert!(is_alive(pid));
    let socket = world.home(0).join("mesh/helper.sock");
    assert_eq!(socket.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let key = other.handle.public_key();
    drop(first);
    assert!(world.ping(0, 9000, "no daemon", 50) >= 45);
    let second = world.start(0);
    second.want(mesh(0, [peer(1, key, &[])]));
    second.wait_for_paths(1);
    assert_eq!(world.helper(0), pid);
    assert!(is_alive(pid));
    let removed = second.handle.clone();
    world.hosts[0].run(move || async move { removed.remove().await.unwrap() });
    let ended = || !is_alive(pid);
    wait("the helper ends when told", Duration::from_secs(20), ended, String::new);
    assert_eq!(crate::repair::count_routes(&world), 0);
}

#[test]
fn another_key_replaces_the_helper() {
    let world = World::with([MeshKind::Userspace; 2]);
    let [first, other] = world.connected();
    let (pid, key) = (world.helper(0), first.handle.public_key());
    drop(first);
    std::fs::remove_file(world.home(0).join("keys/wg.key")).unwrap();
    let second = world.start(0);
    assert_ne!(second.handle.public_key(), key);
    second.want(mesh(0, [peer(1, other.handle.public_key(), &[])]));
    other.want(mesh(1, [peer(0, second.handle.public_key(), &[])]));
    second.wait_for_paths(1);
    other.wait_for_paths(1);
    assert_ne!(world.helper(0), pid);
    assert!(!is_alive(pid));
}

#[test]
fn a_killed_helper_is_followed_by_another() {
    let world = World::with([MeshKind::Userspace; 2]);
    let [node, other] = world.connected();
    let pid = world.helper(0);
    let killed = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(killed, rustix::process::Signal::KILL).unwrap();
    let followed = || world.helper(0) != pid && is_alive(world.helper(0));
    wait("another helper", Duration::from_secs(20), followed, String::new);
    node.wait_for_paths(1);
    other.wait_for_paths(1);
}

#[test]
fn a_helper_that_hangs_is_killed() {
    let world = World::with([MeshKind::Userspace; 2]);
    let [node, other] = world.connected();
    let pid = world.helper(0);
    drop(node);
    let stopped = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(stopped, rustix::process::Signal::STOP).unwrap();
    let second = world.start(0);
    second.want(mesh(0, [peer(1, other.handle.public_key(), &[])]));
    second.wait_for_paths(1);
    assert!(!is_alive(pid));
}

#[test]
fn without_a_helper_the_node_says_why() {
    let world = World::with([MeshKind::Userspace; 2]);
    let kind = Some(MeshKind::Userspace);
    let node = Node::start_with(&world.hosts[0], world.home(0), kind, "/bin/false".into());
    node.want(mesh(0, []));
    node.wait("a fault", |view| {
        let fault = view.fault.as_deref().unwrap_or_default();
        fault.contains("no WireGuard in the kernel") && view.mtu.is_none()
    });
    // What would leave in clear text is caught all the same.
    assert_eq!(crate::repair::count_routes(&world), 1);
}

#[test]
fn a_port_that_is_taken_is_told_and_the_old_one_does_not_linger() {
    let world = World::with([MeshKind::Userspace; 2]);
    let [node, other] = world.connected();
    let taken = world.hosts[0]
        .run(|| async { tokio::net::UdpSocket::bind("0.0.0.0:51999").await.unwrap() });
    let mut wanted = mesh(0, [peer(1, other.handle.public_key(), &[])]);
    wanted.port = 51999;
    node.want(wanted);
    node.wait("a fault", |view| view.fault.is_some());
    drop(taken);
    node.wait_for_paths(1);
}

/// Whether the tunnel's port can be opened on the first host, for both families.
async fn is_port_free() -> bool {
    for address in ["0.0.0.0", "::"] {
        if tokio::net::UdpSocket::bind((address, PORT)).await.is_err() {
            return false;
        }
    }
    true
}

#[test]
fn the_port_is_free_once_the_helper_is_said_to_be_gone() {
    let world = World::with([MeshKind::Userspace; 2]);
    let [node, _other] = world.connected();
    let handle = node.handle.clone();
    let is_free = world.hosts[0].run(move || async move {
        assert!(!is_port_free().await);
        handle.remove().await.unwrap();
        is_port_free().await
    });
    assert!(is_free);
}

#[test]
fn a_helper_ends_with_its_interface() {
    let world = World::with([MeshKind::Userspace; 2]);
    let [node, _other] = world.connected();
    let pid = world.helper(0);
    drop(node);
    world.hosts[0].run(|| async {
        let netlink = netlink();
        let link = crate::world::index(&netlink, "wg-jaco").await.unwrap();
        netlink.link().del(link).execute().await.unwrap();
    });
    let ended = || !is_alive(pid);
    wait("the helper ends with its interface", Duration::from_secs(20), ended, String::new);
    assert!(world.hosts[0].run(is_port_free));
}
