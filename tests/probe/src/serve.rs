//! The server mode: opens every socket, says so in one line, and serves until a signal.

use std::collections::BTreeMap;
use std::io;
use std::net::{TcpListener, ToSocketAddrs, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};

use crate::clock::Since;
use crate::echo;
use crate::http;
use crate::identity::Identity;
use crate::settings::Settings;
use crate::signals;

/// What the server has seen, for tests that ask whether a request arrived here.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) upload_bytes: AtomicU64,
    pub(crate) tcp_connections: AtomicU64,
    pub(crate) udp_datagrams: AtomicU64,
    /// Datagrams of a watch by the number of its path.
    pub(crate) watched: Mutex<BTreeMap<u32, u64>>,
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) identity: Identity,
    pub(crate) settings: Settings,
    pub(crate) counters: Arc<Counters>,
    pub(crate) healthy: AtomicBool,
    pub(crate) started: Since,
}

/// Serves for ever; returns only when a socket cannot be opened.
pub(crate) fn run(settings: &Settings) -> Result<(), String> {
    signals::handle(settings.on_signal).map_err(|error| format!("signals: {error}"))?;
    let counters = Arc::new(Counters::default());
    let http = on_any(settings.http_port, TcpListener::bind)?;
    let http_port = http.local_addr().map_err(|error| error.to_string())?.port();
    let tcp_port = start_tcp(settings, &counters)?;
    let udp_port = start_udp(settings, &counters)?;

    let identity = Identity::read();
    println!(
        "probe: serving http={http_port} tcp={} udp={} hostname={} instance={}",
        shown(tcp_port),
        shown(udp_port),
        identity.hostname,
        identity.instance
    );
    let shared = Arc::new(Shared {
        identity,
        settings: settings.clone(),
        counters,
        healthy: AtomicBool::new(true),
        started: Since::now(),
    });
    http::server::serve(&http, &shared);
    Ok(())
}

fn start_tcp(settings: &Settings, counters: &Arc<Counters>) -> Result<Option<u16>, String> {
    let Some(port) = settings.tcp_port else { return Ok(None) };
    let listener = on_any(port, TcpListener::bind)?;
    let bound = listener.local_addr().map_err(|error| error.to_string())?.port();
    echo::serve_tcp(listener, Arc::clone(counters)).map_err(|error| error.to_string())?;
    Ok(Some(bound))
}

fn start_udp(settings: &Settings, counters: &Arc<Counters>) -> Result<Option<u16>, String> {
    let Some(port) = settings.udp_port else { return Ok(None) };
    let socket = on_any(port, UdpSocket::bind)?;
    let bound = socket.local_addr().map_err(|error| error.to_string())?.port();
    echo::serve_udp(socket, Arc::clone(counters)).map_err(|error| error.to_string())?;
    Ok(Some(bound))
}

/// Binds on both address families, or on IPv4 alone where the kernel has no IPv6.
fn on_any<S>(port: u16, bind: impl Fn(AnyAddress) -> io::Result<S>) -> Result<S, String> {
    bind(AnyAddress { ip: "::", port })
        .or_else(|_| bind(AnyAddress { ip: "0.0.0.0", port }))
        .map_err(|error| format!("port {port}: {error}"))
}

/// An unspecified address; a type of its own because the two binds share no other argument.
#[derive(Debug, Clone, Copy)]
struct AnyAddress {
    ip: &'static str,
    port: u16,
}

impl ToSocketAddrs for AnyAddress {
    type Iter = <(&'static str, u16) as ToSocketAddrs>::Iter;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        (self.ip, self.port).to_socket_addrs()
    }
}

fn shown(port: Option<u16>) -> String {
    port.map_or_else(|| "-".to_owned(), |port| port.to_string())
}
