//! Lets our traffic through the engine's own packet filter.
//!
//! Docker Engine up to 27 drops what it did not publish itself: the forward policy and its
//! isolation chains. `DOCKER-USER` comes before both and is kept for others' rules. What is allowed
//! there is decided by our own table, in which a drop always wins.

use crate::error::Error;
use jaco_model::name::{BRIDGE_PREFIX, MESH_INTERFACE};
use std::process::{Command, Stdio};

/// Puts the two rules at the top of `DOCKER-USER` where they are missing, with the program that the
/// engine itself uses. Tells how many were missing; an engine without that chain needs none.
///
/// # Errors
/// When `iptables` is missing or refuses.
pub fn exempt() -> Result<usize, Error> {
    if !iptables(&["-n", "-L", "DOCKER-USER"])?.0 {
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
        if iptables(&[&["-C", "DOCKER-USER"], rule].concat())?.0 {
            continue;
        }
        let (is_done, said) = iptables(&[&["-I", "DOCKER-USER", "1"], rule].concat())?;
        if !is_done {
            return Err(Error::Exempt { said });
        }
        missing += 1;
    }
    Ok(missing)
}

/// Whether it succeeded, and what it said. Waits for others that hold the lock.
fn iptables(args: &[&str]) -> Result<(bool, String), Error> {
    let output = Command::new("iptables")
        .args(["--wait", "5"])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| Error::Program { source })?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Ok((output.status.success(), said))
}
