//! Which request reaches which replica, and what is done to it on the way.
//!
//! Decides from the replicated state which domains, routes and ports this node serves, which
//! replicas may take a request, and which one does. It opens no socket: the driver moves bytes,
//! asks [`Table`] about each request, and carries out the [`Effect`]s of [`IngressCore`].

#![forbid(unsafe_code)]

pub mod acme;
pub mod request;

mod build;
mod core;
mod effect;
mod endpoints;
mod flood;
mod frames;
mod input;
mod listeners;
mod names;
mod pem;
mod port;
mod proxy_protocol;
mod table;
mod websocket;

pub use crate::core::IngressCore;
pub use effect::Effect;
pub use flood::{Flood, FloodGuard};
pub use input::Input;
pub use listeners::{ListenKey, ListenKind, Settings, SocketFault};
pub use names::{Named, Names};
pub use pem::split_pem;
pub use port::choose as choose_for_port;
pub use proxy_protocol::{NotProxied, ProxyEnds, ProxyHeader, read_proxy_header};
pub use table::{
    Endpoint, PortTarget, Route, ServedCertificate, Service, Site, Table, Terms, TicketSecret,
};
pub use websocket::{Messages, going_away};
