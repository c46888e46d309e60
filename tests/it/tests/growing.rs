//! A cluster that grows to five members and shrinks again, while users write.

use std::fs;

use anyhow::{Result, ensure};
use jaco_it::{Cluster, while_written, with_cluster};

/// Users who write all the time.
const USERS: u64 = 2;

#[test]
fn members_come_and_go_under_load() -> Result<()> {
    with_cluster("grow", 5, 1, |c| {
        let (ledger, ()) = while_written(&c.sockets(), USERS, 1, || {
            for (node, through) in [(1, 0), (2, 1), (3, 2), (4, 3)] {
                c.join(node, through)?;
            }
            c.healthy(&[0, 1, 2, 3, 4])?;
            a_wiped_one_comes_back(c, 3)?;
            let leader = c.healthy(&[0, 1, 2, 3, 4])?;
            // One that follows, and the one that leads.
            let follower = (leader + 1) % 5;
            let stays: Vec<usize> =
                (0..5).filter(|node| ![leader, follower].contains(node)).collect();
            c.remove(follower, leader)?;
            c.remove(leader, stays[0])?;
            c.healthy(&stays)?;
            ensure!(stays.len() == 3);
            Ok(())
        })?;
        ensure!(ledger.acknowledged() > 50, "{} writes only", ledger.acknowledged());
        let left =
            c.nodes().iter().position(|node| node.view().is_ok_and(|v| v["initialized"] == true));
        ledger.settle(c, left.unwrap_or_default())
    })
}

fn a_wiped_one_comes_back(c: &mut Cluster, wiped: usize) -> Result<()> {
    c.node_mut(wiped).daemon().kill()?;
    fs::remove_dir_all(c.node(wiped).daemon_dir().join("raft"))?;
    c.node_mut(wiped).daemon().start_again()?;
    c.node(wiped).ok(&["node", "rejoin"]).map(drop)
}
