//! Changes that users do not notice, and the one kind they must.

use anyhow::{Result, ensure};
use jaco_it::{Client, Stack, Watch, probe, with_node};
use serde_json::json;

#[test]
fn start_first_never_drops_below_the_wanted_number() -> Result<()> {
    with_node("rolling", |c| {
        let web = |color: &str| {
            let more = json!({ "environment": { "COLOR": color }, "deploy": { "replicas": 3 } });
            json!({ "services": { "web": probe(more) } })
        };
        let stack = Stack::new("shop", web("blue"))?;
        c.ok(&["apply", &stack.path()])?;
        let before = c.containers("shop")?;
        let client = Client::start(c, "shop", "web")?;
        stack.write(web("green"))?;
        let (watch, _) =
            Watch::during(&[c.engine()], "shop", "web", || c.ok(&["apply", &stack.path()]))?;
        client.wait_for_more_than(50)?;
        let (answered, failed) = client.stop()?;
        ensure!(watch.lowest >= 3, "{watch:?}");
        ensure!(watch.highest == 4, "one at a time, and the new one first: {watch:?}");
        ensure!(answered > 50 && failed.is_empty(), "{answered} answers, and {failed:#?}");
        let after = c.containers("shop")?;
        ensure!(after.len() == 3, "{after:#?}");
        for (new, old) in after.iter().zip(&before) {
            ensure!(new.replica == old.replica && new.generation == old.generation + 1);
        }
        Ok(())
    })
}

#[test]
fn a_service_with_a_volume_is_stopped_first_and_keeps_its_data() -> Result<()> {
    with_node("volume", |c| {
        let store = |color: &str| {
            let more = json!({
                "environment": { "COLOR": color },
                "volumes": ["data:/data"],
                "ports": ["18080:8080"],
            });
            json!({ "services": { "store": probe(more) }, "volumes": { "data": {} } })
        };
        let stack = Stack::new("shop", store("blue"))?;
        c.ok(&["apply", &stack.path()])?;
        let before = c.container("shop", "store")?;
        c.post(18_080, "/file?path=/data/mark")?;
        stack.write(store("green"))?;
        let (watch, _) =
            Watch::during(&[c.engine()], "shop", "store", || c.ok(&["apply", &stack.path()]))?;
        ensure!(watch.highest == 1, "two containers had the volume at once: {watch:?}");
        let after = c.container("shop", "store")?;
        ensure!(after.generation == before.generation + 1 && after.is_ready(), "{after:?}");
        // The file is empty; an absent one would be no success.
        c.get(&format!("http://{}:8080/file?path=/data/mark", after.address))?;
        Ok(())
    })
}

#[test]
fn a_published_port_answers_on_the_hosts_address() -> Result<()> {
    with_node("port", |c| {
        let web = json!({ "ports": ["18080:8080"], "environment": { "COLOR": "blue" } });
        let stack = Stack::new("shop", json!({ "services": { "web": probe(web) } }))?;
        c.ok(&["apply", &stack.path()])?;
        let address = c.host().address();
        let color = c.get(&format!("http://{address}:18080/env?name=COLOR"))?;
        ensure!(color == "blue", "{color}");
        c.post(18_080, "/health/ok")?;
        let row = c.replica("shop-web-0")?.unwrap_or_default();
        ensure!(row["ports"] == json!(["18080->8080/tcp"]), "{row:#}");
        c.ok(&["delete", "shop"])?;
        ensure!(c.post(18_080, "/health/ok").is_err(), "the port is still open");
        Ok(())
    })
}
