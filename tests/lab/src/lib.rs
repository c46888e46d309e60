//! Hosts as network namespaces.
