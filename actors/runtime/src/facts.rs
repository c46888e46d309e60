//! What an inspection of a container means to the core.

use crate::error::last_512;
use bollard::models::{
    ContainerInspectResponse, ContainerState, ContainerStateStatusEnum, Health as EngineHealth,
    HealthStatusEnum,
};
use jaco_model::{Generation, InstanceId, ReplicaId};
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
    }
}

/// Whether the container was created and its process has never run.
pub(crate) fn is_never_started(state: &ContainerState) -> bool {
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
    let digits = |range: std::ops::Range<usize>| text.get(range)?.parse::<u64>().ok();
    let (year, month, day) = (digits(0..4)?, digits(5..7)?, digits(8..10)?);
    let (hour, minute, second) = (digits(11..13)?, digits(14..16)?, digits(17..19)?);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let rest = text.get(19..)?;
    let (fraction, zone) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(rest.bytes().take_while(u8::is_ascii_digit).count()),
        None => ("", rest),
    };
    let ms: u64 = fraction.bytes().zip([100, 10, 1]).map(|(d, w)| u64::from(d - b'0') * w).sum();
    let secs = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    secs.checked_add_signed(-zone_seconds(zone)?)?.checked_mul(1_000)?.checked_add(ms)
}

/// Seconds east of UTC of `Z` or `+02:00`.
fn zone_seconds(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let seconds = hours.parse::<i64>().ok()? * 3_600 + minutes.parse::<i64>().ok()? * 60;
    match zone.as_bytes().first()? {
        b'+' => Some(seconds),
        b'-' => Some(-seconds),
        _ => None,
    }
}

/// Howard Hinnant's `days_from_civil` for years from 1970 on.
fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year / 400;
    let year_of_era = year % 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
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
                "jaco_shop__default": {"IPAddress": "10.0.0.2"}, "host": {"IPAddress": ""}
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
