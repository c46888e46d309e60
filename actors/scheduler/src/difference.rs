//! Which fields of a container changed between two revisions, by name and never by value.

use crate::need;
use jaco_model::entity::RevisionRecord;
use jaco_model::spec::ServiceSpec;
use jaco_model::{Revision, ServiceName};
use serde_json::Value;
use std::collections::BTreeSet;

/// Fields whose keys say more than the field's name.
const KEYED: [(&str, &str); 4] = [
    ("environment", "env"),
    ("labels", "labels"),
    ("annotations", "annotations"),
    ("sysctls", "sysctls"),
];

/// The fields by which a service's container differs, such as `image` and `env.MODE`, sorted.
pub(crate) fn reasons(
    before: &RevisionRecord,
    after: &RevisionRecord,
    service: &ServiceName,
) -> Vec<String> {
    let mut found = BTreeSet::new();
    let (old, new) = (before.spec.services.get(service), after.spec.services.get(service));
    let (Some(old), Some(new)) = (old, new) else { return Vec::new() };
    compare_services(old, new, &mut found);
    if digest(before, service) != digest(after, service) {
        found.insert("image".to_owned());
    }
    let volumes = |record: &RevisionRecord, key: &str| record.spec.volumes.get(key).cloned();
    if need::mounted_volumes(new).any(|key| volumes(before, key) != volumes(after, key)) {
        found.insert("volumes".to_owned());
    }
    let networks = |record: &RevisionRecord, key: &str| record.spec.networks.get(key).cloned();
    let mut attached = new.container.networks.iter().map(|attachment| attachment.network.as_str());
    if attached.any(|key| networks(before, key) != networks(after, key)) {
        found.insert("networks".to_owned());
    }
    found.into_iter().collect()
}

fn digest<'a>(record: &'a RevisionRecord, service: &ServiceName) -> Option<&'a str> {
    record.images.get(service).map(|pin| pin.digest.as_str())
}

fn compare_services(old: &ServiceSpec, new: &ServiceSpec, found: &mut BTreeSet<String>) {
    // A spec that cannot be written as JSON could not have been stored.
    let value = |spec: &ServiceSpec| serde_json::to_value(&spec.container).unwrap_or_default();
    compare(&value(old), &value(new), "", found);
    if old.probe != new.probe {
        found.insert("probe".to_owned());
    }
    if old.ports != new.ports {
        found.insert("ports".to_owned());
    }
}

/// Objects are compared key by key, everything else as a whole.
fn compare(old: &Value, new: &Value, path: &str, found: &mut BTreeSet<String>) {
    if old == new {
        return;
    }
    let (Value::Object(old), Value::Object(new)) = (old, new) else {
        found.insert(path.to_owned());
        return;
    };
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for key in keys {
        let name = KEYED.iter().find(|(field, _)| field == key).map_or(key.as_str(), |k| k.1);
        let below = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        compare(
            old.get(key).unwrap_or(&Value::Null),
            new.get(key).unwrap_or(&Value::Null),
            &below,
            found,
        );
    }
}

/// What makes a new instance when the revision is not the cause.
pub(crate) fn of_instance(
    before: Option<&RevisionRecord>,
    after: &RevisionRecord,
    service: &ServiceName,
    ran: Revision,
) -> Vec<String> {
    let reasons = before.filter(|_| ran != after.number).map(|b| reasons(b, after, service));
    reasons.filter(|reasons| !reasons.is_empty()).unwrap_or_else(|| vec!["restart".to_owned()])
}
