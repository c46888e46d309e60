//! Lets our traffic through the engine's own packet filter.
//!
//! Docker Engine up to 27 drops what it did not publish itself: the forward policy and its
//! isolation chains. `DOCKER-USER` comes before both and is kept for others' rules. From 28.2 on it
//! also drops, in the raw table, whatever does not come from a container's own bridge, unless the
//! network was made with options that older releases refuse: one that was made before the engine
//! was upgraded lacks them. What is allowed in both places is decided by our own table, in which a
//! drop always wins.

use crate::error::Error;
use jaco_model::name::{BRIDGE_PREFIX, MESH_INTERFACE};
use std::process::{Command, Stdio};

/// Puts our rules at the top of `DOCKER-USER` and, where containers of ours are closed to the mesh
/// there, of the raw table's `PREROUTING`, with the program that the engine itself uses. Tells how
/// many were missing; an engine without these chains needs none.
///
/// # Errors
/// When `iptables` is missing or refuses.
pub fn exempt() -> Result<usize, Error> {
    Ok(exempt_forwarded()? + exempt_raw()?)
}

fn exempt_forwarded() -> Result<usize, Error> {
    if !iptables(&["-n", "-L", "DOCKER-USER"])?.is_done {
        return Ok(0);
    }
    // What comes out of the mesh towards a container, and what was published by a translated port.
    let bridges = format!("{BRIDGE_PREFIX}+");
    let rules: [&[&str]; 2] = [
        &["-i", MESH_INTERFACE, "-o", &bridges, "-j", "ACCEPT"],
        &["-o", &bridges, "-m", "conntrack", "--ctstate", "DNAT", "-j", "ACCEPT"],
    ];
    let mut missing = 0;
    for rule in rules {
        if iptables(&[&["-C", "DOCKER-USER"], rule].concat())?.is_done {
            continue;
        }
        iptables(&[&["-I", "DOCKER-USER", "1"], rule].concat())?.done()?;
        missing += 1;
    }
    Ok(missing)
}

fn exempt_raw() -> Result<usize, Error> {
    let listed = iptables(&["-t", "raw", "-S", "PREROUTING"])?;
    if !listed.is_done || !is_closed(&listed.out) {
        return Ok(0);
    }
    let rule = ["PREROUTING", "-i", MESH_INTERFACE, "-j", "ACCEPT"];
    // It may be there, below the engine's.
    while iptables(&[&["-t", "raw", "-D"], &rule[..]].concat())?.is_done {}
    let insert = [&["-t", "raw", "-I", rule[0], "1"], &rule[1..]].concat();
    iptables(&insert)?.done()?;
    Ok(1)
}

/// Whether a rule drops what comes to a container of ours by another way than its bridge before
/// ours lets the mesh in.
fn is_closed(listed: &str) -> bool {
    let accepts = format!("-A PREROUTING -i {MESH_INTERFACE} -j ACCEPT");
    let from_elsewhere = format!("! -i {BRIDGE_PREFIX}");
    let rules = listed.lines().map(str::trim);
    let mut before = rules.take_while(|rule| *rule != accepts);
    before.any(|rule| rule.contains(&from_elsewhere) && rule.ends_with("-j DROP"))
}

/// What came of a call.
struct Answer {
    is_done: bool,
    out: String,
    said: String,
}

impl Answer {
    fn done(self) -> Result<(), Error> {
        if self.is_done { Ok(()) } else { Err(Error::Exempt { said: self.said }) }
    }
}

/// Waits for others that hold the lock.
fn iptables(args: &[&str]) -> Result<Answer, Error> {
    let output = Command::new("iptables")
        .args(["--wait", "5"])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| Error::Program { source })?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    let is_done = output.status.success();
    Ok(Answer { is_done, out: text(&output.stdout), said: text(&output.stderr) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "-P PREROUTING ACCEPT\n";
    const MESH: &str = "-A PREROUTING -i wg-jaco -j ACCEPT\n";
    const OURS: &str = "-A PREROUTING -d 10.80.33.2/32 ! -i jaco-3w4alcjydb -j DROP\n";
    const OTHERS: &str = "-A PREROUTING -d 172.18.0.2/32 ! -i br-0a1b2c3d4e5f -j DROP\n";

    #[test]
    fn the_mesh_is_let_in_before_the_engine_drops() {
        for (rules, closed) in [
            (vec![POLICY], false),
            (vec![POLICY, OTHERS], false),
            (vec![POLICY, MESH], false),
            (vec![POLICY, OURS], true),
            (vec![POLICY, OTHERS, OURS], true),
            (vec![POLICY, MESH, OURS], false),
            (vec![POLICY, OURS, MESH], true),
        ] {
            assert_eq!(is_closed(&rules.concat()), closed, "{rules:?}");
        }
        assert!(!is_closed(""));
    }
}
