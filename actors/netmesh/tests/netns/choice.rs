//! Which kind of tunnel a host gets, and what becomes of the other kind's.

use crate::host::Host;
use crate::node::Node;
use crate::world::{World, is_alive, mesh, netlink, peer, wait};
use jaco_model::entity::MeshKind;
use std::time::Duration;

/// EOPNOTSUPP.
const UNKNOWN_KIND: i32 = -95;

/// What the kernel has, by making an interface.
fn offered(host: &Host) -> MeshKind {
    let made = host.run(|| async {
        let probe = rtnetlink::LinkWireguard::new("wg-probe").build();
        netlink().link().add(probe).execute().await
    });
    match made {
        Ok(()) => MeshKind::Kernel,
        Err(rtnetlink::Error::NetlinkError(message))
            if message.code.is_some_and(|code| code.get() == UNKNOWN_KIND) =>
        {
            MeshKind::Userspace
        }
        Err(error) => panic!("neither made nor refused: {error}"),
    }
}

#[test]
fn the_kernels_tunnel_is_chosen_where_there_is_one() {
    let (host, home) = (Host::new(), tempfile::tempdir().unwrap());
    // The driver asks first: where the module is not loaded yet, it is its question that loads it.
    let node = Node::start(&host, home.path(), None);
    let chosen = node.handle.kind();
    assert_eq!(chosen, offered(&host));
    assert_eq!(node.handle.facts(51820, 1500).kind, chosen);
    if let Ok(expected) = std::env::var("JACO_TEST_MESH_OFFER") {
        assert_eq!(chosen.as_str(), expected);
    }
}

#[test]
fn a_tunnel_of_the_kernel_takes_the_place_of_a_helpers_and_the_other_way_round() {
    let world = World::with([MeshKind::Userspace; 2]);
    let is_offered = offered(&world.hosts[1]) == MeshKind::Kernel;
    let [node, other] = world.connected();
    let helper = world.helper(0);
    drop(node);
    let node = world.start_as(0, MeshKind::Kernel);
    node.want(mesh(0, [peer(1, other.handle.public_key(), &[])]));
    if is_offered {
        node.wait_for_paths(1);
        let ended = || !is_alive(helper);
        wait("the helper ends with its interface", Duration::from_secs(20), ended, String::new);
        let text = node.handle.facts(51820, 1500).kind.as_str();
        assert_eq!(text, "kernel");
    } else {
        node.wait("a fault that names the reason", |view| {
            let fault = view.fault.as_deref().unwrap_or_default();
            fault.contains("the kernel has no WireGuard")
        });
        // What would leave in clear text is caught all the same.
        assert!(crate::repair::count_routes(&world) >= 1);
    }
    drop(node);
    let node = world.start_as(0, MeshKind::Userspace);
    node.want(mesh(0, [peer(1, other.handle.public_key(), &[])]));
    node.wait_for_paths(1);
    assert!(is_alive(world.helper(0)));
    other.wait_for_paths(1);
}
