//! What users type, and what argh is given.

use super::*;

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// What argh is given for a command line, or the failure as one line.
fn rewritten(line: &str) -> String {
    let mut globals = Globals::plain();
    match rewrite(&words(line), &mut globals) {
        Ok(words) => words.join(" "),
        Err(failure) => {
            let fault = failure.fault().unwrap();
            let near = fault.detail("suggestion").map(|near| format!(" ({near}?)"));
            format!("{}{}", fault.message, near.unwrap_or_default())
        }
    }
}

#[test]
fn words_are_rewritten_for_argh() {
    for (typed, given) in [
        ("status", "status"),
        ("status shop -w", "status -w -- shop"),
        ("logs --tail=5 shop", "logs --tail 5 -- shop"),
        ("logs -n5 shop -ft", "logs -n 5 -f -t -- shop"),
        ("logs -fn 5 shop", "logs -f -n 5 -- shop"),
        ("logs -fn=5 shop", "logs -f -n 5 -- shop"),
        ("apply -", "apply -- -"),
        (
            "apply -f a.yaml -fb.yaml --env K=a=b dir",
            "apply -f a.yaml -f b.yaml --env K=a=b -- dir",
        ),
        ("apply --env=K= dir -d", "apply --env K= -d -- dir"),
        ("get replicas --state running", "get replicas --state running"),
        ("wait shop --for revision=3", "wait --for revision=3 -- shop"),
        ("logs -- -f", "logs -- -f"),
        ("-- status shop", "status -- shop"),
        ("delete a b --volumes -h", "delete --volumes --help -- a b"),
        ("help", "help"),
    ] {
        assert_eq!(rewritten(typed), given, "{typed}");
    }
}

#[test]
fn global_flags_stand_anywhere() {
    for line in [
        "-o json -qy --socket /s status shop",
        "status -ojson shop --quiet --socket=/s --yes",
        "status shop --output=json -y -q --socket /s",
    ] {
        let mut globals = Globals::plain();
        assert_eq!(rewrite(&words(line), &mut globals).unwrap(), ["status", "--", "shop"]);
        assert_eq!(globals.output, Format::Json, "{line}");
        assert_eq!(globals.socket.to_str(), Some("/s"), "{line}");
        assert!(globals.quiet && globals.yes && !globals.verbose, "{line}");
    }
}

#[test]
fn mistakes_are_said_with_the_closest_known_name() {
    for (typed, said) in [
        ("stauts", "there is no command \"stauts\" (status?)"),
        ("get volums", "there is no command \"volums\" (volumes?)"),
        ("logs shop --flow", "there is no flag --flow here (--follow?)"),
        ("status --ouput json", "there is no flag --ouput here (--output?)"),
        ("logs shop --tail", "--tail needs a value"),
        ("logs shop --follow=yes", "--follow takes no value"),
        ("status -o xml", "--output: xml is not table, json or yaml"),
        ("status --request-timeout soon", "--request-timeout: soon is not a duration such as 15s"),
    ] {
        assert_eq!(rewritten(typed), said, "{typed}");
    }
}

#[test]
fn a_fault_after_the_format_is_told_in_that_format() {
    let Err((failure, format)) = parse(&words("-o json logs")) else {
        panic!("logs needs a target")
    };
    assert_eq!(format, Format::Json);
    assert_eq!(failure.fault().unwrap().code.exit_code(), 2);
    assert!(failure.fault().unwrap().message.contains("TARGET"), "{failure:?}");
}

/// Every command, as the words that reach it.
fn commands(info: &CommandInfoWithArgs, path: &str, found: &mut Vec<String>) {
    found.push(path.to_owned());
    for sub in &info.commands {
        commands(&sub.command, &format!("{path} {}", sub.name), found);
    }
}

#[test]
fn every_command_prints_its_help() {
    let mut found = Vec::new();
    commands(&Jaco::get_args_info(), "", &mut found);
    assert!(found.len() > 25, "{found:?}");
    for command in found {
        for flag in ["--help", "-h"] {
            let line = format!("{command} {flag}");
            let Ok(Parsed::Print(help)) = parse(&words(&line)) else { panic!("{line}") };
            assert!(help.starts_with("Usage: jaco"), "{line}: {help}");
            assert!(help.contains("--output"), "{line}: {help}");
        }
    }
}

#[test]
fn versions_and_bare_calls_print_and_end() {
    let Ok(Parsed::Print(text)) = parse(&words("--version")) else { panic!("a version") };
    assert_eq!(text, format!("{}\n", crate::version::VERSION));
    let Ok(Parsed::Print(text)) = parse(&[]) else { panic!("help") };
    assert!(text.contains("apply"), "{text}");
}
