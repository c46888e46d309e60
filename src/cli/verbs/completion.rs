//! `jaco completion`: a script that completes verbs and flags.
//!
//! The scripts are made from the table that argh keeps of every command, so that they can never
//! offer what the command line does not take.

use super::Jaco;
use crate::cli::output::print;
use crate::cli::{Failure, Outcome};
use argh::{ArgsInfo, CommandInfoWithArgs, FromArgs};

/// print a completion script for bash, zsh or fish
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "completion")]
pub(crate) struct Completion {
    /// bash, zsh or fish
    #[argh(positional, arg_name = "SHELL")]
    shell: String,
}

/// Flags of every command.
const GLOBALS: &str =
    "--output --socket --color --request-timeout --quiet --verbose --yes --help --version";

/// Runs the verb.
pub(crate) fn run(verb: &Completion) -> Outcome {
    let info = Jaco::get_args_info();
    let script = match verb.shell.as_str() {
        "bash" => bash(&info),
        // zsh runs bash completions itself.
        "zsh" => format!("autoload -U +X bashcompinit && bashcompinit\n{}", bash(&info)),
        "fish" => fish(&info),
        other => {
            return Err(Failure::usage(format!("{other} is not bash, zsh or fish")));
        }
    };
    print(&script);
    Ok(0)
}

/// Every command as its words and what may follow them.
fn commands(info: &CommandInfoWithArgs) -> Vec<(String, Vec<String>, Vec<String>)> {
    let mut all = Vec::new();
    collect(info, "", &mut all);
    all
}

fn collect(
    info: &CommandInfoWithArgs,
    path: &str,
    all: &mut Vec<(String, Vec<String>, Vec<String>)>,
) {
    let verbs = info.commands.iter().map(|sub| sub.name.to_owned()).collect();
    let flags = info.flags.iter().filter(|flag| !flag.hidden).map(|flag| flag.long.to_owned());
    all.push((path.to_owned(), verbs, flags.collect()));
    for sub in &info.commands {
        let path = format!("{path} {}", sub.name);
        collect(&sub.command, path.trim(), all);
    }
}

fn bash(info: &CommandInfoWithArgs) -> String {
    let mut cases = String::new();
    for (path, verbs, flags) in commands(info) {
        let words = [verbs, flags].concat().join(" ");
        cases.push_str(&format!("        \"{path}\") words=\"{words} {GLOBALS}\" ;;\n"));
    }
    format!(
        "_jaco() {{
    local word path=\"\" words=\"\" next
    for word in \"${{COMP_WORDS[@]:1:COMP_CWORD-1}}\"; do
        [[ $word == -* ]] && continue
        next=\"${{path:+$path }}$word\"
        case \" $_jaco_paths \" in *\"|$next|\"*) path=\"$next\" ;; esac
    done
    case \"$path\" in
{cases}    esac
    COMPREPLY=($(compgen -W \"$words\" -- \"${{COMP_WORDS[COMP_CWORD]}}\"))
    [[ ${{#COMPREPLY[@]}} -eq 0 ]] && COMPREPLY=($(compgen -f -- \"${{COMP_WORDS[COMP_CWORD]}}\"))
}}
_jaco_paths=\"{paths}\"
complete -F _jaco jaco
",
        paths = commands(info).iter().map(|(path, ..)| format!("|{path}|")).collect::<String>(),
    )
}

fn fish(info: &CommandInfoWithArgs) -> String {
    let mut script = String::from("complete -c jaco -f\n");
    for (path, verbs, flags) in commands(info) {
        let condition = match path.is_empty() {
            true => "__fish_use_subcommand".to_owned(),
            false => format!("__fish_seen_subcommand_from {path}"),
        };
        for verb in verbs {
            script.push_str(&format!("complete -c jaco -n '{condition}' -a {verb}\n"));
        }
        for flag in flags {
            let flag = flag.trim_start_matches('-');
            script.push_str(&format!("complete -c jaco -n '{condition}' -l {flag}\n"));
        }
    }
    for flag in GLOBALS.split(' ') {
        script.push_str(&format!("complete -c jaco -l {}\n", flag.trim_start_matches('-')));
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_is_offered() {
        let info = Jaco::get_args_info();
        let script = bash(&info);
        for sub in &info.commands {
            assert!(script.contains(&format!("|{}|", sub.name)), "{}", sub.name);
        }
        assert!(script.contains("|cluster init|"));
    }
}
