//! The checks of these tests find well-known mistakes: each is put in and must be noticed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use jaco_raft_core::{SeededBug, Standing};

use crate::support::{Cluster, many_snapshots};

/// Three members under chaos, then healed, then grown by two.
fn run(seed: u64, bug: Option<SeededBug>) {
    let mut cluster = Cluster::new(&[1, 2, 3], seed, move |config| {
        many_snapshots(config);
        config.seeded_bug = bug;
    });
    for _ in 0..2_000 {
        cluster.shake();
        cluster.check_agreement();
    }
    cluster.cut.clear();
    cluster.pass(Duration::from_secs(10));
    [1, 2, 3].into_iter().for_each(|id| cluster.stand(id, Standing::Ready));
    [4, 5].into_iter().for_each(|id| cluster.join(id));
    cluster.pass(Duration::from_secs(20));
    cluster.check_agreement();
    let leader = cluster.leader().expect("a leader");
    assert_eq!(cluster.node(leader).core.members().voters, [1, 2, 3, 4, 5]);
    for node in cluster.nodes.values() {
        assert_eq!(node.violations, Vec::<&str>::new());
        assert!(
            cluster.acknowledged.iter().all(|text| node.applied.contains(text)),
            "a lost write"
        );
    }
}

fn is_found(bug: SeededBug) -> bool {
    (0..40).any(|seed| catch_unwind(AssertUnwindSafe(|| run(seed, Some(bug)))).is_err())
}

#[test]
fn without_a_mistake_nothing_is_found() {
    (0..40).for_each(|seed| run(seed, None));
}

#[test]
fn answers_before_the_disk_are_found() {
    assert!(is_found(SeededBug::AckBeforeFsync));
}

#[test]
fn a_commit_index_behind_its_snapshot_is_found() {
    assert!(is_found(SeededBug::CommitNotRaisedWithSnapshot));
}

#[test]
fn acknowledgements_before_the_disk_are_found() {
    assert!(is_found(SeededBug::PersistedMessagesEarly));
}

#[test]
fn a_skipped_membership_change_is_found() {
    assert!(is_found(SeededBug::SkipEmptyConfEntry));
}

#[test]
fn reads_by_lease_are_found() {
    assert!(is_found(SeededBug::LeaseReads));
}
