//! The mesh on real parts: TUN interfaces, helper processes and routes in network namespaces of
//! their own. Needs root and `/dev/net/tun`. With the kernel's WireGuard the same tests run by
//! `cargo xtask test --kernel`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod host;
mod node;
mod world;

mod choice;
mod helper;
mod life;
mod peers;
mod pool;
mod repair;
mod traffic;

use std::ffi::OsString;

/// What the driver starts as its helper: this program with this test alone. The words of the
/// helper come after `--`; in an ordinary run there are none and nothing happens.
#[test]
fn helper_process() {
    let words: Vec<OsString> =
        std::env::args_os().skip_while(|word| word != "--").skip(1).collect();
    if !words.is_empty() {
        jaco_netmesh::helper::run(words).unwrap();
    }
}
