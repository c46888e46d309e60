//! HTTP API: decode, command or query, encode.

#![forbid(unsafe_code)]
