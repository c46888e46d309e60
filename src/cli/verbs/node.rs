//! `jaco node`: the members.

mod join;
mod list;
mod remove;

use crate::cli::{Globals, Outcome};
use argh::{ArgsInfo, FromArgs};

/// look at the members, let nodes join and leave
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "node")]
pub(crate) struct Node {
    #[argh(subcommand)]
    verb: Verb,
}

#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand)]
enum Verb {
    IssueJoinToken(join::IssueJoinToken),
    Join(join::Join),
    List(List),
    Ls(Ls),
    Rejoin(join::Rejoin),
    Remove(remove::Remove),
}

/// list the members
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "list")]
struct List {}

/// the same as list
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "ls")]
struct Ls {}

/// Runs the verb.
pub(crate) fn run(globals: &Globals, verb: Node) -> Outcome {
    match verb.verb {
        Verb::IssueJoinToken(verb) => join::issue(globals, &verb),
        Verb::Join(verb) => join::join(globals, verb),
        Verb::List(List {}) | Verb::Ls(Ls {}) => list::list(globals),
        Verb::Rejoin(verb) => join::rejoin(globals, &verb),
        Verb::Remove(verb) => remove::remove(globals, &verb),
    }
}
