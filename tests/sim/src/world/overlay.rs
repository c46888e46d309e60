//! The containers' network: a kernel carries out what the packet filter's core orders, and a
//! responder answers from the tables of the names' core.

use super::World;
use crate::event::{Event, HostId, Life};
use crate::queue::{MILLI, Micros, SECOND};
use jaco_firewall_core::{Effect, Fault, FaultKind, Input};
use jaco_runtime_core::Effect as RuntimeEffect;
use jaco_wiring::Delivery;

/// How often the filter's core reads the table by itself, and a little more.
const READ_EVERY: Micros = 31 * SECOND;

impl World {
    /// An order of the packet filter's core goes to the kernel.
    pub(crate) fn filter_order(&mut self, life: Life, effect: Effect) {
        if matches!(effect, Effect::Report(_)) {
            return;
        }
        let delay = match self.random.weighted(&[90, 10]) {
            0 => self.random.between(100, 5 * MILLI),
            _ => self.random.between(5 * MILLI, 300 * MILLI),
        };
        self.after(delay, Event::Kernel(life, Box::new(effect)));
    }

    /// The kernel carries out an order of a daemon that still lives.
    pub(crate) fn kernel_works(&mut self, life: Life, effect: &Effect) {
        let refuses = self.random.chance(self.plan.engine_faults);
        let refused = || Fault { kind: FaultKind::Refused, message: "no memory".to_owned() };
        let kernel = &mut self.host_mut(life.host).kernel;
        let input = match effect {
            Effect::Write { op, ruleset } => {
                let result = if refuses { Err(refused()) } else { Ok(kernel.write(ruleset)) };
                Input::Written { op: *op, result }
            }
            Effect::WriteElements { op, delta, generation } => {
                let result = match refuses {
                    true => Err(refused()),
                    false => kernel.write_elements(delta, *generation),
                };
                Input::Written { op: *op, result }
            }
            Effect::ReadBack { op } => {
                let result = if refuses { Err(refused()) } else { Ok(kernel.read()) };
                Input::ReadBack { op: *op, result }
            }
            Effect::EndFlows { op, .. } => Input::FlowsEnded { op: *op, result: Ok(0) },
            Effect::Report(_) => return,
        };
        let delay = self.random.between(10, MILLI);
        self.after(delay, Event::Tell(life, Box::new(Delivery::Firewall(input))));
    }

    /// Somebody deletes the filter's table. Mostly the kernel says so; else it is found missing
    /// when it is read the next time.
    pub(crate) fn flush_filter(&mut self, host: HostId) {
        let is_told = self.random.chance(900);
        let told = self.now + if is_told { 0 } else { READ_EVERY };
        let life = self.host(host).alive();
        self.host_mut(host).kernel.flush(told);
        if is_told {
            let delay = self.random.between(100, 100 * MILLI);
            let drifted = Delivery::Firewall(Input::Drifted { by: None });
            self.after(delay, Event::Tell(life, Box::new(drifted)));
        }
    }

    /// Invariant 114: nothing is started without the packet filter.
    pub(crate) fn check_guarded(&mut self, host: HostId, effect: &RuntimeEffect) {
        let RuntimeEffect::Start { container, .. } = effect else { return };
        if !self.host(host).kernel.guards(self.now) {
            self.violate(format!("invariant 114: {host} starts {container} without its filter"));
        }
    }

    #[cfg(feature = "seeded-bugs")]
    fn loses_tables(&mut self) -> bool {
        self.plan.bug == Some(crate::bug::Bug::LostTables) && self.random.chance(200)
    }

    #[cfg(not(feature = "seeded-bugs"))]
    fn loses_tables(&mut self) -> bool {
        false
    }

    /// An order of the front door's core.
    pub(crate) fn door_order(&mut self, life: Life, effect: jaco_ingress_core::Effect) {
        let jaco_ingress_core::Effect::Listen { op, .. } = effect else { return };
        let is_open = !self.random.chance(self.plan.engine_faults);
        let result = is_open.then_some(()).ok_or_else(|| jaco_ingress_core::SocketFault {
            is_taken: true,
            why: "address already in use".to_owned(),
        });
        let input = jaco_ingress_core::Input::Listening { op, result };
        let delay = self.random.between(100, 5 * MILLI);
        self.after(delay, Event::Tell(life, Box::new(Delivery::Ingress(input))));
    }

    /// An order of the names' core.
    pub(crate) fn names_order(&mut self, life: Life, effect: jaco_dns_core::Effect) {
        match effect {
            jaco_dns_core::Effect::Serve(_) if self.loses_tables() => {}
            jaco_dns_core::Effect::Serve(zones) => {
                if let Some(process) = self.process_mut(life.host) {
                    process.zones = zones;
                }
            }
            jaco_dns_core::Effect::Listen { op, .. } => {
                let is_open = !self.random.chance(self.plan.engine_faults);
                let result = is_open.then_some(()).ok_or_else(|| "no such bridge".to_owned());
                let input = jaco_dns_core::Input::Listening { op, result };
                let delay = self.random.between(100, 5 * MILLI);
                self.after(delay, Event::Tell(life, Box::new(Delivery::Dns(input))));
            }
            jaco_dns_core::Effect::Unlisten { .. } => {}
        }
    }
}
