//! The state hash: a sum of entity digests that each write adjusts.
//!
//! Every entity is hashed alone with its type, and the state's hash covers the sum of these
//! digests. A write subtracts the digest of the old value and adds that of the new one, so its
//! cost does not depend on the size of the state, and the order of writes leaves no trace. The
//! sum finds members that diverged by a bug; it is no defence against forged entities.

use crate::State;
use crate::store::{self, Entity};
use serde::Serialize;

/// A sum of digests: four lanes that wrap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum([u64; 4]);

impl Sum {
    /// The digest of one value under the tag of its type.
    pub(crate) fn of(tag: u8, value: &impl Serialize) -> Sum {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[tag]);
        hasher.update(&canonical(value));
        let bytes = hasher.finalize();
        let mut lanes = [0; 4];
        for (lane, chunk) in lanes.iter_mut().zip(bytes.as_bytes().chunks_exact(8)) {
            *lane = chunk.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        }
        Sum(lanes)
    }

    /// Takes a value in.
    pub(crate) fn add(&mut self, other: Sum) {
        for (lane, value) in self.0.iter_mut().zip(other.0) {
            *lane = lane.wrapping_add(value);
        }
    }

    /// Takes a value out again.
    pub(crate) fn subtract(&mut self, other: Sum) {
        for (lane, value) in self.0.iter_mut().zip(other.0) {
            *lane = lane.wrapping_sub(value);
        }
    }
}

/// The canonical encoding: JSON with fields in the order of the type and maps in key order.
pub(crate) fn canonical(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("entities have text keys and no failing serialiser")
}

impl State {
    /// Hash of everything the cluster agreed on. Equal on all members at the same index.
    pub fn hash(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"jaco state 1");
        hasher.update(&self.applied_index.to_be_bytes());
        for lane in self.sum.0 {
            hasher.update(&lane.to_be_bytes());
        }
        *hasher.finalize().as_bytes()
    }

    /// The sum computed anew from every entity.
    pub(crate) fn recomputed_sum(&self) -> Sum {
        let mut sum = Sum::default();
        if let Some(cluster) = &self.cluster {
            sum.add(Sum::of(store::CLUSTER_TAG, cluster));
        }
        add_all(&mut sum, self.nodes.values());
        add_all(&mut sum, self.tombstones.values());
        add_all(&mut sum, self.join_tokens.values());
        add_all(&mut sum, self.deployments.values());
        add_all(&mut sum, self.revisions.values());
        add_all(&mut sum, self.replicas.values());
        add_all(&mut sum, self.instances.values());
        add_all(&mut sum, self.rollouts.values());
        add_all(&mut sum, self.volumes.values());
        add_all(&mut sum, self.scopes.values());
        add_all(&mut sum, self.blocks.values());
        add_all(&mut sum, self.quarantine.values());
        add_all(&mut sum, self.acme_accounts.values());
        add_all(&mut sum, self.acme_standings.values());
        add_all(&mut sum, self.acme_orders.values());
        add_all(&mut sum, self.challenge_tokens.values());
        add_all(&mut sum, self.certificates.values());
        add_all(&mut sum, self.requests.values());
        add_all(&mut sum, self.audit.values());
        for counter in &self.counters {
            sum.add(Sum::of(store::COUNTER_TAG, &counter));
        }
        for floor in &self.floors {
            sum.add(Sum::of(store::FLOOR_TAG, &floor));
        }
        sum
    }
}

fn add_all<'a, E: Entity + 'a>(
    sum: &mut Sum,
    entities: impl Iterator<Item = &'a std::sync::Arc<E>>,
) {
    for entity in entities {
        sum.add(Sum::of(E::TAG, entity.as_ref()));
    }
}
