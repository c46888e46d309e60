//! Inputs into the cores of one daemon, and their effects through the wiring, as the daemon's hub
//! does it.

use super::World;
use crate::event::{Event, HostId};
use crate::queue::MILLI;
use crate::words;
use jaco_kit_core::{Core, Now};
use jaco_raft_core::Effect;
use jaco_wiring::{Delivery, Step};

/// Steps between two looks at the invariants that take time.
const CHECK_EVERY: u64 = 16;

/// Timers that may come at one moment without anything else happening.
const WAKES_MAX: u32 = 100;

impl World {
    /// Puts an input into a core's mailbox and lets the daemon work.
    pub(crate) fn tell(&mut self, host: HostId, delivery: Delivery) {
        if let Some(process) = self.process_mut(host) {
            process.mail.push(delivery);
        }
        self.work(host);
    }

    /// Lets a daemon work until its mailboxes are empty and its timers lie ahead.
    pub(crate) fn work(&mut self, host: HostId) {
        let mut wakes = 0;
        while self.violation.is_none() && self.host(host).paused_until.is_none() {
            // Now and then something else gets the processor.
            if self.random.chance(1) && self.random.chance(300) {
                let pause = self.random.between(1, 40) * MILLI;
                self.pause(host, pause);
                break;
            }
            let World { hosts, random, .. } = self;
            let Some(process) = hosts[host.0].process.as_deref_mut() else { return };
            if let Some(delivery) = process.mail.pop(random) {
                self.step(host, delivery);
            } else if !self.wake(host) {
                break;
            } else {
                wakes += 1;
                if wakes > WAKES_MAX {
                    self.blame_timer(host);
                }
            }
        }
        self.arm(host);
    }

    fn step(&mut self, host: HostId, delivery: Delivery) {
        let now = self.clock(host);
        let words = words::delivery(&delivery);
        let at = self.now;
        self.trace.note(at, &[1, host.number(), words.number], || {
            format!("{host} {}", words::describe(&delivery))
        });
        let Some(process) = self.process_mut(host) else { return };
        process.steps += 1;
        match delivery {
            Delivery::Raft(input) => {
                let effects = process.raft.step(now, input);
                self.raft_wants(host, now, effects);
            }
            Delivery::Scheduler(input) => {
                let effects = process.scheduler.step(now, input);
                self.scheduler_wants(host, now, effects);
            }
            Delivery::Runtime(input) => {
                let effects = process.runtime.step(now, input);
                self.runtime_wants(host, now, effects);
            }
            Delivery::Liveness(input) => {
                let effects = process.liveness.step(now, input);
                self.liveness_wants(host, now, effects);
            }
            Delivery::Firewall(input) => {
                let effects = process.firewall.step(now, input);
                self.firewall_wants(host, now, effects);
            }
            Delivery::Dns(input) => {
                let effects = process.dns.step(now, input);
                self.dns_wants(host, now, effects);
            }
            Delivery::Acme(input) => {
                let effects = process.acme.step(now, input);
                self.acme_wants(host, now, effects);
            }
            Delivery::Ingress(input) => {
                let effects = process.ingress.step(now, input);
                self.ingress_wants(host, now, effects);
            }
            Delivery::Netmesh(input) => {
                let effects = process.netmesh.step(now, input);
                self.netmesh_wants(host, now, effects);
            }
        }
    }

    /// Serves the timers that have come; `false` when there was none.
    fn wake(&mut self, host: HostId) -> bool {
        let now = self.clock(host);
        let Some(process) = self.process_mut(host) else { return false };
        let is_due = |at: Option<jaco_kit_core::Mono>| at.is_some_and(|at| at <= now.mono);
        if is_due(process.raft.deadline()) {
            let effects = process.raft.wake(now);
            self.raft_wants(host, now, effects);
        } else if is_due(process.scheduler.deadline()) {
            let effects = process.scheduler.wake(now);
            self.scheduler_wants(host, now, effects);
        } else if is_due(process.runtime.deadline()) {
            let effects = process.runtime.wake(now);
            self.runtime_wants(host, now, effects);
        } else if is_due(process.liveness.deadline()) {
            let effects = process.liveness.wake(now);
            self.liveness_wants(host, now, effects);
        } else if is_due(process.firewall.deadline()) {
            let effects = process.firewall.wake(now);
            self.firewall_wants(host, now, effects);
        } else if is_due(process.dns.deadline()) {
            let effects = process.dns.wake(now);
            self.dns_wants(host, now, effects);
        } else if is_due(process.ingress.deadline()) {
            let effects = process.ingress.wake(now);
            self.ingress_wants(host, now, effects);
        } else if is_due(process.acme.deadline()) {
            let effects = process.acme.wake(now);
            self.acme_wants(host, now, effects);
        } else if is_due(process.netmesh.deadline()) {
            let effects = process.netmesh.wake(now);
            self.netmesh_wants(host, now, effects);
        } else if is_due(process.member.deadline()) {
            let steps = process.member.wake(now);
            self.take(host, now, steps);
        } else {
            return false;
        }
        true
    }

    /// A timer that has passed must lie ahead once it was served, or the daemon would spin.
    fn blame_timer(&mut self, host: HostId) {
        let now = self.clock(host).mono;
        let Some(process) = self.process_mut(host) else { return };
        let timers = [
            ("raft", process.raft.deadline()),
            ("scheduler", process.scheduler.deadline()),
            ("runtime", process.runtime.deadline()),
            ("liveness", process.liveness.deadline()),
            ("firewall", process.firewall.deadline()),
            ("dns", process.dns.deadline()),
            ("ingress", process.ingress.deadline()),
            ("acme", process.acme.deadline()),
            ("netmesh", process.netmesh.deadline()),
            ("member", process.member.deadline()),
        ];
        let late = timers.iter().find(|(_, at)| at.is_some_and(|at| at <= now));
        self.violate(format!("{host}: a timer stands still at {now:?}: {late:?}"));
    }

    /// One timer for all cores of the daemon.
    fn arm(&mut self, host: HostId) {
        let from = self.now;
        let this = self.host_mut(host);
        let Some(process) = this.process.as_deref_mut() else { return };
        let deadlines = [
            process.raft.deadline(),
            process.scheduler.deadline(),
            process.runtime.deadline(),
            process.liveness.deadline(),
            process.firewall.deadline(),
            process.dns.deadline(),
            process.ingress.deadline(),
            process.acme.deadline(),
            process.netmesh.deadline(),
            process.member.deadline(),
        ];
        let next = deadlines.into_iter().flatten().min();
        let at = next.map(|mono| this.clock.when(mono, from));
        let old = process.alarm;
        if old.map(|key| key.at()) == at && old.is_some_and(|key| key.at() > from) {
            return;
        }
        process.alarm = None;
        let life = this.alive();
        if let Some(old) = old {
            self.queue.cancel(old);
        }
        if let Some(at) = at {
            let key = self.queue.push(at, Event::Alarm(life));
            if let Some(process) = self.process_mut(host) {
                process.alarm = Some(key);
            }
        }
    }

    fn raft_wants(&mut self, host: HostId, now: Now, effects: Vec<Effect>) {
        let life = self.host(host).alive();
        for effect in effects {
            let at = self.now;
            let number = words::effect_number(&effect);
            self.trace.note(at, &[2, host.number(), number], || {
                format!("{host}   raft: {}", words::effect(&effect))
            });
            self.before_raft_effect(host, &effect);
            let changes_state = matches!(effect, Effect::Apply(_) | Effect::Restore { .. });
            let restored = match &effect {
                Effect::Restore { at, .. } => Some(at.index),
                _ => None,
            };
            let Some(process) = self.alive_mut(life) else { return };
            let steps = process.member.from_raft(now, effect);
            if changes_state {
                self.state_changed(host);
            }
            self.take(host, now, steps);
            if let Some(index) = restored {
                self.snapshot_installed(host, index);
            }
        }
        self.check_process(host);
    }

    fn scheduler_wants(&mut self, host: HostId, now: Now, effects: Vec<jaco_scheduler::Effect>) {
        for effect in effects {
            let Some(process) = self.process_mut(host) else { return };
            let steps = process.member.from_scheduler(now, effect);
            self.take(host, now, steps);
        }
        if let Some(process) = self.process_mut(host) {
            process.scheduler.check_invariants();
        }
    }

    fn runtime_wants(&mut self, host: HostId, now: Now, effects: Vec<jaco_runtime_core::Effect>) {
        for effect in effects {
            let Some(process) = self.process_mut(host) else { return };
            let steps = process.member.from_runtime(now, effect);
            self.take(host, now, steps);
        }
        if let Some(process) = self.process_mut(host) {
            process.runtime.check_invariants();
        }
    }

    pub(crate) fn liveness_wants(
        &mut self,
        host: HostId,
        now: Now,
        effects: Vec<jaco_liveness_core::Effect>,
    ) {
        for effect in effects {
            let Some(process) = self.process_mut(host) else { return };
            let steps = process.member.from_liveness(now, effect);
            self.take(host, now, steps);
        }
        if let Some(process) = self.process_mut(host) {
            process.liveness.check_invariants();
        }
    }

    fn firewall_wants(&mut self, host: HostId, now: Now, effects: Vec<jaco_firewall_core::Effect>) {
        for effect in effects {
            let Some(process) = self.process_mut(host) else { return };
            let steps = process.member.from_firewall(now, effect);
            self.take(host, now, steps);
        }
        if let Some(process) = self.process_mut(host) {
            process.firewall.check_invariants();
        }
    }

    fn dns_wants(&mut self, host: HostId, now: Now, effects: Vec<jaco_dns_core::Effect>) {
        for effect in effects {
            let Some(process) = self.process_mut(host) else { return };
            let steps = process.member.from_dns(effect);
            self.take(host, now, steps);
        }
        if let Some(process) = self.process_mut(host) {
            process.dns.check_invariants();
        }
    }

    fn ingress_wants(&mut self, host: HostId, now: Now, effects: Vec<jaco_ingress_core::Effect>) {
        for effect in effects {
            let Some(process) = self.process_mut(host) else { return };
            let steps = process.member.from_ingress(effect);
            self.take(host, now, steps);
        }
        if let Some(process) = self.process_mut(host) {
            process.ingress.check_invariants();
        }
    }

    fn acme_wants(
        &mut self,
        host: HostId,
        now: Now,
        effects: Vec<jaco_ingress_core::acme::Effect>,
    ) {
        for effect in effects {
            let Some(process) = self.process_mut(host) else { return };
            let steps = process.member.from_acme(now, effect);
            self.take(host, now, steps);
        }
    }

    fn netmesh_wants(&mut self, host: HostId, now: Now, effects: Vec<jaco_netmesh_core::Effect>) {
        for effect in effects {
            let Some(process) = self.process_mut(host) else { return };
            let steps = process.member.from_netmesh(effect);
            self.take(host, now, steps);
        }
        if let Some(process) = self.process_mut(host) {
            process.netmesh.check_invariants();
        }
    }

    /// Takes the steps that the wiring asks for, in order. A delivery only fills a mailbox.
    pub(crate) fn take(&mut self, host: HostId, now: Now, steps: Vec<Step>) {
        let life = self.host(host).alive();
        for step in steps {
            // It may stop itself in between.
            let Some(process) = self.alive_mut(life) else { return };
            match step {
                Step::Deliver(delivery) => process.mail.push(*delivery),
                Step::Io(io) => self.io(host, now, io),
            }
        }
    }

    fn check_process(&mut self, host: HostId) {
        let Some(process) = self.process_mut(host) else { return };
        if process.steps % CHECK_EVERY == 0 {
            process.raft.check_invariants();
        }
    }
}
