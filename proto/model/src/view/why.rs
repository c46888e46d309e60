//! `jaco why`: what is asked, and the chain of links that answers it.

use serde::{Deserialize, Serialize};

/// What is to be explained. Which of the fields are set says what kind of question it is:
///
/// | fields | question |
/// |---|---|
/// | `subject` | a replica, else a node of that name, else a domain |
/// | `node` | a node |
/// | `name`, `from` | what a name is to a replica |
/// | `route` | a domain and a path: what becomes of a request |
/// | `cert` | the certificate of a domain |
/// | `to`, `from` | the way of packets from a replica to a replica or an address |
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhyQuestion {
    /// A replica, one of its instances, a service `<dep>/<service>`, a node, or a domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// A node by its hostname.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// A name as a program would ask for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A domain, or a domain and a path: `shop.example.com/api`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// A domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert: Option<String>,
    /// The replica that asks or connects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// A replica or an IPv4 address, with `:<port>[/tcp|/udp]` if wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// Answer of `jaco why`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyView {
    /// What was asked about, in full.
    pub subject: String,
    /// `replica`, `node`, `name`, `path`, `route` or `cert`.
    pub kind: String,
    /// Whether every link holds.
    pub ok: bool,
    /// The answer in one sentence.
    pub summary: String,
    /// The links in the order of cause and effect.
    pub chain: Vec<WhyStep>,
    /// What to do about the first broken link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// One link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyStep {
    /// Which link, such as `scheduling` or `filter`.
    pub step: String,
    /// Whether it holds.
    pub ok: bool,
    /// Since when, RFC 3339, as far as known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ts: Option<String>,
    /// Why it is broken, as a word for scripts: an error code, a reason of the packet filter to
    /// drop, or `mesh_…` and `dns_…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What was found.
    pub detail: String,
    /// Who says so: `state`, `dns` as the node that answers resolves names, or the hostname of a
    /// node that looked just now.
    pub source: String,
}
