//! jaco.yaml and compose files to deployment specs, with positions in every error.

#![forbid(unsafe_code)]
