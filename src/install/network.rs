//! Takes the containers' network off a host whose containers are gone.

use jaco_model::name::MESH_INTERFACE;
use jaco_netmesh::{Config, Driver, HelperCommand};
use std::path::Path;

/// Ends the mesh and removes the packet filter; gives what could not be removed.
pub(super) fn take_down(data_dir: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    if data_dir.join("keys/wg.key").try_exists().unwrap_or(true)
        && let Err(why) = remove_mesh(data_dir)
    {
        warnings.push(format!("the interface {MESH_INTERFACE} stays: {why}"));
    }
    if let Err(error) = jaco_firewall::remove_table() {
        warnings.push(format!("the table \"inet jaco\" of nftables stays: {error}"));
    }
    warnings
}

fn remove_mesh(data_dir: &Path) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let config = Config {
        data_dir: data_dir.to_owned(),
        interface: MESH_INTERFACE.to_owned(),
        kind: None,
        helper: HelperCommand::own(),
    };
    runtime.block_on(async {
        let driver = Driver::spawn(config, |_| {}).await.map_err(|error| error.to_string())?;
        driver.remove().await.map_err(|error| error.to_string())
    })
}
