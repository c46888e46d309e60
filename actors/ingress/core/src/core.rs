//! The core: from the state and the suspects to a table and sockets.

use crate::effect::Effect;
use crate::input::Input;
use crate::listeners::Settings;
use jaco_kit_core::{Core, Mono, Now};
use jaco_state::State;
use std::sync::Arc;

/// Decides what this node serves, and where.
#[derive(Debug)]
pub struct IngressCore {
    settings: Settings,
    state: Arc<State>,
}

impl IngressCore {
    /// The core of a node that has seen no state yet.
    pub fn new(settings: Settings) -> IngressCore {
        IngressCore { settings, state: Arc::new(State::default()) }
    }
}

impl Core for IngressCore {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, _now: Now, input: Input) -> Vec<Effect> {
        if let Input::StateChanged(state) = input {
            self.state = state;
        }
        Vec::new()
    }

    fn wake(&mut self, _now: Now) -> Vec<Effect> {
        let _ = &self.settings;
        Vec::new()
    }

    fn deadline(&self) -> Option<Mono> {
        None
    }
}
