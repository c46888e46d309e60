//! Watches the engine: up, down, hung, and what happens to this cluster's containers.

use crate::engine::Engine;
use crate::error::words;
use crate::facts::CLUSTER_ID;
use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt as _;
use jaco_runtime_core::{EngineEvent, Health, Input};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Between attempts to reach an engine that is down; an attempt costs one connect.
const RECONNECT: Duration = Duration::from_millis(700);
/// Between pings of an engine that is up.
const PING_EVERY: Duration = Duration::from_secs(2);
/// A ping that takes longer means that the engine hangs: 10 s after it last answered.
const PING_LIMIT: Duration = Duration::from_secs(8);

/// Where inputs go.
pub(crate) type Deliver = Arc<dyn Fn(Input) + Send + Sync>;

/// Keeps `current` at the engine while it answers. Runs until its task is aborted.
pub(crate) async fn watch(
    docker_host: String,
    cluster_id: String,
    current: watch::Sender<Option<Engine>>,
    deliver: Deliver,
) {
    let mut down_told = false;
    loop {
        let reason = match attach(&docker_host).await {
            Ok((engine, facts, since)) => {
                current.send_replace(Some(engine.clone()));
                deliver(Input::EngineUp(facts));
                let reason = follow(&engine, &cluster_id, since, &deliver).await;
                current.send_replace(None);
                down_told = false;
                reason
            }
            Err(reason) => reason,
        };
        if !down_told {
            deliver(Input::EngineDown { reason });
            down_told = true;
        }
        tokio::time::sleep(RECONNECT).await;
    }
}

type Attached = (Engine, jaco_runtime_core::EngineFacts, u64);

async fn attach(docker_host: &str) -> Result<Attached, String> {
    let engine = Engine::connect(docker_host).await.map_err(|error| error.to_string())?;
    let (facts, since) = engine.facts_and_time().await.map_err(|fault| fault.reason)?;
    Ok((engine, facts, since))
}

/// Delivers events until the engine is lost; returns why.
///
/// Events are asked for from the engine's time before it was said to be up, so that none is missed
/// between the core's first look at the containers and the begin of the stream.
async fn follow(engine: &Engine, cluster_id: &str, since_ms: u64, deliver: &Deliver) -> String {
    let filter = |values: &[&str]| values.iter().map(|v| (*v).to_owned()).collect::<Vec<String>>();
    let filters = HashMap::from([
        ("type".to_owned(), filter(&["container"])),
        ("label".to_owned(), vec![format!("{CLUSTER_ID}={cluster_id}")]),
        ("event".to_owned(), filter(&["start", "die", "oom", "health_status", "destroy"])),
    ]);
    let since = format!("{}.{:03}", since_ms / 1_000, since_ms % 1_000);
    let options = EventsOptionsBuilder::new().since(&since).filters(&filters).build();
    // The engine sends the head of its answer with the first event on some versions.
    let docker = engine.waiting(Duration::from_secs(u64::from(u32::MAX)));
    let mut events = Box::pin(docker.events(Some(options)));
    let listen = async {
        loop {
            match events.next().await {
                Some(Ok(message)) => {
                    if let Some(input) = input_of(message) {
                        deliver(input);
                    }
                }
                Some(Err(error)) => return format!("event stream broke: {}", words(&error)),
                None => return "event stream ended".to_owned(),
            }
        }
    };
    tokio::select! {
        reason = listen => reason,
        reason = ping(engine) => reason,
    }
}

/// Returns once the engine does not answer.
async fn ping(engine: &Engine) -> String {
    let docker = engine.asking();
    loop {
        tokio::time::sleep(PING_EVERY).await;
        match tokio::time::timeout(PING_LIMIT, docker.ping()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return format!("ping failed: {}", words(&error)),
            Err(_) => return "the engine hangs: no answer for 10 s".to_owned(),
        }
    }
}

fn input_of(message: EventMessage) -> Option<Input> {
    let actor = message.actor?;
    let attributes = actor.attributes.unwrap_or_default();
    let event = match message.action?.as_str() {
        "start" => EngineEvent::Started,
        "die" => {
            let exit_code = attributes.get("exitCode").and_then(|code| code.parse().ok());
            EngineEvent::Died { exit_code: exit_code.unwrap_or_default() }
        }
        "oom" => EngineEvent::OutOfMemory,
        "destroy" => EngineEvent::Destroyed,
        action => match action.strip_prefix("health_status: ")? {
            "healthy" => EngineEvent::Health(Health::Healthy),
            "unhealthy" => EngineEvent::Health(Health::Unhealthy),
            "starting" => EngineEvent::Health(Health::Starting),
            _ => return None,
        },
    };
    Some(Input::Event { container: actor.id?, event })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_become_inputs() {
        for (action, event) in [
            ("start", Some(EngineEvent::Started)),
            ("die", Some(EngineEvent::Died { exit_code: 137 })),
            ("oom", Some(EngineEvent::OutOfMemory)),
            ("health_status: unhealthy", Some(EngineEvent::Health(Health::Unhealthy))),
            ("destroy", Some(EngineEvent::Destroyed)),
            ("exec_start: sh", None),
        ] {
            let message: EventMessage = serde_json::from_value(serde_json::json!({
                "Type": "container", "Action": action,
                "Actor": {"ID": "abc", "Attributes": {"exitCode": "137"}}
            }))
            .unwrap();
            let found = input_of(message).map(|input| match input {
                Input::Event { container, event } => (container, event),
                other => panic!("{other:?}"),
            });
            assert_eq!(found, event.map(|event| ("abc".to_owned(), event)), "{action}");
        }
    }
}
