//! Members on loopback that send each other messages, snapshots, calls and streams.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use jaco_peers::transport::{CallError, Limits};
use jaco_raft_core::eraftpb::MessageType;
use jaco_wire::peer::{Method, Refusal};

use crate::support::{
    Ca, Node, PATIENCE, cluster, eventually, introduce, message, node_id, snapshot,
};

#[tokio::test]
async fn messages_arrive_in_order_at_the_one_they_are_for() {
    let (_ca, nodes) = cluster(3);
    for index in 0..500 {
        let to = 2 + index % 2;
        nodes[0].peers.send(vec![message(MessageType::MsgAppend, 1, to, index)]);
        tokio::task::yield_now().await;
    }
    for (node, first) in [(&nodes[1], 0), (&nodes[2], 1)] {
        let indexes = eventually("all messages", || {
            let messages = node.notes.messages.lock().unwrap();
            (messages.len() == 250).then(|| messages.iter().map(|m| m.index).collect::<Vec<_>>())
        });
        let expected: Vec<u64> = (0..500).filter(|index| index % 2 == first).collect();
        assert_eq!(indexes.await, expected);
    }
    assert!(nodes[0].notes.messages.lock().unwrap().is_empty());
    assert!(nodes.iter().all(|node| node.notes.violations.lock().unwrap().is_empty()));
}

#[tokio::test]
async fn false_senders_and_kinds_are_dropped_counted_and_reported() {
    let (_ca, nodes) = cluster(2);
    nodes[0].peers.send(vec![
        message(MessageType::MsgHeartbeat, 7, 2, 1),
        message(MessageType::MsgPropose, 1, 2, 2),
        message(MessageType::MsgTransferLeader, 1, 2, 3),
        message(MessageType::MsgHup, 1, 2, 4),
        message(MessageType::MsgHeartbeat, 1, 2, 5),
    ]);
    let arrived =
        eventually("the good message", || nodes[1].notes.messages.lock().unwrap().first().cloned());
    assert_eq!(arrived.await.index, 5);
    assert_eq!(nodes[1].peers.counters().violations, 4);
    let violations = nodes[1].notes.violations.lock().unwrap().clone();
    assert!(violations.iter().all(|(from, _)| *from == 1), "{violations:?}");
    assert_eq!(violations.len(), 4);
}

#[tokio::test]
async fn a_large_snapshot_is_delivered_whole_and_reported_once() {
    let (_ca, nodes) = cluster(2);
    let data: Vec<u8> = (0..20_000_000_u32).map(|n| (n % 251) as u8).collect();
    nodes[0].peers.send(vec![snapshot(1, 2, data.clone())]);
    let report =
        eventually("the report", || nodes[0].notes.reports.lock().unwrap().first().copied());
    assert_eq!(report.await, (2, true));
    let received = nodes[1].notes.snapshots.lock().unwrap().pop().unwrap();
    assert!(received.snapshot.unwrap().data == data);
    assert_eq!((received.from, received.to, received.term), (1, 2, 3));
    assert_eq!(nodes[0].notes.reports.lock().unwrap().len(), 1);
    assert_eq!(nodes[0].peers.counters().snapshots_sent, 1);
}

#[tokio::test]
async fn every_snapshot_is_reported_whatever_becomes_of_it() {
    let (ca, mut nodes) = cluster(2);
    let notes = nodes[0].notes.clone();
    let reports = |count: usize| {
        let notes = notes.clone();
        async move {
            eventually("the reports", || {
                let reports = notes.reports.lock().unwrap();
                (reports.len() >= count).then(|| reports.clone())
            })
            .await
        }
    };
    *nodes[1].notes.installs.lock().unwrap() = false;
    nodes[0].peers.send(vec![snapshot(1, 2, vec![1; 100])]);
    assert_eq!(reports(1).await, [(2, false)], "not installed");
    *nodes[1].notes.installs.lock().unwrap() = true;
    nodes[0].peers.send(vec![snapshot(1, 9, Vec::new())]);
    assert_eq!(reports(2).await[1], (9, false), "nobody");
    nodes[0].peers.send(vec![snapshot(7, 2, vec![1; 100])]);
    assert_eq!(reports(3).await[2], (2, false), "a false sender");
    nodes[0].peers.send(vec![snapshot(1, 2, vec![0; 3 << 20]), snapshot(1, 2, vec![1; 10])]);
    let both = reports(5).await;
    assert!(both[3..].contains(&(2, true)) && both[3..].contains(&(2, false)), "one at a time");
    nodes.remove(1).peers.shutdown();
    nodes[0].peers.send(vec![snapshot(1, 2, vec![1; 100])]);
    assert_eq!(reports(6).await[5], (2, false), "nobody listens");
    let small = Limits { snapshot_bytes: 10, ..Limits::default() };
    nodes.push(Node::start_with(3, ca.issue(3), |config| config.limits = small));
    introduce(&nodes);
    nodes[0].peers.send(vec![snapshot(1, 3, vec![1; 11])]);
    assert_eq!(reports(7).await[6], (3, false), "too large");
    nodes[0].peers.send(vec![snapshot(1, 3, vec![1; 10])]);
    assert_eq!(reports(8).await[7], (3, true));
    nodes[0].peers.send(vec![snapshot(1, 3, vec![1; 10])]);
    nodes[0].peers.shutdown();
    assert_eq!(reports(9).await.len(), 9, "also at the end");
}

#[tokio::test]
async fn many_calls_share_a_connection() {
    let (_ca, nodes) = cluster(2);
    let calls = (0..300_u32).map(|number| {
        let payload = number.to_le_bytes().repeat(50);
        let call = nodes[0].peers.call(&node_id(2), Method::Ping, payload.clone(), PATIENCE);
        call.map(move |answer| answer.unwrap() == payload)
    });
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.into_iter().all(|same| same));
    assert_eq!(nodes[0].peers.counters().dialled, 1);
    let asked = nodes[1].notes.calls.lock().unwrap().clone();
    assert!(asked.iter().all(|(from, _)| *from == node_id(1)));
    assert!(nodes[0].peers.silence(&node_id(2)).is_some());
    assert!(nodes[0].peers.silence(&node_id(3)).is_none());
}

#[tokio::test]
async fn large_calls_go_both_ways_and_larger_ones_are_refused() {
    let (_ca, nodes) = cluster(2);
    let payload = vec![9; 7 << 20];
    let calls =
        (0..4).map(|_| nodes[0].peers.call(&node_id(2), Method::Ping, payload.clone(), PATIENCE));
    for answer in futures_util::future::join_all(calls).await {
        assert!(answer.unwrap() == payload);
    }
    let too_large = nodes[0].peers.call(&node_id(2), Method::Ping, vec![0; 8 << 20], PATIENCE);
    assert!(matches!(too_large.await, Err(CallError::Refused(_))));
}

#[tokio::test]
async fn calls_fail_in_the_way_that_says_whether_they_were_sent() {
    let (ca, mut nodes) = cluster(2);
    let call = |method, patience| nodes[0].peers.call(&node_id(2), method, Vec::new(), patience);
    assert_eq!(call(Method::Forward, PATIENCE).await, Err(CallError::Refused("not here".into())));
    let slow = call(Method::Status, Duration::from_secs(1));
    assert_eq!(slow.await, Err(CallError::Timeout));
    let notes = nodes[1].notes.clone();
    eventually("the end of the abandoned call", || {
        (*notes.dropped.lock().unwrap() > 0).then_some(())
    })
    .await;
    let nobody = nodes[0].peers.call(&node_id(9), Method::Ping, Vec::new(), PATIENCE);
    assert_eq!(nobody.await, Err(CallError::Unreachable));
    let open = nodes[0].peers.call(&node_id(2), Method::Status, Vec::new(), PATIENCE);
    let open = tokio::spawn(open);
    eventually("the call", || (notes.calls.lock().unwrap().len() >= 3).then_some(())).await;
    let gone = nodes.remove(1);
    gone.peers.shutdown();
    assert_eq!(open.await.unwrap(), Err(CallError::Closed));
    assert_eq!(nodes[0].ping(2).await, Err(CallError::Unreachable));
    // Back at another address.
    nodes.push(Node::start(2, gone.files.clone()));
    introduce(&nodes);
    nodes[0].ping_until_answered(2).await;
    drop(ca);
}

#[tokio::test]
async fn a_dropped_call_ends_at_the_other_side() {
    let (_ca, nodes) = cluster(2);
    let call = nodes[0].peers.call(&node_id(2), Method::Status, Vec::new(), PATIENCE);
    let notes = nodes[1].notes.clone();
    eventually("the call", || (!notes.calls.lock().unwrap().is_empty()).then_some(())).await;
    assert_eq!(*notes.dropped.lock().unwrap(), 0);
    drop(call);
    eventually("its end", || (*notes.dropped.lock().unwrap() == 1).then_some(())).await;
}

#[tokio::test]
async fn open_calls_are_bounded_on_both_sides() {
    let ca = Ca::new();
    let few = |config: &mut jaco_peers::transport::Config| config.limits.calls = 3;
    let nodes = [Node::start_with(1, ca.issue(1), few), Node::start_with(2, ca.issue(2), |_| ())];
    introduce(&nodes);
    nodes[0].ping_until_answered(2).await;
    let call = |from: &Node, to, method| {
        tokio::spawn(from.peers.call(&node_id(to), method, Vec::new(), PATIENCE))
    };
    let open: Vec<_> = (0..3).map(|_| call(&nodes[0], 2, Method::Status)).collect();
    let notes = &nodes[1].notes;
    eventually("three calls", || (notes.calls.lock().unwrap().len() == 4).then_some(())).await;
    assert_eq!(nodes[0].ping(2).await, Err(CallError::TooMany), "at the caller");
    let back: Vec<_> = (0..3).map(|_| call(&nodes[1], 1, Method::Status)).collect();
    let notes = &nodes[0].notes;
    eventually("three calls back", || (notes.calls.lock().unwrap().len() == 3).then_some(())).await;
    assert_eq!(nodes[1].ping(1).await, Err(CallError::TooMany), "at the one who is called");
    for task in open.into_iter().chain(back) {
        task.abort();
    }
    nodes[0].ping_until_answered(2).await;
    nodes[1].ping_until_answered(1).await;
}

#[tokio::test]
async fn streams_deliver_everything_in_order_and_end() {
    let (_ca, nodes) = cluster(2);
    let items = nodes[0].peers.stream(&node_id(2), Method::Logs, b"1000".to_vec());
    let items: Vec<_> = items.map(|item| String::from_utf8(item.unwrap()).unwrap()).collect().await;
    assert_eq!(items, (0..1_000).map(|n: u32| n.to_string()).collect::<Vec<_>>());
    let items = nodes[0].peers.stream(&node_id(2), Method::Pull, b"2".to_vec());
    let items: Vec<_> = items.collect().await;
    let expected = [Ok(b"0".to_vec()), Ok(b"1".to_vec()), Err(CallError::Refused("enough".into()))];
    assert_eq!(items, expected);
    let items = nodes[0].peers.stream(&node_id(9), Method::Logs, b"2".to_vec());
    assert_eq!(items.collect::<Vec<_>>().await, [Err(CallError::Unreachable)]);
}

#[tokio::test]
async fn a_slow_reader_holds_its_stream_back_and_nothing_else() {
    let (_ca, nodes) = cluster(2);
    let mut items = nodes[0].peers.stream(&node_id(2), Method::Logs, b"100000".to_vec());
    assert_eq!(items.next().await, Some(Ok(b"0".to_vec())));
    for _ in 0..50 {
        nodes[0].ping(2).await.unwrap();
    }
    let produced = *nodes[1].notes.produced.lock().unwrap();
    assert!(produced <= 33, "{produced} items for a reader that took one");
    drop(items);
    let notes = nodes[1].notes.clone();
    eventually("the end of the stream", || (*notes.dropped.lock().unwrap() == 1).then_some(()))
        .await;
}

#[tokio::test]
async fn streams_end_with_an_error_when_the_other_side_does() {
    let (_ca, nodes) = cluster(2);
    let mut items = nodes[0].peers.stream(&node_id(2), Method::Status, b"3".to_vec());
    for number in 0..3 {
        assert_eq!(items.next().await, Some(Ok(number.to_string().into_bytes())));
    }
    nodes[1].peers.shutdown();
    assert_eq!(items.next().await, Some(Err(CallError::Closed)));
    assert_eq!(items.next().await, None);
    let mut items = nodes[0].peers.stream(&node_id(2), Method::Status, b"3".to_vec());
    assert!(matches!(items.next().await, Some(Err(_))));
}

#[tokio::test]
async fn members_of_another_epoch_are_refused_with_the_reason() {
    let ca = Ca::new();
    let old = Node::start(1, ca.issue(1));
    let new = Node::start_with(2, ca.issue(2), |config| config.epoch = 2);
    introduce(std::slice::from_ref(&old));
    let nodes = [old, new];
    introduce(&nodes);
    assert_eq!(nodes[0].ping(2).await, Err(CallError::Unreachable));
    assert_eq!(nodes[0].notes.refusals.lock().unwrap().as_slice(), [(Refusal::Epoch, 2)]);
    assert_eq!(nodes[1].peers.counters().refused_hellos, 1);
    nodes[0].peers.send(vec![message(MessageType::MsgHeartbeat, 1, 2, 1)]);
    let notes = nodes[0].notes.clone();
    eventually("the report", || notes.unreachable.lock().unwrap().get(&2).copied()).await;
    assert!(nodes[1].notes.messages.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_peer_that_comes_back_is_found_again() {
    let (_ca, mut nodes) = cluster(2);
    nodes[0].ping_until_answered(2).await;
    let gone = nodes.remove(1);
    let address = gone.peers.local_addr();
    gone.peers.shutdown();
    nodes[0].peers.send(vec![message(MessageType::MsgHeartbeat, 1, 2, 1)]);
    let notes = nodes[0].notes.clone();
    eventually("the report", || notes.unreachable.lock().unwrap().get(&2).copied()).await;
    let again = Node::start_with(2, gone.files.clone(), |config| config.listen = address);
    nodes.push(again);
    nodes[1].peers.set_roster(nodes.iter().map(Node::entry).collect());
    nodes[0].ping_until_answered(2).await;
    nodes[0].peers.send(vec![message(MessageType::MsgHeartbeat, 1, 2, 2)]);
    let notes = nodes[1].notes.clone();
    eventually("the message", || notes.messages.lock().unwrap().pop()).await;
}

#[tokio::test]
async fn a_full_queue_drops_the_newest_and_says_so() {
    let ca = Ca::new();
    let small = |config: &mut jaco_peers::transport::Config| config.limits.queue_messages = 10;
    let nodes = [Node::start_with(1, ca.issue(1), small), Node::start(2, ca.issue(2))];
    introduce(&nodes);
    let many = (0..100).map(|index| message(MessageType::MsgAppend, 1, 2, index)).collect();
    nodes[0].peers.send(many);
    let notes = nodes[1].notes.clone();
    eventually("ten messages", || (notes.messages.lock().unwrap().len() == 10).then_some(())).await;
    let indexes: Vec<u64> = notes.messages.lock().unwrap().iter().map(|m| m.index).collect();
    assert_eq!(indexes, (0..10).collect::<Vec<_>>());
    assert_eq!(nodes[0].peers.counters().dropped_messages, 90);
    let reported = nodes[0].notes.unreachable.lock().unwrap().get(&2).copied();
    assert!(reported.is_some_and(|times| times <= 2), "{reported:?}: once in 100 ms");
}
