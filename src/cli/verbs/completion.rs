//! `jaco completion`: scripts that ask this program what may come next.
//!
//! The scripts know nothing of commands and flags: on each Tab they call `jaco completion next`
//! with the words so far. So they can never offer what the command line does not take, and an
//! update of the program needs no new script.

use super::Jaco;
use crate::cli::client::{Call, Client};
use crate::cli::output::print;
use crate::cli::{Failure, Globals, OPTIONS, Outcome, SWITCHES};
use argh::{ArgsInfo, CommandInfoWithArgs, FlagInfoKind, FromArgs};
use jaco_model::view::StatusView;
use std::collections::BTreeSet;
use std::time::Duration;

/// print a completion script for bash, zsh or fish
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "completion")]
pub(crate) struct Completion {
    /// bash, zsh or fish
    #[argh(positional, arg_name = "SHELL")]
    shell: String,
    /// the words typed so far; only the scripts give them
    #[argh(positional, arg_name = "WORDS", hidden_help)]
    words: Vec<String>,
}

const BASH: &str = r#"_jaco() {
    local IFS=$'\n'
    COMPREPLY=($(jaco completion next -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _jaco jaco
"#;

const ZSH: &str = r#"#compdef jaco
_jaco() {
    local -a found
    found=(${(f)"$(jaco completion next -- "${(@)words[2,CURRENT]}" 2>/dev/null)"})
    if (( ${#found} )); then
        compadd -- "${found[@]}"
    else
        _files
    fi
}
if [ "$funcstack[1]" = "_jaco" ]; then
    _jaco "$@"
else
    compdef _jaco jaco
fi
"#;

const FISH: &str = r#"function __jaco_next
    set -l words (commandline -opc)
    jaco completion next -- $words[2..] (commandline -ct) 2>/dev/null
end
complete -c jaco -a '(__jaco_next)'
"#;

/// Runs the verb.
pub(crate) fn run(globals: &Globals, verb: &Completion) -> Outcome {
    match verb.shell.as_str() {
        "bash" => print(BASH),
        "zsh" => print(ZSH),
        "fish" => print(FISH),
        "next" => {
            let names = |deployments_only| names(globals, deployments_only);
            let next = next(&Jaco::get_args_info(), &verb.words, names);
            print(&next.iter().map(|word| format!("{word}\n")).collect::<String>());
        }
        other => return Err(Failure::usage(format!("{other} is not bash, zsh or fish"))),
    }
    Ok(0)
}

/// What may stand for the last of `words`, by what stands before it. Nothing means a file.
fn next(
    info: &CommandInfoWithArgs,
    words: &[String],
    names: impl Fn(bool) -> BTreeSet<String>,
) -> BTreeSet<String> {
    let (last, before) = match words.split_last() {
        Some((last, before)) => (last.as_str(), before),
        None => ("", words),
    };
    let mut command = info;
    let mut skip = false;
    for word in before {
        if std::mem::take(&mut skip) {
            continue;
        }
        skip = word.starts_with('-') && takes_value(command, word);
        if let Some(sub) = command.commands.iter().find(|sub| sub.name == *word) {
            command = &sub.command;
        }
    }
    let mut found = BTreeSet::new();
    if skip {
        return found;
    }
    if last.starts_with('-') {
        let own = command.flags.iter().filter(|flag| !flag.hidden).map(|flag| flag.long);
        let all = own.chain(OPTIONS.iter().chain(SWITCHES).map(|(long, _)| *long));
        found.extend(all.chain(["--help", "--version"]).map(str::to_owned));
    } else if !command.commands.is_empty() {
        found.extend(command.commands.iter().map(|sub| sub.name.to_owned()));
    } else {
        match command.positionals.first().map(|positional| positional.name) {
            Some("TARGET" | "WHAT" | "REPLICA") => found = names(false),
            Some("SUBJECT") => {
                found = names(false);
                found.extend(super::why::KINDS.map(str::to_owned));
            }
            Some("DEPLOYMENT") => found = names(true),
            Some("SHELL") => found.extend(["bash", "zsh", "fish"].map(str::to_owned)),
            _ => {}
        }
    }
    found.retain(|word| word.starts_with(last));
    found
}

/// Whether the word after a flag is its value.
fn takes_value(command: &CommandInfoWithArgs, word: &str) -> bool {
    if word.contains('=') {
        return false;
    }
    let own = command.flags.iter().find(|flag| {
        flag.long == word || flag.short.is_some_and(|short| word == format!("-{short}"))
    });
    let of_all = OPTIONS.iter().any(|(long, short)| {
        *long == word || short.is_some_and(|short| word == format!("-{short}"))
    });
    own.map_or(of_all, |flag| matches!(flag.kind, FlagInfoKind::Option { .. }))
}

/// Longest wait for the names; a prompt that hangs is worse than one without names.
const LIMIT: Duration = Duration::from_millis(300);

/// Deployments, and unless only they are wanted their services and replicas; nothing when the
/// daemon does not answer in time.
fn names(globals: &Globals, deployments_only: bool) -> BTreeSet<String> {
    let Ok(client) = Client::new(globals) else { return BTreeSet::new() };
    let call = Call::get("/v1/status");
    let answer = client
        .block_on(async { tokio::time::timeout(LIMIT, client.fetch::<StatusView>(&call)).await });
    let Ok(Ok(view)) = answer else { return BTreeSet::new() };
    let mut names: BTreeSet<String> =
        view.deployments.into_iter().map(|deployment| deployment.name).collect();
    if !deployments_only {
        for replica in view.replicas {
            names.insert(format!("{}/{}", replica.deployment, replica.service));
            names.insert(replica.id);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(line: &str) -> Vec<String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let names = |deployments_only| {
            let all = ["shop", "shop/web", "shop-web-0"];
            let all = all.iter().take(if deployments_only { 1 } else { 3 });
            all.map(|name| (*name).to_owned()).collect()
        };
        next(&Jaco::get_args_info(), &words, names).into_iter().collect()
    }

    #[test]
    fn the_next_word_follows_from_those_before() {
        for (typed, words) in [
            ("st", &["status"][..]),
            ("get vol", &["volumes"]),
            ("status shop-", &["shop-web-0"]),
            ("status -w ", &["shop", "shop-web-0", "shop/web"]),
            ("-o json history ", &["shop"]),
            ("logs --tail ", &[]),
            ("logs --tail 5 shop/", &["shop/web"]),
            ("logs --fol", &["--follow"]),
            ("logs --out", &["--output"]),
            ("apply ", &[]),
            ("why path shop-", &["shop-web-0"]),
            ("why na", &["name"]),
            ("completion z", &["zsh"]),
        ] {
            assert_eq!(offered(typed), words, "{typed}");
        }
    }

    #[test]
    fn every_verb_is_offered() {
        let info = Jaco::get_args_info();
        assert_eq!(offered("").len(), info.commands.len());
    }
}
