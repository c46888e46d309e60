//! What a daemon's wiring asks of the outside.

use super::World;
use crate::event::{Attempt, Call, Event, Heard, HostId, Life, Return};
use crate::host::Caller;
use crate::queue::{MILLI, Micros, SECOND};
use jaco_kit_core::Now;
use jaco_model::Fault;
use jaco_raft_core::{Error as RaftError, Input};
use jaco_wiring::{Answer, Delivery, Error, Io, Ticket, encode_state};
use std::sync::Arc;

impl World {
    pub(crate) fn io(&mut self, host: HostId, now: Now, io: Io) {
        let life = self.host(host).alive();
        match io {
            Io::Persist(batch) => {
                let begun = self.host_mut(host).disk.as_mut().map(|disk| disk.begin(batch));
                self.require(begun.unwrap_or_else(|| Err("a daemon without a disk".to_owned())));
                let delay = self.disk_delay(host);
                self.after(delay, Event::Durable(life));
            }
            Io::Send(messages) => self.send(host, messages),
            Io::EncodeSnapshot { at, members, state } => {
                let input = match encode_state(&state, at, &members) {
                    Ok(data) => Input::SnapshotTaken { at, data: Arc::new(data) },
                    Err(_) => Input::SnapshotFailed { at },
                };
                let delay = self.random.between(MILLI, 200 * MILLI);
                self.after(delay, Event::Tell(life, Box::new(Delivery::Raft(input))));
            }
            Io::LoadSnapshot(at) => {
                let data = self.host(host).disk.as_ref().and_then(|disk| disk.snapshot(at));
                let input = Input::SnapshotLoaded { at, data };
                let delay = self.random.between(100, 50 * MILLI);
                self.after(delay, Event::Tell(life, Box::new(Delivery::Raft(input))));
            }
            Io::Runtime(effect) => self.order(life, effect),
            Io::Answer { ticket, index, answer } => self.answer(host, ticket, index, answer),
            Io::AnswerRead { ticket, result } => self.answer_read(host, ticket, result),
            Io::Forward { op, to, data } => self.call(life, op, &to, Call::Forward(data)),
            Io::AskRead { op, to } => self.call(life, op, &to, Call::Read),
            Io::Probe { op, to, word } => self.call(life, op, &to, Call::Probe(word)),
            Io::TellRemoved(node) => {
                let mut patience = SECOND;
                if let Some(to) = self.host_of(&node)
                    && self.passes(host, to)
                {
                    let (delay, life) = (self.delay(), self.host(to).alive());
                    self.after(delay, Event::Removed { life, by: host });
                    patience = 2 * delay;
                }
                self.after(patience, Event::Told(life, node));
            }
            Io::Firewall(effect) => self.filter_order(life, effect),
            Io::Dns(effect) => self.names_order(life, effect),
            Io::Acme { op, at, call } => self.petition(life, op, at, call),
            Io::Ingress(effect) => self.door_order(life, effect),
            Io::Netmesh(effect) => self.mesh_order(life, effect),
            Io::PublishSuspects(_) => {}
            Io::Peers(peers) => self.set_roster(host, peers),
            Io::Publish { state, .. } => {
                let index = state.applied_index;
                self.check_publication(host, &state);
                if let Some(process) = self.process_mut(host) {
                    process.published = Some(state);
                    process.forget_hearsay();
                    let input = jaco_liveness_core::Input::Applied(index);
                    process.mail.push(Delivery::Liveness(input));
                }
            }
            Io::PublishLeader(leader) => {
                if let Some(process) = self.process_mut(host) {
                    process.leader = leader;
                }
            }
            Io::Violation { from, what } => {
                self.violate(format!("{host} accuses raft id {from}: {what}"));
            }
            Io::Diverged { index, .. } => {
                self.violate(format!("{host} has another state at index {index}"));
            }
            Io::Fatal(error) => self.fatal(host, now, &error),
        }
    }

    /// The daemon must stop. That is right after a failed write and wrong otherwise.
    fn fatal(&mut self, host: HostId, _now: Now, error: &Error) {
        if !matches!(error, Error::Raft(RaftError::StorageFailed(_))) {
            self.violate(format!("{host} stops: {error}: {error:?}"));
        }
        self.kill(host);
        self.boot_later(host);
    }

    /// A batch is durable or will never be; the core hears of it a little later.
    pub(crate) fn batch_done(&mut self, life: Life) {
        let World { hosts, random, .. } = self;
        let disk = hosts[life.host.0].disk.as_mut();
        let Some((batch, result)) = disk.and_then(|disk| disk.finish(random)) else { return };
        if result.is_ok() {
            self.became_durable(life.host, &batch);
        }
        let input = Input::Persisted { seq: batch.seq, result };
        let delay = self.random.between(1, 300);
        self.after(delay, Event::Tell(life, Box::new(Delivery::Raft(input))));
    }

    fn disk_delay(&mut self, host: HostId) -> Micros {
        let (low, high) = self.plan.disk;
        let delay = self.random.between(low, high);
        if self.host(host).is_slow { delay + self.random.between(0, SECOND) } else { delay }
    }

    fn answer(&mut self, host: HostId, ticket: Ticket, index: u64, answer: Answer) {
        let Some(process) = self.process_mut(host) else { return };
        let Some(caller) = process.callers.remove(&ticket) else {
            return self.violate(format!("{host} answers {ticket:?} a second time"));
        };
        match caller {
            Caller::Peer { life, op } => {
                let outcome = Return::Forwarded(Ok((index, answer)));
                self.reply(host, life, op, outcome);
            }
            Caller::Client(attempt) => {
                self.check_answer(host, index);
                self.tell_client(attempt, Heard::Command(answer));
            }
        }
    }

    fn answer_read(&mut self, host: HostId, ticket: Ticket, result: Result<u64, Fault>) {
        let Some(process) = self.process_mut(host) else { return };
        let Some(caller) = process.callers.remove(&ticket) else {
            return self.violate(format!("{host} answers {ticket:?} a second time"));
        };
        match caller {
            Caller::Peer { life, op } => self.reply(host, life, op, Return::Read(result)),
            Caller::Client(attempt) => {
                if let Ok(index) = result {
                    self.check_answer(host, index);
                }
                let seen = result.map(|_| self.look_up(host, attempt));
                self.tell_client(attempt, Heard::Read(seen));
            }
        }
    }

    pub(crate) fn tell_client(&mut self, attempt: Attempt, heard: Heard) {
        let delay = self.random.between(100, 3 * MILLI);
        self.after(delay, Event::AskHears { attempt, heard: Box::new(heard) });
    }
}
