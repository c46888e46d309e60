//! Which effect of which core becomes which input of which other.
//!
//! [`Member`] is the pure middle of one daemon: it owns the state machine and the proposals in
//! flight, and turns every effect of a core into [`Step`]s: messages to other cores, or I/O that
//! only a driver can do. The daemon and the simulator run the same table; neither has a second
//! copy of who talks to whom.

#![forbid(unsafe_code)]

mod entry;
mod snapshot;
mod step;

mod certificates;
mod diverge;
mod member;
mod members;
mod overlay;
mod permit;
mod propose;
mod reads;

pub use entry::{decode, encode};
pub use member::{Me, Member, Start};
pub use snapshot::{decode_state, encode_state};
pub use step::{Answer, Delivery, Error, Io, Peer, Step, Ticket};
