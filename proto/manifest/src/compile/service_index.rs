//! The services of one file by name, and which of them profiles leave out.

use super::service::Draft;
use jaco_model::ServiceName;
use std::collections::{BTreeMap, BTreeSet};

/// Enabled drafts by name.
pub(super) struct Services<'d> {
    drafts: BTreeMap<&'d ServiceName, &'d Draft>,
    disabled: &'d BTreeSet<String>,
}

impl<'d> Services<'d> {
    pub(super) fn new(drafts: &'d [Draft], disabled: &'d BTreeSet<String>) -> Services<'d> {
        let enabled = drafts.iter().filter(|draft| !disabled.contains(draft.name.as_str()));
        Services { drafts: enabled.map(|draft| (&draft.name, draft)).collect(), disabled }
    }

    pub(super) fn enabled(&self, name: &ServiceName) -> Option<&'d Draft> {
        self.drafts.get(name).copied()
    }

    pub(super) fn is_disabled(&self, name: &ServiceName) -> bool {
        self.disabled.contains(name.as_str())
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'d str> {
        self.drafts.keys().map(|name| name.as_str())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &'d Draft> {
        self.drafts.values().copied()
    }
}
