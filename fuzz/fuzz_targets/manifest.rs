//! Any bytes as the files of a deployment: loading, writing back and compiling must not panic.
//!
//! The input is cut at NUL bytes into compose file, overlay, environment file and a second compose
//! file, so that the fuzzer reaches `include`, `extends` and `env_file` too.

#![no_main]

use jaco_manifest::{Input, LoadOptions, MemFiles, compile, emit, load, parse_document};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut files = MemFiles::default();
    for (name, content) in ["compose.yaml", "jaco.yaml", ".env", "other.yaml"]
        .into_iter()
        .zip(bytes.split(|byte| *byte == 0))
    {
        files.add(format!("/shop/{name}"), content);
    }
    let options =
        LoadOptions { path: ".".into(), current_dir: "/shop".into(), ..LoadOptions::default() };
    let Ok(loaded) = load(&options, &files) else {
        return;
    };
    let text = emit(&loaded.compose);
    let back = parse_document(&text, "compose.yaml").expect("what was written can be read");
    assert!(back.same(&loaded.compose), "reading back changed the document:\n{text}");
    let name = loaded.name.name.as_str();
    let outcome = compile(&Input {
        overlay: loaded.overlay.as_ref(),
        name: Some(name),
        disabled: loaded.disabled_services.iter().cloned().collect(),
        ..Input::new(&loaded.compose, loaded.problems.files.clone())
    });
    assert_eq!(outcome.spec.is_none(), !outcome.problems.errors.is_empty());
});
