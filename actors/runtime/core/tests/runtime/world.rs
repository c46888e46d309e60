//! One node in virtual time: the real core and the real state, a fake engine, and a queue of
//! what is going to happen.

use crate::engine::{FakeEngine, refusal};
use crate::fixture::{self, CLUSTER, NODE, START};
use crate::record::Record;
use crate::trace;
use jaco_kit_core::{Core, Mono, Now, OpId, Wall};
use jaco_model::command::{Command, Envelope};
use jaco_model::entity::{Capacity, Desired, Platform};
use jaco_model::event::Event;
use jaco_model::{ClusterId, ErrorCode, Fault, Identity, InstanceId, NodeId, RequestId, WallMs};
use jaco_runtime_core::{
    Effect, EngineEvent, EngineFacts, ExecOutcome, Host, Input, PullFault, PullReason, RuntimeCore,
    Settings,
};
use jaco_state::State;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is going to happen.
#[derive(Debug)]
enum Coming {
    /// An order takes effect at the engine.
    Done(Effect),
    /// A fact reaches the core.
    Told(Input),
}

/// How long things take.
pub(crate) type Latency = Box<dyn FnMut() -> u64>;

/// One node and its surroundings.
pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) core: RuntimeCore,
    /// Of the next core.
    pub(crate) settings: Settings,
    record: Record,
    pub(crate) state: State,
    pub(crate) engine: FakeEngine,
    pub(crate) engine_up: bool,
    /// What the engine says of itself.
    pub(crate) engine_version: String,
    /// How often the next orders of a kind fail.
    pub(crate) failing: BTreeMap<String, u32>,
    pub(crate) pull_reason: PullReason,
    pub(crate) probes_pass: bool,
    pub(crate) lines: Vec<String>,
    pub(crate) proposals: u32,
    pub(crate) pulls_at_once: usize,
    /// Whether containers of wanted instances may be stopped, as when checks fail.
    pub(crate) may_stop: bool,
    latency: Latency,
    queue: BTreeMap<(u64, u64), (u64, Coming)>,
    seq: u64,
    /// The life of the core; what was meant for an earlier one is lost.
    life: u64,
    /// Containers that the present core was told of by the present engine connection.
    told: BTreeSet<String>,
    /// Creations ordered over the present connection.
    creations: BTreeSet<OpId>,
    requests: u128,
}

fn new_core(settings: &Settings, seed: u64) -> RuntimeCore {
    let host = Host {
        node: NodeId::from(NODE),
        cluster: ClusterId::from(CLUSTER),
        address: String::new(),
        api_address: String::new(),
        version: "0.1.0".to_owned(),
        reserved: Capacity::default(),
        labels: BTreeMap::new(),
    };
    RuntimeCore::new(host, settings.clone(), seed)
}

fn facts(version: &str) -> EngineFacts {
    EngineFacts {
        version: version.to_owned(),
        api: "1.41".to_owned(),
        platform: Platform { os: "linux".to_owned(), arch: "amd64".to_owned() },
        capacity: Capacity { cpu_milli: 2_000, memory: 1 << 32, generic: BTreeMap::new() },
        volume_drivers: vec!["local".to_owned()],
        runtimes: vec!["runc".to_owned()],
    }
}

impl World {
    pub(crate) fn new(latency: Latency) -> World {
        let mut world = World {
            now: 1_000,
            core: new_core(&Settings::default(), 7),
            settings: Settings::default(),
            record: Record::default(),
            state: State::default(),
            engine: FakeEngine::default(),
            engine_up: false,
            engine_version: "20.10.24".to_owned(),
            failing: BTreeMap::new(),
            pull_reason: PullReason::Network,
            probes_pass: true,
            lines: Vec::new(),
            proposals: 0,
            pulls_at_once: 0,
            may_stop: false,
            latency,
            queue: BTreeMap::new(),
            seq: 0,
            life: 0,
            told: BTreeSet::new(),
            creations: BTreeSet::new(),
            requests: 0,
        };
        world.write(fixture::init());
        world
    }

    /// Applies a command and tells the core.
    pub(crate) fn write(&mut self, command: Command) {
        for fault in self.apply(command) {
            assert!(fault.code != ErrorCode::Internal, "illegal transition: {fault}");
            self.lines.push(format!("dropped: {fault}"));
        }
    }

    /// Applies a command, tells the core, and returns what no longer fitted.
    fn apply(&mut self, command: Command) -> Vec<Fault> {
        self.requests += 1;
        let envelope = Envelope {
            request_id: RequestId(self.requests),
            at: WallMs(START + self.now),
            identity: Identity::from("system"),
            os_user: None,
            command,
        };
        let index = self.state.applied_index + 1;
        let applied = jaco_state::apply(&mut self.state, index, &envelope);
        applied.result.expect("commands of tests are valid");
        let state = Arc::new(self.state.clone());
        self.tell(Input::StateChanged(state));
        let dropped = applied.events.into_iter().filter_map(|event| match event {
            Event::Dropped { fault } => Some(fault),
            _ => None,
        });
        dropped.collect()
    }

    /// Gives the core an input at once.
    pub(crate) fn tell(&mut self, input: Input) {
        match &input {
            Input::EngineUp(_) | Input::EngineDown { .. } => {
                self.told.clear();
                self.creations.clear();
            }
            Input::Observed { result: Ok(seen), .. } => {
                self.told.extend(seen.containers.iter().map(|facts| facts.id.clone()));
            }
            // The answer to a question of an earlier connection counts for nothing.
            Input::Created { op, result: Ok((id, _)) } if self.creations.remove(op) => {
                self.told.insert(id.clone());
            }
            _ => {}
        }
        self.record.update(self.now, &self.engine, &self.told);
        let effects = self.core.step(self.clock(), input);
        self.carry_out(effects);
    }

    fn clock(&self) -> Now {
        Now { mono: Mono(self.now), wall: Wall(START + self.now) }
    }

    /// Lets `ms` milliseconds pass.
    pub(crate) fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        let mut steps = 0;
        loop {
            let next = self.queue.keys().next().map(|(at, _)| *at);
            let timer = self.core.deadline().map(|at| at.0.max(self.now));
            let Some(at) = next.into_iter().chain(timer).min().filter(|at| *at <= end) else {
                break;
            };
            steps += 1;
            assert!(steps < 200_000, "the core never comes to rest");
            self.now = self.now.max(at);
            if next.is_some_and(|next| next <= at) {
                let (_, (life, coming)) = self.queue.pop_first().expect("just seen");
                self.happen(life, coming);
            } else {
                let effects = self.core.wake(self.clock());
                self.carry_out(effects);
                let again = self.core.deadline();
                assert!(again.is_none_or(|again| again.0 > self.now), "the timer stands still");
            }
        }
        self.now = end;
    }

    fn happen(&mut self, life: u64, coming: Coming) {
        let input = match coming {
            Coming::Told(input) => Some(input),
            // What a dead daemon ordered may still take effect; nobody hears of it.
            Coming::Done(effect) => self.take_effect(effect, life == self.life),
        };
        if let Some(input) = input.filter(|_| life == self.life) {
            self.tell(input);
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        self.core.check_invariants();
        for effect in effects {
            self.judge(&effect);
            self.lines.extend(trace::effect(self.now, &effect));
            if effect.op().is_none() {
                continue;
            }
            let wait = (self.latency)();
            let wait = match &effect {
                Effect::Stop { grace, container, .. } if self.is_stubborn(container) => grace.0,
                _ => wait,
            };
            self.enqueue(wait, Coming::Done(effect));
        }
        let pulls =
            |(_, coming): &&(u64, Coming)| matches!(coming, Coming::Done(Effect::Pull { .. }));
        self.pulls_at_once = self.pulls_at_once.max(self.queue.values().filter(pulls).count());
    }

    fn is_stubborn(&self, container: &str) -> bool {
        self.failing.get("stubborn").is_some_and(|left| *left > 0)
            && self.engine.containers.get(container).is_some_and(|c| c.facts.running)
    }

    fn enqueue(&mut self, wait: u64, coming: Coming) {
        self.seq += 1;
        self.queue.insert((self.now + wait, self.seq), (self.life, coming));
    }

    /// What must hold for every single order.
    fn judge(&mut self, effect: &Effect) {
        match effect {
            Effect::Propose { .. } => self.proposals += 1,
            Effect::Create { op, plan } => {
                self.creations.insert(*op);
                let others = self.queue.values().filter(|(life, _)| *life == self.life);
                let others = others.filter_map(|(_, coming)| match coming {
                    Coming::Done(Effect::Create { plan, .. }) => Some(plan.as_ref()),
                    _ => None,
                });
                self.record.judge_addresses(self.now, &self.engine, plan, others);
                if let Some(id) = self.engine.by_instance(&plan.instance) {
                    assert!(!self.told.contains(&id), "{} has {id} already", plan.instance);
                }
            }
            Effect::Stop { container, .. } | Effect::Remove { container, .. } => {
                let Some(held) = self.engine.containers.get(container) else { return };
                assert!(held.ours, "a foreign container is touched");
                let instance = held.facts.instance.as_ref();
                let wanted = instance.and_then(|id| self.state.instances.get(id));
                let wanted = wanted.filter(|of| of.spec_hash == held.facts.spec_hash);
                let run = wanted.is_some_and(|of| of.desired == Desired::Run);
                let stops = matches!(effect, Effect::Stop { .. });
                assert!(!(run && stops) || self.may_stop, "{instance:?} is stopped for no reason");
            }
            Effect::RemoveNetwork { name, .. } => {
                let mut told = self.told.iter().filter_map(|id| self.engine.containers.get(id));
                let in_it = told.any(|c| c.is_in(name) && c.facts.running);
                assert!(!in_it, "{name} is removed with somebody in it");
            }
            Effect::Start { container, .. } | Effect::Exec { container, .. } => {
                let held = self.engine.containers.get(container);
                assert!(held.is_none_or(|held| held.ours), "a foreign container is touched");
            }
            _ => {}
        }
    }

    fn fails(&mut self, op: &str) -> bool {
        match self.failing.get_mut(op) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }

    fn take_effect(&mut self, effect: Effect, alive: bool) -> Option<Input> {
        if let Effect::Propose { op, command } = effect {
            return Some(self.propose(op, command, alive));
        }
        if !self.engine_up {
            return None;
        }
        match effect {
            Effect::Propose { .. } => None,
            Effect::Observe { op } => {
                let refused = self.fails("observe").then(|| refusal("observe", "no answer"));
                let result = refused.map_or_else(|| Ok(self.engine.observe()), Err);
                Some(Input::Observed { op, result })
            }
            Effect::Pull { op, .. } => {
                let reason = self.pull_reason;
                let fault =
                    PullFault { reason, message: "refused".to_owned(), retry_after_ms: None };
                let result = if self.fails("pull") { Err(fault) } else { Ok(()) };
                Some(Input::Pulled { op, result })
            }
            Effect::Create { op, plan } => {
                let refused = self.fails("create").then(|| refusal("create", "no space left"));
                let result = refused.map_or_else(|| self.engine.create(&plan), Err);
                Some(Input::Created { op, result })
            }
            Effect::Inspect { op, container } => {
                let facts = self.engine.containers.get(&container).map(|c| c.facts.clone());
                Some(Input::Inspected { op, result: Ok(facts) })
            }
            Effect::Exec { op, .. } => {
                let exit_code = i64::from(self.fails("hook"));
                let result = Ok(ExecOutcome { exit_code, output: String::new() });
                Some(Input::Executed { op, result })
            }
            Effect::CountConnections { op, .. } => {
                let result = Ok(u32::from(self.fails("drain")));
                Some(Input::Counted { op, result })
            }
            Effect::Probe { op, .. } => {
                let result = self.probes_pass.then_some(()).ok_or_else(|| "refused".to_owned());
                Some(Input::Probed { op, result })
            }
            other => self.finish(other),
        }
    }

    fn finish(&mut self, effect: Effect) -> Option<Input> {
        let mut event = None;
        let (op, result) = match effect {
            Effect::Start { op, container } => {
                let refused = self.fails("start").then(|| refusal("start", "no such file"));
                let started = match refused {
                    Some(fault) => Err(fault),
                    None => self.engine.start(&container, self.now),
                };
                (op, started.map(|e| event = e.map(|e| (container, e))))
            }
            Effect::Stop { op, container, .. } => {
                event = self.engine.end(&container, 143).map(|e| (container, e));
                (op, Ok(()))
            }
            Effect::Remove { op, container } => {
                let removed = self.engine.remove(&container);
                (op, removed.map(|e| event = e.map(|e| (container, e))))
            }
            Effect::EnsureNetwork { op, plan } => {
                let refused = self.fails("network");
                let result = if refused {
                    Err(refusal("create network", "all predefined address pools are in use"))
                } else {
                    self.engine.ensure_network(&plan)
                };
                (op, result)
            }
            Effect::EnsureVolume { op, plan } => {
                self.engine.volumes.insert(plan.name, plan.labels);
                (op, Ok(()))
            }
            Effect::RemoveNetwork { op, name } => (op, self.engine.remove_network(&name)),
            Effect::RemoveVolume { op, name } => {
                self.engine.volumes.remove(&name);
                (op, Ok(()))
            }
            _ => return None,
        };
        if let Some((container, event)) = event {
            self.announce(&container, event);
        }
        Some(Input::Finished { op, result })
    }

    fn propose(&mut self, op: OpId, command: Command, alive: bool) -> Input {
        if self.fails("propose") {
            let result = Err(Fault::new(ErrorCode::NoLeader, "election under way"));
            return Input::Proposed { op, result };
        }
        if alive {
            self.write(command);
        } else {
            // Words of a dead daemon may come too late to fit.
            self.apply(command);
        }
        // The fate of an applied proposal may stay unknown.
        let unknown = self.fails("answer");
        let fault = Fault::new(ErrorCode::WaitTimeout, "no answer in time");
        Input::Proposed { op, result: if unknown { Err(fault) } else { Ok(()) } }
    }

    /// Tells the core of an event after a while.
    pub(crate) fn announce(&mut self, container: &str, event: EngineEvent) {
        if self.engine_up {
            let wait = (self.latency)().min(20);
            let container = container.to_owned();
            self.enqueue(wait, Coming::Told(Input::Event { container, event }));
        }
    }

    /// Ends the process of an instance.
    pub(crate) fn exit(&mut self, id: &InstanceId, code: i64) {
        let Some(container) = self.engine.by_instance(id) else { return };
        if let Some(event) = self.engine.end(&container, code) {
            self.announce(&container, event);
        }
    }

    /// The connection to the engine breaks; orders under way are lost when the engine itself dies.
    pub(crate) fn engine_down(&mut self, dies: bool) {
        self.engine_up = false;
        if dies {
            self.queue.retain(|_, (_, coming)| {
                matches!(coming, Coming::Done(Effect::Propose { .. }))
                    || matches!(coming, Coming::Told(Input::Proposed { .. }))
            });
        } else {
            // The engine works on; only its words are lost.
            self.queue
                .retain(|_, (_, coming)| !matches!(coming, Coming::Told(Input::Event { .. })));
        }
        self.tell(Input::EngineDown { reason: "connection reset".to_owned() });
    }

    pub(crate) fn connect(&mut self) {
        if !self.engine_up {
            self.engine_up = true;
            self.tell(Input::EngineUp(facts(&self.engine_version)));
        }
    }

    /// The daemon is killed and started again; what it had ordered goes on.
    pub(crate) fn restart_core(&mut self) {
        self.life += 1;
        self.core = new_core(&self.settings, 7 + self.life);
        self.record = Record::default();
        self.told.clear();
        self.creations.clear();
        let state = Arc::new(self.state.clone());
        self.tell(Input::StateChanged(state));
        if self.engine_up {
            self.tell(Input::EngineUp(facts(&self.engine_version)));
        }
    }
}
