//! Keeps `docs/manual/compose-fields.md` in step with the key tables: the page is made of them.

use super::schema::{Key, Schema, Treatment};
use super::{service_keys, top};
use std::fmt::Write;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/manual/compose-fields.md");

const INTRODUCTION: &str = "\
# Compose fields

What becomes of each field of a compose file. This page is made from the tables that the program
itself uses; `jaco validate -v` prints the same for the fields of your files, nested ones included.

| treatment | meaning |
|---|---|
| honoured | does what it says |
| resolved | used up by the command line; the daemon never sees it |
| no effect | accepted; it has no meaning here |
| ignored | a warning says why |
| privileged | needs the label `jaco.io/allow-privileged: \"true\"` on the service |
| refused | an error; the note says what to do instead |

Keys that start with `x-` are allowed at every level and ignored, except `x-jaco`.
";

#[test]
fn the_manual_lists_every_field() {
    let page = page();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(PAGE, &page).unwrap();
    }
    let found = std::fs::read_to_string(PAGE).unwrap();
    assert!(found == page, "{PAGE} is out of date; run this test with UPDATE_GOLDEN=1");
}

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    section(&mut page, "Top level", &top::COMPOSE);
    section(&mut page, "Services", &service_keys::SERVICE);
    page.push_str("\n## Old spellings\n\nRefused with `legacy_compose_field`.\n");
    page.push_str("\n| field | write instead |\n|---|---|\n");
    for key in service_keys::SERVICE.keys.iter().filter(|key| key.legacy) {
        line(&mut page, &[&format!("`{}`", key.name), &format!("`{}`", key.note)]);
    }
    page
}

fn section(page: &mut String, title: &str, schema: &Schema) {
    write!(page, "\n## {title}\n\n| field | treatment | note |\n|---|---|---|\n").unwrap();
    for key in schema.keys.iter().filter(|key| !key.legacy) {
        line(page, &[&format!("`{}`", key.name), key.treatment.as_str(), note(key)]);
    }
}

/// The note; that of a gated field is the same for all.
fn note(key: &Key) -> &'static str {
    match key.treatment {
        Treatment::Gated if key.note.is_empty() => "always",
        _ => key.note,
    }
}

fn line(page: &mut String, cells: &[&str]) {
    writeln!(page, "| {} |", cells.join(" | ")).unwrap();
}
