//! Connections that are still to be forgotten, until the kernel has done it.

use crate::conntrack::FlowFilter;
use crate::effect::Effect;
use jaco_kit_core::{Mono, OpId, OpIds};
use std::time::Duration;

/// What is to end and what was ordered.
#[derive(Debug, Default)]
pub(crate) struct Flows {
    waiting: Vec<FlowFilter>,
    ordered: Option<(OpId, Vec<FlowFilter>)>,
    not_before: Option<Mono>,
}

impl Flows {
    /// These too.
    pub(crate) fn add(&mut self, flows: Vec<FlowFilter>) {
        self.waiting.extend(flows);
    }

    /// The order came back. Failed ones are given again after a while.
    pub(crate) fn settle(&mut self, now: Mono, op: OpId, is_done: bool, retry: Duration) {
        let Some((_, flows)) = self.ordered.take_if(|(ordered, _)| *ordered == op) else { return };
        if !is_done {
            self.waiting.extend(flows);
            self.not_before = Some(now.plus(retry));
        }
    }

    /// When something can be ordered.
    pub(crate) fn due(&self) -> Option<Mono> {
        let is_idle = self.ordered.is_none() && !self.waiting.is_empty();
        is_idle.then(|| self.not_before.unwrap_or(Mono(0)))
    }

    /// The next order.
    pub(crate) fn order(&mut self, now: Mono, ops: &mut OpIds) -> Option<Effect> {
        if self.due()? > now {
            return None;
        }
        let op = ops.next_id();
        let flows = std::mem::take(&mut self.waiting);
        self.ordered = Some((op, flows.clone()));
        self.not_before = None;
        Some(Effect::EndFlows { op, flows })
    }
}
