//! Translates a container plan into the engine's create request: a pure function.
//!
//! What an older engine cannot do is left out with a warning when the container works without it,
//! and refused when leaving it out would change what the container sees or may touch.

mod host;
mod mounts;
mod network;

use crate::engine::ApiVersion;
use bollard::models::{ContainerCreateBody, EndpointSettings, HealthConfig, Mount, MountType};
use jaco_model::Millis;
use jaco_model::spec::{ContainerSpec, Healthcheck, HealthcheckTest};
use jaco_runtime_core::ContainerPlan;
use std::collections::{BTreeMap, HashMap};

/// The engine cannot make this container.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// A field needs a newer engine and may not be left out.
    #[error("{field} needs engine API {needed} or later, this engine speaks {api}")]
    Api {
        /// Compose field.
        field: &'static str,
        /// The API version that has it.
        needed: ApiVersion,
        /// The API version in use.
        api: ApiVersion,
    },
    /// The plan names a service that its spec does not have.
    #[error("service {0:?} is not in the deployment")]
    Service(String),
    /// The plan needs a container to share a namespace with, and names none.
    #[error("{0} needs a container to join, and there is none")]
    Peer(&'static str),
}

/// What must be known of the image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageDefaults {
    /// Its entrypoint. Needed only to clear the command and keep the entrypoint, which the engine
    /// cannot express; see `needs_image_defaults`.
    pub entrypoint: Vec<String>,
}

/// Everything the engine is told to make one container.
#[derive(Clone, Debug, PartialEq)]
pub struct CreateRequest {
    /// The container's name.
    pub name: String,
    /// `os/arch[/variant]` of the image.
    pub platform: Option<String>,
    /// The body of the request.
    pub body: ContainerCreateBody,
    /// MAC address of the whole container, for API versions before 1.44; not part of `body`
    /// because the client library has dropped the field.
    pub mac_address: Option<String>,
    /// Networks to connect after the creation, in order, on engines that take only one with it.
    pub connect: Vec<(String, EndpointSettings)>,
    /// What the engine cannot honour, for people.
    pub warnings: Vec<String>,
}

impl CreateRequest {
    /// Gives the container a file as its `/etc/resolv.conf`, which it cannot change.
    pub fn mount_resolv_conf(&mut self, file: String) {
        let mount = Mount {
            typ: Some(MountType::BIND),
            source: Some(file),
            target: Some("/etc/resolv.conf".to_owned()),
            read_only: Some(true),
            ..Mount::default()
        };
        let host = self.body.host_config.get_or_insert_default();
        host.mounts.get_or_insert_default().push(mount);
    }
}

/// Collects warnings and knows the version.
struct Translation {
    api: ApiVersion,
    warnings: Vec<String>,
}

impl Translation {
    /// Whether the engine knows fields of API version 1.`minor`; warns when it does not.
    fn has(&mut self, minor: u16, field: &str) -> bool {
        let needed = ApiVersion::v1(minor);
        let known = self.api >= needed;
        if !known {
            let api = self.api;
            self.warnings.push(format!(
                "{field} needs engine API {needed} or later and is left out; \
                 this engine speaks {api}"
            ));
        }
        known
    }

    /// Refuses the container unless the engine knows fields of API version 1.`minor`.
    fn require(&self, minor: u16, field: &'static str) -> Result<(), Unsupported> {
        let needed = ApiVersion::v1(minor);
        if self.api >= needed {
            return Ok(());
        }
        Err(Unsupported::Api { field, needed, api: self.api })
    }
}

/// Whether the request depends on [`ImageDefaults`].
pub(crate) fn needs_image_defaults(spec: &ContainerSpec) -> bool {
    spec.entrypoint.is_none() && spec.command.as_ref().is_some_and(Vec::is_empty)
}

/// The create request of `plan` for an engine that speaks `api`.
///
/// # Errors
/// When the container would differ from the plan in a way that may do harm.
pub fn create_request(
    plan: &ContainerPlan,
    api: ApiVersion,
    image: &ImageDefaults,
) -> Result<CreateRequest, Unsupported> {
    let service = plan.spec.services.get(&plan.service);
    let service = service.ok_or_else(|| Unsupported::Service(plan.service.to_string()))?;
    let spec = &service.container;
    let mut translation = Translation { api, warnings: Vec::new() };
    let t = &mut translation;
    let network = network::network(t, plan, spec)?;
    let host_config = host::host_config(t, plan, spec, &network)?;
    let name = plan.instance.to_string();
    let hostname = network::own_names(t, spec)
        .then(|| spec.hostname.clone().unwrap_or_else(|| hostname_of(&name)));
    let body = ContainerCreateBody {
        domainname: hostname.as_ref().and(spec.domainname.clone()),
        hostname,
        user: spec.user.clone(),
        attach_stdin: Some(false),
        attach_stdout: Some(false),
        attach_stderr: Some(false),
        exposed_ports: network.exposed,
        tty: Some(spec.tty),
        open_stdin: Some(spec.stdin_open),
        env: Some(environment(&spec.environment)),
        cmd: spec.command.clone().filter(|command| !command.is_empty()),
        entrypoint: entrypoint(spec, image),
        healthcheck: spec.healthcheck.as_ref().and_then(|check| healthcheck(t, check)),
        image: Some(plan.image.clone()),
        working_dir: spec.working_dir.clone(),
        labels: Some(hash_map(&plan.labels)),
        stop_signal: spec.stop_signal.clone(),
        stop_timeout: Some(whole_seconds(spec.stop_grace_period)),
        host_config: Some(host_config),
        networking_config: network.config,
        ..ContainerCreateBody::default()
    };
    Ok(CreateRequest {
        name,
        platform: spec.platform.clone(),
        body,
        mac_address: network.mac_address,
        connect: network.connect,
        warnings: translation.warnings,
    })
}

/// The engine takes an empty list for "the image's own", and one empty text for "none". An
/// entrypoint of any kind also drops the image's command, as in compose.
fn entrypoint(spec: &ContainerSpec, image: &ImageDefaults) -> Option<Vec<String>> {
    match &spec.entrypoint {
        Some(entrypoint) if entrypoint.is_empty() => Some(vec![String::new()]),
        Some(entrypoint) => Some(entrypoint.clone()),
        None if !needs_image_defaults(spec) => None,
        None if image.entrypoint.is_empty() => Some(vec![String::new()]),
        None => Some(image.entrypoint.clone()),
    }
}

/// The kernel takes at most 64 bytes; names of containers may be longer.
fn hostname_of(name: &str) -> String {
    name.chars().take(63).collect::<String>().trim_end_matches(['-', '.', '_']).to_owned()
}

fn environment(variables: &BTreeMap<String, String>) -> Vec<String> {
    variables.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

fn healthcheck(t: &mut Translation, check: &Healthcheck) -> Option<HealthConfig> {
    let test = match &check.test {
        HealthcheckTest::Inherit => None,
        HealthcheckTest::Disabled => return Some(health_test(vec!["NONE".to_owned()])),
        HealthcheckTest::Shell(line) => Some(vec!["CMD-SHELL".to_owned(), line.clone()]),
        HealthcheckTest::Command(command) => {
            let head = std::iter::once("CMD".to_owned());
            Some(head.chain(command.iter().cloned()).collect())
        }
    };
    let start_interval = check
        .start_interval
        .filter(|_| t.has(44, "healthcheck.start_interval"))
        .and_then(nanoseconds);
    let config = HealthConfig {
        test,
        interval: check.interval.and_then(nanoseconds),
        timeout: check.timeout.and_then(nanoseconds),
        retries: check.retries.map(i64::from),
        start_period: check.start_period.and_then(nanoseconds),
        start_interval,
    };
    (config != HealthConfig::default()).then_some(config)
}

fn health_test(test: Vec<String>) -> HealthConfig {
    HealthConfig { test: Some(test), ..HealthConfig::default() }
}

fn nanoseconds(time: Millis) -> Option<i64> {
    i64::try_from(time.0).ok()?.checked_mul(1_000_000)
}

/// The engine counts whole seconds; a process gets at least the time that was asked for.
pub(crate) fn whole_seconds(time: Millis) -> i64 {
    i64::try_from(time.0.div_ceil(1_000)).unwrap_or(i64::MAX)
}

/// The client library wants hash maps.
pub(crate) fn hash_map(map: &BTreeMap<String, String>) -> HashMap<String, String> {
    map.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Nothing for nothing, so that the engine's default holds.
fn unless_empty<T: Clone>(list: &[T]) -> Option<Vec<T>> {
    (!list.is_empty()).then(|| list.to_vec())
}

#[cfg(test)]
mod tests;
