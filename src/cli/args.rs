//! From what was typed to what argh understands.
//!
//! argh knows neither `--key=value` nor `-abc` nor flags of the whole program after a verb; users
//! of Docker type all three. So the words are rewritten first, by the table that argh itself keeps
//! of every command, and unknown flags get a suggestion.

use super::globals::{OPTIONS, SWITCHES};
use super::verbs::Jaco;
use super::{Failure, Format, Globals};
use argh::{ArgsInfo, CommandInfoWithArgs, FlagInfo, FlagInfoKind, FromArgs};
use jaco_model::suggest::closest;
use jaco_model::{ErrorCode, Fault};

/// A command line that was understood.
pub(super) enum Parsed {
    /// Run a verb.
    Run(Box<Globals>, Box<Jaco>),
    /// Print this and be done: help or the version.
    Print(String),
}

/// Understands a command line.
///
/// # Errors
/// With the format that was asked for before the fault.
pub(super) fn parse(args: &[String]) -> Result<Parsed, (Failure, Format)> {
    let mut globals = Globals::from_environment().map_err(|fault| (fault, Format::Table))?;
    let words = rewrite(args, &mut globals).map_err(|fault| (fault, globals.output))?;
    if words.iter().take_while(|word| *word != "--").any(|word| word == "--version") {
        return Ok(Parsed::Print(format!("{}\n", crate::version::VERSION)));
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let words = if words.is_empty() { vec!["--help"] } else { words };
    match Jaco::from_args(&["jaco"], &words) {
        Ok(jaco) => Ok(Parsed::Run(Box::new(globals), Box::new(jaco))),
        Err(exit) if exit.status.is_ok() => Ok(Parsed::Print(with_globals(&exit.output))),
        Err(exit) => {
            let words: Vec<&str> = exit.output.split_whitespace().collect();
            Err((Failure::usage(words.join(" ")), globals.output))
        }
    }
}

/// The words as argh takes them: verbs, their flags, then their arguments after `--`. Flags of
/// every command go to `globals`.
fn rewrite(args: &[String], globals: &mut Globals) -> Result<Vec<String>, Failure> {
    let info = Jaco::get_args_info();
    let (words, arguments) = (Vec::new(), Vec::new());
    Rewriter { globals, commands: vec![&info], words, arguments }.rewrite(args)
}

/// Help with the flags that argh does not know of.
fn with_globals(help: &str) -> String {
    const GLOBALS: &str = "
Flags of every command:
  -o, --output      table, json or yaml (JACO_OUTPUT)
  --socket          path of the local API (JACO_SOCKET; default /var/run/jaco/jaco.sock)
  --color           auto, always or never (NO_COLOR)
  --request-timeout limit of one call that is not a wait (default 15s)
  -q, --quiet       only results and errors
  -v, --verbose     more of everything
  -y, --yes         answer yes to confirmations
  --version         print the version
";
    format!("{}\n{GLOBALS}", help.trim_end())
}

struct Rewriter<'a> {
    globals: &'a mut Globals,
    /// The command reached so far, its parents before it.
    commands: Vec<&'a CommandInfoWithArgs>,
    /// Verbs and their flags.
    words: Vec<String>,
    /// Arguments of the last verb. They go last, after `--`, because argh takes `-` for a flag.
    arguments: Vec<String>,
}

impl<'a> Rewriter<'a> {
    fn rewrite(mut self, args: &[String]) -> Result<Vec<String>, Failure> {
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            if arg == "--" {
                args.by_ref().try_for_each(|arg| self.word(arg))?;
                break;
            }
            if let Some(long) = arg.strip_prefix("--") {
                self.long(long, &mut args)?;
            } else if arg.len() > 1 && arg.starts_with('-') {
                self.short(&arg[1..], &mut args)?;
            } else {
                self.word(arg)?;
            }
        }
        if !self.arguments.is_empty() {
            self.words.push("--".to_owned());
            self.words.append(&mut self.arguments);
        }
        Ok(self.words)
    }

    /// The command that words belong to now.
    fn command(&self) -> Option<&'a CommandInfoWithArgs> {
        self.commands.last().copied()
    }

    /// A word that is no flag: a verb, or an argument of one.
    fn word(&mut self, word: &str) -> Result<(), Failure> {
        let Some(command) = self.command().filter(|command| !command.commands.is_empty()) else {
            self.arguments.push(word.to_owned());
            return Ok(());
        };
        match command.commands.iter().find(|sub| sub.name == word) {
            Some(sub) => self.commands.push(&sub.command),
            None if word == "help" => {}
            None => {
                let names = command.commands.iter().map(|sub| sub.name);
                let message = format!("there is no command \"{word}\"");
                return Err(suggest(message, word, names));
            }
        }
        self.words.push(word.to_owned());
        Ok(())
    }

    /// `--name`, `--name value` or `--name=value`.
    fn long(&mut self, text: &str, args: &mut std::slice::Iter<'_, String>) -> Result<(), Failure> {
        let (name, given) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        let flag = format!("--{name}");
        if matches!(name, "help" | "version") {
            self.words.push(flag);
            return Ok(());
        }
        match self.takes_value(|known| known.long == flag) {
            Some(true) => {
                let value = value_of(&flag, given, args)?;
                self.words.extend([flag, value]);
            }
            Some(false) => {
                refuse_value(&flag, given)?;
                self.words.push(flag);
            }
            None => self.global(&flag, given, args)?,
        }
        Ok(())
    }

    /// `-a`, `-a value`, `-avalue` or `-abc`.
    fn short(
        &mut self,
        letters: &str,
        args: &mut std::slice::Iter<'_, String>,
    ) -> Result<(), Failure> {
        let mut rest = letters.chars();
        while let Some(letter) = rest.next() {
            let flag = format!("-{letter}");
            let tail = rest.as_str();
            let inline = (!tail.is_empty()).then(|| tail.trim_start_matches('=').to_owned());
            if letter == 'h' {
                self.words.push("--help".to_owned());
                continue;
            }
            match self.takes_value(|known| known.short == Some(letter)) {
                Some(true) => {
                    let value = value_of(&flag, inline, args)?;
                    self.words.extend([flag, value]);
                    return Ok(());
                }
                Some(false) => self.words.push(flag),
                None if self.global_switch(&flag) => {}
                None => return self.global(&flag, inline, args),
            }
        }
        Ok(())
    }

    /// Whether the current command has such a flag, and whether it takes a value.
    fn takes_value(&self, is: impl Fn(&FlagInfo<'_>) -> bool) -> Option<bool> {
        let flag = self.command()?.flags.iter().find(|flag| is(flag))?;
        Some(matches!(flag.kind, FlagInfoKind::Option { .. }))
    }

    /// A switch of the whole program.
    fn global_switch(&mut self, flag: &str) -> bool {
        let found = SWITCHES.iter().find(|(long, short)| is_flag(flag, long, *short));
        if let Some((long, _)) = found {
            self.globals.switch(long);
        }
        found.is_some()
    }

    /// A flag of the whole program; any other is unknown.
    fn global(
        &mut self,
        flag: &str,
        given: Option<String>,
        args: &mut std::slice::Iter<'_, String>,
    ) -> Result<(), Failure> {
        if let Some((long, _)) = OPTIONS.iter().find(|(l, s)| is_flag(flag, l, *s)) {
            let value = value_of(flag, given, args)?;
            return self.globals.set(long, &value);
        }
        if self.global_switch(flag) {
            return refuse_value(flag, given);
        }
        let own = self.command().into_iter().flat_map(|command| command.flags.iter());
        let own = own.filter(|known| !known.hidden).map(|known| known.long);
        let all = own.chain(OPTIONS.iter().chain(SWITCHES).map(|(long, _)| *long));
        let message = format!("there is no flag {flag} here");
        Err(suggest(message, flag, all))
    }
}

fn is_flag(flag: &str, long: &str, short: Option<char>) -> bool {
    flag == long || short.is_some_and(|short| flag == format!("-{short}"))
}

/// The value after a flag: in the same word, or the next one.
fn value_of(
    flag: &str,
    given: Option<String>,
    args: &mut std::slice::Iter<'_, String>,
) -> Result<String, Failure> {
    let value = given.or_else(|| args.next().cloned());
    value.ok_or_else(|| usage(format!("{flag} needs a value"), flag).into())
}

fn refuse_value(flag: &str, given: Option<String>) -> Result<(), Failure> {
    match given {
        Some(_) => Err(usage(format!("{flag} takes no value"), flag).into()),
        None => Ok(()),
    }
}

fn usage(message: String, flag: &str) -> Fault {
    Fault::new(ErrorCode::Usage, message).with("flag", flag)
}

fn suggest<'b>(message: String, word: &str, known: impl Iterator<Item = &'b str>) -> Failure {
    let fault = usage(message, word);
    match closest(word, known) {
        Some(near) => fault.with("suggestion", near).into(),
        None => fault.with("hint", "jaco --help").into(),
    }
}

#[cfg(test)]
mod tests;
