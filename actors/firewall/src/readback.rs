//! Reads our table into the value that it was written from.
//!
//! Whatever cannot be part of such a value ends up among its foreign parts, so that it shows as a
//! difference.

use crate::encode::{hook_number, kind_name, shown};
use crate::error::Error;
use crate::expr;
use crate::field::Fields;
use crate::numbers::{ANY_TABLE, LIST_ITEM, chain, element, family, object, operation, rule, set};
use crate::numbers::{subsystem, table, verdict};
use crate::socket::Socket;
use crate::wire::{attributes, find, number, text};
use jaco_firewall_core::{
    Chain, ChainKind, Element, Field, Found, Hook, Rule, Ruleset, Set, TABLE,
};
use std::collections::BTreeSet;

/// Reads the whole table, in one generation.
pub(crate) fn read(socket: &mut Socket) -> Result<Found, Error> {
    let generation = socket.generation()?;
    let found = read_table(socket);
    if socket.generation()? != generation {
        return Err(Error::Overtaken);
    }
    Ok(Found { ruleset: found?, generation })
}

fn read_table(socket: &mut Socket) -> Result<Option<Ruleset>, Error> {
    let body = socket.one(operation::GET_TABLE, |body| _ = body.text(ANY_TABLE, TABLE))?;
    let Some(body) = body else { return Ok(None) };
    let mut ruleset = Ruleset::default();
    match find(&body, table::FLAGS).and_then(number) {
        None | Some(0) => {}
        Some(flags) => _ = ruleset.foreign.insert(format!("the table has flags {flags:#x}")),
    }
    for body in list(socket, operation::GET_OBJECT)? {
        read_object(&body, &mut ruleset);
    }
    for body in list(socket, operation::GET_SET)? {
        if let Some(name) = read_set(&body, &mut ruleset) {
            read_elements(socket, &name, &mut ruleset)?;
        }
    }
    // Older kernels list the chains of all tables.
    for body in list(socket, operation::GET_CHAIN)? {
        if find(&body, ANY_TABLE).map(text).as_deref() == Some(TABLE) {
            read_chain(&body, &mut ruleset);
        }
    }
    for body in list(socket, operation::GET_RULE)? {
        let chain = find(&body, rule::CHAIN).map(text).unwrap_or_default();
        let exprs = expr::read_all(find(&body, rule::EXPRESSIONS).unwrap_or_default());
        match ruleset.chains.get_mut(&chain) {
            Some(chain) => chain.rules.push(Rule(exprs)),
            None => _ = ruleset.foreign.insert(format!("a rule of chain {chain}")),
        }
    }
    Ok(Some(ruleset))
}

fn list(socket: &mut Socket, operation: u16) -> Result<Vec<Vec<u8>>, Error> {
    socket.list(subsystem::NFTABLES, operation, family::INET, |body| {
        body.text(ANY_TABLE, TABLE);
    })
}

fn read_object(body: &[u8], ruleset: &mut Ruleset) {
    let name = find(body, object::NAME).map(text).unwrap_or_default();
    if find(body, object::TYPE).and_then(number) == Some(object::TYPE_COUNTER) {
        ruleset.counters.insert(name);
    } else {
        ruleset.foreign.insert(format!("object {name}"));
    }
}

/// Reads a set without its elements; its name if it can be one of ours.
fn read_set(body: &[u8], ruleset: &mut Ruleset) -> Option<String> {
    let name = find(body, set::NAME).map(text).unwrap_or_default();
    let flags = find(body, set::FLAGS).and_then(number).unwrap_or(0);
    let key_type = find(body, set::KEY_TYPE).and_then(number).unwrap_or(0);
    let fields = fields(key_type).unwrap_or_default();
    let set = Set { fields, elements: BTreeSet::new() };
    let key_len = find(body, set::KEY_LEN).and_then(number).unwrap_or(0);
    let is_concat = set.fields.len() > 1;
    let wanted_flags = if is_concat { set::FLAG_CONCAT } else { 0 };
    let has_len = usize::try_from(key_len).is_ok_and(|len| len == set.key_len());
    if flags != wanted_flags || !has_len || set.fields.is_empty() {
        ruleset.foreign.insert(format!("set {name} of flags {flags:#x}, type {key_type:#x}"));
        return None;
    }
    ruleset.sets.insert(name.clone(), set);
    Some(name)
}

/// The fields behind the type of a key.
fn fields(mut key_type: u32) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    while key_type != 0 {
        fields.push(match key_type & ((1 << shown::BITS) - 1) {
            shown::ADDRESS => Field::Address,
            shown::PORT => Field::Port,
            shown::INTERFACE => Field::Interface,
            _ => return None,
        });
        key_type >>= shown::BITS;
    }
    fields.reverse();
    Some(fields)
}

fn read_elements(socket: &mut Socket, name: &str, ruleset: &mut Ruleset) -> Result<(), Error> {
    let bodies =
        socket.list(subsystem::NFTABLES, operation::GET_ELEMENT, family::INET, |body| {
            body.text(ANY_TABLE, TABLE).text(element::SET, name);
        })?;
    let lists = bodies.iter().filter_map(|body| find(body, element::ELEMENTS));
    let items = lists.flat_map(attributes).filter(|(kind, _)| *kind == LIST_ITEM);
    for (_, item) in items {
        match plain_key(item) {
            Some(key) => {
                if let Some(set) = ruleset.sets.get_mut(name) {
                    set.elements.insert(key);
                }
            }
            None => _ = ruleset.foreign.insert(format!("a special element of set {name}")),
        }
    }
    Ok(())
}

/// The key of an element that is nothing but a key.
fn plain_key(item: &[u8]) -> Option<Element> {
    let mut fields = Fields::new(item);
    let key = find(fields.bytes(element::KEY)?, element::VALUE)?.to_vec();
    fields.skip(&[element::PADDING]);
    fields.end()?;
    Some(key)
}

fn read_chain(body: &[u8], ruleset: &mut Ruleset) {
    let name = find(body, chain::NAME).map(text).unwrap_or_default();
    match base_chain(body) {
        Some(chain) => _ = ruleset.chains.insert(name, chain),
        None => _ = ruleset.foreign.insert(format!("chain {name}")),
    }
}

fn base_chain(body: &[u8]) -> Option<Chain> {
    let mut at = Fields::new(find(body, chain::HOOK)?);
    let hook = at.number(chain::HOOK_NUMBER)?;
    let priority = at.number(chain::HOOK_PRIORITY)?.cast_signed();
    at.end()?;
    let hooks = [Hook::Prerouting, Hook::Input, Hook::Forward, Hook::Output, Hook::Postrouting];
    let hook = hooks.into_iter().find(|known| hook_number(*known) == hook)?;
    let kind = text(find(body, chain::TYPE)?);
    let kinds = [ChainKind::Filter, ChainKind::Nat];
    let kind = kinds.into_iter().find(|known| kind_name(*known) == kind)?;
    let accepts = find(body, chain::POLICY).and_then(number) == Some(verdict::ACCEPT);
    let flags = find(body, chain::FLAGS).and_then(number).unwrap_or(chain::FLAG_BASE);
    let is_plain = accepts && flags == chain::FLAG_BASE;
    is_plain.then(|| Chain { kind, hook, priority, rules: Vec::new() })
}
