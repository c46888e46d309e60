//! Members that say what no member says: nothing panics, all is counted, and others are served.

use std::sync::Arc;

use jaco_peers::pki::dns_name;
use jaco_peers::tls::{Identity, Roster, peer_client_config};
use jaco_raft_core::encode_message;
use jaco_raft_core::eraftpb::MessageType;
use jaco_wire::peer::{
    FRAME_HEADER, Frame, Hello, Method, Outcome, PEER_PROTOCOL, Purpose, Refusal, Request,
    decode_frame, encode_frame, frame_length,
};
use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestRunner};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{Node, cluster, cluster_id, eventually, message, node_id, snapshot};

/// A connection of node 2 to node 1, past the handshake, on which anything may be said.
struct Raw(TlsStream<TcpStream>);

impl Raw {
    async fn connect(server: &Node, identity: &Identity) -> Raw {
        let roster = Roster::new(vec![server.entry()]);
        let config = peer_client_config(identity, &roster, &node_id(server.number)).unwrap();
        let socket = TcpStream::connect(server.peers.local_addr()).await.unwrap();
        let name = ServerName::try_from(dns_name(&cluster_id())).unwrap();
        Raw(TlsConnector::from(config).connect(name, socket).await.unwrap())
    }

    /// The same after both hellos.
    async fn greet(server: &Node, identity: &Identity, purpose: Purpose) -> Raw {
        let mut raw = Raw::connect(server, identity).await;
        raw.say(Frame::Hello(hello(purpose.number()))).await;
        assert!(matches!(raw.hear().await, Some(Frame::Hello(_))));
        raw
    }

    async fn say(&mut self, frame: Frame) {
        self.bytes(&encode_frame(frame).unwrap()).await;
    }

    /// The other side may have gone in the middle of it.
    async fn bytes(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes).await;
        let _ = self.0.flush().await;
    }

    /// The next frame, or `None` at the end.
    async fn hear(&mut self) -> Option<Frame> {
        let mut header = [0; FRAME_HEADER];
        self.0.read_exact(&mut header).await.ok()?;
        let mut body = vec![0; frame_length(header).unwrap()];
        self.0.read_exact(&mut body).await.ok()?;
        Some(decode_frame(&body).unwrap())
    }

    /// Waits until the other side closes.
    async fn expect_end(&mut self) {
        while self.hear().await.is_some() {}
    }
}

fn hello(purpose: u32) -> Hello {
    Hello {
        protocol: PEER_PROTOCOL,
        cluster_id: cluster_id().to_string(),
        epoch: 1,
        raft_id: 2,
        purpose,
    }
}

fn call(id: u64, method: u32) -> Frame {
    Frame::Call(Request { id, method, payload: b"x".to_vec(), timeout_ms: 60_000 })
}

#[tokio::test]
async fn hellos_that_lie_are_refused_with_the_reason() {
    let (_ca, nodes) = cluster(2);
    let lies = [
        (Hello { raft_id: 1, ..hello(1) }, Refusal::RaftId),
        (Hello { raft_id: 3, ..hello(1) }, Refusal::RaftId),
        (Hello { epoch: 0, ..hello(1) }, Refusal::Epoch),
        (Hello { protocol: 99, ..hello(1) }, Refusal::Protocol),
        (Hello { cluster_id: "other".into(), ..hello(1) }, Refusal::Cluster),
        (hello(0), Refusal::Malformed),
        (hello(4), Refusal::Malformed),
    ];
    for (lie, why) in &lies {
        let mut raw = Raw::connect(&nodes[0], &nodes[1].identity).await;
        raw.say(Frame::Hello(lie.clone())).await;
        let expected = Frame::Refused { reason: why.number(), epoch: 1, protocol: PEER_PROTOCOL };
        assert_eq!(raw.hear().await, Some(expected), "{lie:?}");
    }
    let mut raw = Raw::connect(&nodes[0], &nodes[1].identity).await;
    raw.say(call(1, 3)).await;
    assert!(matches!(raw.hear().await, Some(Frame::Refused { .. })), "a call before the hello");
    assert_eq!(nodes[0].peers.counters().refused_hellos, 8);
    assert!(nodes[0].notes.calls.lock().unwrap().is_empty());
}

/// A member that lost its log has no raft id that others know, and asks for one by a call.
#[tokio::test]
async fn calls_are_the_nodes_whatever_its_raft_id() {
    let (_ca, nodes) = cluster(2);
    let mut raw = Raw::connect(&nodes[0], &nodes[1].identity).await;
    raw.say(Frame::Hello(Hello { raft_id: 99, ..hello(Purpose::Calls.number()) })).await;
    assert!(matches!(raw.hear().await, Some(Frame::Hello(_))));
    raw.say(call(1, Method::Ping.number())).await;
    assert!(matches!(raw.hear().await, Some(Frame::Answer { id: 1, outcome: Outcome::Done(_) })));
    let callers = nodes[0].notes.calls.lock().unwrap().clone();
    assert_eq!(callers, [(node_id(2), Method::Ping)]);
    let mut entry = nodes[1].entry();
    entry.raft_id = 100;
    nodes[0].peers.set_roster(vec![nodes[0].entry(), entry]);
    raw.say(call(2, Method::Ping.number())).await;
    let answer = raw.hear().await;
    assert!(matches!(answer, Some(Frame::Answer { id: 2, .. })), "{answer:?}: still its own");
}

#[tokio::test]
async fn a_member_cannot_have_connections_without_end() {
    let (_ca, nodes) = cluster(2);
    let mut open = Vec::new();
    for _ in 0..16 {
        open.push(Raw::greet(&nodes[0], &nodes[1].identity, Purpose::Raft).await);
    }
    let mut raw = Raw::connect(&nodes[0], &nodes[1].identity).await;
    raw.say(Frame::Hello(hello(Purpose::Raft.number()))).await;
    let reason = Refusal::TooMany.number();
    let expected = Frame::Refused { reason, epoch: 1, protocol: PEER_PROTOCOL };
    assert_eq!(raw.hear().await, Some(expected));
    Raw::greet(&nodes[0], &nodes[1].identity, Purpose::Snapshot).await;
    drop(open);
    nodes[1].peers.send(vec![message(MessageType::MsgHeartbeat, 2, 1, 5)]);
    let notes = nodes[0].notes.clone();
    eventually("the message", || {
        nodes[1].peers.send(vec![message(MessageType::MsgHeartbeat, 2, 1, 5)]);
        notes.messages.lock().unwrap().pop()
    })
    .await;
}

#[tokio::test]
async fn sizes_and_garbage_close_the_connection_and_are_counted() {
    let (_ca, nodes) = cluster(2);
    let bad: [&[u8]; 5] = [
        &[0, 0, 0, 0],
        &[0xff, 0xff, 0xff, 0xff],
        &[0, 0x80, 0, 1],
        &[0, 0, 0, 3, 0xff, 0xff, 0xff],
        &[0, 0, 0, 2, 0xe2, 0x03],
    ];
    let mut expected = 0;
    for purpose in [Purpose::Raft, Purpose::Calls, Purpose::Snapshot] {
        for bytes in bad {
            let mut raw = Raw::greet(&nodes[0], &nodes[1].identity, purpose).await;
            raw.bytes(bytes).await;
            raw.expect_end().await;
            expected += 1;
        }
    }
    let peers = &nodes[0].peers;
    eventually("all counts", || (peers.counters().broken_frames == expected).then_some(())).await;
    let violations = nodes[0].notes.violations.lock().unwrap().clone();
    assert!(violations.iter().all(|violation| *violation == (2, "a malformed frame")));
    assert_eq!(violations.len(), 15);
    nodes[1].ping_until_answered(1).await;
}

#[tokio::test]
async fn frames_that_have_no_place_close_the_connection() {
    let (_ca, nodes) = cluster(2);
    let end = Frame::SnapshotEnd { installed: true };
    let frames = |purpose| match purpose {
        Purpose::Raft => vec![call(1, 3), end.clone(), Frame::Hello(hello(1))],
        Purpose::Calls => vec![
            Frame::Raft(Vec::new()),
            Frame::Answer { id: 1, outcome: Outcome::TooMany },
            Frame::Item { id: 1, payload: Vec::new() },
        ],
        Purpose::Snapshot => {
            vec![Frame::SnapshotChunk { offset: 0, data: vec![1] }, end.clone(), call(1, 3)]
        }
    };
    for purpose in [Purpose::Raft, Purpose::Calls, Purpose::Snapshot] {
        for frame in frames(purpose) {
            let mut raw = Raw::greet(&nodes[0], &nodes[1].identity, purpose).await;
            raw.say(frame).await;
            raw.expect_end().await;
        }
    }
    let peers = &nodes[0].peers;
    eventually("all counts", || (peers.counters().broken_frames == 9).then_some(())).await;
    assert!(nodes[0].notes.calls.lock().unwrap().is_empty());
}

#[tokio::test]
async fn unknown_methods_are_answered_and_numbers_not_shared() {
    let (_ca, nodes) = cluster(2);
    let mut raw = Raw::greet(&nodes[0], &nodes[1].identity, Purpose::Calls).await;
    for (id, method) in [(1, 0), (2, 1_000), (3, u32::MAX)] {
        raw.say(call(id, method)).await;
        let answer = Frame::Answer { id, outcome: Outcome::UnknownMethod };
        assert_eq!(raw.hear().await, Some(answer));
    }
    // Nothing that is open has these numbers.
    raw.say(Frame::Cancel { id: 77 }).await;
    raw.say(Frame::Credit { id: 78, items: u32::MAX }).await;
    raw.say(call(4, Method::Ping.number())).await;
    let answer = Frame::Answer { id: 4, outcome: Outcome::Done(b"x".to_vec()) };
    assert_eq!(raw.hear().await, Some(answer));
    raw.say(call(5, Method::Status.number())).await;
    raw.say(call(5, Method::Ping.number())).await;
    raw.expect_end().await;
    let notes = nodes[0].notes.clone();
    eventually("the end of the call", || (*notes.dropped.lock().unwrap() == 1).then_some(())).await;
}

#[tokio::test]
async fn a_reader_that_lies_about_its_room_gets_no_more() {
    let (_ca, nodes) = cluster(2);
    let mut raw = Raw::greet(&nodes[0], &nodes[1].identity, Purpose::Calls).await;
    let method = Method::Logs.number();
    let request = Request { id: 1, method, payload: b"1000".to_vec(), timeout_ms: 0 };
    raw.say(Frame::OpenStream(request)).await;
    for _ in 0..20 {
        raw.say(Frame::Credit { id: 1, items: u32::MAX }).await;
    }
    raw.say(call(2, Method::Ping.number())).await;
    let mut items = 0;
    while let Some(frame) = raw.hear().await {
        match frame {
            Frame::Item { id: 1, .. } => items += 1,
            Frame::Answer { id: 2, .. } => break,
            other => panic!("{other:?}"),
        }
    }
    // Each credit fills the window up and no further.
    assert!(items <= 32 * 21, "{items}");
}

#[tokio::test]
async fn snapshots_that_do_not_fit_are_not_delivered() {
    let (_ca, nodes) = cluster(2);
    let begin = |kind, from, size| Frame::SnapshotBegin {
        message: encode_message(&message(kind, from, 1, 0)),
        size,
    };
    for (kind, from, size) in [
        (MessageType::MsgAppend, 2, 10),
        (MessageType::MsgSnapshot, 3, 10),
        (MessageType::MsgSnapshot, 2, u64::MAX),
    ] {
        let mut raw = Raw::greet(&nodes[0], &nodes[1].identity, Purpose::Snapshot).await;
        raw.say(begin(kind, from, size)).await;
        assert_eq!(raw.hear().await, Some(Frame::SnapshotEnd { installed: false }));
    }
    let mut raw = Raw::greet(&nodes[0], &nodes[1].identity, Purpose::Snapshot).await;
    raw.say(begin(MessageType::MsgSnapshot, 2, 10)).await;
    raw.say(Frame::SnapshotChunk { offset: 0, data: vec![0; 11] }).await;
    raw.expect_end().await;
    assert!(nodes[0].notes.snapshots.lock().unwrap().is_empty());
    nodes[1].peers.send(vec![snapshot(2, 1, vec![1; 10])]);
    let notes = nodes[1].notes.clone();
    eventually("the report", || notes.reports.lock().unwrap().pop()).await;
    assert_eq!(nodes[0].notes.snapshots.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn raft_messages_that_do_not_parse_are_dropped_one_by_one() {
    let (_ca, nodes) = cluster(2);
    let mut raw = Raw::greet(&nodes[0], &nodes[1].identity, Purpose::Raft).await;
    let good = encode_message(&message(MessageType::MsgHeartbeat, 2, 1, 5));
    raw.say(Frame::Raft(vec![vec![0xff; 9], good.clone(), Vec::new(), good])).await;
    let notes = nodes[0].notes.clone();
    eventually("the good ones", || (notes.messages.lock().unwrap().len() == 2).then_some(())).await;
    assert_eq!(nodes[0].peers.counters().violations, 2);
}

#[test]
fn noise_in_every_phase_ends_nothing_but_its_connection() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_ca, nodes) = cluster(3);
    let nodes = Arc::new(nodes);
    let strategy = (0..5_u8, prop::collection::vec(any::<u8>(), 0..200), any::<bool>());
    let mut runner = TestRunner::new(Cases { cases: 60, ..Cases::default() });
    let outcome = runner.run(&strategy, |(phase, mut noise, framed)| {
        if framed && let Ok(len) = u32::try_from(noise.len()) {
            noise.splice(0..0, len.to_be_bytes());
        }
        let nodes = nodes.clone();
        runtime.block_on(async move {
            if phase == 0 {
                let mut socket = TcpStream::connect(nodes[0].peers.local_addr()).await.unwrap();
                let _ = socket.write_all(&noise).await;
                return;
            }
            let mut raw = match phase {
                1 => Raw::connect(&nodes[0], &nodes[1].identity).await,
                2 => Raw::greet(&nodes[0], &nodes[1].identity, Purpose::Raft).await,
                3 => Raw::greet(&nodes[0], &nodes[1].identity, Purpose::Calls).await,
                _ => Raw::greet(&nodes[0], &nodes[1].identity, Purpose::Snapshot).await,
            };
            raw.bytes(&noise).await;
            let _ = raw.0.shutdown().await;
            raw.expect_end().await;
        });
        Ok(())
    });
    outcome.unwrap();
    runtime.block_on(nodes[2].ping_until_answered(1));
}
