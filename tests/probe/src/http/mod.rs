//! HTTP/1.1, as much as a test workload needs: persistent connections, sized and chunked bodies.
//!
//! No TLS and no HTTP/2: in a stack those end at the ingress.

pub(crate) mod body;
pub(crate) mod head;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod server;
pub(crate) mod url;
