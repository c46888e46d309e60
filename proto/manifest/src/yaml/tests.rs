//! What the parser accepts and refuses, and that nothing makes it panic.

use super::*;
use crate::emit::emit;
use crate::node::Value;
use proptest::prelude::*;

/// The document as YAML without anchors, or its fault.
fn check(text: &str) -> String {
    match parse(text.as_bytes(), FileId(0)) {
        Ok(parsed) => emit(&parsed.root),
        Err(problem) => problem.text("f"),
    }
}

#[test]
fn scalars_keep_their_text() {
    let text = "a: 012\nb: 1.10\nc: yes\nd: 22:22\ne: 0x10\nf: 1e3\ng: \"3\"\nh: true\n";
    assert_eq!(check(text), text);
    let nothing = "a: null\nb: null\nc: null\nd: \"\"\n";
    assert_eq!(check("a:\nb: ~\nc: null\nd: ''\n"), nothing);
    assert_eq!(
        check("a: !!str 1\nb: !!int 2\nc: !!str\nd: !!null x\n"),
        "a: \"1\"\nb: 2\nc: \"\"\nd: null\n"
    );
}

#[test]
fn anchors_and_merge_keys() {
    let text = "x: &x {a: 1, b: 2}\ny: &y {b: 3, c: 4}\n";
    for (merge, result) in [
        ("z: *x", "z:\n  a: 1\n  b: 2\n"),
        ("z: {<<: *x, b: 9}", "z:\n  b: 9\n  a: 1\n"),
        ("z: {b: 9, <<: [*x, *y]}", "z:\n  b: 9\n  a: 1\n  c: 4\n"),
        ("z: {<<: [*y, {d: 5}]}", "z:\n  b: 3\n  c: 4\n  d: 5\n"),
        ("z: {'<<': 1}", "z:\n  \"<<\": 1\n"),
        ("z: {&k key: 1, l: *k}", "z:\n  key: 1\n  l: key\n"),
    ] {
        let out = check(&format!("{text}{merge}\n"));
        assert!(out.ends_with(result), "{merge}: {out}");
    }
}

#[test]
fn merged_values_keep_their_positions() {
    let root = parse_document("x: &x\n  a: 1\nz:\n  <<: *x\n", "f").unwrap();
    let entry = root.get("z").and_then(|z| z.entry("a")).unwrap();
    assert_eq!((entry.key_at.line, entry.key_at.column), (2, 3));
    assert_eq!((entry.value.at.line, entry.value.at.column), (2, 6));
}

#[test]
fn refusals_have_positions() {
    for (text, fault) in [
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "f:4:3: b: duplicate key \"c\""),
        ("a:\n\tb: 1\n", "f:2:"),
        ("a: 1\n---\nb: 2\n", "f:2:1: more than one document"),
        ("a: !ref x\n", "f:1:4: unknown tag `!ref`"),
        ("a: !!binary x\n", "f:1:4: unknown tag"),
        ("a: *x\n", "f:1:4: "),
        ("a: &a [*a]\n", "f:1:8: the alias stands inside"),
        ("a: {<<: 1}\n", "f:1:9: `<<` takes a map"),
        ("a: {<<: [1]}\n", "f:1:10: `<<` takes a map"),
        ("{a: 1}: b\n", "f:1:1: a key must be text"),
        ("a: \"x\\0y\"\n", "f:1:4: text with a NUL"),
        ("a: [1, 2\n", "f:"),
        ("a: 'x\n", "f:"),
        ("!reset a: 1\n", "f:1:1: a merge tag belongs before a value"),
        ("\"\\u0007\": 1\n", "f:1:1: a key has a control character"),
    ] {
        let out = check(text);
        assert!(out.starts_with(fault), "{text:?}: {out}");
    }
    assert!(parse_document("a: !reset 1\n", "f").is_err());
}

#[test]
fn bytes_that_are_no_text() {
    let fault = |bytes: &[u8]| parse(bytes, FileId(0)).unwrap_err().text("f");
    assert_eq!(fault(b"a: 1\nb: \xff\n"), "f:2:4: not UTF-8 text");
    assert_eq!(fault(b"a: 1\nb: \0\n"), "f:2:4: binary file: it has a NUL byte");
    assert_eq!(fault(b"\x7fELF\x02\x01\x01\0"), "f:1:8: binary file: it has a NUL byte");
    assert!(fault(&vec![b'a'; MAX_BYTES + 1]).contains("the limit is 4 MiB"));
}

#[test]
fn byte_order_mark_line_ends_and_empty_files() {
    assert_eq!(check("\u{feff}a: 1\r\nb: |\r\n  x\r\n  y\r\n"), "a: 1\nb: |\n  x\n  y\n");
    for text in ["", "\n", "# only a comment\n", "---\n", "\u{feff}"] {
        assert_eq!(check(text), "null\n", "{text:?}");
    }
}

#[test]
fn depth_and_size_are_limited() {
    let nested = |n: usize| format!("{}1{}", "[".repeat(n), "]".repeat(n));
    assert!(parse(nested(MAX_DEPTH).as_bytes(), FileId(0)).is_ok());
    assert!(check(&nested(MAX_DEPTH + 1)).contains("nested deeper than 64"));
    assert!(check(&"- ".repeat(100_000)).contains("nested deeper"));
    for open in ["[", "{a: ", "? ", "&a [", "!!seq [", "{? "] {
        assert!(check(&open.repeat(100_000)).starts_with("f:"), "{open}");
    }
    // Depth that only aliases make.
    let chained = format!("- &a {}\n- &b {}*a {}\n", nested(40), "[".repeat(30), "]".repeat(30));
    assert!(check(&chained).contains("nested deeper"));
    let flat: String = (0..MAX_NODES).map(|n| format!("k{n}: \n")).collect();
    assert!(check(&flat).contains("more than 100 000"));
}

#[test]
fn bombs_stop_at_the_budget() {
    let mut aliases = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    let mut merges = "a0: &a0 {x: 1}\n".to_owned();
    for n in 1..30 {
        let before = n - 1;
        let ten = vec![format!("*a{before}"); 10].join(", ");
        aliases.push_str(&format!("a{n}: &a{n} [{ten}]\n"));
        merges.push_str(&format!("a{n}: &a{n} {{<<: [{ten}], k{n}: 1}}\n"));
    }
    for bomb in [aliases, merges] {
        assert!(check(&bomb).contains("more than 100 000"), "{}", check(&bomb));
    }
    // Anchors inside anchors, never used: what is kept is bounded too.
    let kept = format!("{}{}{}", "&b [".repeat(60), "1, ".repeat(30_000), "]".repeat(60));
    assert!(check(&kept).contains("too much content under anchors"));
}

#[test]
fn tokens_are_counted_before_a_flow_collection_is_held() {
    for unit in ["1,", "{'a': 1},", "? "] {
        let text = format!("[{}]", unit.repeat((MAX_BYTES - 2) / unit.len()));
        assert!(check(&text).contains("in one value"), "{unit}");
    }
    // A large document that is mostly text, and the largest that the other limits allow.
    let prose = format!("a: |\n{}", "  [1, 2], {x: y}: 'z'\n".repeat(20_000));
    assert!(check(&prose).starts_with("a: |"));
    let full: String = (0..MAX_NODES / 2 - 1).map(|n| format!("&a{n} \"k{n}\": '',")).collect();
    assert!(parse(format!("{{{full}}}").as_bytes(), FileId(0)).is_ok());
}

const VALID: &str = "name: shop\nx: &x\n  a: [1, 'two', \"thr\\tee\"]\nservices:\n  web: {<<: *x, image: \"a:$B\"}\n  db:\n    command: |\n      a\n       b\n    ports: !override\n      - \"80:80\"\n    labels: {? k : v}\n";

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes, FileId(0));
    }

    #[test]
    fn no_markup_makes_it_panic(text in "[-?:,\\[\\]{}#&*!|>'\"%@` \n\tab0<~.\\\\\r\u{feff}]{0,60}") {
        if let Ok(parsed) = parse(text.as_bytes(), FileId(0)) {
            let back = parse(emit(&parsed.root).as_bytes(), FileId(0));
            let back = back.map_err(|problem| TestCaseError::fail(problem.text(&text)))?;
            prop_assert!(back.root.same(&parsed.root), "{:?}\n{}", parsed.root, emit(&parsed.root));
        }
    }

    #[test]
    fn no_mutation_makes_it_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..6),
    ) {
        let mut bytes = VALID.as_bytes().to_vec();
        for (at, byte, kind) in edits {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte % 128),
                _ => drop(bytes.remove(at)),
            }
        }
        let _ = parse(&bytes, FileId(0));
    }
}

#[test]
fn every_truncation_is_read_or_refused() {
    for end in 0..VALID.len() {
        let _ = parse(&VALID.as_bytes()[..end], FileId(0));
    }
    assert!(matches!(parse(VALID.as_bytes(), FileId(0)).unwrap().root.value, Value::Map(_)));
}
