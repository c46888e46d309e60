//! How many connections may be open that have not shown who they are.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts connections before their authentication, in total and for each address.
#[derive(Debug)]
pub struct Gate {
    per_address: usize,
    total: usize,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    total: usize,
    by_address: BTreeMap<IpAddr, usize>,
}

/// The right of one connection to authenticate itself; ends when dropped.
#[derive(Debug)]
pub struct Ticket {
    gate: Arc<Gate>,
    address: IpAddr,
}

impl Gate {
    /// A gate for so many connections of one address, and in total.
    pub fn new(per_address: usize, total: usize) -> Arc<Gate> {
        Arc::new(Gate { per_address, total, waiting: Mutex::default() })
    }

    /// Lets a connection in, or not if too many wait already.
    pub fn enter(self: &Arc<Gate>, address: IpAddr) -> Option<Ticket> {
        let address = address.to_canonical();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let of_address = waiting.by_address.get(&address).copied().unwrap_or(0);
        if waiting.total >= self.total || of_address >= self.per_address {
            return None;
        }
        waiting.total += 1;
        waiting.by_address.insert(address, of_address + 1);
        drop(waiting);
        Some(Ticket { gate: self.clone(), address })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut waiting = self.gate.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.total = waiting.total.saturating_sub(1);
        if let Some(count) = waiting.by_address.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                waiting.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_and_given_back() {
        let gate = Gate::new(2, 3);
        let [a, b] = ["10.0.0.1", "10.0.0.2"].map(|text| text.parse::<IpAddr>().unwrap());
        let first = gate.enter(a).unwrap();
        let _second = gate.enter("::ffff:10.0.0.1".parse().unwrap()).unwrap();
        assert!(gate.enter(a).is_none(), "two of one address are enough");
        let third = gate.enter(b).unwrap();
        assert!(gate.enter(b).is_none(), "three are enough");
        drop(third);
        assert!(gate.enter(a).is_none());
        drop(first);
        assert!(gate.enter(a).is_some());
        assert_eq!(gate.waiting.lock().unwrap().by_address.len(), 1, "nothing is left behind");
    }
}
