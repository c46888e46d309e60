//! Runs rulesets over packets as the kernel does: registers, sets, verdicts.

use jaco_firewall_core::{
    Compare, CtKey, Expr, HeaderBase, Hook, MetaKey, Rule, Ruleset, Verdict, interface_key,
};
use std::net::Ipv4Addr;

/// What the filter can see of a packet.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    /// Where it came by; `None` when this host sent it.
    pub(crate) iif: Option<String>,
    /// Where it leaves by; `None` when it is for this host.
    pub(crate) oif: Option<String>,
    pub(crate) is_ipv6: bool,
    pub(crate) source: Ipv4Addr,
    pub(crate) destination: Ipv4Addr,
    pub(crate) protocol: u8,
    /// Destination port, or type and code of ICMP.
    pub(crate) port: u16,
    pub(crate) ct: Ct,
    /// Whether its connection's destination was replaced.
    pub(crate) redirected: bool,
}

/// What connection tracking says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ct {
    Invalid,
    Established,
    Related,
    New,
}

/// The end of a packet: passed, or dropped under a reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Passed,
    Dropped(String),
}

/// The way of a packet through the chains of its hooks.
pub(crate) fn run(ruleset: &Ruleset, packet: &Packet) -> End {
    let hooks: &[Hook] = match (&packet.iif, &packet.oif) {
        (Some(_), Some(_)) => &[Hook::Prerouting, Hook::Forward],
        (Some(_), None) => &[Hook::Prerouting, Hook::Input],
        (None, _) => &[Hook::Output],
    };
    for hook in hooks {
        let mut chains: Vec<_> =
            ruleset.chains.values().filter(|chain| chain.hook == *hook).collect();
        chains.sort_by_key(|chain| chain.priority);
        for chain in chains {
            for rule in &chain.rules {
                match obey(ruleset, rule, packet) {
                    Some((Verdict::Drop, reason)) => return End::Dropped(reason),
                    Some((Verdict::Accept, _)) => break,
                    None => {}
                }
            }
        }
    }
    End::Passed
}

/// The verdict of a rule and its counter; `None` when it does not hold or has none.
fn obey(ruleset: &Ruleset, rule: &Rule, packet: &Packet) -> Option<(Verdict, String)> {
    let mut slots = [0_u8; 64];
    let mut counted = String::new();
    for expr in &rule.0 {
        match expr {
            Expr::Meta { key, to } => {
                let name = |name: &Option<String>| interface_key(name.as_deref().unwrap_or(""));
                match key {
                    MetaKey::InName => put(&mut slots, to.0, &name(&packet.iif)),
                    MetaKey::OutName => put(&mut slots, to.0, &name(&packet.oif)),
                    MetaKey::Family => {
                        put(&mut slots, to.0, &[if packet.is_ipv6 { 10 } else { 2 }]);
                    }
                    MetaKey::Protocol => put(&mut slots, to.0, &[packet.protocol]),
                }
            }
            Expr::Payload { base, offset, len, to } => {
                let bytes = header(packet, *base);
                let (from, len) = (*offset as usize, *len as usize);
                put(&mut slots, to.0, bytes.get(from..from + len)?);
            }
            Expr::Ct { key, to } => put(&mut slots, to.0, &ct(packet, *key).to_ne_bytes()),
            Expr::Mask { at, mask } => {
                let from = usize::from(at.0) * 4;
                slots[from..].iter_mut().zip(mask).for_each(|(byte, mask)| *byte &= mask);
            }
            Expr::Cmp { at, with, value } => {
                let from = usize::from(at.0) * 4;
                let is_equal = slots[from..].starts_with(value);
                if is_equal != (*with == Compare::Equal) {
                    return None;
                }
            }
            Expr::Lookup { set, at, inverted } => {
                let set = &ruleset.sets[set];
                let from = usize::from(at.0) * 4;
                if set.elements.contains(&slots[from..from + set.key_len()]) == *inverted {
                    return None;
                }
            }
            Expr::Count(name) => {
                assert!(ruleset.counters.contains(name), "{name}");
                counted = name.trim_start_matches("drop_").to_owned();
            }
            Expr::Verdict(verdict) => return Some((*verdict, counted)),
            // They change the packet and not its way.
            Expr::RouteSegment { .. } | Expr::ToNetworkOrder { .. } | Expr::ClampSegment { .. } => {
            }
            Expr::Masquerade { .. } => return None,
            Expr::Foreign(what) => panic!("a ruleset of ours has {what}"),
        }
    }
    None
}

fn put(slots: &mut [u8; 64], slot: u8, value: &[u8]) {
    let from = usize::from(slot) * 4;
    // The kernel clears the rest of the last slot.
    let end = from + value.len().next_multiple_of(4);
    slots[from..end].fill(0);
    slots[from..from + value.len()].copy_from_slice(value);
}

fn header(packet: &Packet, base: HeaderBase) -> Vec<u8> {
    match base {
        HeaderBase::Network => {
            let mut bytes = vec![0; 40];
            bytes[12..16].copy_from_slice(&packet.source.octets());
            bytes[16..20].copy_from_slice(&packet.destination.octets());
            bytes
        }
        HeaderBase::Transport if packet.protocol == 1 => packet.port.to_be_bytes().to_vec(),
        HeaderBase::Transport => {
            let mut bytes = vec![0; 20];
            bytes[2..4].copy_from_slice(&packet.port.to_be_bytes());
            bytes
        }
    }
}

fn ct(packet: &Packet, key: CtKey) -> u32 {
    match (key, packet.ct) {
        (CtKey::Status, _) => {
            if packet.redirected {
                32
            } else {
                0
            }
        }
        (CtKey::State, Ct::Invalid) => 1,
        (CtKey::State, Ct::Established) => 2,
        (CtKey::State, Ct::Related) => 4,
        (CtKey::State, Ct::New) => 8,
    }
}
