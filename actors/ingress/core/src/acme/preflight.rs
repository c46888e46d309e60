//! What a look before an order may find (ingress.md §13, rule 3).

use std::fmt;

/// Why an order would fail at the authority, seen before it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreflightFailure {
    /// What kind of thing it is.
    pub cause: PreflightCause,
    /// For people.
    pub detail: String,
}

/// What stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreflightCause {
    /// The domain leads nowhere.
    NoAddress,
    /// Its addresses cannot be looked up.
    AddressUnknown,
    /// CAA records do not let the authority issue.
    CaaForbids,
    /// CAA records cannot be looked up, which authorities take for a no.
    CaaUnknown,
}

impl PreflightCause {
    /// The `reason` of `preflight_failed` in views (errors-and-states.md).
    pub fn reason(self) -> &'static str {
        match self {
            PreflightCause::NoAddress | PreflightCause::AddressUnknown => "dns",
            PreflightCause::CaaForbids | PreflightCause::CaaUnknown => "caa",
        }
    }

    /// Whether it may pass without anybody changing a record.
    pub fn is_transient(self) -> bool {
        matches!(self, PreflightCause::AddressUnknown | PreflightCause::CaaUnknown)
    }
}

impl fmt::Display for PreflightFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}
