//! Builds rules out of conditions that read like the specification.

use crate::Prefix;
use crate::expr::{Compare, CtKey, Expr, HeaderBase, MetaKey, Slot, Verdict};
use crate::ruleset::{Rule, interface_key};
use jaco_model::name::{BRIDGE_PREFIX, MESH_INTERFACE};

/// Numbers of protocols above IP, as IANA assigned them.
pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;

/// `NFPROTO_IPV4` and `NFPROTO_IPV6` of linux/netfilter.h.
const IPV4: u8 = 2;
const IPV6: u8 = 10;

/// Bits of `ct state`: 1 << (`enum ip_conntrack_info` + 1), and 1 for invalid.
const CT_INVALID: u32 = 1;
const CT_ESTABLISHED: u32 = 2;
const CT_RELATED: u32 = 4;

/// `IPS_DST_NAT` of linux/netfilter/nf_conntrack_common.h.
const CT_STATUS_DNAT: u32 = 1 << 5;

/// Where fields are in their headers: RFC 791, RFC 9293, RFC 768, RFC 792.
const SOURCE: (HeaderBase, u32, u32) = (HeaderBase::Network, 12, 4);
const DESTINATION: (HeaderBase, u32, u32) = (HeaderBase::Network, 16, 4);
const DESTINATION_PORT: (HeaderBase, u32, u32) = (HeaderBase::Transport, 2, 2);
const ICMP_TYPE: (HeaderBase, u32, u32) = (HeaderBase::Transport, 0, 1);
const TCP_FLAGS: (HeaderBase, u32, u32) = (HeaderBase::Transport, 13, 1);

const ECHO_REQUEST: u8 = 8;
const TCP_SYN: u8 = 2;
const TCP_RST: u8 = 4;

/// A direction of the packet at this host.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    /// The interface it came by.
    In,
    /// The interface it leaves by.
    Out,
}

/// An end of the packet.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// Its source address.
    Source,
    /// Its destination address.
    Destination,
}

/// A part of a value that is looked up in a set.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    /// The name of the interface it came by.
    InName,
    /// A whole address.
    Address(End),
    /// The base of the block of this length that an address lies in.
    Block(End, u8),
    /// The destination port.
    Port,
}

/// A rule in the making; each condition narrows it.
#[derive(Debug, Default)]
pub(crate) struct Builder(Vec<Expr>);

/// The first slot, where most values are compared.
const FIRST: Slot = Slot(0);

impl Builder {
    /// A rule for every packet.
    pub(crate) fn new() -> Builder {
        Builder::default()
    }

    /// A rule for IPv4.
    pub(crate) fn ipv4() -> Builder {
        Builder::new().family(IPV4)
    }

    /// A rule for IPv6.
    pub(crate) fn ipv6() -> Builder {
        Builder::new().family(IPV6)
    }

    fn family(self, family: u8) -> Builder {
        self.meta(MetaKey::Family).compare(Compare::Equal, vec![family])
    }

    /// One of our bridges.
    pub(crate) fn bridge(self, side: Side) -> Builder {
        self.interface(side, Compare::Equal, BRIDGE_PREFIX.as_bytes().to_vec())
    }

    /// The mesh.
    pub(crate) fn mesh(self, side: Side) -> Builder {
        self.interface(side, Compare::Equal, interface_key(MESH_INTERFACE).to_vec())
    }

    /// Neither a bridge of ours nor the mesh.
    pub(crate) fn not_ours(self, side: Side) -> Builder {
        let mesh = interface_key(MESH_INTERFACE).to_vec();
        self.interface(side, Compare::Differ, BRIDGE_PREFIX.as_bytes().to_vec()).interface(
            side,
            Compare::Differ,
            mesh,
        )
    }

    /// Not the loopback interface.
    pub(crate) fn not_loopback(self, side: Side) -> Builder {
        self.interface(side, Compare::Differ, interface_key("lo").to_vec())
    }

    fn interface(self, side: Side, with: Compare, value: Vec<u8>) -> Builder {
        let key = match side {
            Side::In => MetaKey::InName,
            Side::Out => MetaKey::OutName,
        };
        self.meta(key).compare(with, value)
    }

    /// An address inside a prefix.
    pub(crate) fn within(self, end: End, prefix: Prefix) -> Builder {
        self.address(end, prefix, Compare::Equal)
    }

    /// An address outside a prefix.
    pub(crate) fn outside(self, end: End, prefix: Prefix) -> Builder {
        self.address(end, prefix, Compare::Differ)
    }

    fn address(self, end: End, prefix: Prefix, with: Compare) -> Builder {
        let mut rule = self.payload(place(end), FIRST);
        if prefix.len() < 32 {
            rule.0.push(Expr::Mask { at: FIRST, mask: prefix.mask().octets().to_vec() });
        }
        rule.compare(with, prefix.base().octets().to_vec())
    }

    /// The parts together are an element of the set.
    pub(crate) fn listed(self, parts: &[Part], set: &str) -> Builder {
        self.looked_up(parts, set, false)
    }

    /// The parts together are no element of the set.
    pub(crate) fn unlisted(self, parts: &[Part], set: &str) -> Builder {
        self.looked_up(parts, set, true)
    }

    fn looked_up(mut self, parts: &[Part], set: &str, inverted: bool) -> Builder {
        let mut slot = 0;
        for part in parts {
            let at = Slot(slot);
            slot += 1;
            match *part {
                Part::InName => {
                    self.0.push(Expr::Meta { key: MetaKey::InName, to: at });
                    slot += 3;
                }
                Part::Address(end) => self = self.payload(place(end), at),
                Part::Block(end, len) => {
                    self = self.payload(place(end), at);
                    let mask = Prefix::new(std::net::Ipv4Addr::UNSPECIFIED, len).mask();
                    self.0.push(Expr::Mask { at, mask: mask.octets().to_vec() });
                }
                Part::Port => self = self.payload(DESTINATION_PORT, at),
            }
        }
        self.0.push(Expr::Lookup { set: set.to_owned(), at: FIRST, inverted });
        self
    }

    /// A packet of a connection that was allowed before, or about one.
    pub(crate) fn established(self) -> Builder {
        self.ct(CtKey::State, CT_ESTABLISHED | CT_RELATED)
    }

    /// A packet that fits no connection.
    pub(crate) fn invalid(self) -> Builder {
        self.ct(CtKey::State, CT_INVALID)
    }

    /// A connection whose destination was replaced.
    pub(crate) fn redirected(self) -> Builder {
        self.ct(CtKey::Status, CT_STATUS_DNAT)
    }

    fn ct(mut self, key: CtKey, bits: u32) -> Builder {
        self.0.push(Expr::Ct { key, to: FIRST });
        self.0.push(Expr::Mask { at: FIRST, mask: bits.to_ne_bytes().to_vec() });
        self.compare(Compare::Differ, vec![0; 4])
    }

    /// A protocol above IP.
    pub(crate) fn protocol(self, number: u8) -> Builder {
        self.meta(MetaKey::Protocol).compare(Compare::Equal, vec![number])
    }

    /// A destination port; only behind [`Builder::protocol`].
    pub(crate) fn port(self, port: u16) -> Builder {
        self.payload(DESTINATION_PORT, FIRST).compare(Compare::Equal, port.to_be_bytes().to_vec())
    }

    /// A ping.
    pub(crate) fn echo_request(self) -> Builder {
        let icmp = self.protocol(ICMP);
        icmp.payload(ICMP_TYPE, FIRST).compare(Compare::Equal, vec![ECHO_REQUEST])
    }

    /// The first packet of each direction of a TCP connection.
    pub(crate) fn syn(self) -> Builder {
        let mut rule = self.protocol(TCP).payload(TCP_FLAGS, FIRST);
        rule.0.push(Expr::Mask { at: FIRST, mask: vec![TCP_SYN | TCP_RST] });
        rule.compare(Compare::Equal, vec![TCP_SYN])
    }

    fn meta(mut self, key: MetaKey) -> Builder {
        self.0.push(Expr::Meta { key, to: FIRST });
        self
    }

    fn payload(mut self, (base, offset, len): (HeaderBase, u32, u32), to: Slot) -> Builder {
        self.0.push(Expr::Payload { base, offset, len, to });
        self
    }

    fn compare(mut self, with: Compare, value: Vec<u8>) -> Builder {
        self.0.push(Expr::Cmp { at: FIRST, with, value });
        self
    }

    /// Lets it pass.
    pub(crate) fn accept(mut self) -> Rule {
        self.0.push(Expr::Verdict(Verdict::Accept));
        Rule(self.0)
    }

    /// Counts it under a reason and drops it.
    pub(crate) fn drop(mut self, reason: &str) -> Rule {
        self.0.push(Expr::Count(counter(reason)));
        self.0.push(Expr::Verdict(Verdict::Drop));
        Rule(self.0)
    }

    /// Gives it the address of the outgoing interface.
    pub(crate) fn masquerade(mut self, random: bool) -> Rule {
        self.0.push(Expr::Masquerade { random });
        Rule(self.0)
    }

    /// Lowers the largest segment to what the route takes.
    pub(crate) fn clamp(mut self) -> Rule {
        self.0.push(Expr::RouteSegment { to: FIRST });
        self.0.push(Expr::ToNetworkOrder { at: FIRST });
        self.0.push(Expr::ClampSegment { at: FIRST });
        Rule(self.0)
    }
}

/// The counter of a reason.
pub(crate) fn counter(reason: &str) -> String {
    format!("drop_{reason}")
}

fn place(end: End) -> (HeaderBase, u32, u32) {
    match end {
        End::Source => SOURCE,
        End::Destination => DESTINATION,
    }
}
