//! Manifests of `testdata`, good and broken, through the whole pipeline.

use crate::support::{Case, compile_loaded, describe, load_project};
use jaco_manifest::{Input, Outcome, compile, emit, parse_document};

#[test]
fn broken_manifests_say_exactly_what_is_wrong() {
    let cases = Case::all("broken");
    assert!(cases.len() >= 150, "only {} broken manifests", cases.len());
    let mut faults = Vec::new();
    for case in &cases {
        let actual = broken(case);
        assert!(actual.starts_with("error["), "{} has no error:\n{actual}", case.name());
        faults.extend(case.check(&actual).err());
    }
    assert!(faults.is_empty(), "{} differ:\n{}", faults.len(), faults.join("\n"));
}

fn broken(case: &Case) -> String {
    let files = case.files();
    match load_project(&files) {
        Err(problems) => describe(&problems, &[]),
        Ok(loaded) => {
            let outcome = compile_loaded(&loaded, &files);
            assert_eq!(outcome.spec.is_none(), !outcome.problems.errors.is_empty());
            describe(&outcome.problems, &outcome.not_in_version)
        }
    }
}

#[test]
fn good_manifests_compile_to_their_specs() {
    let cases = Case::all("good");
    assert!(cases.len() >= 20, "only {} good manifests", cases.len());
    let mut faults = Vec::new();
    for case in &cases {
        let outcome = good(case);
        let mut actual = describe(&outcome.problems, &outcome.not_in_version);
        for (service, fields) in &outcome.privileged {
            actual.push_str(&format!("privileged: {service}: {}\n", fields.join(", ")));
        }
        let spec = outcome.spec.unwrap_or_else(|| panic!("{}:\n{actual}", case.name()));
        actual.push_str(&serde_json::to_string_pretty(&spec).unwrap());
        actual.push('\n');
        faults.extend(case.check(&actual).err());
    }
    assert!(faults.is_empty(), "{} differ:\n{}", faults.len(), faults.join("\n"));
}

/// The client's outcome; the server must read the same from the documents that are sent.
fn good(case: &Case) -> Outcome {
    let files = case.files();
    let loaded = load_project(&files).unwrap_or_else(|problems| {
        panic!("{}:\n{}", case.name(), describe(&problems, &[]));
    });
    let outcome = compile_loaded(&loaded, &files);
    let read = |node| parse_document(&emit(node), "sent").unwrap();
    let (compose, overlay) = (read(&loaded.compose), loaded.overlay.as_ref().map(read));
    let mut input = Input::new(&compose, vec!["sent".to_owned()]);
    input.overlay = overlay.as_ref();
    input.name = Some(loaded.name.name.as_str());
    let server = compile(&input);
    // What this version does not run is refused by apply, so the server never sees it.
    if outcome.not_in_version.is_empty() {
        assert_eq!(server.spec, outcome.spec, "{}: the server reads another spec", case.name());
    }
    outcome
}
