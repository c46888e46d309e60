//! Every verb, and which file runs it.

mod apply;
mod audit;
mod cluster;
mod completion;
mod daemon;
mod delete;
mod diff;
mod doctor;
mod get;
mod history;
mod install;
mod logs;
mod node;
mod plan;
mod ps;
mod restart;
mod rollback;
mod scale;
mod status;
mod up;
mod validate;
mod version;
mod wait;
mod why;

use super::{Globals, Outcome};
use argh::{ArgsInfo, FromArgs};

/// Just Another Container Orchestrator: compose files on a handful of Docker hosts.
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(help_triggers("-h", "--help", "help"))]
pub(super) struct Jaco {
    #[argh(subcommand)]
    verb: Verb,
}

/// All verbs.
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand)]
enum Verb {
    Apply(apply::Apply),
    Plan(plan::Plan),
    Diff(diff::Diff),
    Validate(validate::Validate),
    History(history::History),
    Rollback(rollback::Rollback),
    Delete(delete::Delete),
    Scale(scale::Scale),
    Restart(restart::Restart),
    Wait(wait::Wait),
    Status(status::Status),
    Why(why::Why),
    Ps(ps::Ps),
    Get(get::Get),
    Logs(logs::Logs),
    Audit(audit::Audit),
    Cluster(cluster::Cluster),
    Node(node::Node),
    Doctor(doctor::Doctor),
    Up(up::Up),
    Daemon(daemon::Daemon),
    Install(install::Install),
    Uninstall(install::Uninstall),
    Completion(completion::Completion),
    Version(version::Version),
}

/// Runs one verb.
pub(super) fn run(globals: &Globals, jaco: Jaco) -> Outcome {
    match jaco.verb {
        Verb::Apply(verb) => apply::run(globals, verb),
        Verb::Plan(verb) => plan::run(globals, verb),
        Verb::Diff(verb) => diff::run(globals, verb),
        Verb::Validate(verb) => validate::run(globals, verb),
        Verb::History(verb) => history::run(globals, &verb),
        Verb::Rollback(verb) => rollback::run(globals, &verb),
        Verb::Delete(verb) => delete::run(globals, &verb),
        Verb::Scale(verb) => scale::run(globals, &verb),
        Verb::Restart(verb) => restart::run(globals, &verb),
        Verb::Wait(verb) => wait::run(globals, &verb),
        Verb::Status(verb) => status::run(globals, verb),
        Verb::Why(verb) => why::run(globals, &verb),
        Verb::Ps(verb) => ps::run(globals, verb),
        Verb::Get(verb) => get::run(globals, verb),
        Verb::Logs(verb) => logs::run(globals, verb),
        Verb::Audit(verb) => audit::run(globals, verb),
        Verb::Cluster(verb) => cluster::run(globals, verb),
        Verb::Node(verb) => node::run(globals, verb),
        Verb::Doctor(verb) => doctor::run(globals, &verb),
        Verb::Up(verb) => up::run(globals, verb),
        Verb::Daemon(verb) => daemon::run(&verb),
        Verb::Install(verb) => install::install(globals, &verb),
        Verb::Uninstall(verb) => install::uninstall(globals, &verb),
        Verb::Completion(verb) => completion::run(globals, &verb),
        Verb::Version(verb) => version::run(globals, &verb),
    }
}
