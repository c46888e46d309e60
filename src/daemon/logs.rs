//! The engine's log lines in the API's words.

use crate::daemon::network::{LogsRequest, decode_fault};
use futures_util::StreamExt;
use futures_util::stream::once;
use jaco_api::{LogQuery, LogStream};
use jaco_model::entity::Instance;
use jaco_model::view::LogLine;
use jaco_model::{ErrorCode, Fault, ReplicaId, WallMs};
use jaco_peers::transport::{CallError, Peers};
use jaco_runtime::{Engine, LogError};
use jaco_wire::peer::Method;

/// The lines of one instance; a single fault when they cannot be read.
pub(crate) fn stream(
    engine: Option<Engine>,
    instance: &Instance,
    host: &str,
    query: LogQuery,
) -> LogStream {
    let (replica, host) = (instance.id.replica.clone(), host.to_owned());
    let container = instance.status.container_id.clone();
    let container = container.unwrap_or_else(|| instance.id.to_string());
    let LogQuery { follow, since, until, tail } = query;
    let query = jaco_runtime::LogQuery { follow, since, until, tail };
    let opened = async move {
        let engine = engine.ok_or_else(|| {
            Fault::new(ErrorCode::DockerError, "the Docker Engine does not answer")
                .with("op", "logs")
        })?;
        engine.logs(&container, query).await.map_err(|error| fault(&error, &replica)).map(|lines| {
            lines.map(move |line| {
                line.map(|line| view(line, &replica, &host)).map_err(|e| fault(&e, &replica))
            })
        })
    };
    Box::pin(once(opened).flat_map(|opened| match opened {
        Ok(lines) => lines.left_stream(),
        Err(fault) => once(async { Err(fault) }).right_stream(),
    }))
}

/// The lines of an instance on another node, read there.
pub(crate) fn elsewhere(
    peers: Option<&Peers>,
    instance: &Instance,
    host: &str,
    query: LogQuery,
) -> LogStream {
    let lost = {
        let (replica, host) = (instance.id.replica.clone(), host.to_owned());
        move |reason: &str| {
            Fault::new(
                ErrorCode::NodeUnreachable,
                format!("no logs of {replica}: {host}: {reason}"),
            )
            .with("host", &host)
            .with("replica", &replica)
        }
    };
    let Some(peers) = peers else {
        let fault = lost("there is no network");
        return Box::pin(once(async { Err(fault) }));
    };
    let LogQuery { follow, since, until, tail } = query;
    let (instance, host) = (instance.clone(), host.to_owned());
    let node = instance.node.clone();
    let request = LogsRequest { instance, host, follow, since, until, tail };
    let payload = serde_json::to_vec(&request).unwrap_or_default();
    Box::pin(peers.stream(&node, Method::Logs, payload).map(move |item| match item {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| lost(&error.to_string())),
        Err(CallError::Refused(text)) => Err(decode_fault(&text)),
        Err(error) => Err(lost(&error.to_string())),
    }))
}

fn view(line: jaco_runtime::LogLine, replica: &ReplicaId, host: &str) -> LogLine {
    LogLine {
        ts: rfc3339(line.ts_ns),
        replica: replica.to_string(),
        host: host.to_owned(),
        stream: line.stream.as_str().to_owned(),
        line: line.line,
    }
}

/// RFC 3339 with nanoseconds, as Docker prints it.
fn rfc3339(ns: u64) -> String {
    let seconds = WallMs(ns / 1_000_000).to_string();
    format!("{}.{:09}Z", seconds.trim_end_matches('Z'), ns % 1_000_000_000)
}

fn fault(error: &LogError, replica: &ReplicaId) -> Fault {
    let code = match error {
        LogError::Missing(_) => ErrorCode::NotFound,
        LogError::Unreadable { .. } => ErrorCode::Unsupported,
        LogError::Engine { .. } => ErrorCode::DockerError,
    };
    Fault::new(code, error.to_string()).with("replica", replica).with("op", "logs")
}
