//! Values by their names, found with one look however many there are: hosts, and the paths of one.
//!
//! The index holds hashes beside places, so that a look reads one slot and the value it is after,
//! not a dozen names on the way to it. It is made with the values.

use jaco_kit_core::mix::{Fnv, mix};
use std::fmt;
use std::slice;
use std::sync::Arc;

/// What has a name.
pub trait Named {
    /// It.
    fn name(&self) -> &str;
}

impl<V: Named> Named for Arc<V> {
    fn name(&self) -> &str {
        V::name(self)
    }
}

/// Values with different names.
#[derive(Clone)]
pub struct Names<V> {
    /// By name.
    sorted: Vec<V>,
    /// Open addressing: at most half of the slots are taken. Their number is a power of two.
    slots: Vec<Slot>,
    /// Bytes of the longest name.
    longest: usize,
}

/// A place in the index.
#[derive(Clone, Copy)]
struct Slot {
    /// The upper half of the name's hash.
    tag: u32,
    /// Which value, counted from one; zero is none.
    number: u32,
}

const FREE: Slot = Slot { tag: 0, number: 0 };

impl<V: Named> Names<V> {
    /// The value of exactly this name.
    pub fn get(&self, name: &str) -> Option<&V> {
        self.find(Fnv::of(name.bytes()), |found| found == name)
    }

    /// The value of a host that is lower case and has neither port nor trailing dot: its own, else
    /// that of the wildcard of exactly one label.
    pub fn host(&self, host: &str) -> Option<&V> {
        self.get(host).or_else(|| {
            let (_, parent) = host.split_at(host.find('.')?);
            let hash = Fnv::of(b"*".iter().copied().chain(parent.bytes()));
            self.find(hash, |found| found.strip_prefix('*') == Some(parent))
        })
    }

    /// The value of the longest name that a path begins with up to a segment's border.
    pub fn prefix(&self, path: &str) -> Option<&V> {
        let mut hash = Fnv::default();
        let mut best = None;
        for (at, byte) in path.bytes().enumerate().take(self.longest + 1) {
            if byte == b'/' {
                best = self.find(hash, |found| found == &path[..at]).or(best);
            }
            hash.add(byte);
        }
        let is_whole = path.len() <= self.longest;
        is_whole.then(|| self.find(hash, |found| found == path)).flatten().or(best)
    }

    fn find(&self, hash: Fnv, is_it: impl Fn(&str) -> bool) -> Option<&V> {
        let (tag, mut at) = parts(hash);
        loop {
            let slot = self.slots.get(at & self.slots.len().checked_sub(1)?)?;
            let value = self.sorted.get((slot.number as usize).checked_sub(1)?)?;
            if slot.tag == tag && is_it(value.name()) {
                return Some(value);
            }
            at += 1;
        }
    }
}

impl<V> Names<V> {
    /// The values by name.
    pub fn iter(&self) -> slice::Iter<'_, V> {
        self.sorted.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }
}

/// The tag of a hash, and the slot from which it is looked for.
fn parts(hash: Fnv) -> (u32, usize) {
    let hash = mix(hash.value());
    let (tag, slot) = ((hash >> 32) as u32, hash as u32);
    (tag, slot as usize)
}

/// Of values with one name the last is taken.
impl<V: Named> FromIterator<V> for Names<V> {
    fn from_iter<I: IntoIterator<Item = V>>(values: I) -> Names<V> {
        let mut sorted: Vec<V> = values.into_iter().collect();
        // Equal names stay in their order.
        sorted.sort_by(|a, b| a.name().cmp(b.name()));
        sorted.dedup_by(|later, kept| {
            let is_same = later.name() == kept.name();
            if is_same {
                std::mem::swap(later, kept);
            }
            is_same
        });
        sorted.shrink_to_fit();
        let mut slots = match sorted.len() {
            0 => Vec::new(),
            some => vec![FREE; (2 * some).next_power_of_two()],
        };
        for (value, number) in sorted.iter().zip(1..) {
            let (tag, mut at) = parts(Fnv::of(value.name().bytes()));
            let last = slots.len() - 1;
            while slots[at & last].number != 0 {
                at += 1;
            }
            slots[at & last] = Slot { tag, number };
        }
        let longest = sorted.iter().map(|value| value.name().len()).max().unwrap_or(0);
        Names { sorted, slots, longest }
    }
}

/// What comes takes the place of what has its name. The index is made anew.
impl<V: Named> Extend<V> for Names<V> {
    fn extend<I: IntoIterator<Item = V>>(&mut self, values: I) {
        *self = std::mem::take(self).into_iter().chain(values).collect();
    }
}

impl<V> IntoIterator for Names<V> {
    type Item = V;
    type IntoIter = std::vec::IntoIter<V>;

    fn into_iter(self) -> std::vec::IntoIter<V> {
        self.sorted.into_iter()
    }
}

impl<V> Default for Names<V> {
    fn default() -> Names<V> {
        Names { sorted: Vec::new(), slots: Vec::new(), longest: 0 }
    }
}

impl<'a, V> IntoIterator for &'a Names<V> {
    type Item = &'a V;
    type IntoIter = slice::Iter<'a, V>;

    fn into_iter(self) -> slice::Iter<'a, V> {
        self.iter()
    }
}

impl<V: PartialEq> PartialEq for Names<V> {
    fn eq(&self, other: &Names<V>) -> bool {
        self.sorted == other.sorted
    }
}

impl<V: Eq> Eq for Names<V> {}

impl<V: fmt::Debug> fmt::Debug for Names<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.sorted).finish()
    }
}
