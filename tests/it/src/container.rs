//! A container of the product as its engine describes it.

use anyhow::{Context, Result, ensure};
use jaco_lab::Engine;
use serde_json::Value;

/// One container that carries the product's labels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Container {
    /// The slot it fills.
    pub replica: String,
    /// Which life of the slot.
    pub generation: u64,
    /// The engine's id.
    pub id: String,
    /// The service.
    pub service: String,
    /// `running`, `exited` and so on.
    pub state: String,
    /// Whether the engine's own health check says so.
    pub healthy: bool,
    /// Its address on its first network; empty when it does not run.
    pub address: String,
}

impl Container {
    /// All containers of a deployment, by replica and generation.
    ///
    /// # Errors
    /// When the engine does not answer, or a label is missing.
    pub fn of_deployment(engine: &Engine, deployment: &str) -> Result<Vec<Container>> {
        let all = engine.containers()?;
        let own = all.iter().filter(|one| one["Labels"]["jaco.deployment"] == deployment);
        let mut found = own.map(Container::read).collect::<Result<Vec<_>>>()?;
        found.sort();
        Ok(found)
    }

    /// Whether it runs and passes the engine's health check.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.state == "running" && self.healthy
    }

    fn read(row: &Value) -> Result<Container> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let label = |name: &str| {
            text(&row["Labels"][name])
                .with_context(|| format!("no label {name} on {}", row["Names"]))
        };
        let networks = row["NetworkSettings"]["Networks"].as_object();
        let address = networks.and_then(|all| all.values().find_map(|one| text(&one["IPAddress"])));
        let generation = label("jaco.generation")?;
        let replica = label("jaco.replica_id")?;
        let name = format!("/{replica}.g{generation}");
        ensure!(row["Names"][0] == name.as_str(), "{} should be {name}", row["Names"]);
        Ok(Container {
            replica,
            generation: generation.parse().context("label jaco.generation")?,
            id: text(&row["Id"]).context("no id")?,
            service: label("jaco.service")?,
            state: text(&row["State"]).context("no state")?,
            healthy: text(&row["Status"]).is_some_and(|status| status.ends_with("(healthy)")),
            address: address.unwrap_or_default(),
        })
    }
}
