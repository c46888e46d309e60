//! Calls between daemons: forwarded commands, questions how far the log is, and probes.

use super::World;
use crate::event::{Call, Event, HostId, Life, OpenCall, Return};
use crate::host::Caller;
use crate::queue::{MILLI, Micros, SECOND};
use jaco_kit_core::{Core, OpId};
use jaco_liveness_core::Word;
use jaco_model::{ErrorCode, Fault, NodeId};
use jaco_wiring::Delivery;

/// How long a caller waits.
const PATIENCE: Micros = 2 * SECOND;

/// What becomes of a call of which nobody knows how far it came.
fn unknown() -> Fault {
    Fault::new(ErrorCode::NoLeader, "the leader did not answer").with("outcome", "unknown")
}

impl World {
    /// Sends a call to the host of a node.
    pub(crate) fn call(&mut self, life: Life, op: OpId, to: &NodeId, call: Call) {
        if !matches!(call, Call::Probe(_) | Call::Members) {
            let expires = self.after(PATIENCE, Event::Expire { life, op });
            let is_read = matches!(call, Call::Read);
            if let Some(process) = self.process_mut(life.host) {
                process.calls.insert(op, OpenCall { expires, is_read });
            }
        }
        let Some(to) = self.host_of(to) else { return };
        if self.passes(life.host, to) {
            let delay = self.delay();
            self.after(delay, Event::Call { from: life, to, op, call });
        }
    }

    /// A call has arrived; members alone are listened to.
    pub(crate) fn call_arrives(&mut self, from: Life, to: HostId, op: OpId, call: Call) {
        let sender = self.host(from.host).node.clone();
        let now = self.clock(to);
        let known = self
            .process_mut(to)
            .map(|process| sender.as_ref().is_some_and(|node| process.peers.contains_key(node)));
        let (Some(true), Some(sender)) = (known, sender) else {
            return self.refuse_call(to, from, op, &call);
        };
        let Some(process) = self.process_mut(to) else { return };
        match call {
            Call::Forward(data) => {
                let ticket = process.ticket(Caller::Peer { life: from, op });
                let steps = process.member.forwarded(now, &sender, ticket, &data);
                self.take(to, now, steps);
                self.work(to);
            }
            Call::Read => {
                let ticket = process.ticket(Caller::Peer { life: from, op });
                let steps = process.member.read_forwarded(ticket);
                self.take(to, now, steps);
                self.work(to);
            }
            Call::Members => {
                let members = process.tell_members();
                self.reply(to, from, op, Return::Members(members));
            }
            Call::Probe(word) => {
                let steps = process.member.heard(&sender, &word);
                let input = jaco_liveness_core::Input::Heard { from: sender, word };
                let effects = process.liveness.step(now, input);
                let word = process.member.with_checkpoint(process.liveness.word());
                self.take(to, now, steps);
                self.liveness_wants(to, now, effects);
                self.reply(to, from, op, Return::Probed(word));
                self.work(to);
            }
        }
    }

    /// The connection is refused, which the caller notices soon.
    fn refuse_call(&mut self, by: HostId, caller: Life, op: OpId, call: &Call) {
        let answer = match call {
            Call::Forward(_) => Return::Forwarded(Err(unknown())),
            Call::Read => Return::Read(Err(unknown())),
            Call::Probe(_) => Return::ProbeFailed,
            Call::Members => return,
        };
        self.reply(by, caller, op, answer);
    }

    /// Sends an answer back.
    pub(crate) fn reply(&mut self, from: HostId, to: Life, op: OpId, answer: Return) {
        if self.passes(from, to.host) {
            let delay = self.delay();
            let answer = Box::new(answer);
            self.after(delay, Event::Return { from, life: to, op, answer });
        }
    }

    /// The daemon that served these callers is gone; some of them notice at once.
    pub(crate) fn reset_connections(&mut self, host: HostId) {
        let Some(process) = self.process_mut(host) else { return };
        let callers: Vec<Caller> = std::mem::take(&mut process.callers).into_values().collect();
        for caller in callers {
            if let Caller::Peer { life, op } = caller
                && self.random.chance(500)
            {
                let delay = self.random.between(MILLI, 20 * MILLI);
                let answer = Box::new(Return::Forwarded(Err(unknown())));
                self.after(delay, Event::Return { from: host, life, op, answer });
            }
        }
    }

    pub(crate) fn call_returns(&mut self, from: HostId, life: Life, op: OpId, answer: Return) {
        let host = life.host;
        let now = self.clock(host);
        match answer {
            Return::Probed(word) => return self.probe_answered(from, host, op, word),
            Return::ProbeFailed => {
                let input = jaco_liveness_core::Input::Failed { op };
                return self.tell(host, Delivery::Liveness(input));
            }
            Return::Members(heard) => return self.hear_of(host, heard),
            Return::Forwarded(_) | Return::Read(_) => {}
        }
        let Some(process) = self.process_mut(host) else { return };
        let Some(open) = process.calls.remove(&op) else { return };
        let steps = match answer {
            Return::Forwarded(outcome) if !open.is_read => {
                process.member.forward_answered(op, outcome)
            }
            Return::Read(result) => process.member.read_answered(now, op, result),
            // A broken connection ends calls of every kind.
            Return::Forwarded(outcome) => {
                let result = outcome.map(|_| 0).map_err(|_| unknown());
                process.member.read_answered(now, op, result)
            }
            Return::Probed(_) | Return::ProbeFailed | Return::Members(_) => Vec::new(),
        };
        self.queue.cancel(open.expires);
        self.take(host, now, steps);
        self.work(host);
    }

    fn probe_answered(&mut self, from: HostId, host: HostId, op: OpId, word: Word) {
        let now = self.clock(host);
        let peer = self.host(from).node.clone();
        if let (Some(peer), Some(process)) = (peer, self.process_mut(host)) {
            let steps = process.member.heard(&peer, &word);
            self.take(host, now, steps);
        }
        self.tell(host, Delivery::Liveness(jaco_liveness_core::Input::Answered { op, word }));
    }

    /// A leader has told a node that it was removed, or gave up.
    pub(crate) fn told(&mut self, host: HostId, node: NodeId) {
        let now = self.clock(host);
        let Some(process) = self.process_mut(host) else { return };
        let steps = process.member.told_removed(now, node);
        self.take(host, now, steps);
        self.work(host);
    }

    pub(crate) fn call_expires(&mut self, life: Life, op: OpId) {
        let host = life.host;
        let now = self.clock(host);
        let Some(process) = self.process_mut(host) else { return };
        let Some(open) = process.calls.remove(&op) else { return };
        let steps = if open.is_read {
            process.member.read_answered(now, op, Err(unknown()))
        } else {
            process.member.forward_answered(op, Err(unknown()))
        };
        self.take(host, now, steps);
        self.work(host);
    }
}
