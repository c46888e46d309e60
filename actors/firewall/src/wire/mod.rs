//! Bytes of netlink messages.

mod attribute;
mod message;

pub(crate) use attribute::{Body, attributes, find, number, text};
pub(crate) use message::{Frame, Message, frames};
