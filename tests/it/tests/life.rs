//! The whole life of a stack through the command line, with exit codes and JSON shapes.

use anyhow::{Result, ensure};
use jaco_it::{Stack, probe, with_cluster};
use serde_json::{Value, json};

#[test]
fn first_light() -> Result<()> {
    with_cluster("life", |c| {
        let stack = Stack::new("shop", json!({ "services": { "web": probe(json!({"deploy": {"replicas": 3}})) } }))?;
        let applied = c.ok(&["apply", &stack.path()])?;
        println!("{applied:#}");
        println!("{:#}", c.ok(&["status"])?);
        println!("{:#}", c.ok(&["ps"])?);
        println!("{:#?}", c.containers("shop")?);
        let run = c.json(&["delete", "shop"])?;
        println!("{run:?}");
        ensure!(c.containers("shop")?.is_empty());
        let _: Value = json!(null);
        Ok(())
    })
}
