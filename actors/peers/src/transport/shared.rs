//! What all connections of this member share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jaco_kit::{Clock, Seeds};
use jaco_kit_core::Backoff;
use jaco_model::NodeId;
use jaco_wire::peer::Purpose;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::pki::PeerId;
use crate::tls::{Identity, Roster, RosterEntry};
use crate::transport::config::{Config, Handler};
use crate::transport::counters::{Tally, count};
use crate::transport::peer::Peer;
use crate::transport::{calls_link, raft_link};

/// One per transport.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) identity: Identity,
    pub(super) roster: Roster,
    pub(super) handler: Arc<dyn Handler>,
    pub(super) tally: Tally,
    pub(super) clock: Clock,
    pub(super) runtime: Handle,
    /// Everybody but this node.
    peers: Mutex<BTreeMap<NodeId, Arc<Peer>>>,
    /// Changes whenever the roster does.
    changes: watch::Sender<()>,
    /// How many connections each member has open for each purpose.
    pub(super) incoming: Mutex<BTreeMap<(NodeId, Purpose), usize>>,
    /// Who sends a snapshot at the moment.
    pub(super) receiving: Mutex<BTreeSet<NodeId>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("config", &self.config).finish_non_exhaustive()
    }
}

/// The value behind a lock. A panic elsewhere ends the process, so there is nothing to suspect.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(
        config: Config,
        identity: Identity,
        handler: Arc<dyn Handler>,
        runtime: Handle,
    ) -> Shared {
        Shared {
            config,
            identity,
            roster: Roster::default(),
            handler,
            tally: Tally::default(),
            clock: Clock::new(),
            runtime,
            peers: Mutex::default(),
            changes: watch::Sender::new(()),
            incoming: Mutex::default(),
            receiving: Mutex::default(),
        }
    }

    /// Makes these the members: connections to all others end, and new ones can begin.
    pub(super) fn set_roster(self: &Arc<Shared>, entries: Vec<RosterEntry>) {
        self.roster.replace(entries);
        let members = self.roster.members();
        let mut peers = lock(&self.peers);
        let outdated: Vec<NodeId> = peers
            .values()
            .filter(|peer| !members.get(&peer.node).is_some_and(|entry| peer.is_of(entry)))
            .map(|peer| peer.node.clone())
            .collect();
        for node in outdated {
            if let Some(peer) = peers.remove(&node) {
                peer.retire();
            }
        }
        for entry in members.values() {
            if entry.node != self.config.me && !peers.contains_key(&entry.node) {
                peers.insert(entry.node.clone(), self.start_peer(entry));
            }
        }
        drop(peers);
        self.changes.send_replace(());
    }

    fn start_peer(self: &Arc<Shared>, entry: &RosterEntry) -> Arc<Peer> {
        let (peer, requests) = Peer::new(entry, &self.config.limits);
        let peer = Arc::new(peer);
        peer.own(self.runtime.spawn(raft_link::run(self.clone(), peer.clone())).abort_handle());
        let calls = calls_link::run(self.clone(), peer.clone(), requests);
        peer.own(self.runtime.spawn(calls).abort_handle());
        peer
    }

    /// Ends everything that goes out.
    pub(super) fn retire_all(&self) {
        let peers = std::mem::take(&mut *lock(&self.peers));
        for peer in peers.values() {
            peer.retire();
        }
    }

    pub(super) fn peer(&self, node: &NodeId) -> Option<Arc<Peer>> {
        lock(&self.peers).get(node).cloned()
    }

    pub(super) fn peer_by_raft_id(&self, raft_id: u64) -> Option<Arc<Peer>> {
        lock(&self.peers).values().find(|peer| peer.raft_id == raft_id).cloned()
    }

    /// Notes a sign of life of a member.
    pub(super) fn heard(&self, node: &NodeId) {
        if let Some(peer) = self.peer(node) {
            peer.heard(self.clock.mono());
        }
    }

    /// Tells the handler that messages to a peer were lost, but not too often.
    pub(super) fn report_unreachable(self: &Arc<Shared>, peer: &Peer) {
        let interval = self.config.limits.report_interval;
        if peer.may_report(self.clock.mono(), interval) {
            let (handler, raft_id) = (self.handler.clone(), peer.raft_id);
            // Not on the caller's thread: it may be the one that the handler talks to.
            self.runtime.spawn(async move { handler.unreachable(raft_id) });
        }
    }

    /// Counts and reports what no correct member sends.
    pub(super) fn violation(&self, raft_id: u64, what: &'static str) {
        count(&self.tally.violations);
        tracing::debug!(raft_id, reason = what, "peer broke the rules");
        self.handler.violation(raft_id, what);
    }

    /// Resolves when the certificate of a connection no longer counts: its node was removed, or has
    /// other certificates, or another raft id than `raft_id`.
    pub(super) async fn dismissed(&self, id: &PeerId, raft_id: Option<u64>) {
        let mut changes = self.changes.subscribe();
        let counts = || match (self.roster.admit(id), raft_id) {
            (Ok(now), Some(bound)) => now == bound,
            (Ok(_), None) => true,
            (Err(_), _) => false,
        };
        while counts() {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Waits between attempts to connect.
    pub(super) fn backoff(&self) -> Backoff {
        let limits = &self.config.limits;
        // Without randomness all peers wait equally long, which is no reason to stop.
        let seed = Seeds.seed().unwrap_or(self.config.raft_id);
        Backoff::new(limits.backoff_first, limits.backoff_max, seed)
    }

    /// How long to wait after an attempt that took `spent`.
    pub(super) fn pause(&self, backoff: &mut Backoff, spent: Duration) -> Duration {
        backoff.next_delay().saturating_sub(spent).max(self.config.limits.backoff_first)
    }
}
