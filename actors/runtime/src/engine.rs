//! A connection to one engine: which API version is spoken, and what the engine says of its host.

use crate::error::{Error, fault, words};
use crate::facts::parse_rfc3339_ms;
use bollard::{BollardRequest, Docker};
use hyper::http::uri::PathAndQuery;
use jaco_model::entity::{Capacity, Platform};
use jaco_runtime_core::{EngineFacts, EngineFault};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Longest wait for the head of an answer to a question that costs the engine nothing.
const ASK: Duration = Duration::from_secs(10);
/// Longest wait for the head of an answer to an order. Creating a container may copy the image's
/// files into a volume, removing one may wait for its file systems.
const ORDER: Duration = Duration::from_secs(120);

/// A version of the engine's API, such as `1.41`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion {
    major: u16,
    minor: u16,
}

impl ApiVersion {
    /// The oldest version that is spoken: Docker Engine 20.10.
    pub const OLDEST: ApiVersion = ApiVersion::v1(41);
    /// The newest version whose fields are known here.
    pub const NEWEST: ApiVersion = ApiVersion::v1(53);

    /// `1.<minor>`.
    pub const fn v1(minor: u16) -> ApiVersion {
        ApiVersion { major: 1, minor }
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for ApiVersion {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<ApiVersion, Self::Err> {
        let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
        Ok(ApiVersion { major: major.parse()?, minor: minor.parse()? })
    }
}

/// A negotiated connection. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Engine {
    docker: Docker,
    api: ApiVersion,
}

impl Engine {
    /// Connects to `unix:///path` and agrees on the newest API version that both sides know.
    ///
    /// # Errors
    /// When `docker_host` is no unix socket, nobody answers within 10 s, or the engine speaks no
    /// API version between [`ApiVersion::OLDEST`] and [`ApiVersion::NEWEST`].
    pub async fn connect(docker_host: &str) -> Result<Engine, Error> {
        let path = docker_host
            .strip_prefix("unix://")
            .filter(|path| path.starts_with('/'))
            .ok_or_else(|| Error::Host(docker_host.to_owned()))?;
        let silent = |error| Error::Silent { path: path.to_owned(), reason: words(&error) };
        let docker = Docker::connect_with_unix(path, ASK.as_secs(), bollard::API_DEFAULT_VERSION)
            .map_err(silent)?;
        let about = tokio::time::timeout(ASK, docker.version())
            .await
            .unwrap_or(Err(bollard::errors::Error::RequestTimeoutError))
            .map_err(silent)?;
        let parse = |text: Option<String>| text.and_then(|text| text.parse().ok());
        let newest = parse(about.api_version).unwrap_or(ApiVersion::v1(0));
        let oldest = parse(about.min_api_version).unwrap_or(newest.min(ApiVersion::OLDEST));
        let Some(api) = negotiate(oldest, newest) else {
            let version = about.version.unwrap_or_default();
            return Err(Error::Api { version, oldest, newest });
        };
        let docker = docker.with_request_modifier(move |request| with_version(request, api));
        Ok(Engine { docker, api })
    }

    /// The API version in use.
    pub fn api(&self) -> ApiVersion {
        self.api
    }

    /// What the engine says about itself and its host.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn facts(&self) -> Result<EngineFacts, EngineFault> {
        self.facts_and_time().await.map(|(facts, _)| facts)
    }

    /// As [`Engine::facts`], with the engine's time in milliseconds since the Unix epoch, from
    /// which events can be replayed.
    pub(crate) async fn facts_and_time(&self) -> Result<(EngineFacts, u64), EngineFault> {
        let docker = self.asking();
        let about = docker.version().await.map_err(|error| fault("version", &error))?;
        let info = docker.info().await.map_err(|error| fault("info", &error))?;
        let positive = |n: Option<i64>| u64::try_from(n.unwrap_or_default()).unwrap_or_default();
        let mut generic = BTreeMap::new();
        for resource in info.generic_resources.unwrap_or_default() {
            if let Some(spec) = resource.discrete_resource_spec {
                *generic.entry(spec.kind.unwrap_or_default()).or_insert(0) += positive(spec.value);
            }
            if let Some(spec) = resource.named_resource_spec {
                *generic.entry(spec.kind.unwrap_or_default()).or_insert(0) += 1;
            }
        }
        let facts = EngineFacts {
            version: about.version.unwrap_or_default(),
            api: self.api.to_string(),
            platform: Platform {
                os: about.os.unwrap_or_default(),
                arch: about.arch.unwrap_or_default(),
            },
            capacity: Capacity {
                cpu_milli: positive(info.ncpu) * 1_000,
                memory: positive(info.mem_total),
                generic,
            },
            volume_drivers: sorted(info.plugins.and_then(|p| p.volume).unwrap_or_default()),
            runtimes: sorted(info.runtimes.unwrap_or_default().into_keys().collect()),
        };
        let now = info.system_time.as_deref().and_then(parse_rfc3339_ms);
        let now = now.ok_or_else(|| EngineFault {
            op: "info",
            reason: format!("the engine's time {:?} cannot be read", info.system_time),
            retry: true,
        })?;
        Ok((facts, now))
    }

    /// The client for questions.
    pub(crate) fn asking(&self) -> Docker {
        self.waiting(ASK)
    }

    /// The client for orders.
    pub(crate) fn ordering(&self) -> Docker {
        self.waiting(ORDER)
    }

    /// The client for answers that may take as long as `limit`.
    pub(crate) fn waiting(&self, limit: Duration) -> Docker {
        self.docker.clone().with_timeout(limit)
    }

    /// The client for an order whose body the client library cannot express.
    pub(crate) fn ordering_with_body(&self, body: bytes::Bytes) -> Docker {
        let api = self.api;
        self.ordering().with_request_modifier(move |request| {
            with_version(request, api).map(|_| bollard::body_full(body.clone()))
        })
    }
}

/// The newest version that both sides know.
fn negotiate(oldest: ApiVersion, newest: ApiVersion) -> Option<ApiVersion> {
    let api = newest.min(ApiVersion::NEWEST);
    (api >= oldest && api >= ApiVersion::OLDEST).then_some(api)
}

/// Puts the version in front of the path. The client library leaves it out, and the engine then
/// answers in its own newest version, whose answers may differ from those known here.
fn with_version(mut request: BollardRequest, api: ApiVersion) -> BollardRequest {
    let mut parts = request.uri().clone().into_parts();
    let path = parts.path_and_query.as_ref().map_or("/", PathAndQuery::as_str);
    if let Ok(path) = format!("/v{api}{path}").parse() {
        parts.path_and_query = Some(path);
        if let Ok(uri) = parts.try_into() {
            *request.uri_mut() = uri;
        }
    }
    request
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_common_version_is_spoken() {
        let v = ApiVersion::v1;
        assert_eq!(negotiate(v(12), v(41)), Some(v(41)));
        assert_eq!(negotiate(v(24), v(51)), Some(v(51)));
        assert_eq!(negotiate(v(44), v(57)), Some(ApiVersion::NEWEST));
        assert_eq!(negotiate(v(12), v(40)), None);
        assert_eq!(negotiate(v(54), v(60)), None);
    }

    #[test]
    fn versions_compare_as_numbers() {
        let parsed: ApiVersion = "1.9".parse().unwrap();
        assert!(parsed < ApiVersion::v1(41));
        assert_eq!(ApiVersion::v1(41).to_string(), "1.41");
    }

    #[test]
    fn requests_carry_the_version() {
        let request = hyper::Request::builder()
            .uri("unix://2f72756e/containers/json?all=true")
            .body(bollard::body_full(bytes::Bytes::new()))
            .unwrap();
        let request = with_version(request, ApiVersion::v1(41));
        assert_eq!(request.uri().to_string(), "unix://2f72756e/v1.41/containers/json?all=true");
    }
}
