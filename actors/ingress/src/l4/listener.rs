//! One published port: its replicas, who is connected to which, and who has to go.

use super::counters::{Counters, add};
use jaco_ingress_core::{Endpoint, ListenKey, PortTarget, Service, Table, choose_for_port};
use jaco_model::InstanceId;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;

/// What all tasks of a listener share.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) key: ListenKey,
    pub(super) counters: Arc<Counters>,
    table: RefCell<Arc<Table>>,
    lanes: RefCell<BTreeMap<InstanceId, Rc<Lane>>>,
    roll: Cell<u64>,
    drain: Cell<Duration>,
}

/// The connections of a listener to one replica.
#[derive(Debug)]
pub(super) struct Lane {
    active: Cell<u32>,
    /// How long they may go on; `None` while the replica may take more.
    leaving: watch::Sender<Option<Duration>>,
}

/// A connection while it lasts.
#[derive(Debug)]
pub(super) struct Seat {
    listener: Rc<Listener>,
    lane: Rc<Lane>,
}

impl Listener {
    pub(super) fn new(key: ListenKey, table: Arc<Table>, seed: u64) -> Listener {
        Listener {
            key,
            counters: Arc::default(),
            table: RefCell::new(table),
            lanes: RefCell::default(),
            roll: Cell::new(seed),
            drain: Cell::new(Duration::from_secs(30)),
        }
    }

    /// Where connections go now.
    pub(super) fn target(&self) -> Option<(Arc<PortTarget>, Arc<Service>)> {
        let table = self.table.borrow();
        let target = table.ports.get(&self.key)?;
        let service = table.services.get(&(target.deployment.clone(), target.service.clone()))?;
        self.drain.set(service.drain_timeout.std());
        Some((target.clone(), service.clone()))
    }

    /// The replica for one more connection.
    pub(super) fn choose(
        &self,
        target: &PortTarget,
        service: &Service,
        client: IpAddr,
        tried: &[InstanceId],
    ) -> Option<Endpoint> {
        let lanes = self.lanes.borrow();
        let load = |instance: &InstanceId| lanes.get(instance).map_or(0, |lane| lane.active.get());
        let roll = self.roll.get().wrapping_add(1);
        self.roll.set(roll);
        let policy = target.options.lb;
        choose_for_port(&service.endpoints, policy, client, tried, load, roll).cloned()
    }

    /// Counts a connection to a replica until the seat is dropped.
    pub(super) fn sit(self: &Rc<Self>, instance: &InstanceId) -> Seat {
        let mut lanes = self.lanes.borrow_mut();
        let new = || Rc::new(Lane { active: Cell::new(0), leaving: watch::channel(None).0 });
        let lane = lanes.entry(instance.clone()).or_insert_with(new).clone();
        lane.active.set(lane.active.get() + 1);
        add(&self.counters.active, 1);
        Seat { listener: self.clone(), lane }
    }

    /// Takes a new table; connections to replicas that are not in it get their time.
    pub(super) fn serve(&self, table: Arc<Table>) {
        let drain = self.drain.get();
        *self.table.borrow_mut() = table;
        let endpoints = self.target().map(|(_, service)| service);
        let stays = |instance: &InstanceId| {
            endpoints.as_ref().is_some_and(|s| s.endpoints.iter().any(|e| e.instance == *instance))
        };
        self.lanes.borrow_mut().retain(|instance, lane| {
            let stays = stays(instance);
            lane.leave(Some(drain).filter(|_| !stays));
            stays || lane.active.get() > 0
        });
    }

    /// Nothing is accepted any more; what runs gets its time.
    pub(super) fn close(&self) {
        for lane in self.lanes.borrow().values() {
            lane.leave(Some(self.drain.get()));
        }
    }

    pub(super) fn active(&self) -> u64 {
        self.counters.active.load(Ordering::Relaxed)
    }
}

impl Lane {
    fn leave(&self, after: Option<Duration>) {
        self.leaving.send_if_modified(|now| {
            let changes = now.is_some() != after.is_some();
            if changes {
                *now = after;
            }
            changes
        });
    }
}

impl Seat {
    /// Whether the replica takes nothing new.
    pub(super) fn is_leaving(&self) -> bool {
        self.lane.leaving.borrow().is_some()
    }

    /// Returns when the time of the connection is over.
    pub(super) async fn over(&self) {
        let mut leaving = self.lane.leaving.subscribe();
        loop {
            let left = *leaving.borrow_and_update();
            let time = async {
                match left {
                    Some(left) => tokio::time::sleep(left).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = time => return,
                // The lane lives as long as this seat does.
                _ = leaving.changed() => {}
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.lane.active.set(self.lane.active.get().saturating_sub(1));
        self.listener.counters.active.fetch_sub(1, Ordering::Relaxed);
    }
}
