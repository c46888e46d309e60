//! A kernel that obeys the core, with virtual time and with people who touch it.

use jaco_firewall_core::{
    Effect, Fault, FaultKind, FirewallCore, FlowFilter, Found, Input, Options, Report, Ruleset,
    Settings, Written,
};
use jaco_kit_core::{Core, Mono, Now, Wall};
use jaco_model::NodeId;

pub(crate) struct World {
    pub(crate) core: FirewallCore,
    pub(crate) now: u64,
    pub(crate) table: Option<Ruleset>,
    pub(crate) generation: u32,
    /// The kernel says no to writes.
    pub(crate) refuses: bool,
    /// It says no to changes of elements.
    pub(crate) refuses_elements: bool,
    /// The kernel adds something strange to every full write.
    pub(crate) garbles: bool,
    /// So many of the next read-backs are torn by somebody who writes elsewhere.
    pub(crate) torn: u32,
    /// Somebody touched the table since the last look or full write.
    pub(crate) is_damaged: bool,
    pub(crate) log: Vec<String>,
    pub(crate) reports: Vec<Report>,
    pub(crate) ended: Vec<FlowFilter>,
    answers: Vec<Input>,
}

impl World {
    pub(crate) fn new() -> World {
        let me = NodeId::new("n-1");
        World {
            core: FirewallCore::new(me, Options::default(), Settings::default(), 7),
            now: 1,
            table: None,
            generation: 10,
            refuses: false,
            refuses_elements: false,
            garbles: false,
            torn: 0,
            is_damaged: false,
            log: Vec::new(),
            reports: Vec::new(),
            ended: Vec::new(),
            answers: Vec::new(),
        }
    }

    /// Gives an input and lets time pass until nothing is under way.
    pub(crate) fn step(&mut self, input: Input) {
        let effects = self.core.step(self.clock(), input);
        self.obey(effects);
        self.settle();
    }

    fn settle(&mut self) {
        while !self.answers.is_empty() {
            self.now += 1;
            let answer = self.answers.remove(0);
            let effects = self.core.step(self.clock(), answer);
            self.obey(effects);
        }
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, millis: u64) {
        let end = self.now + millis;
        let mut wakes = 0;
        while let Some(Mono(due)) = self.core.deadline().filter(|due| due.0 <= end) {
            wakes += 1;
            assert!(wakes < 10_000, "it spins");
            self.now = self.now.max(due).max(self.now);
            let effects = self.core.wake(self.clock());
            if effects.is_empty() && self.core.deadline() == Some(Mono(due)) {
                self.now += 1;
            }
            self.obey(effects);
            self.settle();
        }
        self.now = self.now.max(end);
    }

    /// Somebody else changes the table; the core is told if `is_noticed`.
    pub(crate) fn touch(&mut self, is_noticed: bool, change: impl FnOnce(&mut Option<Ruleset>)) {
        change(&mut self.table);
        self.is_damaged = true;
        self.generation += 1;
        if is_noticed {
            self.step(Input::Drifted { by: Some("nft".to_owned()) });
        }
    }

    fn clock(&self) -> Now {
        Now { mono: Mono(self.now), wall: Wall(0) }
    }

    fn obey(&mut self, effects: Vec<Effect>) {
        self.core.check_invariants();
        let refused = || Fault { kind: FaultKind::Refused, message: "no such file".to_owned() };
        for effect in effects {
            match effect {
                Effect::Write { op, ruleset } => {
                    self.log.push(format!("{} write", self.now));
                    if !self.refuses {
                        self.is_damaged = false;
                        let mut table = (*ruleset).clone();
                        if self.garbles {
                            table.foreign.insert("strange".to_owned());
                        }
                        self.table = Some(table);
                        self.generation += 1;
                    }
                    let written = Written { generation: self.generation };
                    let result = if self.refuses { Err(refused()) } else { Ok(written) };
                    self.answers.push(Input::Written { op, result });
                }
                Effect::WriteElements { op, delta, generation } => {
                    self.log.push(format!("{} elements {}", self.now, delta.len()));
                    let result = if generation != self.generation {
                        let message = "stale".to_owned();
                        Err(Fault { kind: FaultKind::Overtaken, message })
                    } else if let (false, Some(table)) =
                        (self.refuses || self.refuses_elements, &mut self.table)
                    {
                        delta.apply(table);
                        self.generation += 1;
                        Ok(Written { generation: self.generation })
                    } else {
                        Err(refused())
                    };
                    self.answers.push(Input::Written { op, result });
                }
                Effect::ReadBack { op } => {
                    self.log.push(format!("{} read", self.now));
                    let found = Found { ruleset: self.table.clone(), generation: self.generation };
                    let message = "torn".to_owned();
                    let torn = Fault { kind: FaultKind::Overtaken, message };
                    let is_torn = self.torn > 0;
                    self.torn = self.torn.saturating_sub(1);
                    let result = if is_torn { Err(torn) } else { Ok(found) };
                    self.answers.push(Input::ReadBack { op, result });
                }
                Effect::EndFlows { op, flows } => {
                    self.ended.extend(flows);
                    self.answers.push(Input::FlowsEnded { op, result: Ok(0) });
                }
                Effect::Report(report) => self.reports.push(report),
            }
        }
    }
}
