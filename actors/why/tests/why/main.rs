//! Chains of a small cluster in many situations, as golden files.
//!
//! Each `testdata/*.txt` holds blocks of commands, `----`, and the output; `UPDATE_GOLDEN=1`
//! rewrites the outputs. Each file begins with the cluster of `world.rs`, in which all is well.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod door;
mod well;
mod world;

use jaco_model::view::{WhyQuestion, WhyView};
use jaco_why::Case;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use world::World;

#[test]
fn chains_are_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testdata");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let files = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let before = std::fs::read_to_string(&file).unwrap();
        let after = tell(&before);
        if update {
            std::fs::write(&file, after).unwrap();
        } else {
            assert_eq!(before, after, "{}; UPDATE_GOLDEN=1 rewrites it", file.display());
        }
    }
}

/// Runs the blocks of a file and returns it with their outputs.
fn tell(text: &str) -> String {
    let mut world = World::new();
    let mut told = String::new();
    for block in text.split("\n\n").map(str::trim).filter(|block| !block.is_empty()) {
        let commands = block.split("\n----").next().unwrap_or_default();
        let mut output = String::new();
        for line in commands.lines().filter(|line| !line.starts_with('#')) {
            match line.strip_prefix("why ") {
                Some(question) => output += &why(&world, question),
                None => world.run(line),
            }
        }
        let separator = if told.is_empty() { "" } else { "\n" };
        match output.is_empty() {
            true => writeln!(told, "{separator}{commands}").unwrap(),
            false => writeln!(told, "{separator}{commands}\n----\n{}", output.trim_end()).unwrap(),
        }
    }
    told
}

fn why(world: &World, line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let some = |text: &str| Some(text.to_owned());
    let mut question = WhyQuestion::default();
    match words.as_slice() {
        ["name", name, from] => (question.name, question.from) = (some(name), some(from)),
        ["path", from, to] => (question.from, question.to) = (some(from), some(to)),
        ["route", route] => question.route = some(route),
        ["cert", domain] => question.cert = some(domain),
        ["node", node] => question.node = some(node),
        [subject] => question.subject = some(subject),
        _ => panic!("no question: {line}"),
    }
    let case = match Case::open(Arc::new(world.state.clone()), &question) {
        Ok(case) => case,
        Err(fault) => {
            let near = fault.detail("suggestion").map(|near| format!(" ({near}?)"));
            return format!("{fault}{}\n", near.unwrap_or_default());
        }
    };
    shown(&case.explain(&well::known(world, &case.looks())))
}

fn shown(view: &WhyView) -> String {
    let mut text = format!("{} {}: {}\n", view.kind, view.subject, view.summary);
    for step in &view.chain {
        let mark = if step.ok { "+" } else { "-" };
        let code = step.code.as_ref().map(|code| format!("{code}: ")).unwrap_or_default();
        let (name, detail, source) = (&step.step, &step.detail, &step.source);
        writeln!(text, "{mark} {name} [{source}] {code}{detail}").unwrap();
    }
    let first = view.chain.iter().find(|step| !step.ok);
    assert_eq!(view.ok, first.is_none(), "{view:#?}");
    assert_eq!(view.hint.is_some(), first.is_some(), "every broken link has a fix: {view:#?}");
    if let Some(hint) = &view.hint {
        writeln!(text, "fix: {hint}").unwrap();
    }
    text
}
