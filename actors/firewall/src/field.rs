//! Attributes that are taken one by one, so that what is left over shows.

use crate::wire::{attributes, number};
use std::collections::BTreeMap;

/// The attributes of one thing that were not asked for yet.
#[derive(Debug)]
pub(crate) struct Fields<'a>(BTreeMap<u16, &'a [u8]>);

impl<'a> Fields<'a> {
    /// All attributes.
    pub(crate) fn new(bytes: &'a [u8]) -> Fields<'a> {
        Fields(attributes(bytes).collect())
    }

    /// Takes a value.
    pub(crate) fn bytes(&mut self, kind: u16) -> Option<&'a [u8]> {
        self.0.remove(&kind)
    }

    /// Takes a number.
    pub(crate) fn number(&mut self, kind: u16) -> Option<u32> {
        self.bytes(kind).and_then(number)
    }

    /// Takes a number that has to be this one.
    pub(crate) fn expect(&mut self, kind: u16, value: u32) -> Option<()> {
        (self.number(kind)? == value).then_some(())
    }

    /// Takes what says nothing.
    pub(crate) fn skip(&mut self, kinds: &[u16]) {
        for kind in kinds {
            self.0.remove(kind);
        }
    }

    /// Nothing is left.
    pub(crate) fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}
