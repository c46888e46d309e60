//! Carries out the core's orders on a thread of its own, and listens on another.

use crate::conntrack;
use crate::encode;
use crate::error::Error;
use crate::notice::Watch;
use crate::readback;
use crate::socket::{Batch, Socket};
use jaco_firewall_core::{Effect, Fault, Input, Written};
use rustix::event::{EventfdFlags, eventfd};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// The packet filter driver, before it runs.
#[derive(Debug)]
pub struct Driver;

/// A running driver. Cloning shares it; when the last clone goes, its threads end after the orders
/// that were given.
#[derive(Clone, Debug)]
pub struct DriverHandle {
    orders: Sender<Effect>,
    _stop: Arc<Stop>,
}

impl Driver {
    /// Starts the driver for the network namespace of the calling thread. Inputs go to `deliver`,
    /// from two threads; it must not block.
    ///
    /// # Errors
    /// When the kernel gives no netlink socket or the system no thread.
    pub fn spawn(deliver: impl Fn(Input) + Send + Sync + 'static) -> Result<DriverHandle, Error> {
        let deliver: Arc<dyn Fn(Input) + Send + Sync> = Arc::new(deliver);
        let socket = Socket::open()?;
        let watch = Watch::open(socket.port())?;
        let failed = |what| move |source| Error::Socket { what, source };
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| failed("make an event")(error.into()))?;
        let stop = Arc::new(Stop(stop));
        let (orders, received) = channel();
        let answer = deliver.clone();
        thread::Builder::new()
            .name("firewall".to_owned())
            .spawn(move || work(socket, &received, &*answer))
            .map_err(failed("start a thread"))?;
        let stopped = stop.0.try_clone().map_err(failed("share an event"))?;
        thread::Builder::new()
            .name("firewall-watch".to_owned())
            .spawn(move || watch.run(&stopped, &*deliver))
            .map_err(failed("start a thread"))?;
        Ok(DriverHandle { orders, _stop: stop })
    }
}

impl DriverHandle {
    /// Carries out one order in the background, after those given before. Its outcome arrives as
    /// exactly one input. Reports are not for the kernel: they are ignored.
    pub fn run(&self, effect: Effect) {
        if self.orders.send(effect).is_err() {
            tracing::error!("the packet filter driver has ended");
        }
    }
}

/// Wakes the listening thread when dropped.
#[derive(Debug)]
struct Stop(OwnedFd);

impl Drop for Stop {
    fn drop(&mut self) {
        if let Err(error) = rustix::io::write(&self.0, &1_u64.to_ne_bytes()) {
            tracing::debug!(%error, "cannot stop listening for nftables changes");
        }
    }
}

fn work(mut socket: Socket, orders: &Receiver<Effect>, deliver: &dyn Fn(Input)) {
    while let Ok(effect) = orders.recv() {
        if let Some(input) = execute(&mut socket, effect) {
            deliver(input);
        }
    }
}

fn execute(socket: &mut Socket, effect: Effect) -> Option<Input> {
    Some(match effect {
        Effect::Write { op, ruleset } => {
            let result = write(socket, encode::everything(&ruleset));
            Input::Written { op, result }
        }
        Effect::WriteElements { op, delta, generation } => {
            let written = socket.transact(Some(generation), encode::elements(&delta));
            let result = written.map(|()| Written { generation: after(generation) });
            Input::Written { op, result: result.map_err(Fault::from) }
        }
        Effect::ReadBack { op } => {
            Input::ReadBack { op, result: readback::read(socket).map_err(Fault::from) }
        }
        Effect::EndFlows { op, flows } => {
            let result = conntrack::forget(socket, &flows).map_err(Fault::from);
            Input::FlowsEnded { op, result }
        }
        Effect::Report(_) => return None,
    })
}

/// Writes against the present generation, so that the next one is known to be ours.
fn write(socket: &mut Socket, batch: Batch) -> Result<Written, Fault> {
    let generation = socket.generation()?;
    socket.transact(Some(generation), batch)?;
    Ok(Written { generation: after(generation) })
}

/// The kernel counts transactions and leaves out zero.
fn after(generation: u32) -> u32 {
    generation.wrapping_add(1).max(1)
}
