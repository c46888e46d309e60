//! Real packets: who reaches whom, and why not.

use crate::fixture::policy;
use crate::looped::Loop;
use crate::namespace::nft;
use crate::rig::Rig;
use crate::wires::{Wires, echo};
use jaco_firewall_core::{FlowFilter, ruleset};
use nix::sys::socket::{getsockopt, sockopt::TcpMaxSeg};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

const A: &str = "10.81.0.2";
const B: &str = "10.81.0.130";
const REMOTE: &str = "10.81.0.66";

#[test]
fn packets_go_where_the_policy_says() {
    let wires = Wires::new();
    for port in [53, 7_001, 80] {
        echo(&wires.host, "0.0.0.0", port);
        echo(&wires.outside, "0.0.0.0", port);
    }
    wires.host.run(|| Rig::new().write(&ruleset(&policy())).unwrap());
    let Wires { host, a, b, remote, outside } = &wires;
    let allowed = [
        // The same scope, both ways.
        (a, A, "10.81.0.66:5000", A),
        (remote, REMOTE, "10.81.0.2:5000", REMOTE),
        // The own gateway's name server; the world, under the host's address.
        (a, A, "10.81.0.1:53", A),
        (b, B, "10.81.0.129:53", B),
        (a, A, "192.168.7.9:5000", "192.168.7.1"),
        (a, A, "192.168.7.9:7001", "192.168.7.1"),
        // Between nodes: ingress to a container, and probes.
        (remote, "10.80.0.2", "10.81.0.130:5000", "10.80.0.2"),
        (remote, "10.80.0.2", "10.80.0.1:7001", "10.80.0.2"),
        // The host itself.
        (host, "0.0.0.0", "10.81.0.130:5000", "10.81.0.129"),
        (host, "0.0.0.0", "10.81.0.129:5000", "10.81.0.129"),
        (outside, "192.168.7.9", "192.168.7.1:7001", "192.168.7.9"),
        (host, "0.0.0.0", "192.168.7.9:7001", "192.168.7.1"),
    ];
    for (from, source, to, seen) in allowed {
        let answer = wires.send(from, source, to);
        let answer = answer.unwrap_or_else(|why| panic!("{source} to {to}: {why:?}"));
        assert_eq!(answer.ip().to_string(), seen, "{source} to {to}");
    }
    // Addresses that are not theirs.
    a.ip("address add 10.81.0.131/32 dev eth0");
    a.ip("address add 10.81.0.67/32 dev eth0");
    outside.ip("address add 10.81.0.68/32 dev eth0");
    let denied = [
        (a, A, "10.81.0.130:5000", "cross_scope"),
        (b, B, "10.81.0.66:5000", "cross_scope"),
        (remote, REMOTE, "10.81.0.130:5000", "cross_scope"),
        (a, "10.81.0.131", "10.81.0.130:5000", "spoof"),
        (a, "10.81.0.67", "10.81.0.1:53", "spoof"),
        (remote, "172.16.0.1", "10.81.0.2:5000", "spoof"),
        (outside, "10.81.0.68", "10.81.0.2:5000", "spoof"),
        (outside, "192.168.7.9", "10.81.0.2:5000", "foreign_in"),
        (outside, "192.168.7.9", "10.81.0.1:53", "foreign_in"),
        (outside, "192.168.7.9", "10.80.0.1:7001", "foreign_in"),
        (a, A, "10.81.0.1:7001", "host"),
        (a, A, "10.81.0.129:53", "host"),
        (a, A, "192.168.7.1:7001", "host"),
        (a, A, "10.80.0.1:7001", "host"),
        (remote, REMOTE, "10.80.0.1:7001", "host"),
        (a, A, "192.168.7.2:7001", "control"),
        (b, B, "192.168.7.9:5000", "internal"),
    ];
    for (from, source, to, reason) in denied {
        assert_eq!(
            wires.send(from, source, to).unwrap_err(),
            [reason.to_owned()],
            "{source} to {to}"
        );
    }
}

#[test]
fn a_hole_leaves_no_connection_behind() {
    let wires = Wires::new();
    let socket = wires.a.run(|| UdpSocket::bind("10.81.0.2:4000").unwrap());
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let answers = move |times: usize| {
        let mut received = [0; 64];
        (0..times).any(|_| {
            socket.send_to(b"?", "10.81.0.130:5000").unwrap();
            socket.recv_from(&mut received).is_ok()
        })
    };
    // No table: everything passes, and a connection begins.
    assert!(answers(50));
    wires.host.run(|| {
        // With the connection tracked, the new table alone would let it go on.
        nft("add table inet tracker");
        nft("add chain inet tracker forward { type filter hook forward priority 0; }");
        nft("add rule inet tracker forward ct state new accept");
    });
    assert!(answers(50));
    let this = wires.host.run(|| {
        let mut this = Loop::start(&policy());
        this.until(|this| this.core.is_settled());
        Rig::new().end_flows(Vec::new());
        this
    });
    let error = wires.send(&wires.a, A, "10.81.0.130:5000").unwrap_err();
    assert_eq!(error, ["cross_scope"]);
    assert!(!answers(5), "the old connection goes on");
    drop(this);
}

#[test]
fn a_revoked_path_ends_for_connections_too() {
    let wires = Wires::new();
    let mut this = wires.host.run(|| Loop::start(&policy()));
    let socket = wires.a.run(|| UdpSocket::bind("10.81.0.2:4000").unwrap());
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let answers = |times: usize| {
        let mut received = [0; 64];
        (0..times).any(|_| {
            socket.send_to(b"?", "10.81.0.66:5000").unwrap();
            socket.recv_from(&mut received).is_ok()
        })
    };
    assert!(answers(50));
    let mut revoked = policy();
    let mut scope = revoked.scopes.pop_first().unwrap();
    scope.remote.clear();
    revoked.scopes.insert(scope);
    this.enforce(&revoked);
    // Connections end after the filter has changed; a datagram in between may still pass.
    let between = FlowFilter::Between {
        source: crate::fixture::net("10.81.0.0/26"),
        destination: crate::fixture::net("10.81.0.64/26"),
        port: None,
    };
    wires.host.run(move || Rig::new().end_flows(vec![between]));
    assert!(!answers(5));
    assert_eq!(wires.send(&wires.a, A, "10.81.0.66:5000").unwrap_err(), ["cross_scope"]);
}

#[test]
fn segments_fit_the_mesh_in_both_directions() {
    let wires = Wires::new();
    wires.host.ip("link set wg-jaco mtu 1300");
    wires.host.run(|| Rig::new().write(&ruleset(&policy())).unwrap());
    for (client, server, address) in
        [(&wires.a, &wires.remote, REMOTE), (&wires.remote, &wires.a, A)]
    {
        let listener = server.run(|| TcpListener::bind("0.0.0.0:6000").unwrap());
        let stream = client.run(move || TcpStream::connect((address, 6_000)).unwrap());
        let (accepted, _) = listener.accept().unwrap();
        for end in [stream, accepted] {
            let segment = getsockopt(&end, TcpMaxSeg).unwrap();
            assert!(segment <= 1_260, "{segment} bytes and 40 of headers do not fit into 1300");
        }
    }
}
