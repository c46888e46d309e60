//! Certificates of members, and the mutually authenticated transport between them.
#![forbid(unsafe_code)]
