//! Scripts about members: tokens, joining, leaving, and who is down.

use crate::fixture::{self, START};
use crate::script::Line;
use jaco_model::command::{Command, JoinNode};
use jaco_model::entity::{Leaving, Trust};
use jaco_model::{NodeId, NodeName, WallMs};
use jaco_state::State;
use std::fmt::Write as _;

/// The hash of a secret that a script names by one word.
fn hash(word: &str) -> String {
    format!("{:0>64}", word.bytes().map(|b| format!("{b:02x}")).collect::<String>())
}

/// - `token <secret> until=<seconds>`
/// - `join <secret> <node> <host> raft=N key=<word>`
/// - `rejoin <node> old=N raft=N`, `remove <node> [force]`, `forget <node>`
/// - `certificate <node> <serial>`, `trust`, `down|up <node> epoch=N`
pub(crate) fn command(line: &Line<'_>) -> Command {
    let node = || NodeId::from(line.word(1));
    match line.word(0) {
        "token" => Command::IssueJoinToken {
            secret_hash: hash(line.word(1)),
            expires_at: WallMs(START + 1_000 * line.number("until").unwrap_or(86_400)),
        },
        "join" => {
            let mut node = fixture::node(line.word(2), line.word(3));
            node.raft_id = line.number("raft").unwrap_or_default();
            let key_digest = hash(line.option("key").unwrap_or("k"));
            let secret_hash = hash(line.word(1));
            Command::JoinNode(Box::new(JoinNode { secret_hash, key_digest, node }))
        }
        "rejoin" => Command::RejoinNode {
            node: node(),
            old_raft_id: line.number("old").unwrap_or_default(),
            raft_id: line.number("raft").unwrap_or_default(),
        },
        "remove" => {
            let leaving = if line.has("force") { Leaving::Force } else { Leaving::Drain };
            Command::RemoveNode { node: node(), leaving }
        }
        "forget" => Command::ForgetNode { node: node() },
        "certificate" => {
            Command::RecordCertificate { node: node(), serial: line.word(2).to_owned() }
        }
        "trust" => Command::EstablishTrust(Trust {
            certificate: "a certificate".to_owned(),
            key: "a key".to_owned(),
        }),
        verb @ ("down" | "up") => Command::SetLiveness {
            node: node(),
            up: verb == "up",
            epoch: line.number("epoch").unwrap_or_default(),
            evidence: vec![NodeName::from("alpha")],
        },
        verb => panic!("unknown verb {verb}"),
    }
}

/// A line for each member, past member and token.
pub(crate) fn summary(state: &State) -> String {
    let mut text = String::new();
    for node in state.nodes.values() {
        let voter = if node.voter { "voter" } else { "learner" };
        let leaving = node.leaving.map_or(String::new(), |how| format!(" leaving {how:?}"));
        let serials = node.serials.join(",");
        let (id, name, raft, status) = (&node.id, &node.name, node.raft_id, node.status.as_str());
        let epoch = node.liveness_epoch;
        writeln!(
            text,
            "{id} {name} raft {raft} {status} {voter} epoch {epoch} [{serials}]{leaving}"
        )
        .expect("a string takes text");
    }
    for grave in state.tombstones.values() {
        let why = if grave.rejoined { "rejoined" } else { "removed" };
        writeln!(text, "was {} raft {} {why}", grave.name, grave.raft_id).expect("a string");
    }
    for token in state.join_tokens.values() {
        let used = token.used.as_ref().map_or("open".to_owned(), |used| used.node.to_string());
        writeln!(text, "token until {} {used}", token.expires_at.0 - START).expect("a string");
    }
    text
}

#[test]
fn the_list_of_voters_is_that_of_the_raft_group() {
    let mut bench = fixture::Bench::default();
    bench.run_numbered(fixture::init(10));
    for line in ["token s", "join s n2 beta raft=2"] {
        bench.run_numbered(command(&Line::new(line)));
    }
    let before = bench.state.hash();
    let events = jaco_state::apply_members(&mut bench.state, 50, &[1, 2]);
    assert_eq!(events.len(), 1);
    assert_eq!(bench.state.applied_index, 50);
    assert!(bench.state.nodes.values().all(|node| node.voter));
    assert_ne!(bench.state.hash(), before);
    assert!(jaco_state::apply_members(&mut bench.state, 51, &[1, 2]).is_empty());
    jaco_state::apply_members(&mut bench.state, 52, &[2]);
    let voters: Vec<_> = bench.state.nodes.values().map(|node| node.voter).collect();
    assert_eq!(voters, [false, true]);
    bench.state.check().unwrap();
}
