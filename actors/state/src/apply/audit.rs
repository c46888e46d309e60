//! The audit log: one line in the same command as the change it describes, in a bounded ring.

use super::Tx;
use crate::AuditLine;
use jaco_model::Millis;
use jaco_model::entity::AuditEvent;
use jaco_model::event::Event;
use std::collections::BTreeMap;

const LINES_KEPT: usize = 10_000;
const BYTES_KEPT: u64 = 8 << 20;
const AGE_KEPT: Millis = Millis::secs(30 * 86_400);
/// Longest payload of one line, in bytes of keys and values.
const PAYLOAD_MAX: usize = 2_048;
/// Longest value of a payload, in bytes.
const VALUE_MAX: usize = 512;

impl Tx<'_> {
    /// Writes one line. `facts` never holds a secret, a token or an environment value.
    pub(super) fn audit(&mut self, kind: &str, facts: &[(&str, String)]) {
        let event = AuditEvent {
            kind: kind.to_owned(),
            identity: self.identity.clone(),
            ts: self.now,
            raft_index: self.index,
            payload: payload(self.os_user, facts),
        };
        let number = self.state.audit.get_max().map_or(1, |(last, _)| last + 1);
        self.state.put(AuditLine { number, event: event.clone() });
        self.events.push(Event::Audited(event));
        self.prune_audit();
    }

    /// Drops the oldest lines beyond a limit; the newest always stays, as it carries the number.
    fn prune_audit(&mut self) {
        let kept_since = self.now.0.saturating_sub(AGE_KEPT.0);
        while let Some((number, oldest)) = self.state.audit.get_min().cloned() {
            let over = self.state.audit.len() > LINES_KEPT
                || self.state.audit_bytes > BYTES_KEPT
                || oldest.event.ts.0 < kept_since;
            if !over || self.state.audit.len() == 1 {
                return;
            }
            self.state.take::<AuditLine>(&number);
        }
    }
}

/// The facts within their limits; the first ones win.
fn payload(os_user: Option<&str>, facts: &[(&str, String)]) -> BTreeMap<String, String> {
    let os_user = os_user.map(|user| ("os_user", user.to_owned()));
    let mut payload = BTreeMap::new();
    let mut size = 0;
    for (key, value) in facts.iter().cloned().chain(os_user) {
        let value = shortened(value);
        size += key.len() + value.len();
        if size > PAYLOAD_MAX {
            break;
        }
        payload.insert(key.to_owned(), value);
    }
    payload
}

fn shortened(mut value: String) -> String {
    if value.len() > VALUE_MAX {
        let end = value.floor_char_boundary(VALUE_MAX);
        value.truncate(end);
        value.push('…');
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_stays_within_its_limit() {
        let facts: Vec<_> = ["a", "b", "c", "d", "e"].map(|key| (key, "ü".repeat(400))).into();
        let payload = payload(Some("1000(ann)"), &facts);
        let size: usize = payload.iter().map(|(key, value)| key.len() + value.len()).sum();
        assert!(size <= PAYLOAD_MAX, "{size}");
        assert_eq!(payload.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert!(payload["a"].ends_with("ü…"));
    }
}
