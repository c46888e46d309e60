//! What an inspection of a container means to the core.

use crate::error::last_512;
use bollard::models::{
    ContainerInspectResponse, ContainerState, ContainerStateStatusEnum, EndpointSettings,
    Health as EngineHealth, HealthStatusEnum,
};
use jaco_model::{Generation, InstanceId, ReplicaId, WallMs};
use jaco_runtime_core::{ContainerFacts, Health};
use std::collections::{BTreeMap, HashMap};

/// Labels that tie a container to the replicated state.
pub(crate) const CLUSTER_ID: &str = "jaco.cluster_id";
const REPLICA_ID: &str = "jaco.replica_id";
const GENERATION: &str = "jaco.generation";
const SPEC_HASH: &str = "jaco.spec_hash";

/// The facts in one inspection.
pub(crate) fn container_facts(answer: ContainerInspectResponse) -> ContainerFacts {
    let labels = answer.config.and_then(|config| config.labels).unwrap_or_default();
    let state = answer.state.unwrap_or_default();
    let started_at_ms = state.started_at.as_deref().and_then(parse_rfc3339_ms);
    let running = state.running.unwrap_or_default();
    let (health, health_output, failing_streak) = health_facts(state.health.as_ref());
    let networks = answer.network_settings.and_then(|s| s.networks).unwrap_or_default();
    let networks: BTreeMap<String, EndpointSettings> = networks.into_iter().collect();
    let fixed = |(name, endpoint): (&String, &EndpointSettings)| {
        let address = endpoint.ipam_config.as_ref()?.ipv4_address.clone()?;
        Some((name.clone(), address))
    };
    let fixed_addresses = networks.iter().filter_map(fixed).collect();
    let addresses: BTreeMap<String, String> = networks
        .into_iter()
        .filter_map(|(name, endpoint)| Some((name, endpoint.ip_address?)))
        .filter(|(_, address)| !address.is_empty())
        .collect();
    ContainerFacts {
        id: answer.id.unwrap_or_default(),
        instance: instance(&labels),
        spec_hash: labels.get(SPEC_HASH).cloned().unwrap_or_default(),
        running,
        never_started: is_never_started(&state),
        exit_code: state.exit_code.filter(|_| !running && started_at_ms.is_some()),
        oom_killed: state.oom_killed.unwrap_or_default(),
        health,
        health_output,
        failing_streak,
        started_at_ms,
        addresses,
        fixed_addresses,
    }
}

/// Whether the container was created and its process has never run.
fn is_never_started(state: &ContainerState) -> bool {
    let started = state.started_at.as_deref().and_then(parse_rfc3339_ms).is_some();
    state.status == Some(ContainerStateStatusEnum::CREATED) && !started
}

fn instance(labels: &HashMap<String, String>) -> Option<InstanceId> {
    let generation = labels.get(GENERATION)?.parse().ok()?;
    let replica = ReplicaId::new(labels.get(REPLICA_ID)?.clone());
    Some(InstanceId { replica, generation: Generation(generation) })
}

fn health_facts(health: Option<&EngineHealth>) -> (Health, String, u32) {
    let Some(health) = health else { return (Health::None, String::new(), 0) };
    let status = match health.status {
        Some(HealthStatusEnum::STARTING) => Health::Starting,
        Some(HealthStatusEnum::HEALTHY) => Health::Healthy,
        Some(HealthStatusEnum::UNHEALTHY) => Health::Unhealthy,
        Some(HealthStatusEnum::NONE | HealthStatusEnum::EMPTY) | None => Health::None,
    };
    let last = health.log.as_ref().and_then(|log| log.last());
    let output = last.and_then(|check| check.output.as_deref()).map(last_512).unwrap_or_default();
    let streak = u32::try_from(health.failing_streak.unwrap_or_default()).unwrap_or_default();
    (status, output, streak)
}

/// Milliseconds since the Unix epoch of a time as the engine writes it, `None` for Go's zero time
/// (year 1) and for other texts.
pub(crate) fn parse_rfc3339_ms(text: &str) -> Option<u64> {
    WallMs::parse_rfc3339(text).map(|moment| moment.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_milliseconds_since_the_epoch() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T00:00:00.5Z", Some(951_782_400_500)),
            ("2026-11-23T09:09:19.999123456Z", Some(1_795_424_959_999)),
            ("2026-11-23T11:39:19.999+02:30", Some(1_795_424_959_999)),
            ("1970-01-01T00:00:00-00:01", Some(60_000)),
            ("0001-01-01T00:00:00Z", None),
            ("2026-11-23T11:39:19", None),
            ("", None),
            ("yesterday", None),
        ] {
            assert_eq!(parse_rfc3339_ms(text), ms, "{text}");
        }
    }

    #[test]
    fn an_exited_container_tells_its_code_and_instance() {
        let answer: ContainerInspectResponse = serde_json::from_value(serde_json::json!({
            "Id": "abc",
            "State": {
                "Status": "exited", "Running": false, "OOMKilled": true, "ExitCode": 137,
                "StartedAt": "1970-01-01T00:00:01.25Z",
                "Health": {"Status": "unhealthy", "FailingStreak": 3,
                    "Log": [{"ExitCode": 1, "Output": "old"}, {"ExitCode": 1, "Output": "new\n"}]}
            },
            "Config": {"Labels": {
                "jaco.replica_id": "shop-web-0", "jaco.generation": "3", "jaco.spec_hash": "h"
            }},
            "NetworkSettings": {"Networks": {
                "jaco_shop__default": {
                    "IPAddress": "10.0.0.2", "IPAMConfig": {"IPv4Address": "10.0.0.2"}
                },
                "jaco_shop_back": {"IPAddress": "", "IPAMConfig": {"IPv4Address": "10.1.0.2"}}, "host": {"IPAddress": ""}
            }}
        }))
        .unwrap();
        let facts = container_facts(answer);
        let expected = ContainerFacts {
            id: "abc".to_owned(),
            instance: "shop-web-0.g3".parse().ok(),
            spec_hash: "h".to_owned(),
            running: false,
            never_started: false,
            exit_code: Some(137),
            oom_killed: true,
            health: Health::Unhealthy,
            health_output: "new".to_owned(),
            failing_streak: 3,
            started_at_ms: Some(1_250),
            addresses: [("jaco_shop__default".to_owned(), "10.0.0.2".to_owned())].into(),
            fixed_addresses: [("jaco_shop__default", "10.0.0.2"), ("jaco_shop_back", "10.1.0.2")]
                .map(|(network, address)| (network.to_owned(), address.to_owned()))
                .into(),
        };
        assert_eq!(facts, expected);
    }

    #[test]
    fn a_created_container_has_no_exit_code() {
        let answer: ContainerInspectResponse = serde_json::from_value(serde_json::json!({
            "Id": "abc",
            "State": {"Status": "created", "ExitCode": 0, "StartedAt": "0001-01-01T00:00:00Z"}
        }))
        .unwrap();
        let facts = container_facts(answer);
        assert!(facts.never_started);
        assert_eq!((facts.exit_code, facts.started_at_ms, facts.instance), (None, None, None));
    }
}
