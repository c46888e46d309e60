//! What a certificate is in one word, and when somebody must hear of it.

use super::CertificateRow;
use jaco_model::WallMs;
use jaco_model::entity::CaKind;
use std::fmt;

const DAY: u64 = 86_400_000;
/// Lifetime up to which a certificate is renewed at its half, not at its last third.
const SHORT_LIFE: u64 = 10 * DAY;
/// Failures in a row after which a domain without a certificate counts as failed.
const FAILED_AFTER: u32 = 3;
/// Days before the end of a user's own certificate at which there is an alarm.
const OWN_ALARMS: [u64; 4] = [1, 7, 14, 30];

/// What a certificate is, in the words of `status`.
///
/// | certificate | order | last failure | status |
/// |---|---|---|---|
/// | over | any | any | `expired` |
/// | none | a rehearsal | any | `staging` |
/// | none | any other | any | `pending` |
/// | none | none | the third or later | `failed` |
/// | none | none | an earlier one, or none | `pending` |
/// | in date | any | any | `renewing` |
/// | in date | none | any | `failed` |
/// | in date | none | none | `active` |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateStatus {
    /// Wanted and not there yet: plain HTTP is served meanwhile.
    Pending,
    /// A rehearsal runs.
    Staging,
    /// Valid, and a new one is being had.
    Renewing,
    /// The last order failed; an older certificate is served until it ends.
    Failed,
    /// Valid and served.
    Active,
    /// Over, and served on.
    Expired,
}

impl CertificateStatus {
    /// Its name in views.
    pub const fn as_str(self) -> &'static str {
        match self {
            CertificateStatus::Pending => "pending",
            CertificateStatus::Staging => "staging",
            CertificateStatus::Renewing => "renewing",
            CertificateStatus::Failed => "failed",
            CertificateStatus::Active => "active",
            CertificateStatus::Expired => "expired",
        }
    }
}

/// What is wrong with the time of a certificate, or soon will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateAlarm {
    /// It is over.
    Expired,
    /// It ends in so many whole days.
    Ends {
        /// Whole days left.
        days: u64,
    },
    /// It should have been renewed some time ago.
    Overdue,
}

impl fmt::Display for CertificateAlarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CertificateAlarm::Expired => f.write_str("it has expired and is served on"),
            CertificateAlarm::Ends { days: 0 } => f.write_str("it ends within a day"),
            CertificateAlarm::Ends { days: 1 } => f.write_str("it ends in 1 day"),
            CertificateAlarm::Ends { days } => write!(f, "it ends in {days} days"),
            CertificateAlarm::Overdue => f.write_str("its renewal is overdue"),
        }
    }
}

impl CertificateRow {
    /// What it is at `now`.
    pub fn status(&self, now: WallMs) -> CertificateStatus {
        match (self.not_after, self.order) {
            (Some(end), _) if end <= now => CertificateStatus::Expired,
            (Some(_), Some(_)) => CertificateStatus::Renewing,
            (Some(_), None) if self.last_error.is_some() => CertificateStatus::Failed,
            (Some(_), None) => CertificateStatus::Active,
            (None, Some(CaKind::Staging)) => CertificateStatus::Staging,
            (None, None) if self.attempts >= FAILED_AFTER => CertificateStatus::Failed,
            (None, _) => CertificateStatus::Pending,
        }
    }

    /// What is to be said of its time at `now`.
    pub fn alarm(&self, now: WallMs) -> Option<CertificateAlarm> {
        automatic_alarm(self.not_before?, self.not_after?, now)
    }
}

/// The alarm of an automatic certificate: its last week or tenth, whichever is shorter, or when a
/// quarter of the time is gone that its renewal had.
fn automatic_alarm(begin: WallMs, end: WallMs, now: WallMs) -> Option<CertificateAlarm> {
    let life = end.0.saturating_sub(begin.0);
    let due = if life <= SHORT_LIFE { life / 2 } else { life / 3 };
    match end.0.saturating_sub(now.0) {
        0 => Some(CertificateAlarm::Expired),
        left if left <= (life / 10).min(7 * DAY) => {
            Some(CertificateAlarm::Ends { days: left / DAY })
        }
        left if left <= due / 4 * 3 => Some(CertificateAlarm::Overdue),
        _ => None,
    }
}

/// The alarm of a certificate that a user gave: 30, 14, 7 days and the day before its end.
pub fn own_certificate_alarm(end: WallMs, now: WallMs) -> Option<CertificateAlarm> {
    match end.0.saturating_sub(now.0) {
        0 => Some(CertificateAlarm::Expired),
        left => {
            let reached = OWN_ALARMS.into_iter().find(|days| left <= days * DAY)?;
            Some(CertificateAlarm::Ends { days: reached.min(left.div_ceil(DAY)) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(days: u64) -> WallMs {
        WallMs(days * DAY)
    }

    fn row(not_after: Option<u64>) -> CertificateRow {
        CertificateRow {
            not_before: not_after.map(|_| WallMs(0)),
            not_after: not_after.map(day),
            ..CertificateRow::default()
        }
    }

    #[test]
    fn the_status_follows_from_certificate_order_and_failure() {
        use CertificateStatus::{Active, Expired, Failed, Pending, Renewing, Staging};
        let failed = |attempts| Some(attempts);
        for (end, order, failure, status) in [
            (Some(9), None, None, Expired),
            (Some(9), Some(CaKind::Production), None, Expired),
            (Some(90), None, None, Active),
            (Some(90), Some(CaKind::Production), None, Renewing),
            (Some(90), Some(CaKind::Production), failed(1), Renewing),
            (Some(90), None, failed(1), Failed),
            (None, None, None, Pending),
            (None, Some(CaKind::Staging), None, Staging),
            (None, Some(CaKind::Production), failed(5), Pending),
            (None, None, failed(2), Pending),
            (None, None, failed(3), Failed),
        ] {
            let row = CertificateRow {
                order,
                attempts: failure.unwrap_or_default(),
                last_error: failure.map(|_| "no".to_owned()),
                ..row(end)
            };
            assert_eq!(row.status(day(10)), status, "{row:?}");
        }
    }

    #[test]
    fn an_automatic_certificate_is_late_before_it_is_over() {
        use CertificateAlarm::{Ends, Expired, Overdue};
        for (life, at, alarm) in [
            (90, 60, None),
            (90, 67, None),
            (90, 68, Some(Overdue)),
            (90, 82, Some(Overdue)),
            (90, 83, Some(Ends { days: 7 })),
            (90, 89, Some(Ends { days: 1 })),
            (90, 90, Some(Expired)),
            (90, 99, Some(Expired)),
            (6, 3, None),
            (6, 4, Some(Overdue)),
        ] {
            assert_eq!(row(Some(life)).alarm(day(at)), alarm, "{life} days, day {at}");
        }
        assert_eq!(row(None).alarm(day(1)), None);
    }

    #[test]
    fn an_own_certificate_is_announced_a_month_ahead() {
        use CertificateAlarm::{Ends, Expired};
        for (left, alarm) in [
            (31, None),
            (30, Some(Ends { days: 30 })),
            (29, Some(Ends { days: 29 })),
            (1, Some(Ends { days: 1 })),
            (0, Some(Expired)),
        ] {
            assert_eq!(own_certificate_alarm(day(100), day(100 - left)), alarm, "{left} days");
        }
    }
}
