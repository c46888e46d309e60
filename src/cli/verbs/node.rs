//! `jaco node`: the members.

use crate::cli::client::{Call, Client};
use crate::cli::output::{Table, show, state, upper};
use crate::cli::{Globals, Outcome};
use argh::{ArgsInfo, FromArgs};
use jaco_model::view::NodeView;
use serde::{Deserialize, Serialize};

/// look at the members
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "node")]
pub(crate) struct Node {
    #[argh(subcommand)]
    verb: Verb,
}

#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand)]
enum Verb {
    List(List),
    Ls(Ls),
}

/// list the members
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "list")]
struct List {}

/// the same as list
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "ls")]
struct Ls {}

#[derive(Debug, Serialize, Deserialize)]
struct Nodes {
    nodes: Vec<NodeView>,
}

/// Runs the verb.
pub(crate) fn run(globals: &Globals, verb: &Node) -> Outcome {
    match verb.verb {
        Verb::List(List {}) | Verb::Ls(Ls {}) => list(globals),
    }
}

fn list(globals: &Globals) -> Outcome {
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
                state(globals, &node.status),
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
