//! How orders of certificates end.

use jaco_model::entity::{AuditEvent, CaKind};

/// Ends of orders while this node led, from the start of the daemon on: summed up over all nodes
/// every order counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Renewals {
    issued: u64,
    renewed: u64,
    rehearsed: u64,
    failed: u64,
}

impl Renewals {
    /// Takes a line of the audit log that this node has just written; whether it is of an order.
    pub(crate) fn count(&mut self, line: &AuditEvent) -> bool {
        let is_rehearsal =
            line.payload.get("env").is_some_and(|env| env == CaKind::Staging.as_str());
        let result = match line.kind.as_str() {
            "certificate_issued" | "certificate_renewed" if is_rehearsal => &mut self.rehearsed,
            "certificate_issued" => &mut self.issued,
            "certificate_renewed" => &mut self.renewed,
            "certificate_failed" => &mut self.failed,
            _ => return false,
        };
        *result += 1;
        true
    }

    /// By the label `result`.
    pub(super) fn results(&self) -> [(&'static str, u64); 4] {
        [
            ("failed", self.failed),
            ("issued", self.issued),
            ("rehearsed", self.rehearsed),
            ("renewed", self.renewed),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jaco_model::{Identity, WallMs};

    #[test]
    fn every_end_counts_once_and_rehearsals_apart() {
        let mut renewals = Renewals::default();
        for (kind, env, counts) in [
            ("certificate_issued", "staging", true),
            ("certificate_issued", "production", true),
            ("certificate_renewed", "custom", true),
            ("certificate_renewed", "custom", true),
            ("certificate_failed", "staging", true),
            ("clock_skew", "", false),
        ] {
            let line = AuditEvent {
                kind: kind.to_owned(),
                identity: Identity::from("system"),
                ts: WallMs(1),
                raft_index: 1,
                payload: [("env".to_owned(), env.to_owned())].into(),
            };
            assert_eq!(renewals.count(&line), counts, "{kind}");
        }
        let expected = [("failed", 1), ("issued", 1), ("rehearsed", 1), ("renewed", 2)];
        assert_eq!(renewals.results(), expected);
    }
}
