//! Rulesets and changes of elements as transactions.

use crate::expr;
use crate::numbers::{ANY_TABLE, LIST_ITEM, chain, element, flag, object, operation, rule, set};
use crate::numbers::{table, verdict};
use crate::socket::Batch;
use crate::wire::Body;
use jaco_firewall_core::{
    Chain, ChainKind, Delta, Element, Field, Hook, Rule, Ruleset, Set, TABLE,
};
use std::collections::BTreeSet;

/// Elements in one message: its length is a number of 16 bits.
const ELEMENTS_AT_ONCE: usize = 1_000;

/// Types of fields that `nft` shows; the kernel does not look at them.
pub(crate) mod shown {
    pub(crate) const ADDRESS: u32 = 7;
    pub(crate) const PORT: u32 = 13;
    pub(crate) const INTERFACE: u32 = 41;
    /// Bits of each type in that of a concatenation.
    pub(crate) const BITS: u32 = 6;
}

/// Replaces the whole table, whether it is there or not, without a moment in between.
pub(crate) fn everything(ruleset: &Ruleset) -> Batch {
    let mut batch = Batch::default();
    let mut on_table = |operation, flags, what: &str| {
        batch.add(operation, flags, format!("{what} table {TABLE}"), |body| {
            body.text(ANY_TABLE, TABLE).number(table::FLAGS, 0);
        });
    };
    // Only what is there can be deleted.
    on_table(operation::NEW_TABLE, flag::CREATE, "make");
    on_table(operation::DEL_TABLE, 0, "delete");
    on_table(operation::NEW_TABLE, flag::CREATE, "make");
    for name in &ruleset.counters {
        batch.add(operation::NEW_OBJECT, flag::CREATE, format!("counter {name}"), |body| {
            body.text(ANY_TABLE, TABLE).text(object::NAME, name);
            body.number(object::TYPE, object::TYPE_COUNTER).nest(object::DATA, |_| {});
        });
    }
    for (id, (name, set)) in (1..).zip(&ruleset.sets) {
        add_set(&mut batch, id, name, set);
        add_elements(&mut batch, operation::NEW_ELEMENT, name, &set.elements);
    }
    for (name, chain) in &ruleset.chains {
        add_chain(&mut batch, name, chain);
        for (place, rule) in (1..).zip(&chain.rules) {
            add_rule(&mut batch, name, place, rule);
        }
    }
    batch
}

/// Deletes the table; refused when there is none.
pub(crate) fn nothing() -> Batch {
    let mut batch = Batch::default();
    batch.add(operation::DEL_TABLE, 0, format!("delete table {TABLE}"), |body| {
        body.text(ANY_TABLE, TABLE);
    });
    batch
}

/// Deletes and adds elements.
pub(crate) fn elements(delta: &Delta) -> Batch {
    let mut batch = Batch::default();
    for (set, elements) in &delta.removed {
        add_elements(&mut batch, operation::DEL_ELEMENT, set, elements);
    }
    for (set, elements) in &delta.added {
        add_elements(&mut batch, operation::NEW_ELEMENT, set, elements);
    }
    batch
}

fn add_set(batch: &mut Batch, id: u32, name: &str, set: &Set) {
    batch.add(operation::NEW_SET, flag::CREATE, format!("set {name}"), |body| {
        let is_concat = set.fields.len() > 1;
        let key_type = set.fields.iter().fold(0, |all, field| all << shown::BITS | shown(*field));
        body.text(ANY_TABLE, TABLE).text(set::NAME, name);
        body.number(set::FLAGS, if is_concat { set::FLAG_CONCAT } else { 0 });
        body.number(set::KEY_TYPE, key_type).number(set::KEY_LEN, len(set.key_len()));
        body.number(set::ID, id);
        if is_concat {
            body.nest(set::DESCRIPTION, |description| {
                description.nest(set::DESCRIPTION_CONCAT, |fields| {
                    for field in &set.fields {
                        let width = len(field.width());
                        fields.nest(LIST_ITEM, |item| _ = item.number(set::FIELD_LEN, width));
                    }
                });
            });
        }
    });
}

fn add_elements(batch: &mut Batch, operation: u16, name: &str, elements: &BTreeSet<Element>) {
    let is_new = operation == operation::NEW_ELEMENT;
    let (flags, verb) = if is_new { (flag::CREATE, "add to") } else { (0, "delete from") };
    let elements: Vec<&Element> = elements.iter().collect();
    for some in elements.chunks(ELEMENTS_AT_ONCE) {
        batch.add(operation, flags, format!("{verb} set {name}"), |body| {
            body.text(ANY_TABLE, TABLE).text(element::SET, name);
            body.nest(element::ELEMENTS, |list| some.iter().for_each(|key| add_element(list, key)));
        });
    }
}

fn add_element(list: &mut Body, key: &[u8]) {
    list.nest(LIST_ITEM, |item| {
        item.nest(element::KEY, |data| _ = data.bytes(element::VALUE, key));
    });
}

fn add_chain(batch: &mut Batch, name: &str, chain: &Chain) {
    batch.add(operation::NEW_CHAIN, flag::CREATE, format!("chain {name}"), |body| {
        body.text(ANY_TABLE, TABLE).text(chain::NAME, name);
        body.nest(chain::HOOK, |hook| {
            hook.number(chain::HOOK_NUMBER, hook_number(chain.hook));
            hook.number(chain::HOOK_PRIORITY, chain.priority.cast_unsigned());
        });
        body.number(chain::POLICY, verdict::ACCEPT).text(chain::TYPE, kind_name(chain.kind));
    });
}

fn add_rule(batch: &mut Batch, chain: &str, place: u32, rule: &Rule) {
    let name = format!("rule {place} of chain {chain} ({rule})");
    batch.add(operation::NEW_RULE, flag::CREATE | flag::APPEND, name, |body| {
        body.text(ANY_TABLE, TABLE).text(rule::CHAIN, chain);
        body.nest(rule::EXPRESSIONS, |list| {
            rule.0.iter().for_each(|step| expr::write(list, step));
        });
    });
}

fn shown(field: Field) -> u32 {
    match field {
        Field::Address => shown::ADDRESS,
        Field::Interface => shown::INTERFACE,
        Field::Port => shown::PORT,
    }
}

fn len(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// `enum nf_inet_hooks` of linux/netfilter.h.
pub(crate) fn hook_number(hook: Hook) -> u32 {
    match hook {
        Hook::Prerouting => 0,
        Hook::Input => 1,
        Hook::Forward => 2,
        Hook::Output => 3,
        Hook::Postrouting => 4,
    }
}

/// What the kernel calls a kind of chain.
pub(crate) fn kind_name(kind: ChainKind) -> &'static str {
    match kind {
        ChainKind::Filter => "filter",
        ChainKind::Nat => "nat",
    }
}
