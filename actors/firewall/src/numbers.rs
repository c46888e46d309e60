//! The numbers of nftables' netlink interface, as linux/netfilter/nf_tables.h, nfnetlink.h and
//! netfilter.h give them. Each module is named after the enum it is from.

/// Subsystems of netfilter, in the upper byte of a message's type.
pub(crate) mod subsystem {
    pub(crate) const CONNTRACK: u16 = 1;
    pub(crate) const NFTABLES: u16 = 10;
}

/// The group of sockets that hears of changes.
pub(crate) const GROUP_NFTABLES: u32 = 7;

/// Protocol families of tables and packets.
pub(crate) mod family {
    pub(crate) const INET: u8 = 1;
    pub(crate) const IPV4: u8 = 2;
}

/// Messages that netlink itself has.
pub(crate) mod control {
    pub(crate) const ERROR: u16 = 2;
    pub(crate) const DONE: u16 = 3;
    pub(crate) const BATCH_BEGIN: u16 = 16;
    pub(crate) const BATCH_END: u16 = 17;
}

/// Flags of messages.
pub(crate) mod flag {
    pub(crate) const REQUEST: u16 = 1;
    pub(crate) const MULTI: u16 = 2;
    pub(crate) const ACK: u16 = 4;
    pub(crate) const DUMP_INTERRUPTED: u16 = 0x10;
    pub(crate) const DUMP: u16 = 0x300;
    /// An acknowledgement that carries attributes.
    pub(crate) const ACK_ATTRIBUTES: u16 = 0x200;
    pub(crate) const CREATE: u16 = 0x400;
    pub(crate) const APPEND: u16 = 0x800;
}

/// Operations on nftables.
pub(crate) mod operation {
    pub(crate) const NEW_TABLE: u16 = 0;
    pub(crate) const GET_TABLE: u16 = 1;
    pub(crate) const DEL_TABLE: u16 = 2;
    pub(crate) const NEW_CHAIN: u16 = 3;
    pub(crate) const GET_CHAIN: u16 = 4;
    pub(crate) const NEW_RULE: u16 = 6;
    pub(crate) const GET_RULE: u16 = 7;
    pub(crate) const NEW_SET: u16 = 9;
    pub(crate) const GET_SET: u16 = 10;
    pub(crate) const NEW_ELEMENT: u16 = 12;
    pub(crate) const GET_ELEMENT: u16 = 13;
    pub(crate) const DEL_ELEMENT: u16 = 14;
    pub(crate) const NEW_GENERATION: u16 = 15;
    pub(crate) const GET_GENERATION: u16 = 16;
    pub(crate) const NEW_OBJECT: u16 = 18;
    pub(crate) const GET_OBJECT: u16 = 19;
}

/// The attribute that names the table, in every message about a part of one.
pub(crate) const ANY_TABLE: u16 = 1;

/// An item of any list.
pub(crate) const LIST_ITEM: u16 = 1;

/// Attributes of the start of a batch.
pub(crate) mod batch {
    pub(crate) const GENERATION: u16 = 1;
}

/// Attributes of acknowledgements.
pub(crate) mod ack {
    pub(crate) const MESSAGE: u16 = 1;
    pub(crate) const OFFSET: u16 = 2;
}

/// Attributes of the generation.
pub(crate) mod generation {
    pub(crate) const ID: u16 = 1;
    pub(crate) const PROCESS_NAME: u16 = 3;
}

/// Attributes of a table.
pub(crate) mod table {
    pub(crate) const FLAGS: u16 = 2;
}

/// Attributes of a chain and of its hook.
pub(crate) mod chain {
    pub(crate) const NAME: u16 = 3;
    pub(crate) const HOOK: u16 = 4;
    pub(crate) const POLICY: u16 = 5;
    pub(crate) const TYPE: u16 = 7;
    pub(crate) const FLAGS: u16 = 10;
    pub(crate) const HOOK_NUMBER: u16 = 1;
    pub(crate) const HOOK_PRIORITY: u16 = 2;
    /// The chain hangs at a hook; the kernel sets it.
    pub(crate) const FLAG_BASE: u32 = 1;
}

/// Attributes of a rule.
pub(crate) mod rule {
    pub(crate) const CHAIN: u16 = 2;
    pub(crate) const EXPRESSIONS: u16 = 4;
}

/// Attributes of a set.
pub(crate) mod set {
    pub(crate) const NAME: u16 = 2;
    pub(crate) const FLAGS: u16 = 3;
    pub(crate) const KEY_TYPE: u16 = 4;
    pub(crate) const KEY_LEN: u16 = 5;
    pub(crate) const DESCRIPTION: u16 = 9;
    pub(crate) const ID: u16 = 10;
    pub(crate) const DESCRIPTION_CONCAT: u16 = 2;
    pub(crate) const FIELD_LEN: u16 = 1;
    pub(crate) const FLAG_CONCAT: u32 = 0x80;
}

/// Attributes of elements.
pub(crate) mod element {
    pub(crate) const SET: u16 = 2;
    pub(crate) const ELEMENTS: u16 = 3;
    pub(crate) const KEY: u16 = 1;
    pub(crate) const VALUE: u16 = 1;
    pub(crate) const PADDING: u16 = 8;
}

/// Attributes of a named object.
pub(crate) mod object {
    pub(crate) const NAME: u16 = 2;
    pub(crate) const TYPE: u16 = 3;
    pub(crate) const DATA: u16 = 4;
    pub(crate) const TYPE_COUNTER: u32 = 1;
    pub(crate) const COUNTER_BYTES: u16 = 1;
    pub(crate) const COUNTER_PACKETS: u16 = 2;
}

/// Verdicts as policy of a chain.
pub(crate) mod verdict {
    pub(crate) const ACCEPT: u32 = 1;
}
