//! Memory of connections on which nothing happens.

use std::time::Duration;

use anyhow::Result;
use jaco_lab::until;

use super::load::{Speech, idle_command};
use super::peers::Proxy;
use super::stage::{Stage, open_files};
use crate::bench::measure::{rest, rss_mb};
use crate::bench::{Figure, Goal, Sink};

/// Connections.
const CONNECTIONS: usize = 4_000;
/// Longest time until all are open.
const PATIENCE: Duration = Duration::from_secs(60);
/// After that, the last requests are answered too.
const SETTLES: Duration = Duration::from_secs(3);

/// Connections that asked once, in the clear and with TLS. Those of HTTP/2 are few, as a client
/// needs no second one: their memory is told, but has no goal.
pub(super) fn measure(stage: &Stage, sink: &mut Sink) -> Result<()> {
    for (speech, name, goal) in [
        (Speech::Http1, "memory of an idle connection", Goal::Most(20.0)),
        (Speech::Https, "memory of an idle TLS connection", Goal::Most(20.0)),
        (Speech::Http2, "memory of an idle HTTP/2 connection", Goal::None),
    ] {
        let ours = memory(stage, Proxy::Jaco, speech)?;
        let theirs = memory(stage, Proxy::Nginx, speech)?;
        sink.put(&Figure {
            name: name.into(),
            value: ours,
            unit: "KiB",
            peer: Some(("nginx", theirs)),
            goal,
        })?;
    }
    Ok(())
}

/// What a fresh process grows by per connection, in KiB.
fn memory(stage: &Stage, proxy: Proxy, speech: Speech) -> Result<f64> {
    let mut door = proxy.start(stage)?;
    let (files, before) = (open_files(door.pid())?, rss_mb(door.pid())?);
    let mut clients = stage.beside(idle_command(stage, proxy, speech, CONNECTIONS))?;
    until("all connections", PATIENCE, || {
        clients.check()?;
        Ok((open_files(door.pid())? >= files + CONNECTIONS).then_some(()))
    })?;
    rest(SETTLES);
    clients.check()?;
    let after = rss_mb(door.pid())?;
    door.check()?;
    Ok((after - before) * 1e6 / 1_024.0 / CONNECTIONS as f64)
}
