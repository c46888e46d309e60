//! The first snapshot of a cluster: its members and its state, in the newest format or the oldest.

use crate::client::door;
use crate::clock::{Clock, START};
use crate::disk::Disk;
use crate::event::HostId;
use crate::host::{Host, Standing};
use crate::plan::Plan;
use crate::random::Random;
use crate::world::World;
use jaco_model::command::{Command, Envelope, InitCluster, JoinNode};
use jaco_model::entity::{Ipam, Node};
use jaco_model::{Identity, RequestId, WallMs};
use jaco_raft_core::eraftpb::HardState;
use jaco_raft_core::{DurableLog, Members, Position, SnapshotMeta};
use jaco_state::State;
use jaco_wire::{Section, SnapshotHeader, encode_snapshot};
use jaco_wiring::encode_state;
use std::sync::Arc;

/// Sections that the oldest format did not have.
const NEW_SECTIONS: [&str; 10] = [
    "tombstones",
    "join_tokens",
    "scopes",
    "blocks",
    "quarantine",
    "acme_accounts",
    "acme_orders",
    "challenge_tokens",
    "certificates",
    "acme_standings",
];

/// All hosts, none in a cluster.
pub(crate) fn hosts(plan: &Plan, random: &mut Random) -> Vec<Host> {
    let drift = |random: &mut Random| {
        let off = random.between(0, 2 * plan.drift);
        i64::try_from(off).unwrap_or(0) - i64::try_from(plan.drift).unwrap_or(0)
    };
    let host = |at| {
        let base = random.between(10_000, 90_000_000);
        let clock = Clock::new(base, drift(random), 0);
        Host::new(HostId(at), clock)
    };
    (0..plan.hosts).map(host).collect()
}

impl World {
    /// Makes the first members.
    ///
    /// # Errors
    /// When the state machine refuses, which it does not.
    pub(crate) fn found(&mut self) -> Result<(), String> {
        let founders = self.plan.founders;
        let nodes: Vec<Node> = (0..founders)
            .map(|at| {
                let name = self.hosts[at].name.clone();
                self.newcomer(name)
            })
            .collect();
        let mut state = State::default();
        let mut index = 0;
        for command in self.founding(&nodes) {
            index += 1;
            let envelope = Envelope {
                request_id: RequestId(self.random.id()),
                at: WallMs(START),
                identity: Identity::from("bootstrap"),
                os_user: None,
                command,
            };
            let applied = jaco_state::apply(&mut state, index, &envelope);
            applied.result.map_err(|fault| fault.to_string())?;
        }
        let ids = nodes.iter().map(|node| node.raft_id);
        let mut voters: Vec<u64> = ids.clone().take(crate::check::table(founders)).collect();
        let mut learners: Vec<u64> = ids.skip(voters.len()).collect();
        voters.sort_unstable();
        learners.sort_unstable();
        index += 1;
        jaco_state::apply_members(&mut state, index, &voters);
        let members = Members { voters, learners };
        let at = Position { index, term: 1 };
        let file = self.first_file(&state, at, &members)?;
        for (host, node) in self.hosts.iter_mut().zip(nodes) {
            let log = first_log(at, &members);
            host.disk = Some(Disk::with_snapshot(node.raft_id, log, file.clone()));
            host.node = Some(node.id);
            host.standing = Standing::Member;
        }
        self.ledger.found(&state, members);
        Ok(())
    }

    fn founding(&mut self, nodes: &[Node]) -> Vec<Command> {
        let mut commands = Vec::new();
        for node in nodes {
            if commands.is_empty() {
                commands.push(Command::InitCluster(Box::new(InitCluster {
                    cluster_id: self.cluster.clone(),
                    name: "sim".to_owned(),
                    hash_key: "5a".repeat(32),
                    history_limit: 10,
                    node: Node { voter: true, ..node.clone() },
                    trust: None,
                    ipam: (!self.plan.is_old_format).then(Ipam::default),
                })));
                continue;
            }
            let secret_hash = format!("{:064x}", self.random.id());
            let expires_at = WallMs(START + 60_000);
            let issued = Command::IssueJoinToken { secret_hash: secret_hash.clone(), expires_at };
            commands.push(issued);
            let key_digest = secret_hash.clone();
            let join = JoinNode { secret_hash, key_digest, node: node.clone() };
            commands.push(Command::JoinNode(Box::new(join)));
        }
        // The oldest format knows no routes.
        commands.extend((!self.plan.is_old_format).then(door));
        commands
    }

    fn first_file(
        &self,
        state: &State,
        at: Position,
        members: &Members,
    ) -> Result<Arc<Vec<u8>>, String> {
        let file = if self.plan.is_old_format {
            encode_oldest(state, at, members)
        } else {
            encode_state(state, at, members)
        };
        file.map(Arc::new).map_err(|error| error.to_string())
    }
}

/// A snapshot file as the first version wrote it.
fn encode_oldest(
    state: &State,
    at: Position,
    members: &Members,
) -> Result<Vec<u8>, jaco_wire::Error> {
    let header = SnapshotHeader {
        feature_level: 1,
        epoch: 1,
        index: at.index,
        term: at.term,
        voters: members.voters.clone(),
        learners: members.learners.clone(),
        state_hash: state.hash(),
        ..SnapshotHeader::default()
    };
    let old = state.to_sections().into_iter().filter(|s| !NEW_SECTIONS.contains(&s.name.as_str()));
    let mut sections: Vec<Section> =
        old.map(|s| Section { name: s.name, count: s.count, body: s.bytes }).collect();
    if let Some(first) = sections.first_mut() {
        first.body = format!("{{\"format\":1,\"applied_index\":{}}}\n", at.index).into_bytes();
    }
    encode_snapshot(&header, &sections)
}

fn first_log(at: Position, members: &Members) -> DurableLog {
    DurableLog {
        hard_state: HardState { term: at.term, vote: 0, commit: at.index },
        snapshot: SnapshotMeta { at, members: members.clone() },
        members: (at.index, members.clone()),
        truncated: at,
        entries: Vec::new(),
    }
}
