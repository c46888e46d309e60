//! `jaco node list`.

use crate::cli::client::{Call, Client};
use crate::cli::output::{Table, show, state, upper};
use crate::cli::{Failure, Globals, Outcome};
use jaco_model::view::NodeView;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Nodes {
    pub(super) nodes: Vec<NodeView>,
}

/// The members as the daemon knows them now, for callers that look again.
pub(super) fn members(client: &Client) -> Result<Vec<NodeView>, Failure> {
    Ok(client.look::<Nodes>(&Call::get("/v1/nodes"))?.nodes)
}

pub(super) fn list(globals: &Globals) -> Outcome {
    let client = Client::new(globals)?;
    let nodes: Nodes = client.call(&Call::get("/v1/nodes"))?;
    show(globals, &nodes, || {
        let mut table = Table::new(&[
            "HOSTNAME",
            "ADDRESS",
            "STATUS",
            "SCHEDULABLE",
            "SUFFRAGE",
            "VERSION",
            "LABELS",
        ]);
        for node in &nodes.nodes {
            let labels = node.labels.iter().map(|(key, value)| format!("{key}={value}"));
            table.row([
                node.hostname.clone(),
                node.address.clone(),
                standing(globals, node),
                node.schedulable.to_string(),
                upper(&node.suffrage),
                node.version.clone(),
                labels.collect::<Vec<_>>().join(","),
            ]);
        }
        table.text()
    });
    Ok(0)
}

/// The status, and what is said of the node beside it.
fn standing(globals: &Globals, node: &NodeView) -> String {
    let conditions = node.conditions.iter().map(|condition| upper(condition));
    let path = node.wireguard.as_ref().and_then(|mesh| mesh.path.as_deref());
    let path = path.filter(|path| *path != "ok").map(|path| format!("MESH_{}", upper(path)));
    let words = std::iter::once(state(globals, &node.status)).chain(conditions).chain(path);
    words.collect::<Vec<_>>().join(",")
}
