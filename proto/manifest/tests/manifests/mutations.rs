//! Damaged manifests never panic: they compile, or say where they are wrong.

use crate::support::{Case, compile_loaded, load_project};
use jaco_manifest::{Input, compile, parse_document};
use proptest::prelude::*;
use std::fmt::Write as _;

/// One careless edit of a text.
#[derive(Clone, Debug)]
enum Edit {
    DropLine(usize),
    RepeatLine(usize),
    Indent(usize),
    SwapLines(usize, usize),
    DropCharacter(usize),
    Insert(usize, char),
    Value(usize, &'static str),
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = 0usize..4_000;
    let characters =
        proptest::sample::select("{}[]:,-#&*!|>'\"%@`$~ \t\n0x".chars().collect::<Vec<_>>());
    let values = [
        "",
        "null",
        "~",
        "[]",
        "{}",
        "-1",
        "99999999999999999999",
        "1e9",
        "true",
        "a: b",
        "[[x]]",
        "x: {y: z}",
    ];
    prop_oneof![
        at.clone().prop_map(Edit::DropLine),
        at.clone().prop_map(Edit::RepeatLine),
        at.clone().prop_map(Edit::Indent),
        (at.clone(), at.clone()).prop_map(|(a, b)| Edit::SwapLines(a, b)),
        at.clone().prop_map(Edit::DropCharacter),
        (at.clone(), characters).prop_map(|(at, c)| Edit::Insert(at, c)),
        (at, proptest::sample::select(values.to_vec())).prop_map(|(at, v)| Edit::Value(at, v)),
    ]
}

fn apply(text: &str, edit: &Edit) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut characters: Vec<char> = text.chars().collect();
    if lines.is_empty() {
        return text.to_owned();
    }
    let (n_lines, n_characters) = (lines.len(), characters.len());
    match edit {
        Edit::DropLine(at) => {
            lines.remove(at % n_lines);
        }
        Edit::RepeatLine(at) => lines.insert(at % n_lines, lines[at % n_lines].clone()),
        Edit::Indent(at) => lines[at % n_lines].insert(0, ' '),
        Edit::SwapLines(a, b) => lines.swap(a % n_lines, b % n_lines),
        Edit::Value(at, value) => {
            let line = &mut lines[at % n_lines];
            let end = line.find(':').map_or(line.len(), |colon| colon + 1);
            *line = format!("{} {value}", &line[..end]);
        }
        Edit::DropCharacter(at) => {
            characters.remove(at % n_characters);
            return characters.into_iter().collect();
        }
        Edit::Insert(at, c) => {
            characters.insert(at % n_characters, *c);
            return characters.into_iter().collect();
        }
    }
    lines.join("\n") + "\n"
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_manifest_compiles_or_points_at_the_fault(
        which in 0usize..1_000,
        edits in proptest::collection::vec((0usize..2, edit()), 1..4),
    ) {
        let mut cases = Case::all("good");
        let n_cases = cases.len();
        let case = &mut cases[which % n_cases];
        for (document, edit) in &edits {
            let n_documents = case.documents.len();
            let text = &mut case.documents[document % n_documents].1;
            *text = apply(text, edit);
        }
        let files = case.files();
        let problems = match load_project(&files) {
            Err(problems) => problems,
            Ok(loaded) => {
                let outcome = compile_loaded(&loaded, &files);
                prop_assert_eq!(outcome.spec.is_some(), outcome.problems.errors.is_empty());
                if outcome.spec.is_some() {
                    return Ok(());
                }
                outcome.problems
            }
        };
        prop_assert!(!problems.errors.is_empty());
        for problem in &problems.errors {
            prop_assert!(!problem.message.is_empty());
            prop_assert!(problems.file(problem.at.file) != "?", "{problem:?}");
        }
    }
}

/// About as many as the loader's limit on nodes lets through.
const LINES: usize = 9_000;

/// Shapes whose careless handling is quadratic: a slow one shows up in the runner's summary.
#[test]
fn hostile_shapes_stay_cheap() {
    for (name, text) in hostile() {
        let node = parse_document(&text, "compose.yaml").unwrap();
        let mut input = Input::new(&node, vec!["compose.yaml".to_owned()]);
        input.name = Some("hostile");
        let outcome = compile(&input);
        assert!(outcome.problems.errors.len() <= 50, "{name}");
    }
}

fn hostile() -> Vec<(&'static str, String)> {
    let many = |head: &str, line: &dyn Fn(usize) -> String| {
        let mut text = head.to_owned();
        for index in 0..LINES {
            writeln!(text, "{}", line(index)).unwrap();
        }
        text
    };
    let one = "services:\n  a:\n    image: x\n";
    vec![
        ("unknown keys", many(one, &|i| format!("    heathchek{i}: 1"))),
        (
            "dependency chain",
            many("services:\n", &|i| {
                format!("  s{i}: {{image: x, depends_on: [s{}]}}", (i + 1).min(LINES - 1))
            }),
        ),
        (
            "unknown volumes",
            many(&format!("{one}    volumes:\n"), &|i| format!("      - v{i}:/v{i}")),
        ),
        ("one target", many(&format!("{one}    volumes:\n"), &|_| "      - /v".to_owned())),
        ("one port", many(&format!("{one}    ports:\n"), &|_| "      - 9000:90".to_owned())),
        ("port ranges", many(&format!("{one}    ports:\n"), &|_| "      - 9000-9999".to_owned())),
        (
            "links",
            many(&format!("{one}  b:\n    image: x\n    links:\n"), &|i| {
                format!("      - a:alias{i}")
            }),
        ),
        (
            "unknown services",
            many(&format!("{one}    depends_on:\n"), &|i| format!("      - s{i}")),
        ),
        (
            "options",
            many("x-jaco:\n  services:\n", &|i| format!("    - {{name: s{i}, replicas: 1}}"))
                + &many("services:\n", &|i| format!("  s{i}: {{image: x}}")),
        ),
        (
            "routes",
            many(&format!("{one}x-jaco:\n  routes:\n"), &|i| {
                format!("    - {{domain: a.example.com, path: /{i}, service: a}}")
            }),
        ),
    ]
}
