//! Bad input leaves nothing behind.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use jaco_it::{Node, Stack, probe, with_node};
use serde_json::{Value, json};

/// Every how many-th broken manifest goes through the command line; all of them go to the API.
const SAMPLE: usize = 8;

/// The broken manifests that the loader's own tests use.
const BROKEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../proto/manifest/testdata/broken");

/// The files of a case, by name, without what is expected of it.
fn files(case: &str) -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = Vec::new();
    for line in case.split_inclusive('\n') {
        match line.strip_prefix("=== ") {
            Some(name) => files.push((name.trim().to_owned(), String::new())),
            None => files.last_mut().into_iter().for_each(|(_, text)| text.push_str(line)),
        }
    }
    files.retain(|(name, _)| name != "expected");
    files
}

fn write(dir: &Path, files: &[(String, String)]) -> Result<()> {
    files.iter().try_for_each(|(name, text)| {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().context("a file without directory")?)?;
        Ok(fs::write(path, text)?)
    })
}

fn cases() -> Result<Vec<(String, String)>> {
    let mut cases = Vec::new();
    for entry in fs::read_dir(BROKEN)? {
        let path = entry?.path();
        cases.push((path.display().to_string(), fs::read_to_string(&path)?));
    }
    cases.sort();
    ensure!(cases.len() >= 150, "only {} broken manifests", cases.len());
    Ok(cases)
}

/// Names of all containers, networks and volumes of the engine.
fn left(c: &Node) -> Result<BTreeSet<String>> {
    let engine = c.engine();
    let volumes = engine.get("/volumes")?["Volumes"].clone();
    let lists = [json!(engine.containers()?), engine.get("/networks")?, volumes];
    let name =
        |one: &Value| [&one["Name"], &one["Names"], &one["Id"]].map(Value::to_string).join(" ");
    Ok(lists.iter().filter_map(Value::as_array).flatten().map(name).collect())
}

#[test]
fn refused_manifests_leave_nothing_behind() -> Result<()> {
    with_node("refusals", |c| {
        let stack = Stack::new("shop", json!({ "services": { "web": probe(json!({})) } }))?;
        c.ok(&["apply", &stack.path()])?;
        let index = c.settled_index()?;
        let before = left(c)?;
        for (n, (name, case)) in cases()?.iter().enumerate() {
            let files = files(case);
            let text = |file: &str| {
                files.iter().find(|(name, _)| name == file).map(|(_, text)| text.clone())
            };
            let body = json!({ "documents": {
                "name": "shop", "compose": text("compose.yaml"),
                "jaco": text("jaco.yaml").unwrap_or_default(),
            }});
            let body = body.to_string();
            let api = c.api();
            let answer =
                api.request("POST", "/v1/deployments", "application/json", body.as_bytes())?;
            // Documents are expected to be resolved; some faults are those of the resolution.
            ensure!((400..500).contains(&answer.status), "{name}: {}", answer.status);
            let answer: Value = serde_json::from_slice(&answer.body)?;
            ensure!(answer["error"]["code"].is_string(), "{name}: {answer}");
            ensure!(c.raft_index()? == index, "{name}: refused, and yet written: {answer}");
            if n % SAMPLE == 0 {
                let dir = tempfile::tempdir()?;
                write(dir.path(), &files)?;
                let path = dir.path().display().to_string();
                let run = c.json(&["apply", &path, "--name", "shop"])?.exits(1)?;
                ensure!(run.stdout.is_empty(), "{name}: {}", run.stdout);
                run.error().with_context(|| name.clone())?;
            }
        }
        let garbage: [&[u8]; 4] = [b"", b"{", b"\xff\xfe\x00", b"[[[[[[[[[["];
        for body in garbage {
            let answer = c.api().request("POST", "/v1/deployments", "application/json", body)?;
            ensure!(answer.status == 400, "{body:?}: {}", answer.status);
        }
        ensure!(c.raft_index()? == index, "something refused was written");
        let now = left(c)?;
        ensure!(now == before, "something was left behind: {before:#?} {now:#?}");
        Ok(())
    })
}
