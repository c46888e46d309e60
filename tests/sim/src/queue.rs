//! What is going to happen, in the order in which it will.

use std::collections::BTreeMap;

/// A moment of the simulation in microseconds of true time.
pub(crate) type Micros = u64;

/// One second.
pub(crate) const SECOND: Micros = 1_000_000;
/// One millisecond.
pub(crate) const MILLI: Micros = 1_000;

/// Names an event, to take it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(Micros, u64);

impl Key {
    /// When it happens.
    pub(crate) fn at(self) -> Micros {
        self.0
    }
}

/// Events by time; of the same time, first come first served.
#[derive(Debug)]
pub(crate) struct Queue<E> {
    events: BTreeMap<Key, E>,
    last: u64,
}

impl<E> Queue<E> {
    pub(crate) fn new() -> Queue<E> {
        Queue { events: BTreeMap::new(), last: 0 }
    }

    pub(crate) fn push(&mut self, at: Micros, event: E) -> Key {
        self.last += 1;
        let key = Key(at, self.last);
        self.events.insert(key, event);
        key
    }

    pub(crate) fn cancel(&mut self, key: Key) {
        self.events.remove(&key);
    }

    pub(crate) fn pop(&mut self) -> Option<(Micros, E)> {
        self.events.pop_first().map(|(key, event)| (key.0, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_order_and_can_be_taken_back() {
        let mut queue = Queue::new();
        queue.push(5, 'b');
        let gone = queue.push(3, 'x');
        queue.push(5, 'c');
        queue.push(1, 'a');
        queue.cancel(gone);
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, [(1, 'a'), (5, 'b'), (5, 'c')]);
    }
}
