//! How a member that hears no leader finds out who the members are by now.
//!
//! It may have slept, or been cut off, while others joined, moved or got new certificates. One of
//! them may lead, and would be refused as a stranger for ever. So a member without a leader asks
//! those whom it knows, and believes the newest answer until its own log is as new. The question
//! says where this member is, so that a leader which looks for it elsewhere finds it.

use super::across::entry;
use super::dismissed::ROUNDS;
use super::{Hub, Inner};
use crate::daemon::address::Addresses;
use crate::daemon::cluster::{self, PeerRecord};
use jaco_model::NodeId;
use jaco_model::command::Command;
use jaco_model::entity::NodeFacts;
use jaco_peers::tls::RosterEntry;
use jaco_wire::peer::Method;
use jaco_wiring::Peer;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long one member may take to answer.
const ASK_LIMIT: Duration = Duration::from_secs(2);
/// Pause between two rounds; longer than most elections.
const PAUSE: Duration = Duration::from_secs(3);
/// Members that an answer may name.
const MEMBERS_MAX: usize = 1_024;
/// Bytes of an address.
const ADDRESS_MAX: usize = 300;

/// Where the asking member is.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Whereabouts {
    /// Host and port of its peer port.
    pub(crate) address: String,
    /// Host and port of its API.
    pub(crate) api_address: String,
}

/// The members as somebody knows them.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Hearsay {
    /// Where its log stands; 0 for what a file says.
    pub(crate) applied_index: u64,
    /// Everybody.
    pub(crate) peers: Vec<PeerRecord>,
}

/// What the transport is told: the members by the own log, and what others say while they know
/// more. Nobody speaks again under a raft id that is buried in the own log, whoever still lists it.
fn merge(
    roster: &[Peer],
    hearsay: &Hearsay,
    applied_index: u64,
    is_buried: impl Fn(u64) -> bool,
) -> Vec<RosterEntry> {
    let own = roster.iter().map(|peer| (peer.node.clone(), entry(peer)));
    let mut entries: BTreeMap<NodeId, RosterEntry> = own.collect();
    // A file is no newer than the log, but a log that is still read is older than the file.
    let is_old = roster.iter().all(|peer| peer.serials.is_none());
    let is_newer = hearsay.applied_index > applied_index;
    let others = hearsay.peers.iter().filter(|peer| !is_buried(peer.raft_id));
    for PeerRecord { node, raft_id, address } in others {
        if is_newer || (is_old && !entries.contains_key(node)) {
            let (raft_id, address) = (*raft_id, address.clone());
            let heard = RosterEntry { node: node.clone(), raft_id, address, serials: None };
            entries.insert(node.clone(), heard);
        }
    }
    entries.into_values().collect()
}

impl Inner {
    /// Whom this member knows.
    fn known(&self) -> Vec<RosterEntry> {
        let state = self.member.state();
        let is_buried = |raft_id| state.tombstones.contains_key(&raft_id);
        merge(&self.roster, &self.hearsay, state.applied_index, is_buried)
    }

    /// Tells the transport who the members are.
    pub(super) fn show_transport(&self) {
        let Some(peers) = &self.peers else { return };
        let entries = self.known();
        if !entries.is_empty() {
            peers.set_roster(entries);
        }
    }

    /// The own log is as new as what others said.
    pub(super) fn forget_hearsay(&mut self) {
        let is_known = self.hearsay.applied_index <= self.member.state().applied_index;
        if is_known && !self.hearsay.peers.is_empty() {
            self.hearsay = Hearsay::default();
            self.show_transport();
        }
    }
}

impl Hub {
    /// Where this member is, and whom it knew when it last ran.
    pub(crate) fn introduce(&self, addresses: &Addresses, known: Vec<PeerRecord>) {
        let mut inner = self.inner.borrow_mut();
        inner.whereabouts = Whereabouts {
            address: addresses.public_peer.clone(),
            api_address: addresses.public_api.clone(),
        };
        inner.hearsay = Hearsay { applied_index: 0, peers: known };
    }

    /// This node, and where its peer port is; empty when it has none.
    pub(crate) fn whereabouts(&self) -> (NodeId, String) {
        let inner = self.inner.borrow();
        (inner.me.clone(), inner.whereabouts.address.clone())
    }

    /// The members as this one knows them; a leader also notes where the asking one is.
    pub(crate) fn tell_members(&self, from: &NodeId, asked: Whereabouts) -> Hearsay {
        let state = self.state();
        if self.leads()
            && let Some(node) = state.nodes.get(from)
            && let Some(facts) = moved(&node.facts, asked)
        {
            let (node, status, facts) = (from.clone(), node.status, Box::new(facts));
            let hub = self.clone();
            actix::spawn(async move {
                tracing::info!(%node, address = facts.address, "a member has moved");
                let written = cluster::decide(&hub, Command::ReportNode { node, status, facts });
                if let Err(fault) = written.await {
                    tracing::warn!(%fault, "the new address of a member was not written");
                }
            });
        }
        Hearsay { applied_index: state.applied_index, peers: cluster::peer_records(self, &state) }
    }

    /// Asks until there is a leader and nothing older is shown than it knows.
    pub(crate) fn seek(&self) {
        if std::mem::replace(&mut self.inner.borrow_mut().is_seeking, true) {
            return;
        }
        let hub = self.clone();
        actix::spawn(async move {
            let mut rounds_in_vain = 0;
            while hub.is_lost() {
                let n_answers = hub.ask_around().await;
                rounds_in_vain = if n_answers == 0 { rounds_in_vain + 1 } else { 0 };
                if rounds_in_vain >= ROUNDS {
                    hub.ask_at_doors().await;
                }
                tokio::time::sleep(PAUSE).await;
            }
            hub.inner.borrow_mut().is_seeking = false;
        });
    }

    fn is_lost(&self) -> bool {
        let inner = self.inner.borrow();
        inner.peers.is_some() && (inner.leader.is_none() || !inner.member.has_caught_up())
    }

    /// Asks everybody once; gives how many answered.
    async fn ask_around(&self) -> usize {
        let (nodes, asked) = {
            let inner = self.inner.borrow();
            let others =
                inner.known().into_iter().map(|peer| peer.node).filter(|node| *node != inner.me);
            (others.collect::<Vec<_>>(), serde_json::to_vec(&inner.whereabouts))
        };
        let Ok(asked) = asked else { return 0 };
        let mut n_answers = 0;
        let calls =
            nodes.iter().map(|node| self.call(node, Method::Status, asked.clone(), ASK_LIMIT));
        for answer in futures_util::future::join_all(calls).await {
            // One that does not answer, or is of another version, cannot help.
            let heard =
                answer.ok().and_then(|bytes| serde_json::from_slice::<Hearsay>(&bytes).ok());
            if let Some(heard) = heard {
                n_answers += 1;
                self.hear_of(heard);
            }
        }
        n_answers
    }

    fn hear_of(&self, heard: Hearsay) {
        let mut inner = self.inner.borrow_mut();
        let newest = inner.hearsay.applied_index.max(inner.member.state().applied_index);
        if heard.applied_index > newest && heard.peers.len() <= MEMBERS_MAX {
            inner.hearsay = heard;
            inner.show_transport();
        }
    }
}

/// The facts of a member that is elsewhere than they say; `None` if it is not.
fn moved(facts: &NodeFacts, asked: Whereabouts) -> Option<NodeFacts> {
    let Whereabouts { address, api_address } = asked;
    let is_same = facts.address == address && facts.api_address == api_address;
    let is_short = address.len() <= ADDRESS_MAX && api_address.len() <= ADDRESS_MAX;
    if is_same || !is_short || address.is_empty() {
        return None;
    }
    Some(NodeFacts { address, api_address, ..facts.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(node: &str, raft_id: u64, serials: Option<&str>) -> Peer {
        let serials = serials.map(|serial| vec![serial.to_owned()]);
        Peer { node: NodeId::from(node), raft_id, address: format!("{node}:1"), serials }
    }

    fn hearsay(applied_index: u64, peers: &[(&str, u64)]) -> Hearsay {
        let record = |(node, raft_id): &(&str, u64)| PeerRecord {
            node: NodeId::from(*node),
            raft_id: *raft_id,
            address: format!("{node}:2"),
        };
        Hearsay { applied_index, peers: peers.iter().map(record).collect() }
    }

    fn nobody(_: u64) -> bool {
        false
    }

    fn text(entries: Vec<RosterEntry>) -> Vec<String> {
        let word = |entry: &RosterEntry| {
            format!(
                "{} {} {} {}",
                entry.node,
                entry.raft_id,
                entry.address,
                entry.serials.is_some()
            )
        };
        entries.iter().map(word).collect()
    }

    #[test]
    fn nobody_speaks_under_a_buried_raft_id() {
        let old = [peer("a", 1, None)];
        let file = hearsay(0, &[("a", 1), ("d", 4), ("e", 5)]);
        assert_eq!(text(merge(&old, &file, 5, |id| id == 4)), ["a 1 a:1 false", "e 5 e:2 false"]);
    }

    #[test]
    fn what_is_newer_is_believed_until_the_log_is_as_new() {
        let roster = [peer("a", 1, Some("aa")), peer("b", 2, Some("bb"))];
        let heard = hearsay(9, &[("b", 7), ("d", 4)]);
        let newer = text(merge(&roster, &heard, 8, nobody));
        assert_eq!(newer, ["a 1 a:1 true", "b 7 b:2 false", "d 4 d:2 false"]);
        assert_eq!(text(merge(&roster, &heard, 9, nobody)), ["a 1 a:1 true", "b 2 b:1 true"]);
    }

    #[test]
    fn a_file_only_adds_to_a_log_that_is_still_read() {
        let file = hearsay(0, &[("a", 7), ("d", 4)]);
        assert_eq!(text(merge(&[], &file, 0, nobody)), ["a 7 a:2 false", "d 4 d:2 false"]);
        let old = [peer("a", 1, None)];
        assert_eq!(text(merge(&old, &file, 5, nobody)), ["a 1 a:1 false", "d 4 d:2 false"]);
        let known = [peer("a", 1, Some("aa"))];
        assert_eq!(text(merge(&known, &file, 5, nobody)), ["a 1 a:1 true"]);
    }

    #[test]
    fn a_member_that_moved_is_noted_once() {
        let at = |address: &str| Whereabouts { address: address.into(), api_address: "x:7".into() };
        let facts = NodeFacts { version: "v".into(), ..NodeFacts::default() };
        let next = moved(&facts, at("x:1")).unwrap();
        assert_eq!((next.address.as_str(), next.version.as_str()), ("x:1", "v"));
        assert!(moved(&next, at("x:1")).is_none());
        assert!(moved(&next, at("")).is_none(), "it has no port for others");
        assert!(moved(&next, at(&"x".repeat(400))).is_none());
    }
}
