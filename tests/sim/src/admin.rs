//! Operators: hosts join, join again after their disk was lost, and are removed.

use crate::ask::{Ask, Owner, What};
#[cfg(feature = "seeded-bugs")]
use crate::bug::Bug;
use crate::clock::START;
use crate::disk::Disk;
use crate::event::HostId;
use crate::host::Standing;
use crate::world::World;
use jaco_model::command::{Command, Reply};
use jaco_model::entity::Leaving;
use jaco_model::{ErrorCode, Fault, NodeId, WallMs};
use std::collections::{BTreeMap, BTreeSet};

/// How long a join token works, in milliseconds.
const TOKEN_LIFE: u64 = 24 * 3_600_000;

/// What operators have under way.
#[derive(Debug, Default)]
pub(crate) struct Admin {
    /// Tokens by number: the hash of the secret, and who will use it.
    tokens: BTreeMap<u64, (String, Vec<HostId>)>,
    last: u64,
    /// The members that each secret made.
    made: BTreeMap<String, BTreeSet<NodeId>>,
}

impl Admin {
    /// A host that was removed uses no token that it was to get.
    pub(crate) fn forget(&mut self, host: HostId) {
        for (_, hosts) in self.tokens.values_mut() {
            hosts.retain(|other| *other != host);
        }
    }
}

impl World {
    /// An operator gets a token and gives it to these hosts; only one of them may get in.
    pub(crate) fn begin_join(&mut self, hosts: Vec<HostId>) {
        for host in &hosts {
            self.host_mut(*host).standing = Standing::Joining;
        }
        let secret_hash = self.digest();
        self.admin.last += 1;
        let serial = self.admin.last;
        self.admin.tokens.insert(serial, (secret_hash.clone(), hosts));
        let expires_at = WallMs(START + self.now / 1_000 + TOKEN_LIFE);
        let command = Command::IssueJoinToken { secret_hash, expires_at };
        self.ask(Owner::Token(serial), What::Command(command), None);
    }

    pub(crate) fn token_ends(&mut self, serial: u64, answer: &Result<Reply, Fault>) {
        let Some((secret_hash, hosts)) = self.admin.tokens.remove(&serial) else { return };
        if let Err(fault) = answer {
            return self.violate(format!("a join token is refused: {fault}"));
        }
        for host in hosts {
            let (name, secret_hash) = (self.host(host).name.clone(), secret_hash.clone());
            let key_digest = self.digest();
            self.ask(Owner::Joiner(host), What::Join { name, secret_hash, key_digest }, None);
        }
    }

    /// A host hears whether it is a member.
    pub(crate) fn join_ends(&mut self, host: HostId, ask: &Ask, answer: Result<Reply, Fault>) {
        match (answer, &ask.what) {
            (Ok(Reply::Joined { node, raft_id }), what) => {
                if let What::Join { secret_hash, .. } = what {
                    self.check_token(secret_hash, &node);
                }
                let peers = self.peers_for(&node);
                if peers.is_empty() {
                    // The answer names nobody: it was lost with who gave it.
                    return self.ask(Owner::Joiner(host), ask.what.clone(), None);
                }
                let this = self.host_mut(host);
                this.known_peers = peers;
                this.node = Some(node);
                this.disk = Some(Disk::new(raft_id));
                this.standing = Standing::Member;
                self.boot_after(host, 0);
            }
            // Its removal may end, and then it is a stranger.
            (Err(fault), What::Rejoin { .. }) if fault.code == ErrorCode::Conflict => {
                self.ask(Owner::Joiner(host), ask.what.clone(), None);
            }
            (Err(_), _) => {
                let this = self.host_mut(host);
                this.standing = Standing::Spare;
                this.node = None;
                this.engine.clear();
            }
            (Ok(other), _) => self.violate(format!("a join ends with {other:?}")),
        }
    }

    /// Invariant 12: a token makes one member at most.
    fn check_token(&mut self, secret_hash: &str, node: &NodeId) {
        let made = self.admin.made.entry(secret_hash.to_owned()).or_default();
        made.insert(node.clone());
        if made.len() > 1 {
            let what = format!("invariant 12: one join token made {made:?}");
            self.violate(what);
        }
    }

    /// The members as one who knows the joiner names them.
    fn peers_for(&self, joiner: &NodeId) -> Vec<(NodeId, u64)> {
        let states = self.hosts.iter().filter_map(|host| host.running()?.published.as_ref());
        let knows = states.filter(|state| state.nodes.contains_key(joiner));
        let newest = knows.max_by_key(|state| state.applied_index);
        let nodes = newest.into_iter().flat_map(|state| state.nodes.values());
        nodes.map(|node| (node.id.clone(), node.raft_id)).collect()
    }

    /// A data directory is lost; the host asks for a new raft id.
    pub(crate) fn wipe(&mut self, host: HostId) {
        let Some(old) = self.lose_disk(host) else { return };
        let Some(node) = self.host(host).node.clone() else { return };
        if self.reuses_raft_ids() {
            self.host_mut(host).disk = Some(Disk::new(old.raft_id));
            return self.boot_later(host);
        }
        self.ledger.bury(old.raft_id, old.durable);
        self.host_mut(host).standing = Standing::Joining;
        let what = What::Rejoin { node, old_raft_id: old.raft_id };
        self.ask(Owner::Joiner(host), what, None);
    }

    fn lose_disk(&mut self, host: HostId) -> Option<Disk> {
        self.kill(host);
        // The tunnel's key was on it.
        self.host_mut(host).kernel.tunnel.lose_device();
        self.host_mut(host).disk.take()
    }

    #[cfg(feature = "seeded-bugs")]
    fn reuses_raft_ids(&self) -> bool {
        self.plan.bug == Some(Bug::RaftIdReused)
    }

    #[cfg(not(feature = "seeded-bugs"))]
    fn reuses_raft_ids(&self) -> bool {
        // There is none without the feature.
        self.plan.bug.is_some()
    }

    /// An operator removes a node.
    pub(crate) fn begin_removal(&mut self, host: HostId, leaving: Leaving) {
        if let Some(node) = self.host(host).node.clone() {
            let command = Command::RemoveNode { node, leaving };
            self.ask(Owner::Removal, What::Command(command), None);
        }
    }

    /// What stands for a SHA-256 in hex.
    fn digest(&mut self) -> String {
        format!("{:032x}{:032x}", self.random.id(), self.random.id())
    }
}
