//! `jaco plan`: what an apply would do.

use crate::cli::client::{Call, Client};
use crate::cli::manifest::{InputFlags, accept, input_flags, warn_more};
use crate::cli::output::show;
use crate::cli::verbs::apply::resolve_image;
use crate::cli::{Failure, Globals, Outcome};
use argh::{ArgsInfo, FromArgs};
use jaco_model::view::{ChangeView, PlanRequest, PlanView};

/// show what an apply would do
#[derive(Clone, Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "plan")]
pub(crate) struct Plan {
    /// directory, compose file, jaco.yaml, or - for standard input (default: .)
    #[argh(positional, arg_name = "PATH")]
    path: Option<String>,
    /// compose file; repeat to merge several
    #[argh(option, short = 'f')]
    compose: Vec<String>,
    /// overlay file
    #[argh(option)]
    jaco: Option<String>,
    /// deployment name
    #[argh(option)]
    name: Option<String>,
    /// enable a compose profile
    #[argh(option)]
    profile: Vec<String>,
    /// file of variables for interpolation
    #[argh(option)]
    env_file: Vec<String>,
    /// variable for interpolation: KEY=VALUE, or KEY from the environment
    #[argh(option)]
    env: Vec<String>,
    /// warnings are errors
    #[argh(switch)]
    strict: bool,
    /// when image tags are looked up: always, changed or never (default: always)
    #[argh(option, default = "String::from(\"always\")")]
    resolve_image: String,
    /// plan as if this node were gone; repeatable
    #[argh(option)]
    without_node: Vec<String>,
    /// exit 5 when something would change
    #[argh(switch)]
    exit_code: bool,
    /// exit 5 when a service would be down for a while, or nobody knows
    #[argh(switch)]
    fail_if_downtime: bool,
}

/// Exit code of a check that said no.
const SAID_NO: u8 = 5;

/// Runs the verb.
pub(crate) fn run(globals: &Globals, verb: Plan) -> Outcome {
    let plan = ask(globals, &input_flags!(verb), &verb.resolve_image, verb.without_node)?;
    show(globals, &plan, || text(&plan));
    let changes = plan.changes.iter().any(|change| change.action != "keep");
    let downtime = plan.expected_downtime_seconds.is_none_or(|seconds| seconds > 0.0);
    let said_no = (verb.exit_code && changes) || (verb.fail_if_downtime && downtime);
    if said_no { Err(Failure::Silent(SAID_NO)) } else { Ok(0) }
}

/// `apply --dry-run`.
pub(crate) fn preview(globals: &Globals, flags: &InputFlags, resolve: &str) -> Outcome {
    let plan = ask(globals, flags, resolve, Vec::new())?;
    show(globals, &plan, || text(&plan));
    Ok(0)
}

fn ask(
    globals: &Globals,
    flags: &InputFlags,
    resolve: &str,
    without_nodes: Vec<String>,
) -> Result<PlanView, Failure> {
    let checked = accept(globals, flags)?;
    let client = Client::new(globals)?;
    let request = PlanRequest {
        documents: checked.documents,
        without_nodes,
        resolve_image: resolve_image(resolve)?,
    };
    let plan: PlanView = client.call(&Call::post("/v1/plan", &request))?;
    warn_more(globals, &checked.outcome.problems, &plan.warnings);
    Ok(plan)
}

/// One line per replica, then what is left without a place, and the sum.
fn text(plan: &PlanView) -> String {
    let count = |action: &str| plan.changes.iter().filter(|c| c.action == action).count();
    let moving = plan.changes.iter().any(|change| change.action != "keep");
    if !moving && plan.unplaced.is_empty() {
        return "No changes\n".to_owned();
    }
    let mut text = String::new();
    let mut service = "";
    for change in &plan.changes {
        if change.service != service {
            service = &change.service;
            text.push_str(&format!("{service}:\n"));
        }
        text.push_str(&format!("  {}\n", line(change)));
    }
    for volume in &plan.volumes {
        text.push_str(&format!("+ volume {volume}\n"));
    }
    for replica in &plan.unplaced {
        text.push_str(&format!("! {} finds no node\n", replica.replica));
        for (node, reason) in &replica.nodes {
            text.push_str(&format!("    {node}: {reason}\n"));
        }
    }
    text.push_str(&format!(
        "Plan: {} to create, {} to recreate, {} to move, {} to remove, {} unchanged{}\n",
        count("create"),
        count("recreate"),
        count("move"),
        count("remove"),
        count("keep"),
        downtime(plan.expected_downtime_seconds),
    ));
    text
}

fn line(change: &ChangeView) -> String {
    let sign = match change.action.as_str() {
        "create" => '+',
        "recreate" => '~',
        "move" => '>',
        "remove" => '-',
        _ => '=',
    };
    let mut line = format!("{sign} {}  {}", change.replica, change.action);
    if let Some(host) = change.to_host.as_ref().or(change.host.as_ref()) {
        line.push_str(&format!(" on {host}"));
    }
    if let Some(order) = &change.order {
        line.push_str(&format!("  {order}"));
    }
    if !change.reasons.is_empty() {
        line.push_str(&format!("  {}", change.reasons.join(", ")));
    }
    if matches!(change.action.as_str(), "recreate" | "move") {
        line.push_str(&downtime(change.expected_downtime_seconds).replace(',', " "));
    }
    line
}

fn downtime(seconds: Option<f64>) -> String {
    match seconds {
        Some(seconds) => format!(", downtime {seconds:.0}s"),
        None => ", downtime unknown".to_owned(),
    }
}
