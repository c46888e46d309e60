//! Who gets which answer to which name.
//!
//! Decides what the containers of this node may know and where they can ask: from the replicated
//! state to tables of names, from the bytes of a question to the bytes of its answer, and which
//! upstream is believed about names of the world outside. It opens no socket: the driver moves
//! messages and asks [`respond`], and carries out the [`Effect`]s of [`DnsCore`].

#![forbid(unsafe_code)]

mod answer;
mod core;
mod describe;
mod desired;
mod dice;
mod effect;
mod forward;
mod input;
mod limits;
mod listeners;
mod message;
mod name;
mod respond;
mod settings;
mod tell;
mod tlds;
mod view;
mod zones;

pub use crate::core::DnsCore;
pub use answer::{Answer, Question, answer, kind};
pub use describe::{Attachment, ContainerEntry, Description, PortName, ServiceEntry};
pub use dice::Dice;
pub use effect::Effect;
pub use forward::{Cache, CacheKey, Chain, Health, Query, Rejected, Reply, Unfit, Verdict, usable};
pub use input::Input;
pub use limits::{CONNECTIONS_PER_SOURCE, FORWARDS_PER_NODE, FORWARDS_PER_SOURCE, InFlight, Rates};
pub use message::{Request, rcode};
pub use name::QueryName;
pub use respond::{Response, Transport, respond, respond_alone};
pub use settings::Settings;
pub use tell::{Told, tell};
pub use view::Target;
pub use zones::{Source, Zones};
