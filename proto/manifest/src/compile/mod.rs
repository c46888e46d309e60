//! Compiling: from the resolved trees to a deployment spec and a fate for every field.
//!
//! Decoding reads every map against a closed table of keys and never stops at a fault; drafts
//! keep the places of whatever is checked later; resolving applies precedence and defaults; the
//! cross checks run last. The same code runs in the client and on the server, so that an offline
//! pass means the same online. Nothing here looks at the world except through [`Input::look`].

mod admission;
mod assemble;
mod binds;
mod constraints;
mod container;
mod cx;
mod depends;
mod deploy;
mod devices;
mod graph;
mod health;
#[cfg(test)]
mod manual;
mod mounts;
mod networks;
mod objects;
mod options;
mod port_checks;
mod ports;
mod probe;
mod providers;
mod resolve;
mod resources;
mod route_access;
mod route_checks;
mod route_headers;
mod route_options;
mod route_secrets;
mod routes;
mod scalar;
mod schedule;
mod schema;
mod security;
mod service;
mod service_index;
mod service_keys;
mod storage;
mod top;
mod units;
mod volumes;

pub use admission::{ALLOW_LABEL, DEFAULT_BIND_PATHS, gated_fields};
pub use assemble::compile;
pub use cx::Field;
pub use mounts::PathKind;
pub use objects::ObjectSource;
pub use schema::Treatment;
pub use units::duration as parse_duration;

use crate::node::Node;
use crate::{Problem, Problems};
use jaco_model::ServiceName;
use jaco_model::spec::{DeploymentSpec, SecretText};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What to compile.
#[derive(Clone)]
pub struct Input<'a> {
    /// The compose document after merge and interpolation.
    pub compose: &'a Node,
    /// jaco.yaml after interpolation.
    pub overlay: Option<&'a Node>,
    /// File names by their ids in positions.
    pub files: Vec<String>,
    /// `--name`.
    pub name: Option<&'a str>,
    /// Name of the directory of the first compose file, for a deployment that names itself
    /// nowhere.
    pub directory: Option<&'a str>,
    /// What is at a path relative to the compose file; `None` on the server.
    pub look: Option<&'a dyn Fn(&str) -> PathKind>,
    /// Services that no enabled profile asks for.
    pub disabled: BTreeSet<String>,
    /// `admission.bind_paths` of the cluster.
    pub bind_paths: Vec<String>,
    /// Content of secrets that routes refer to, as far as it is known; see [`Outcome::wanted`].
    pub secrets: BTreeMap<String, SecretText>,
    /// Content of configs that routes refer to, likewise; see [`Outcome::wanted_configs`].
    pub configs: BTreeMap<String, String>,
}

impl<'a> Input<'a> {
    /// A document without overlay, with the defaults of a cluster.
    pub fn new(compose: &'a Node, files: Vec<String>) -> Input<'a> {
        Input {
            compose,
            overlay: None,
            files,
            name: None,
            directory: None,
            look: None,
            disabled: BTreeSet::new(),
            bind_paths: DEFAULT_BIND_PATHS.map(str::to_owned).to_vec(),
            secrets: BTreeMap::new(),
            configs: BTreeMap::new(),
        }
    }
}

impl fmt::Debug for Input<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input")
            .field("files", &self.files)
            .field("name", &self.name)
            .field("directory", &self.directory)
            .field("disabled", &self.disabled)
            .finish_non_exhaustive()
    }
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The spec; `None` as soon as there is one error.
    pub spec: Option<DeploymentSpec>,
    /// Whether the name came from a directory and not from a file or flag.
    pub name_derived: bool,
    /// Errors and warnings.
    pub problems: Problems,
    /// What became of each field, in the order of the files.
    pub fields: Vec<Field>,
    /// What is valid and what this version does not run: `validate` passes, `apply` refuses.
    pub not_in_version: Vec<Problem>,
    /// Secrets that routes refer to and that only the client can read.
    pub wanted: BTreeMap<String, ObjectSource>,
    /// Configs whose content the spec needs likewise, and where the client finds it.
    pub wanted_configs: BTreeMap<String, ObjectSource>,
    /// Gated fields of each service that has some.
    pub privileged: BTreeMap<ServiceName, Vec<String>>,
}
