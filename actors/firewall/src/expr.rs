//! Expressions of rules, to and from netlink.
//!
//! Reading is strict: an expression with an attribute or a value that we never write is foreign,
//! so that no rule can pass for one of ours.

use crate::field::Fields;
use crate::wire::{Body, attributes, find, text};
use jaco_firewall_core::{Compare, CtKey, Expr, HeaderBase, MetaKey, Slot, Verdict};

/// `NFTA_EXPR_NAME`, `NFTA_EXPR_DATA`, `NFTA_LIST_ELEM`.
const NAME: u16 = 1;
const DATA: u16 = 2;
const ITEM: u16 = 1;

/// `NFTA_DATA_VALUE`, `NFTA_DATA_VERDICT`, `NFTA_VERDICT_CODE`.
const VALUE: u16 = 1;
const VERDICT: u16 = 2;
const CODE: u16 = 1;

/// `enum nft_meta_keys`.
const META_IN_NAME: u32 = 6;
const META_OUT_NAME: u32 = 7;
const META_FAMILY: u32 = 15;
const META_PROTOCOL: u32 = 16;

/// `enum nft_ct_keys`.
const CT_STATE: u32 = 0;
const CT_STATUS: u32 = 2;

/// `enum nft_payload_bases`.
const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;

/// `NFT_RT_TCPMSS`, `NFT_BYTEORDER_HTON`, `NFT_EXTHDR_OP_TCPOPT`, `NFT_OBJECT_COUNTER`.
const ROUTE_SEGMENT: u32 = 3;
const TO_NETWORK: u32 = 1;
const TCP_OPTION: u32 = 1;
const COUNTER: u32 = 1;

/// The largest-segment option and where its value is: RFC 9293.
const SEGMENT_OPTION: u8 = 2;
const SEGMENT_AT: u32 = 2;
const SEGMENT_LEN: u32 = 2;

/// `NF_NAT_RANGE_PROTO_RANDOM_FULLY`.
const RANDOM: u32 = 16;

/// The register that ends a rule: `NFT_REG_VERDICT`.
const REGISTER_VERDICT: u32 = 0;

/// Adds an expression to a list.
pub(crate) fn write(list: &mut Body, expr: &Expr) {
    list.nest(ITEM, |item| _ = item.text(NAME, name(expr)).nest(DATA, |data| fill(data, expr)));
}

/// What the kernel calls an expression.
fn name(expr: &Expr) -> &str {
    match expr {
        Expr::Meta { .. } => "meta",
        Expr::Payload { .. } => "payload",
        Expr::Ct { .. } => "ct",
        Expr::Mask { .. } => "bitwise",
        Expr::Cmp { .. } => "cmp",
        Expr::Lookup { .. } => "lookup",
        Expr::Count(_) => "objref",
        Expr::Masquerade { .. } => "masq",
        Expr::RouteSegment { .. } => "rt",
        Expr::ToNetworkOrder { .. } => "byteorder",
        Expr::ClampSegment { .. } => "exthdr",
        Expr::Verdict(_) => "immediate",
        // Never written; the kernel knows no expression of such a name and refuses it.
        Expr::Foreign(what) => what,
    }
}

fn fill(data: &mut Body, expr: &Expr) {
    match expr {
        Expr::Meta { key, to } => _ = data.number(1, register(*to)).number(2, meta_number(*key)),
        Expr::Payload { base, offset, len, to } => {
            data.number(1, register(*to)).number(2, base_number(*base));
            data.number(3, *offset).number(4, *len);
        }
        Expr::Ct { key, to } => _ = data.number(1, register(*to)).number(2, ct_number(*key)),
        Expr::Mask { at, mask } => write_mask(data, *at, mask),
        Expr::Cmp { at, with, value } => {
            data.number(1, register(*at)).number(2, u32::from(*with == Compare::Differ));
            data.nest(3, |inner| _ = inner.bytes(VALUE, value));
        }
        Expr::Lookup { set, at, inverted } => {
            data.text(1, set).number(2, register(*at)).number(5, u32::from(*inverted));
        }
        Expr::Count(name) => _ = data.number(1, COUNTER).text(2, name),
        Expr::Masquerade { random: true } => _ = data.number(1, RANDOM),
        Expr::Masquerade { random: false } | Expr::Foreign(_) => {}
        Expr::RouteSegment { to } => _ = data.number(1, register(*to)).number(2, ROUTE_SEGMENT),
        Expr::ToNetworkOrder { at } => {
            data.number(1, register(*at)).number(2, register(*at)).number(3, TO_NETWORK);
            data.number(4, SEGMENT_LEN).number(5, SEGMENT_LEN);
        }
        Expr::ClampSegment { at } => {
            data.bytes(2, &[SEGMENT_OPTION]).number(3, SEGMENT_AT).number(4, SEGMENT_LEN);
            data.number(6, TCP_OPTION).number(7, register(*at));
        }
        Expr::Verdict(verdict) => {
            let code = u32::from(*verdict == Verdict::Accept);
            data.number(1, REGISTER_VERDICT);
            data.nest(2, |inner| _ = inner.nest(VERDICT, |v| _ = v.number(CODE, code)));
        }
    }
}

fn write_mask(data: &mut Body, at: Slot, mask: &[u8]) {
    let len = u32::try_from(mask.len()).unwrap_or(u32::MAX);
    data.number(1, register(at)).number(2, register(at)).number(3, len);
    data.nest(4, |inner| _ = inner.bytes(VALUE, mask));
    data.nest(5, |inner| _ = inner.bytes(VALUE, &vec![0; mask.len()]));
}

/// Reads the expressions of a rule.
pub(crate) fn read_all(list: &[u8]) -> Vec<Expr> {
    attributes(list).map(|(_, item)| read(item)).collect()
}

fn read(item: &[u8]) -> Expr {
    let name = find(item, NAME).map(text).unwrap_or_default();
    let data = find(item, DATA).unwrap_or_default();
    known(&name, data).unwrap_or_else(|| {
        let digits: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
        Expr::Foreign(format!("{name} {digits}").trim_end().to_owned())
    })
}

/// The expression, if it is one that we write.
fn known(name: &str, data: &[u8]) -> Option<Expr> {
    let mut fields = Fields::new(data);
    let expr = match name {
        "meta" => Expr::Meta { to: slot(fields.number(1)?)?, key: meta_key(fields.number(2)?)? },
        "payload" => Expr::Payload {
            to: slot(fields.number(1)?)?,
            base: base_key(fields.number(2)?)?,
            offset: fields.number(3)?,
            len: fields.number(4)?,
        },
        "ct" => Expr::Ct { to: slot(fields.number(1)?)?, key: ct_key(fields.number(2)?)? },
        "bitwise" => read_mask(&mut fields)?,
        "cmp" => {
            let at = slot(fields.number(1)?)?;
            let with = match fields.number(2)? {
                0 => Compare::Equal,
                1 => Compare::Differ,
                _ => return None,
            };
            Expr::Cmp { at, with, value: find(fields.bytes(3)?, VALUE)?.to_vec() }
        }
        "lookup" => {
            let set = text(fields.bytes(1)?);
            let at = slot(fields.number(2)?)?;
            let flags = fields.number(5).unwrap_or(0);
            Expr::Lookup { set, at, inverted: flag(flags, 1)? }
        }
        "objref" => {
            fields.expect(1, COUNTER)?;
            Expr::Count(text(fields.bytes(2)?))
        }
        "masq" => Expr::Masquerade { random: flag(fields.number(1).unwrap_or(0), RANDOM)? },
        "rt" => {
            fields.expect(2, ROUTE_SEGMENT)?;
            Expr::RouteSegment { to: slot(fields.number(1)?)? }
        }
        "byteorder" => read_byteorder(&mut fields)?,
        "exthdr" => read_exthdr(&mut fields)?,
        "immediate" => {
            fields.expect(1, REGISTER_VERDICT)?;
            let mut verdict = Fields::new(find(fields.bytes(2)?, VERDICT)?);
            let code = verdict.number(CODE)?;
            verdict.end()?;
            Expr::Verdict(if flag(code, 1)? { Verdict::Accept } else { Verdict::Drop })
        }
        _ => return None,
    };
    fields.end()?;
    Some(expr)
}

fn read_mask(fields: &mut Fields<'_>) -> Option<Expr> {
    let at = slot(fields.number(1)?)?;
    let mask = find(fields.bytes(4)?, VALUE)?.to_vec();
    let is_plain = find(fields.bytes(5)?, VALUE)?.iter().all(|byte| *byte == 0);
    // Older kernels have no operation but this one and do not name it.
    let is_plain = is_plain && fields.number(6).unwrap_or(0) == 0;
    let len = usize::try_from(fields.number(3)?).ok()?;
    let is_here = slot(fields.number(2)?)? == at;
    (is_plain && is_here && len == mask.len()).then_some(Expr::Mask { at, mask })
}

fn read_byteorder(fields: &mut Fields<'_>) -> Option<Expr> {
    let at = slot(fields.number(1)?)?;
    for (attribute, value) in [(3, TO_NETWORK), (4, SEGMENT_LEN), (5, SEGMENT_LEN)] {
        fields.expect(attribute, value)?;
    }
    (slot(fields.number(2)?)? == at).then_some(Expr::ToNetworkOrder { at })
}

fn read_exthdr(fields: &mut Fields<'_>) -> Option<Expr> {
    if fields.bytes(2)? != [SEGMENT_OPTION] || fields.number(5).unwrap_or(0) != 0 {
        return None;
    }
    for (attribute, value) in [(3, SEGMENT_AT), (4, SEGMENT_LEN), (6, TCP_OPTION)] {
        fields.expect(attribute, value)?;
    }
    Some(Expr::ClampSegment { at: slot(fields.number(7)?)? })
}

/// Whether a bit is set; `None` when any other is.
fn flag(value: u32, bit: u32) -> Option<bool> {
    match value {
        0 => Some(false),
        value if value == bit => Some(true),
        _ => None,
    }
}

/// The kernel counts registers of 16 bytes from 1 and those of 4 from 8, over the same memory.
fn register(slot: Slot) -> u32 {
    let slot = u32::from(slot.0);
    if slot % 4 == 0 { 1 + slot / 4 } else { 8 + slot }
}

fn slot(register: u32) -> Option<Slot> {
    let slot = match register {
        1..=4 => (register - 1) * 4,
        8..=23 => register - 8,
        _ => return None,
    };
    u8::try_from(slot).ok().map(Slot)
}

fn meta_number(key: MetaKey) -> u32 {
    match key {
        MetaKey::InName => META_IN_NAME,
        MetaKey::OutName => META_OUT_NAME,
        MetaKey::Family => META_FAMILY,
        MetaKey::Protocol => META_PROTOCOL,
    }
}

fn meta_key(number: u32) -> Option<MetaKey> {
    Some(match number {
        META_IN_NAME => MetaKey::InName,
        META_OUT_NAME => MetaKey::OutName,
        META_FAMILY => MetaKey::Family,
        META_PROTOCOL => MetaKey::Protocol,
        _ => return None,
    })
}

fn base_number(base: HeaderBase) -> u32 {
    match base {
        HeaderBase::Network => NETWORK,
        HeaderBase::Transport => TRANSPORT,
    }
}

fn base_key(number: u32) -> Option<HeaderBase> {
    match number {
        NETWORK => Some(HeaderBase::Network),
        TRANSPORT => Some(HeaderBase::Transport),
        _ => None,
    }
}

fn ct_number(key: CtKey) -> u32 {
    match key {
        CtKey::State => CT_STATE,
        CtKey::Status => CT_STATUS,
    }
}

fn ct_key(number: u32) -> Option<CtKey> {
    match number {
        CT_STATE => Some(CtKey::State),
        CT_STATUS => Some(CtKey::Status),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jaco_firewall_core::{Policy, Prefix, ruleset};
    use std::net::Ipv4Addr;

    fn rules() -> Vec<(Vec<Expr>, Vec<u8>)> {
        let pool = Prefix::new(Ipv4Addr::new(10, 80, 0, 0), 12);
        let mut policy = Policy::closed(pool, Prefix::new(pool.base(), 19));
        policy.block_lengths = [26].into();
        policy.block_metadata = true;
        let rules = ruleset(&policy).chains.into_values().flat_map(|chain| chain.rules);
        let written = rules.map(|rule| {
            let mut list = Body::default();
            rule.0.iter().for_each(|expr| write(&mut list, expr));
            (rule.0, list.0)
        });
        written.collect()
    }

    #[test]
    fn expressions_are_read_as_written() {
        for (exprs, bytes) in rules() {
            assert_eq!(read_all(&bytes), exprs);
        }
    }

    #[test]
    fn no_cut_or_damaged_rule_passes_for_another_or_panics() {
        for (exprs, bytes) in rules() {
            for cut in 0..bytes.len() {
                assert_ne!(read_all(&bytes[..cut]), exprs);
            }
            for place in 0..bytes.len() {
                for bit in 0..8 {
                    let mut damaged = bytes.clone();
                    damaged[place] ^= 1 << bit;
                    let _whatever = read_all(&damaged);
                }
            }
        }
    }

    #[test]
    fn what_we_never_write_is_foreign() {
        let foreign = |name: &str, fill: &dyn Fn(&mut Body)| {
            let mut list = Body::default();
            list.nest(ITEM, |item| _ = item.text(NAME, name).nest(DATA, |data| fill(data)));
            matches!(read_all(&list.0).as_slice(), [Expr::Foreign(_)])
        };
        assert!(foreign("limit", &|_| {}));
        assert!(foreign("meta", &|data| _ = data.number(1, 1).number(2, 3)));
        // A lookup that takes a verdict out of a map, a comparison by order, a jump.
        assert!(foreign("lookup", &|data| _ = data.text(1, "s").number(2, 1).number(3, 0)));
        assert!(foreign("cmp", &|data| {
            data.number(1, 1).number(2, 4).nest(3, |inner| _ = inner.bytes(VALUE, &[1]));
        }));
        assert!(foreign("immediate", &|data| {
            data.number(1, 0).nest(2, |inner| {
                inner.nest(VERDICT, |v| _ = v.number(CODE, (-3_i32).cast_unsigned()).text(2, "x"));
            });
        }));
    }
}
