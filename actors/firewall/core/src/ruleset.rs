//! [`Ruleset`]: our whole table as a value.
//!
//! What is built from a policy and what is read back from the kernel have this one form, so that
//! one comparison tells whether the filter is what it should be.

use crate::expr::Expr;
use crate::prefix::Prefix;
use crate::sets::{FENCE, allow_len};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// The name of our table, of the family that sees IPv4 and IPv6.
pub const TABLE: &str = "jaco";

/// The contents of the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// Chains by name.
    pub chains: BTreeMap<String, Chain>,
    /// Named counters; their values are not part of the ruleset.
    pub counters: BTreeSet<String>,
    /// Sets by name.
    pub sets: BTreeMap<String, Set>,
    /// What a read-back found and cannot be ours, such as flags of the table; empty in what is
    /// built here.
    pub foreign: BTreeSet<String>,
}

/// A chain: where packets enter it and what happens to them. Its policy is to accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// What it is for.
    pub kind: ChainKind,
    /// Where it hangs.
    pub hook: Hook,
    /// Lower comes first.
    pub priority: i32,
    /// Rules in order.
    pub rules: Vec<Rule>,
}

/// What a chain is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainKind {
    /// Sees every packet.
    Filter,
    /// Sees the first packet of a connection, and changes its addresses.
    Nat,
}

/// Where in a packet's way a chain hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// After arrival, before routing.
    Prerouting,
    /// On the way to this host.
    Input,
    /// On the way through this host.
    Forward,
    /// On the way out of this host.
    Output,
    /// Before it leaves.
    Postrouting,
}

/// A rule: expressions in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule(pub Vec<Expr>);

/// A set: what its elements are made of, and its elements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    /// The parts of each element, in order.
    pub fields: Vec<Field>,
    /// The elements as bytes, each of [`Set::key_len`] bytes.
    pub elements: BTreeSet<Element>,
}

/// An element as the bytes that slots hold.
pub type Element = Vec<u8>;

/// A part of a set's element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// An IPv4 address, 4 bytes.
    Address,
    /// The name of an interface, 16 bytes with zeros at the end.
    Interface,
    /// A port, 2 bytes in network byte order.
    Port,
}

impl Field {
    /// Bytes of the value.
    pub fn width(self) -> usize {
        match self {
            Field::Address => 4,
            Field::Interface => 16,
            Field::Port => 2,
        }
    }
}

impl Set {
    /// Bytes of one element: parts of a longer element begin at multiples of four.
    pub fn key_len(&self) -> usize {
        match self.fields.as_slice() {
            [only] => only.width(),
            many => many.iter().map(|field| field.width().next_multiple_of(4)).sum(),
        }
    }
}

impl Ruleset {
    /// Rules in all chains.
    pub fn rule_count(&self) -> usize {
        self.chains.values().map(|chain| chain.rules.len()).sum()
    }

    /// Whether packets from one address to another are among the allowed pairs of blocks. Other
    /// rules may drop them before, such as the fence.
    pub fn allows(&self, from: Ipv4Addr, to: Ipv4Addr) -> bool {
        self.sets.iter().any(|(name, set)| {
            let Some(len) = allow_len(name) else { return false };
            let (from, to) = (Prefix::new(from, len), Prefix::new(to, len));
            set.elements.contains(&pair(from.base(), to.base()))
        })
    }

    /// Whether a container is fenced off.
    pub fn fences(&self, address: Ipv4Addr) -> bool {
        let fence = self.sets.get(FENCE);
        fence.is_some_and(|set| set.elements.contains(address.octets().as_slice()))
    }

    /// Elements in all sets.
    pub fn element_count(&self) -> usize {
        self.sets.values().map(|set| set.elements.len()).sum()
    }
}

/// The name of an interface as the kernel holds it in slots; longer ones are cut.
pub fn interface_key(name: &str) -> [u8; 16] {
    let mut key = [0; 16];
    for (to, from) in key.iter_mut().take(15).zip(name.bytes()) {
        *to = from;
    }
    key
}

/// An element of two addresses.
pub(crate) fn pair(a: Ipv4Addr, b: Ipv4Addr) -> Element {
    [a.octets(), b.octets()].concat()
}

/// An element of an interface and an address.
pub(crate) fn at_interface(name: &str, address: Ipv4Addr) -> Element {
    let mut key = interface_key(name).to_vec();
    key.extend(address.octets());
    key
}
