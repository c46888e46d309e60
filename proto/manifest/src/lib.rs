//! jaco.yaml and compose files to deployment specs, with positions in every error.
//!
//! Two halves. Loading ([`node`] and what feeds it) turns files into one tree of nodes that know
//! where they were written. Compiling turns that tree into a `jaco_model::spec::DeploymentSpec`
//! and a fate for every field. Nothing here opens a file by itself: the caller gives a `Files`.

#![forbid(unsafe_code)]

mod compile;
mod emit;
mod load;
mod mask;
pub mod node;
mod problem;
mod yaml;

pub use compile::{
    ALLOW_LABEL, DEFAULT_BIND_PATHS, Field, Input, ObjectSource, Outcome, PathKind, Treatment,
    compile, gated_fields, parse_duration,
};
pub use emit::emit;
pub use load::{
    FileKind, Files, LoadOptions, Loaded, MemFiles, NameChoice, Variables, check_resolved, load,
};
pub use mask::{MASKED, looks_secret, mask};
pub use problem::{Problem, Problems, Reason};
pub use yaml::{MAX_BYTES, MAX_DEPTH, MAX_NODES, parse_document, parse_document_of};
