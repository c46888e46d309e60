//! Which addresses the host uses besides ours.

use crate::{Error, links};
use jaco_model::name::{BRIDGE_PREFIX, MESH_INTERFACE};
use jaco_netmesh_core::InUse;
use std::collections::BTreeSet;
use std::io;

/// The networks of the host's addresses and the destinations of its routes, without those of the
/// mesh and of our bridges. Blocks for as long as the kernel takes to answer.
///
/// # Errors
/// When the kernel does not answer.
pub fn in_use() -> Result<BTreeSet<InUse>, Error> {
    // The caller's thread may have an event loop already, and one within another is an error.
    let asked = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(Error::io("start an event loop"))?;
        runtime.block_on(async {
            let netlink = links::connect()?;
            links::in_use(&netlink, &links::routes(&netlink).await?, &is_ours).await
        })
    });
    let panicked = |_| Error::io("list addresses")(io::Error::other("the thread panicked"));
    asked.join().map_err(panicked)?
}

/// Whether an interface belongs to a mesh or a scope.
pub(crate) fn is_ours(interface: &str) -> bool {
    interface == MESH_INTERFACE || interface.starts_with(BRIDGE_PREFIX)
}
