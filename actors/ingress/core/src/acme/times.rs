//! Waits: between tries, before renewals.

use jaco_model::WallMs;
use jaco_model::entity::{CertificateFailure, IssuedCertificate};
use std::time::Duration;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// Lifetime up to which a certificate is renewed at its half.
const SHORT_LIFE: u64 = 10 * DAY;
/// Longest wait that an authority is believed.
const WAIT_MAX: Duration = Duration::from_secs(7 * 86_400);

/// The longest sleep: clocks may be set.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(600);
/// A wait that the authority asks for is written down when it is longer.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Tries of a provider of DNS, in one order.
pub(super) const PROVIDER_TRIES: u32 = 5;

/// Wait before request number `misses` + 1 of the same step.
pub(super) fn transient(misses: u32) -> Duration {
    let own = Duration::from_secs(5).saturating_mul(2_u32.saturating_pow(misses.min(16)));
    own.min(Duration::from_secs(300))
}

/// Wait after nonces were refused several times on end: not a failure, only unlucky.
pub(super) fn nonce(misses: u32) -> Duration {
    Duration::from_secs(1 << misses.min(4))
}

/// Wait before it is asked again how far something is. Authorities need a second or a few; then it
/// is not worth asking often.
pub(super) fn poll(misses: u32) -> Duration {
    Duration::from_millis(500 << misses.min(6))
}

/// Wait after failure number `attempt` of something that was refused.
pub(super) fn ladder(attempt: u32) -> Duration {
    Duration::from_millis(((15 * MINUTE) << attempt.saturating_sub(1).min(2)).min(HOUR))
}

/// The authority's wish when it is longer than ours.
pub(super) fn longer(own: Duration, asked: Option<Duration>) -> Duration {
    own.max(asked.unwrap_or_default().min(WAIT_MAX))
}

/// When a domain is tried again whose order has just failed.
pub(super) fn retry_at(
    now: WallMs,
    attempt: u32,
    before: Option<&CertificateFailure>,
    asked: Option<Duration>,
) -> WallMs {
    let age = before.map_or(0, |failure| now.0.saturating_sub(failure.since.0));
    let own = match age {
        age if age >= 30 * DAY => Duration::from_millis(DAY),
        age if age >= DAY => Duration::from_millis(6 * HOUR),
        _ => ladder(attempt),
    };
    after(now, longer(own, asked))
}

/// When a certificate is renewed whatever the authority advises: a twentieth of its life is left.
pub(super) fn last_renewal(issued: &IssuedCertificate) -> WallMs {
    let life = issued.not_after.0.saturating_sub(issued.not_before.0);
    WallMs(issued.not_after.0.saturating_sub(life / 20))
}

/// Before that no advice is followed: an authority whose windows are always over would be asked for
/// one certificate after the other.
pub(super) fn first_renewal(issued: &IssuedCertificate) -> WallMs {
    let life = issued.not_after.0.saturating_sub(issued.not_before.0);
    WallMs(issued.issued_at.0.saturating_add((life / 3).min(6 * HOUR)))
}

/// When a certificate is renewed without the authority's advice.
pub(super) fn renew_at(issued: &IssuedCertificate, draw: u64) -> WallMs {
    let life = issued.not_after.0.saturating_sub(issued.not_before.0);
    let left = if life <= SHORT_LIFE { life / 2 } else { life / 3 };
    let jittered = left / 1000 * (950 + draw % 101);
    WallMs(issued.not_after.0.saturating_sub(jittered))
}

/// A later time.
pub(super) fn after(now: WallMs, wait: Duration) -> WallMs {
    WallMs(now.0.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)))
}

/// A number that depends on nothing but a name and a seed.
pub(super) fn hash(name: &str, seed: u64) -> u64 {
    jaco_kit_core::mix::fnv(name.bytes(), seed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jaco_model::entity::CaKind;
    use jaco_model::spec::SecretText;

    fn issued(days: u64) -> IssuedCertificate {
        IssuedCertificate {
            chain: String::new(),
            key: SecretText::new(""),
            not_before: WallMs(0),
            not_after: WallMs(days * DAY),
            issued_at: WallMs(0),
            environment: CaKind::Custom,
            directory: String::new(),
        }
    }

    #[test]
    fn failures_follow_the_ladder() {
        let since = |age: u64| CertificateFailure {
            stage: String::new(),
            class: String::new(),
            detail: String::new(),
            attempts: 1,
            since: WallMs(100 * DAY - age),
            retry_at: WallMs(0),
        };
        let now = WallMs(100 * DAY);
        for (attempt, age, asked, minutes) in [
            (1, 0, 0, 15),
            (2, 15 * MINUTE, 0, 30),
            (3, 45 * MINUTE, 0, 60),
            (9, 6 * HOUR, 0, 60),
            (20, DAY, 0, 360),
            (99, 30 * DAY, 0, 1440),
            (1, 0, 7200, 120),
            (1, 0, 60, 15),
            (1, 0, 90 * 86_400, 7 * 1440),
        ] {
            let before = (age > 0).then(|| since(age));
            let asked = Some(Duration::from_secs(asked));
            let at = retry_at(now, attempt, before.as_ref(), asked);
            assert_eq!((at.0 - now.0) / MINUTE, minutes, "attempt {attempt}, age {age}");
        }
    }

    #[test]
    fn renewals_come_at_a_third_or_a_half() {
        for (days, low, high) in [(90, 58, 62), (45, 29, 31), (6, 2, 4)] {
            for draw in 0..101 {
                let at = renew_at(&issued(days), draw).0;
                assert!(at >= low * DAY && at <= high * DAY, "{days} days: {}", at / HOUR);
            }
        }
    }
}
