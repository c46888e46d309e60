//! `jaco validate`: check the files without a server.

use crate::cli::manifest::{InputFlags, check, default_bind_paths, input_flags};
use crate::cli::output::{Table, complain, notice, print, show};
use crate::cli::{Failure, Format, Globals, Outcome};
use argh::{ArgsInfo, FromArgs};
use jaco_manifest::{Field, Problem, Problems};
use jaco_model::Fault;
use serde::Serialize;

/// check the files without a server; -v lists what becomes of every field
#[derive(Clone, Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "validate")]
pub(crate) struct Validate {
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
}

/// The verb's JSON.
#[derive(Debug, Default, Serialize)]
struct Report {
    valid: bool,
    errors: Vec<Fault>,
    warnings: Vec<Fault>,
    fields: Vec<FieldRow>,
    not_in_this_version: Vec<Fault>,
}

/// What becomes of one field.
#[derive(Debug, Serialize)]
struct FieldRow {
    path: String,
    treatment: String,
    note: String,
    file: String,
    line: u32,
}

/// Runs the verb.
pub(crate) fn run(globals: &Globals, verb: Validate) -> Outcome {
    let flags = input_flags!(verb);
    let report = report(globals, &flags);
    if globals.output == Format::Table {
        tell(globals, &report);
    } else {
        show(globals, &report, String::new);
    }
    if report.valid { Ok(0) } else { Err(Failure::Silent(1)) }
}

fn report(globals: &Globals, flags: &InputFlags) -> Report {
    let mut checked = match check(flags, &default_bind_paths()) {
        Ok(checked) => checked,
        Err(problems) => {
            return Report {
                errors: problems.faults(),
                warnings: faults(&problems, &problems.warnings),
                ..Report::default()
            };
        }
    };
    for text in &checked.loaded.notices {
        notice(globals, &format!("notice: {text}"));
    }
    let problems = &mut checked.outcome.problems;
    if flags.strict {
        problems.errors.append(&mut problems.warnings);
        problems.finish();
    }
    let valid = problems.errors.is_empty();
    if valid && globals.output == Format::Table && !globals.quiet {
        // An overlay is a file of its own; a compose file from standard input is called `-`.
        let files = checked.loaded.compose_files.iter().chain(&checked.loaded.overlay_file);
        for file in files {
            print(&format!("{}: ok\n", shown(&file.display().to_string())));
        }
    }
    let rows = checked.outcome.fields.iter().map(|field| row(problems, field));
    Report {
        valid,
        errors: problems.faults(),
        warnings: faults(problems, &problems.warnings),
        fields: rows.collect(),
        not_in_this_version: faults(problems, &checked.outcome.not_in_version),
    }
}

/// A path below the working directory without it.
fn shown(path: &str) -> String {
    let here = std::env::current_dir().map(|dir| format!("{}/", dir.display()));
    let here = here.unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).to_owned()
}

fn faults(problems: &Problems, list: &[Problem]) -> Vec<Fault> {
    list.iter().map(|problem| problem.fault(problems.file(problem.at.file))).collect()
}

fn row(problems: &Problems, field: &Field) -> FieldRow {
    FieldRow {
        path: field.path.clone(),
        treatment: field.treatment.as_str().to_owned(),
        note: field.note.to_owned(),
        file: problems.file(field.at.file).to_owned(),
        line: field.at.line,
    }
}

/// The report for people: faults and warnings in one form, and with `-v` all fields.
fn tell(globals: &Globals, report: &Report) {
    for fault in &report.errors {
        complain(&format!("error: {}", fault.message));
    }
    if !globals.quiet {
        for fault in &report.warnings {
            complain(&format!("warning: {}", fault.message));
        }
        for fault in &report.not_in_this_version {
            complain(&format!("not in this version: {}", fault.message));
        }
    }
    if globals.verbose {
        let mut table = Table::new(&["LINE", "FIELD", "TREATMENT", "NOTE"]);
        for field in &report.fields {
            let FieldRow { path, treatment, note, file, line } = field;
            table.row([format!("{file}:{line}"), path.clone(), treatment.clone(), note.clone()]);
        }
        print(&table.text());
    }
}
