//! Orders to the engines and what engines say: each order is answered once, unless the connection
//! over which it was sent is gone.

use super::World;
use crate::engine::{Mode, refusal};
use crate::event::{Event, HostId, Life, Order, Turn};
use crate::queue::{MILLI, Micros, SECOND};
use jaco_kit_core::OpId;
use jaco_model::entity::{Capacity, Platform};
use jaco_runtime_core::{
    Effect, EngineEvent, EngineFacts, ExecOutcome, Input, PullFault, PullReason,
};
use jaco_wiring::Delivery;

/// A daemon notices after so long that its engine hangs.
const PING_LIMIT: Micros = 10 * SECOND;

/// How an order was carried out.
struct Done {
    input: Input,
    event: Option<(String, EngineEvent)>,
}

impl World {
    /// An order leaves the daemon.
    pub(crate) fn order(&mut self, life: Life, effect: Effect) {
        self.check_guarded(life.host, &effect);
        let delay = self.engine_delay(&effect);
        let connection = self.host(life.host).connection;
        self.after(delay, Event::Engine(Box::new(Order { life, connection, effect })));
    }

    fn engine_delay(&mut self, effect: &Effect) -> Micros {
        let usual = match self.random.weighted(&[80, 15, 2]) {
            0 => self.random.between(MILLI, 20 * MILLI),
            1 => self.random.between(50 * MILLI, 500 * MILLI),
            _ => self.random.between(SECOND, 4 * SECOND),
        };
        match effect {
            Effect::Pull { .. } if self.random.chance(300) => {
                usual + self.random.between(100 * MILLI, 3 * SECOND)
            }
            Effect::Stop { grace, .. } if self.random.chance(100) => {
                usual + self.random.below(grace.0 * 1_000)
            }
            _ => usual,
        }
    }

    /// An order takes effect, whether or not the daemon that gave it still lives.
    pub(crate) fn carry_out(&mut self, order: Box<Order>) {
        let host = order.life.host;
        match self.host(host).engine.mode {
            Mode::Hung => self.host_mut(host).hung.push(*order),
            Mode::Down => self.answer_order(&order, true),
            Mode::Up if order.connection != self.host(host).connection => {
                // It was on its way when the engine or the daemon went.
                if self.host(host).life != order.life.number {
                    self.answer_order(&order, false);
                }
            }
            Mode::Up => self.answer_order(&order, false),
        }
    }

    fn answer_order(&mut self, order: &Order, is_down: bool) {
        let host = order.life.host;
        let fails = is_down || self.random.chance(self.plan.engine_faults);
        self.check_order(order);
        let Done { input, event } = self.execute(host, &order.effect, fails);
        let is_heard = self.host(host).connection == order.connection;
        if let Some((container, event)) = event {
            self.announce(host, container, event);
        }
        if is_heard {
            self.after(0, Event::Tell(order.life, Box::new(Delivery::Runtime(input))));
        }
    }

    /// The daemon hears of an event over the present connection.
    pub(crate) fn announce(&mut self, host: HostId, container: String, event: EngineEvent) {
        if self.host(host).engine.mode != Mode::Up {
            return;
        }
        let (delay, life) = (self.random.between(100, 20 * MILLI), self.host(host).alive());
        let input = Input::Event { container, event };
        self.after(delay, Event::Tell(life, Box::new(Delivery::Runtime(input))));
    }

    fn execute(&mut self, host: HostId, effect: &Effect, fails: bool) -> Done {
        let engine = &mut self.host_mut(host).engine;
        let quiet = |input| Done { input, event: None };
        let failed = |op| refusal(op, "the engine does not answer");
        match effect {
            Effect::Observe { op } => {
                let result = if fails { Err(failed("observe")) } else { Ok(engine.observe()) };
                quiet(Input::Observed { op: *op, result })
            }
            Effect::Pull { op, .. } => {
                let (reason, message) = (PullReason::Network, "connection reset".to_owned());
                let fault = PullFault { reason, message, retry_after_ms: None };
                quiet(Input::Pulled { op: *op, result: if fails { Err(fault) } else { Ok(()) } })
            }
            Effect::Create { op, plan } => {
                let result = if fails { Err(failed("create")) } else { engine.create(plan) };
                quiet(Input::Created { op: *op, result })
            }
            Effect::Inspect { op, container } => {
                let seen = engine.inspect(container);
                let result = if fails { Err(failed("inspect")) } else { Ok(seen) };
                quiet(Input::Inspected { op: *op, result })
            }
            Effect::Exec { op, .. } => {
                let result = Ok(ExecOutcome { exit_code: 0, output: String::new() });
                quiet(Input::Executed { op: *op, result })
            }
            Effect::CountConnections { op, .. } => quiet(Input::Counted { op: *op, result: Ok(0) }),
            Effect::Probe { op, .. } => quiet(Input::Probed { op: *op, result: Ok(()) }),
            other if fails => quiet(finished(number(other), Err(failed("order")))),
            other => self.finish(host, other),
        }
    }

    fn finish(&mut self, host: HostId, effect: &Effect) -> Done {
        let now = self.now;
        let engine = &mut self.host_mut(host).engine;
        let mut event = None;
        let mut of = |container: &String, said: Option<EngineEvent>| {
            event = said.map(|said| (container.clone(), said));
        };
        let result = match effect {
            Effect::Start { container, .. } => {
                engine.start(container, now).map(|said| of(container, said))
            }
            Effect::Stop { container, .. } => {
                of(container, engine.end(container, 143));
                Ok(())
            }
            Effect::Remove { container, .. } => {
                engine.remove(container).map(|said| of(container, said))
            }
            Effect::EnsureNetwork { plan, .. } => {
                engine.ensure_network(plan);
                Ok(())
            }
            Effect::EnsureVolume { plan, .. } => {
                engine.ensure_volume(plan.name.clone(), plan.labels.clone());
                Ok(())
            }
            Effect::RemoveNetwork { name, .. } => engine.remove_network(name),
            Effect::RemoveVolume { name, .. } => {
                engine.remove_volume(name);
                Ok(())
            }
            _ => Ok(()),
        };
        Done { input: finished(number(effect), result), event }
    }

    /// A daemon reaches its engine a moment after its start, if it answers.
    pub(crate) fn connect_engine(&mut self, host: HostId) {
        let this = self.host_mut(host);
        this.connection += 1;
        let (connection, life) = (this.connection, this.alive());
        let is_up = this.engine.mode == Mode::Up;
        this.is_disconnected = !is_up;
        let delay = self.random.between(MILLI, 50 * MILLI);
        if is_up {
            self.after(delay, Event::EngineReached { life, connection });
        } else {
            // At once: what comes later may be the word that it is up.
            let input = Input::EngineDown { reason: "no answer".to_owned() };
            self.after(0, Event::Tell(life, Box::new(Delivery::Runtime(input))));
        }
    }

    /// The daemon has reached its engine, unless that went in between.
    pub(crate) fn engine_reached(&mut self, host: HostId, connection: u64) {
        if self.host(host).connection == connection {
            self.tell(host, Delivery::Runtime(Input::EngineUp(facts())));
        }
    }

    /// The engine restarts: its containers end unless it leaves them running.
    pub(crate) fn restart_engine(&mut self, host: HostId, time: Micros) {
        let ends = self.random.chance(500);
        let this = self.host_mut(host);
        if ends {
            this.engine.end_all();
        }
        this.engine.mode = Mode::Down;
        this.engine_serial += 1;
        this.connection += 1;
        this.is_disconnected = true;
        this.hung.clear();
        let (serial, life) = (this.engine_serial, this.alive());
        let input = Input::EngineDown { reason: "connection reset".to_owned() };
        self.after(MILLI, Event::Tell(life, Box::new(Delivery::Runtime(input))));
        self.after(time, Event::EngineTurn { host, serial, turn: Turn::Up });
    }

    /// The engine takes orders and says nothing for a while.
    pub(crate) fn hang_engine(&mut self, host: HostId, time: Micros) {
        let this = self.host_mut(host);
        this.engine.mode = Mode::Hung;
        this.engine_serial += 1;
        let serial = this.engine_serial;
        if time > PING_LIMIT {
            self.after(PING_LIMIT, Event::EngineTurn { host, serial, turn: Turn::Noticed });
        }
        self.after(time, Event::EngineTurn { host, serial, turn: Turn::Up });
    }

    pub(crate) fn engine_turns(&mut self, host: HostId, serial: u64, turn: Turn) {
        let this = self.host_mut(host);
        if this.engine_serial != serial {
            return;
        }
        let life = this.alive();
        match turn {
            Turn::Noticed => {
                this.connection += 1;
                this.is_disconnected = true;
                let input = Input::EngineDown { reason: "no answer for 10 s".to_owned() };
                self.after(0, Event::Tell(life, Box::new(Delivery::Runtime(input))));
            }
            Turn::Up => {
                this.engine.mode = Mode::Up;
                for order in std::mem::take(&mut this.hung) {
                    self.answer_order(&order, false);
                }
                if self.host(host).is_disconnected {
                    self.connect_engine(host);
                }
            }
        }
    }
}

/// Orders without an answer never come this way.
fn number(effect: &Effect) -> OpId {
    effect.op().expect("an order of the engine")
}

fn finished(op: OpId, result: Result<(), jaco_runtime_core::EngineFault>) -> Input {
    Input::Finished { op, result }
}

/// What every engine says about itself.
pub(crate) fn facts() -> EngineFacts {
    EngineFacts {
        version: "20.10.24".to_owned(),
        api: "1.41".to_owned(),
        platform: Platform { os: "linux".to_owned(), arch: "amd64".to_owned() },
        capacity: Capacity { cpu_milli: 4_000, memory: 8 << 30, ..Capacity::default() },
        volume_drivers: vec!["local".to_owned()],
        runtimes: vec!["runc".to_owned()],
    }
}
