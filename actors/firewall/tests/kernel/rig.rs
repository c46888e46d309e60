//! A driver and its answers, without a core.

use crate::namespace::PATIENCE;
use jaco_firewall::{Driver, DriverHandle};
use jaco_firewall_core::{Delta, Effect, Fault, FlowFilter, Found, Input, Ruleset, Written};
use jaco_kit_core::OpId;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

pub(crate) struct Rig {
    driver: DriverHandle,
    answers: Receiver<Input>,
}

impl Rig {
    /// A driver in the namespace of this thread.
    pub(crate) fn new() -> Rig {
        let (tell, answers) = channel();
        let driver = Driver::spawn(move |input| _ = tell.send(input)).unwrap();
        Rig { driver, answers }
    }

    pub(crate) fn write(&self, ruleset: &Ruleset) -> Result<Written, Fault> {
        let ruleset = Arc::new(ruleset.clone());
        match self.answer(Effect::Write { op: OpId(1), ruleset }) {
            Input::Written { op: OpId(1), result } => result,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn write_elements(&self, delta: Delta, generation: u32) -> Result<Written, Fault> {
        match self.answer(Effect::WriteElements { op: OpId(2), delta, generation }) {
            Input::Written { op: OpId(2), result } => result,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn read(&self) -> Found {
        match self.answer(Effect::ReadBack { op: OpId(3) }) {
            Input::ReadBack { op: OpId(3), result } => result.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn end_flows(&self, flows: Vec<FlowFilter>) -> usize {
        match self.answer(Effect::EndFlows { op: OpId(4), flows }) {
            Input::FlowsEnded { op: OpId(4), result } => result.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// The program that changed our table, once one has.
    pub(crate) fn drift(&self) -> Option<String> {
        match self.answers.recv_timeout(PATIENCE).unwrap() {
            Input::Drifted { by } => by,
            other => panic!("{other:?}"),
        }
    }

    /// Nothing was told that was not asked for.
    pub(crate) fn is_quiet(&self) -> bool {
        self.answers.try_recv().is_err()
    }

    fn answer(&self, effect: Effect) -> Input {
        self.driver.run(effect);
        self.answers.recv_timeout(PATIENCE).unwrap()
    }
}
