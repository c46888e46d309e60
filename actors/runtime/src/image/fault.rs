//! What a failed pull or look-up means: the engine passes on the registry's words as free text.

use crate::error::{status, words};
use bollard::errors::Error as ClientError;
use jaco_runtime_core::{PullFault, PullReason};

/// The first line whose text occurs decides. Order matters: a network failure may quote a URL, and
/// the words of a full disk or a rate limit come wrapped in others.
const WORDS: [(&str, PullReason); 32] = [
    ("no space left on device", PullReason::DiskFull),
    ("disk quota exceeded", PullReason::DiskFull),
    ("toomanyrequests", PullReason::RateLimited),
    ("too many requests", PullReason::RateLimited),
    ("rate limit", PullReason::RateLimited),
    ("no matching manifest for", PullReason::NoPlatform),
    ("no match for platform in manifest", PullReason::NoPlatform),
    ("does not match the specified platform", PullReason::NoPlatform),
    ("does not provide the specified platform", PullReason::NoPlatform),
    ("cannot be used on this platform", PullReason::NoPlatform),
    ("dial tcp", PullReason::Network),
    ("no such host", PullReason::Network),
    ("i/o timeout", PullReason::Network),
    ("tls handshake", PullReason::Network),
    ("x509:", PullReason::Network),
    ("server gave http response to https client", PullReason::Network),
    ("context deadline exceeded", PullReason::Network),
    ("request canceled", PullReason::Network),
    ("connection reset", PullReason::Network),
    ("unauthorized", PullReason::Auth),
    ("authentication required", PullReason::Auth),
    ("no basic auth credentials", PullReason::Auth),
    ("access denied", PullReason::Auth),
    ("denied:", PullReason::Auth),
    ("forbidden", PullReason::Auth),
    ("manifest unknown", PullReason::NotFound),
    ("name unknown", PullReason::NotFound),
    ("name invalid", PullReason::NotFound),
    ("no such image", PullReason::NotFound),
    ("invalid reference format", PullReason::NotFound),
    ("unsupported manifest", PullReason::NoPlatform),
    ("not found", PullReason::NotFound),
];

/// A failure of the engine while it pulls or asks a registry.
pub(super) fn pull_fault(error: &ClientError) -> PullFault {
    let message = words(error);
    let reason = reason_of(&message).unwrap_or(match status(error) {
        Some(401 | 403) => PullReason::Auth,
        Some(404) => PullReason::NotFound,
        Some(429) => PullReason::RateLimited,
        _ => PullReason::Network,
    });
    PullFault { reason, retry_after_ms: retry_after_ms(&message), message }
}

fn reason_of(message: &str) -> Option<PullReason> {
    let message = message.to_lowercase();
    WORDS.iter().find(|(text, _)| message.contains(text)).map(|(_, reason)| *reason)
}

/// Registries put `retry-after: <Go duration>` into the text of a refusal.
fn retry_after_ms(message: &str) -> Option<u64> {
    let message = message.to_lowercase();
    let (_, rest) = message.split_once("retry-after:")?;
    let rest = rest.trim_start();
    let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    let value: f64 = rest[..number].parse().ok()?;
    let unit: String = rest[number..].chars().take_while(|c| c.is_alphabetic()).collect();
    let ms = match unit.as_str() {
        "ns" | "us" | "µs" | "μs" => 1.0,
        "ms" => value,
        "" | "s" => value * 1_000.0,
        "m" => value * 60_000.0,
        "h" => value * 3_600_000.0,
        _ => return None,
    };
    // A float's conversion saturates; a day is longer than any registry asks.
    Some(ms.ceil().clamp(1.0, 86_400_000.0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use PullReason::{Auth, DiskFull, Network, NoPlatform, NotFound, RateLimited};

    /// Texts of engines 20.10 to 28 with several registries.
    const REAL: [(&str, PullReason); 20] = [
        ("manifest for nginx:nope not found: manifest unknown: manifest unknown", NotFound),
        ("manifest unknown", NotFound),
        ("name unknown: repository name not known to registry", NotFound),
        (
            "failed to resolve reference \"127.0.0.1:5000/x:1\": 127.0.0.1:5000/x:1: not found",
            NotFound,
        ),
        (
            "pull access denied for nope, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
            Auth,
        ),
        (
            "Head \"https://registry.example/v2/x/manifests/1\": unauthorized: authentication required",
            Auth,
        ),
        ("Head \"https://registry.example/v2/x/manifests/1\": no basic auth credentials", Auth),
        (
            "unexpected status from HEAD request to https://registry.example/v2/x/manifests/1: 403 Forbidden",
            Auth,
        ),
        (
            "toomanyrequests: You have reached your pull rate limit. You may increase the limit by authenticating and upgrading",
            RateLimited,
        ),
        (
            "error pulling image configuration: download failed after attempts=6: toomanyrequests: retry-after: 385.86µs, allowed: 44000/minute",
            RateLimited,
        ),
        (
            "Get \"https://registry.example/v2/\": dial tcp: lookup registry.example: no such host",
            Network,
        ),
        (
            "Get \"https://registry.example/v2/\": dial tcp 192.0.2.1:443: connect: connection refused",
            Network,
        ),
        (
            "Get \"https://registry.example/v2/\": net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)",
            Network,
        ),
        (
            "Get \"https://registry.example/v2/\": http: server gave HTTP response to HTTPS client",
            Network,
        ),
        (
            "Get \"https://registry.example/v2/\": x509: certificate signed by unknown authority",
            Network,
        ),
        ("received unexpected HTTP status: 503 Service Unavailable", Network),
        ("no matching manifest for linux/arm/v7 in the manifest list entries", NoPlatform),
        (
            "image with reference x was found but does not match the specified platform: wanted linux/arm64, actual: linux/amd64",
            NoPlatform,
        ),
        (
            "failed to register layer: Error processing tar file(exit status 1): write /usr/lib/x: no space left on device",
            DiskFull,
        ),
        ("write /var/lib/docker/tmp/GetImageBlob1: no space left on device", DiskFull),
    ];

    #[test]
    fn real_messages_have_their_reason() {
        for (message, reason) in REAL {
            let error = ClientError::DockerStreamError { error: message.to_owned() };
            assert_eq!(pull_fault(&error).reason, reason, "{message}");
        }
    }

    #[test]
    fn a_status_decides_when_the_words_do_not() {
        for (status_code, reason) in
            [(401, Auth), (404, NotFound), (429, RateLimited), (500, Network)]
        {
            let error =
                ClientError::DockerResponseServerError { status_code, message: "?".to_owned() };
            assert_eq!(pull_fault(&error).reason, reason, "{status_code}");
        }
    }

    #[test]
    fn the_wait_that_a_registry_asks_for_is_read() {
        for (message, ms) in [
            ("toomanyrequests: retry-after: 385.86µs, allowed: 44000/minute", Some(1)),
            ("toomanyrequests: Retry-After: 12.5s", Some(12_500)),
            ("retry-after: 30", Some(30_000)),
            ("retry-after: 2m", Some(120_000)),
            ("retry-after: soon", None),
            ("denied", None),
        ] {
            assert_eq!(retry_after_ms(message), ms, "{message}");
        }
    }
}
