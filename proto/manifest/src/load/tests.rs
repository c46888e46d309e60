//! Golden scripts in `testdata/load`: files and a command line, then what loading makes of them.
//! `UPDATE_GOLDEN=1` rewrites what comes after `----`.

use super::*;
use crate::emit::emit;
use proptest::prelude::*;
use std::fmt::Write as _;

/// Where every case runs.
const HERE: &str = "/home/u/shop";

fn options(line: &str) -> LoadOptions {
    let mut options =
        LoadOptions { current_dir: HERE.into(), path: ".".into(), ..Default::default() };
    options.process_env.insert("HOST_VAR".to_owned(), "from the process".to_owned());
    let mut words = line.split_whitespace().skip(1).map(str::to_owned);
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap();
        match word.as_str() {
            "--compose" => options.compose.push(value().into()),
            "--jaco" => options.overlay = Some(value().into()),
            "--name" => options.name = Some(value()),
            "--profile" => options.profiles.push(value()),
            "--env-file" => options.env_files.push(value().into()),
            "--env" => options.env.push(value()),
            "--strict" => options.strict = true,
            _ => options.path = word.into(),
        }
    }
    options
}

fn describe(options: &LoadOptions, files: &MemFiles) -> String {
    let mut out = String::new();
    let problems = match load(options, files) {
        Ok(loaded) => {
            let kind = if loaded.name.explicit { "" } else { " (derived)" };
            writeln!(out, "name: {}{kind}", loaded.name.name).unwrap();
            for service in &loaded.disabled_services {
                writeln!(out, "disabled: {service}").unwrap();
            }
            for notice in &loaded.notices {
                writeln!(out, "notice: {notice}").unwrap();
            }
            out.push_str(&emit(&loaded.compose));
            if let Some(overlay) = &loaded.overlay {
                write!(out, "---\n{}", emit(overlay)).unwrap();
            }
            loaded.problems
        }
        Err(problems) => problems,
    };
    for (word, list) in [("", &problems.errors), ("warning: ", &problems.warnings)] {
        for problem in list {
            let code = problem.code;
            writeln!(out, "{word}{} [{code}]", problem.text(problems.file(problem.at.file)))
                .unwrap();
        }
    }
    out
}

fn run(case: &str) -> String {
    let (input, _) = case.split_once("\n----\n").unwrap();
    let mut parts = input.split("\n-- ");
    let command = parts.next().unwrap().lines().last().unwrap();
    let mut files = MemFiles::default();
    files.add_directory(HERE);
    for part in parts {
        let (path, content) = part.split_once(" --").unwrap();
        let content = content.strip_prefix('\n').unwrap_or_default();
        let path =
            if path == "-" { path.into() } else { resolve(Path::new(HERE), Path::new(path)) };
        files.add(path, format!("{content}\n"));
    }
    format!("{input}\n----\n{}", describe(&options(command), &files))
}

#[test]
fn golden_scripts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/load");
    let mut failed = Vec::new();
    let mut scripts: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    for path in scripts {
        let text = std::fs::read_to_string(&path).unwrap();
        let cases: Vec<String> = text.split("====\n").map(run).collect();
        let actual = cases.join("====\n");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &actual).unwrap();
        } else if actual != text {
            failed.push(format!("{}:\n{actual}", path.display()));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn load_text(text: &str) -> Result<Loaded, Problems> {
    let mut files = MemFiles::default();
    files.add(format!("{HERE}/compose.yaml"), text);
    load(&options("load"), &files)
}

#[test]
fn copies_are_bounded() {
    // Each of many services extends a large one.
    let big: String = (0..9_000).map(|n| format!("      k{n}: v\n")).collect();
    let many: String = (0..500).map(|n| format!("  s{n}: {{extends: base}}\n")).collect();
    let problems = load_text(&format!("services:\n  base:\n    labels:\n{big}{many}")).unwrap_err();
    assert!(problems.errors.iter().any(|p| p.message.contains("copy too much")), "{problems:?}");

    let chain: String = (0..10_000).map(|n| format!("  s{n}: {{extends: s{}}}\n", n + 1)).collect();
    let problems = load_text(&format!("services:\n{chain}")).unwrap_err();
    assert!(problems.errors.iter().any(|p| p.message.contains("chain of more")), "{problems:?}");
    assert!(problems.errors.len() <= Problems::MAX_REPORTED);
}

#[test]
fn interpolated_text_is_bounded() {
    let uses: String = (0..20_000).map(|n| format!("  a{n}: $BIG\n")).collect();
    let mut files = MemFiles::default();
    files.add(format!("{HERE}/compose.yaml"), format!("services:\nx-a:\n{uses}"));
    files.add(format!("{HERE}/.env"), format!("BIG={}", "x".repeat(1 << 20)));
    let problems = load(&options("load"), &files).unwrap_err();
    assert!(problems.errors.iter().any(|p| p.message.contains("too large")));
}

#[test]
fn values_never_change_structure() {
    for value in ["a: b", "- x", "{k: v}", "x\ny: z", "null", "~", "# c", "&a", "*a", "'"] {
        let mut files = MemFiles::default();
        files.add(format!("{HERE}/compose.yaml"), "services: {a: {image: $V, tty: \"${V}\"}}");
        let mut options = options("load");
        options.env.push(format!("V={value}"));
        let loaded = load(&options, &files).unwrap();
        let service = loaded.compose.get("services").and_then(|s| s.get("a")).unwrap();
        for field in ["image", "tty"] {
            let (text, _) = extends::text_of(service.get(field)).unwrap();
            assert_eq!(text, value);
        }
        let again = crate::yaml::parse_document(&emit(&loaded.compose), "f").unwrap();
        assert!(again.same(&loaded.compose), "{value}");
    }
}

proptest! {
    #[test]
    fn no_compose_text_makes_loading_panic(
        body in "(  (a|b): ?(\\{extends: (a|b)\\}|\\{env_file: e, volumes: \\[\\./x:/y\\]\\}|\\$A|)\n){0,4}",
        top in "(include: \\[(b.yaml|compose.yaml|c)\\]\n|name: \\$\\{A-b\\}\n|x-jaco: (1|\\{environment: e\\})\n)?",
    ) {
        let mut files = MemFiles::default();
        let text = format!("{top}services:\n{body}");
        files.add(format!("{HERE}/compose.yaml"), text.clone());
        files.add(format!("{HERE}/b.yaml"), text);
        files.add(format!("{HERE}/e"), "A=1\n");
        if let Err(problems) = load(&options("load"), &files) {
            prop_assert!(!problems.errors.is_empty());
        }
    }
}
