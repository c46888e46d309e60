//! Failures of the engine, and how they are told to the core.

use crate::engine::ApiVersion;
use bollard::errors::Error as ClientError;
use jaco_runtime_core::EngineFault;
use std::error::Error as _;

/// No connection to an engine that this version can drive.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Only local engines are driven.
    #[error("docker host {0:?} is not of the form unix:///path/to/docker.sock")]
    Host(String),
    /// The socket is missing, closed, or nobody answers.
    #[error("Docker Engine at {path} does not answer: {reason}; check: systemctl status docker")]
    Silent {
        /// The socket.
        path: String,
        /// The system's or the client's words.
        reason: String,
    },
    /// The engine knows no API version that this version speaks.
    #[error(
        "Docker Engine {version} speaks API {oldest} to {newest}, but {} to {} is needed; \
         install Docker Engine 20.10 or later",
        ApiVersion::OLDEST,
        ApiVersion::NEWEST
    )]
    Api {
        /// The engine's version.
        version: String,
        /// The oldest API version it speaks.
        oldest: ApiVersion,
        /// The newest API version it speaks.
        newest: ApiVersion,
    },
}

/// The engine's words without the client's wrapping.
pub(crate) fn words(error: &ClientError) -> String {
    match error {
        ClientError::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        ClientError::DockerStreamError { error } => error.trim().to_owned(),
        ClientError::RequestTimeoutError => "the engine did not answer in time".to_owned(),
        other => innermost(other),
    }
}

/// The last cause in the chain: the client's own layers add nothing that helps.
fn innermost(error: &ClientError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    text
}

/// The HTTP status of an answer; `None` when there was no answer.
pub(crate) fn status(error: &ClientError) -> Option<u16> {
    match error {
        ClientError::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// Whether the engine says that the thing is not there.
pub(crate) fn is_missing(error: &ClientError) -> bool {
    status(error) == Some(404)
}

/// An error of the engine as the core takes it.
///
/// Only "bad parameter" is final: the engine uses 404, 409 and 500 also for what passes, such as a
/// name still being released or a volume that is being unmounted.
pub(crate) fn fault(op: &'static str, error: &ClientError) -> EngineFault {
    EngineFault { op, reason: words(error), retry: status(error) != Some(400) }
}

/// Turns "not there" into success, for orders whose aim is that it is not there.
pub(crate) fn gone_is_fine(
    op: &'static str,
    result: Result<(), ClientError>,
) -> Result<(), EngineFault> {
    match result {
        Err(error) if !is_missing(&error) => Err(fault(op, &error)),
        _ => Ok(()),
    }
}

/// At most the last 512 bytes of `text`, cut at a character.
pub(crate) fn last_512(text: &str) -> String {
    let text = text.trim();
    let mut start = text.len().saturating_sub(512);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text[start..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bad_parameters_are_final() {
        for (status_code, retry) in [(400, false), (404, true), (409, true), (500, true)] {
            let error =
                ClientError::DockerResponseServerError { status_code, message: "no\n".to_owned() };
            let expected = EngineFault { op: "create", reason: "no".to_owned(), retry };
            assert_eq!(fault("create", &error), expected);
        }
    }

    #[test]
    fn output_is_cut_at_a_character() {
        let text = format!("x{}", "é".repeat(300));
        let cut = last_512(&text);
        assert_eq!(cut.len(), 512);
        assert!(cut.starts_with('é'));
        assert_eq!(last_512(" short \n"), "short");
    }
}
