//! Who of the cluster is up, as a pure core and without raft.
//!
//! Every node probes some others twice a second and tells them in a [`Word`] whom it cannot reach.
//! [`LivenessCore`] turns that into two things: the set of peers that routing should avoid at once,
//! on every node and also without a leader, and, on the leader alone, the command that declares a
//! node down or up once more than one observer agrees. It deliberately moves no replica: that
//! follows from the declared state, elsewhere.

#![forbid(unsafe_code)]

mod core;
mod effect;
mod input;
mod settings;
mod view;
mod word;

mod flaps;
mod roster;

mod paths;
mod reports;
mod stall;

mod judge;
mod proposals;

pub use crate::core::LivenessCore;
pub use effect::Effect;
pub use input::{Input, Peer};
pub use settings::Settings;
pub use view::PeerView;
pub use word::{Checkpoint, NotAWord, Word};
