//! `jaco cluster`: begin a cluster, and how it is.

use crate::cli::client::{Call, Client};
use crate::cli::output::{print, show, upper};
use crate::cli::{Globals, Outcome};
use argh::{ArgsInfo, FromArgs};
use jaco_model::view::{ClusterView, InitRequest, InitView, NodeView};

/// begin a cluster, and see how it is
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "cluster")]
pub(crate) struct Cluster {
    #[argh(subcommand)]
    verb: Verb,
}

#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand)]
enum Verb {
    Init(Init),
    Status(Status),
}

/// make this node the first member of a new cluster
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "init")]
struct Init {
    /// what people call the cluster (default: this node's name)
    #[argh(option)]
    name: Option<String>,
    /// do not enable the service at boot
    #[argh(switch)]
    no_systemd_enable: bool,
}

/// show the leader, the log and the members
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "status")]
struct Status {}

/// Runs the verb.
pub(crate) fn run(globals: &Globals, verb: Cluster) -> Outcome {
    match verb.verb {
        Verb::Init(init) => begin(globals, init),
        Verb::Status(Status {}) => status(globals),
    }
}

fn begin(globals: &Globals, init: Init) -> Outcome {
    let client = Client::new(globals)?;
    let request = InitRequest { name: init.name };
    let view: InitView = client.call(&Call::post("/v1/cluster/init", &request))?;
    show(globals, &view, || {
        let InitView { cluster_id, name, node, pool, pool_reason } = &view;
        let reason = pool_reason.iter().map(|why| format!(" ({why})")).collect::<String>();
        let pool = pool.map(|pool| format!("  addresses:  {pool}{reason}\n")).unwrap_or_default();
        format!(
            "Cluster initialized.\n  cluster_id: {cluster_id}\n  name:       {name}\n  node:       {node}\n{pool}"
        )
    });
    if !init.no_systemd_enable {
        crate::install::enable(globals);
    }
    Ok(0)
}

fn status(globals: &Globals) -> Outcome {
    let client = Client::new(globals)?;
    let view: ClusterView = client.call(&Call::get("/v1/cluster"))?;
    if !view.initialized && globals.output == crate::cli::Format::Table {
        print(
            "Status:    uninitialized\nBegin a cluster here with: jaco cluster init\n\
             Or join one with:          jaco node join --peer HOST:7000\n",
        );
        return Ok(0);
    }
    show(globals, &view, || text(&view));
    Ok(0)
}

fn text(view: &ClusterView) -> String {
    let pool = match (&view.pool, view.block_prefix) {
        (Some(pool), Some(prefix)) => {
            let given = view.pool_use.map(|percent| format!(", {percent} % given out"));
            format!("Addresses:  {pool} in blocks of /{prefix}{}\n", given.unwrap_or_default())
        }
        _ => String::new(),
    };
    let mut text = format!(
        "Status:     {}\nLeader:     {}\nRaft index: {}\nEpoch:      {}\n{pool}Nodes ({}):\n",
        if view.leader.is_some() { "ready" } else { "no leader" },
        view.leader.as_deref().unwrap_or("-"),
        view.raft_index,
        view.epoch.unwrap_or_default(),
        view.nodes.len(),
    );
    for node in &view.nodes {
        text.push_str(&format!("- {}\n", line(node)));
    }
    text
}

/// `node-1 @ 10.0.0.5:7001 [READY, VOTER]`.
fn line(node: &NodeView) -> String {
    let address = match node.address.is_empty() {
        true => String::new(),
        false => format!(" @ {}", node.address),
    };
    let mut words = vec![upper(&node.status), upper(&node.suffrage)];
    if !node.schedulable {
        words.push("CORDONED".to_owned());
    }
    words.extend(node.conditions.iter().map(|condition| upper(condition)));
    format!("{}{address} [{}]", node.hostname, words.join(", "))
}
