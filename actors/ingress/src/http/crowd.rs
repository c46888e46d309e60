//! How many connections are open, and whose. A node that is full leaves newcomers in the kernel's
//! queue; a client that has too many loses the next one; those of one client that have not asked
//! for anything yet wait for each other.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bounds of open connections.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of this node.
    pub node: usize,
    /// Of one client: an IPv4 address, or a /64 of IPv6. Trusted proxies have no such bound.
    pub client: usize,
    /// Of one client before the TLS handshake is complete or the first request has come.
    pub young: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { node: Semaphore::MAX_PERMITS, client: 512, young: 64 }
    }
}

/// Everybody who is connected.
#[derive(Debug)]
pub(super) struct Crowd {
    limits: Limits,
    node: Arc<Semaphore>,
    clients: Mutex<BTreeMap<IpAddr, Group>>,
}

#[derive(Debug)]
struct Group {
    connections: usize,
    young: Arc<Semaphore>,
}

/// One connection of the node.
#[derive(Debug)]
pub(super) struct Place {
    _permit: Option<OwnedSemaphorePermit>,
}

/// One connection of a client.
#[derive(Debug)]
pub(super) struct Seat {
    crowd: Arc<Crowd>,
    client: IpAddr,
    young: Arc<Semaphore>,
}

/// A connection's turn to begin.
#[derive(Debug)]
pub(super) struct Young {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Crowd {
    pub(super) fn new(limits: Limits) -> Crowd {
        let node = Arc::new(Semaphore::new(places(limits)));
        Crowd { limits, node, clients: Mutex::default() }
    }

    /// Returns when the node has room for one more.
    pub(super) async fn room(&self) {
        // It is never closed.
        drop(self.node.acquire().await);
    }

    /// A place for a connection that was accepted. Several threads may have seen the same room, so
    /// a few get one that is not counted.
    pub(super) fn place(&self) -> Place {
        Place { _permit: self.node.clone().try_acquire_owned().ok() }
    }

    /// Whether there is no room for another one.
    pub(super) fn is_full(&self) -> bool {
        self.node.available_permits() == 0
    }

    /// Whether nobody is connected, once nothing is accepted any more.
    pub(super) fn is_gone(&self) -> bool {
        self.node.available_permits() == places(self.limits)
    }

    /// A seat for one more connection of a client; `None` when it has too many.
    pub(super) fn seat(self: &Arc<Crowd>, client: IpAddr) -> Option<Seat> {
        let client = key(client);
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let group = clients.entry(client).or_insert_with(|| Group {
            connections: 0,
            young: Arc::new(Semaphore::new(self.limits.young.max(1))),
        });
        if group.connections >= self.limits.client.max(1) {
            return None;
        }
        group.connections += 1;
        Some(Seat { crowd: self.clone(), client, young: group.young.clone() })
    }
}

impl Seat {
    /// Waits for others of the client that have not got far either.
    pub(super) async fn young(&self) -> Young {
        Young { _permit: self.young.clone().acquire_owned().await.ok() }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut clients = self.crowd.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(group) = clients.get_mut(&self.client) else { return };
        group.connections -= 1;
        if group.connections == 0 {
            clients.remove(&self.client);
        }
    }
}

fn places(limits: Limits) -> usize {
    limits.node.clamp(1, Semaphore::MAX_PERMITS)
}

/// Whoever has one address of a /64 has all of them.
fn key(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(client: usize, young: usize) -> Arc<Crowd> {
        Arc::new(Crowd::new(Limits { client, young, ..Limits::default() }))
    }

    fn at(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn each_client_has_its_own_seats_and_gets_them_back() {
        let crowd = crowd(2, 2);
        let first = crowd.seat(at("192.0.2.1")).expect("a seat");
        let _second = crowd.seat(at("::ffff:192.0.2.1")).expect("the same client's second");
        assert!(crowd.seat(at("192.0.2.1")).is_none());
        assert!(crowd.seat(at("192.0.2.2")).is_some());
        drop(first);
        assert!(crowd.seat(at("192.0.2.1")).is_some());
    }

    #[test]
    fn a_prefix_is_one_client() {
        let crowd = crowd(1, 1);
        let _held = crowd.seat(at("2001:db8::1")).expect("a seat");
        assert!(crowd.seat(at("2001:db8::ffff:1")).is_none());
        assert!(crowd.seat(at("2001:db8:0:1::1")).is_some());
    }

    #[test]
    fn nobody_is_remembered_who_is_gone() {
        let crowd = crowd(9, 9);
        let seats: Vec<_> = (0..9).filter_map(|_| crowd.seat(at("192.0.2.1"))).collect();
        assert_eq!(seats.len(), 9);
        drop(seats);
        assert!(crowd.clients.lock().expect("no panic").is_empty());
    }

    #[tokio::test]
    async fn the_young_wait_for_each_other() {
        let crowd = crowd(9, 1);
        let (one, other) = (crowd.seat(at("192.0.2.1")), crowd.seat(at("192.0.2.1")));
        let (one, other) = (one.expect("a seat"), other.expect("a seat"));
        let turn = one.young().await;
        let mut waiting = std::pin::pin!(other.young());
        tokio::select! {
            biased;
            _ = waiting.as_mut() => panic!("its turn has not come"),
            () = std::future::ready(()) => {}
        }
        drop(turn);
        waiting.await;
    }
}
