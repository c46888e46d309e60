//! The expressions of a rule, as the kernel's little register machine has them.
//!
//! A rule runs its expressions in order until one does not hold or a verdict is reached. The
//! alphabet is exactly what our rules need; anything else that a read-back finds is
//! [`Expr::Foreign`], which no ruleset of ours contains, so it always counts as a difference.

/// One of sixteen 32-bit slots that values are loaded into; longer values take the next ones too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot(pub u8);

/// What `meta` loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaKey {
    /// The name of the interface the packet came by, 16 bytes.
    InName,
    /// The name of the interface it leaves by, 16 bytes.
    OutName,
    /// IPv4 or IPv6, 1 byte: 2 or 10.
    Family,
    /// The protocol above IP, 1 byte.
    Protocol,
}

/// Which header an offset counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderBase {
    /// The IP header.
    Network,
    /// What follows it.
    Transport,
}

/// What `ct` loads, 4 bytes in the byte order of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CtKey {
    /// The state bit of the packet.
    State,
    /// The status bits of its connection.
    Status,
}

/// How a slot is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// Equal in all bytes of the value.
    Equal,
    /// Different in at least one.
    Differ,
}

/// The end of a packet's way through a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// On to the next chain.
    Accept,
    /// Gone.
    Drop,
}

/// One step of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// Loads a property of the packet.
    Meta {
        /// Which.
        key: MetaKey,
        /// Where to.
        to: Slot,
    },
    /// Loads bytes of the packet; the rule ends when they are not there.
    Payload {
        /// The header that `offset` counts from.
        base: HeaderBase,
        /// Bytes to skip.
        offset: u32,
        /// Bytes to load.
        len: u32,
        /// Where to.
        to: Slot,
    },
    /// Loads what connection tracking knows.
    Ct {
        /// Which part of it.
        key: CtKey,
        /// Where to.
        to: Slot,
    },
    /// Clears the bits of a slot that the mask lacks.
    Mask {
        /// Which slot.
        at: Slot,
        /// Bits that stay.
        mask: Vec<u8>,
    },
    /// The rule goes on if the comparison holds.
    Cmp {
        /// The first slot of the value.
        at: Slot,
        /// How.
        with: Compare,
        /// What with; as many bytes are compared.
        value: Vec<u8>,
    },
    /// The rule goes on if the set has the value that begins at the slot.
    Lookup {
        /// The set's name.
        set: String,
        /// Where the value begins.
        at: Slot,
        /// Goes on if the set does not have it.
        inverted: bool,
    },
    /// Counts the packet in a named counter.
    Count(String),
    /// Replaces the source address by that of the outgoing interface.
    Masquerade {
        /// With any free port instead of the same one.
        random: bool,
    },
    /// Loads the largest segment that fits the packet's route, as a number of the machine.
    RouteSegment {
        /// Where to.
        to: Slot,
    },
    /// Turns a 16-bit number into network byte order.
    ToNetworkOrder {
        /// Which slot.
        at: Slot,
    },
    /// Lowers the largest-segment option of a TCP packet to the slot's value.
    ClampSegment {
        /// Which slot.
        at: Slot,
    },
    /// Ends the packet's way through the chain.
    Verdict(Verdict),
    /// Something that only others write.
    Foreign(String),
}
