//! What is written into the replicated state, and when: transitions only, together, not too often.

use crate::Effect;
use crate::Settings;
use crate::orders::{Orders, Subject};
use crate::task::{Task, View};
use jaco_kit_core::{Backoff, Mono, Now, OpId};
use jaco_model::command::{Command, InstanceReport, VolumeReport};
use jaco_model::entity::{Instance, InstanceState};
use jaco_model::{InstanceId, NodeId, WallMs};
use std::collections::BTreeMap;
use std::time::Duration;

/// First and longest wait before the same thing is reported again.
const REPEAT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// Compares what instances look like with what the state holds, and reports the difference.
///
/// A report that fails, whose fate is unknown, or that the state dropped leaves a difference, so
/// it is repeated by the same rule that made it: nothing has to be remembered for that.
#[derive(Debug, Default)]
pub(crate) struct Reporter {
    entries: BTreeMap<InstanceId, Entry>,
    volumes: BTreeMap<String, Entry>,
    in_flight: BTreeMap<OpId, Vec<Key>>,
    seed: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Key {
    Instance(InstanceId),
    Volume(String),
}

/// What is remembered of one subject while it differs from the state.
#[derive(Clone, Debug)]
struct Entry {
    /// The view and when it was taken on.
    shown: Option<(InstanceState, WallMs)>,
    /// Since when it differs from what the state holds.
    differs_since: Option<Mono>,
    sent: Option<Shown>,
    /// Until when reports are paid for: each costs one gap.
    paid_until: Mono,
    flying: bool,
    repeat: Backoff,
    repeat_at: Mono,
}

/// What a report said.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Shown {
    Instance(View),
    Volume(bool),
}

impl Reporter {
    /// A reporter that has said nothing yet.
    pub(crate) fn new(seed: u64) -> Reporter {
        Reporter { seed, ..Reporter::default() }
    }

    /// Takes the outcome of a report. A failed one is due again after a wait.
    pub(crate) fn proposed(&mut self, now: Mono, op: OpId) {
        for key in self.in_flight.remove(&op).unwrap_or_default() {
            let entry = match &key {
                Key::Instance(id) => self.entries.get_mut(id),
                Key::Volume(name) => self.volumes.get_mut(name),
            };
            let Some(entry) = entry else { continue };
            entry.flying = false;
            // Even one that was applied may have to be repeated, should the state not show it.
            entry.repeat_at = now.plus(entry.repeat.next_delay());
        }
    }

    /// Takes notice of what instances look like now.
    pub(crate) fn notice<'a>(&mut self, now: Now, tasks: impl Iterator<Item = &'a Task>) {
        let mut listed = BTreeMap::new();
        for task in tasks.filter(|task| task.listed) {
            let view = task.view();
            let mut entry = match self.entries.remove(task.id()) {
                Some(entry) => entry,
                None => Entry::new(self.seed),
            };
            if entry.shown.is_none_or(|(state, _)| state != view.state) {
                let status = &task.instance.status;
                let held = entry.shown.is_none() && status.state == view.state;
                let since = if held { status.since } else { WallMs(now.wall.0) };
                entry.shown = Some((view.state, since));
            }
            let held = View::of(&task.instance);
            entry.weigh(now.mono, &Shown::Instance(view.clone()), held == view);
            if !reachable(&held, &view) {
                entry.differs_since = None;
            }
            listed.insert(task.id().clone(), entry);
        }
        self.entries = listed;
    }

    /// Takes notice of volumes that the state does not show as they are.
    pub(crate) fn notice_volumes(&mut self, now: Now, wrong: &BTreeMap<String, VolumeReport>) {
        self.volumes.retain(|name, entry| wrong.contains_key(name) || entry.flying);
        for (name, report) in wrong {
            let seed = self.seed;
            let entry = self.volumes.entry(name.clone()).or_insert_with(|| Entry::new(seed));
            entry.weigh(now.mono, &Shown::Volume(report.present), false);
        }
    }

    /// When the next report is due.
    pub(crate) fn deadline(&self, settings: &Settings) -> Option<Mono> {
        let entries = self.entries.values().chain(self.volumes.values());
        entries.filter_map(|entry| entry.due(settings)).min()
    }

    /// Reports together what differs, once something has waited long enough.
    pub(crate) fn flush(
        &mut self,
        now: Now,
        node: &NodeId,
        tasks: &BTreeMap<InstanceId, Task>,
        volumes: &BTreeMap<String, VolumeReport>,
        settings: &Settings,
        orders: &mut Orders,
    ) {
        if self.deadline(settings).is_none_or(|due| due > now.mono) {
            return;
        }
        let mut keys = Vec::new();
        let mut instances = Vec::new();
        for (id, entry) in &mut self.entries {
            let Some(task) = tasks.get(id).filter(|_| entry.may_go(now.mono, settings)) else {
                continue;
            };
            let since = entry.shown.map_or(WallMs(now.wall.0), |(_, since)| since);
            instances.extend(reports(task, since));
            entry.send(now.mono, Shown::Instance(task.view()), settings);
            keys.push(Key::Instance(id.clone()));
        }
        let mut changed = Vec::new();
        for (name, entry) in &mut self.volumes {
            let Some(report) = volumes.get(name).filter(|_| entry.may_go(now.mono, settings))
            else {
                continue;
            };
            entry.send(now.mono, Shown::Volume(report.present), settings);
            changed.push(report.clone());
            keys.push(Key::Volume(name.clone()));
        }
        if keys.is_empty() {
            return;
        }
        let node = node.clone();
        let op = orders.issue(Subject::Report, |op| Effect::Propose {
            op,
            command: Command::Report { node, instances, volumes: changed },
        });
        self.in_flight.insert(op, keys);
    }
}

impl Entry {
    fn new(seed: u64) -> Entry {
        Entry {
            shown: None,
            differs_since: None,
            sent: None,
            paid_until: Mono(0),
            flying: false,
            repeat: Backoff::new(REPEAT.0, REPEAT.1, seed),
            repeat_at: Mono(0),
        }
    }

    /// Starts and stops the clock of a difference.
    fn weigh(&mut self, now: Mono, shown: &Shown, held: bool) {
        if held {
            self.differs_since = None;
            self.repeat.reset();
            if !self.flying {
                self.sent = self.sent.take().map(|_| shown.clone());
            }
            return;
        }
        let news = self.sent.as_ref().is_none_or(|sent| sent != shown);
        if news {
            self.repeat_at = Mono(0);
        }
        self.differs_since.get_or_insert(now);
    }

    fn due(&self, settings: &Settings) -> Option<Mono> {
        let since = self.differs_since.filter(|_| !self.flying)?;
        Some(since.plus(settings.report_window).max(self.gap_over(settings)))
    }

    /// Whether it may go along with a report that is due now.
    fn may_go(&self, now: Mono, settings: &Settings) -> bool {
        self.differs_since.is_some() && !self.flying && self.gap_over(settings) <= now
    }

    /// A quiet instance may take a few steps at once, a flapping one only one per gap (the
    /// generic cell rate algorithm, ITU-T I.371).
    fn gap_over(&self, settings: &Settings) -> Mono {
        let credit = settings.report_gap * settings.report_burst.saturating_sub(1);
        let credit = u64::try_from(credit.as_millis()).unwrap_or(u64::MAX);
        Mono(self.paid_until.0.saturating_sub(credit)).max(self.repeat_at)
    }

    fn send(&mut self, now: Mono, shown: Shown, settings: &Settings) {
        self.sent = Some(shown);
        self.paid_until = self.paid_until.max(now).plus(settings.report_gap);
        self.flying = true;
        self.differs_since = None;
    }
}

/// Whether the state takes a report that leads from `held` to `view`, if need be by a detour.
fn reachable(held: &View, view: &View) -> bool {
    held.state == view.state
        || held.state.may_become(view.state)
        || held.state.may_become(InstanceState::Pending)
}

/// The report of an instance; two when the state has to be led there by way of `pending`.
fn reports(task: &Task, since: WallMs) -> Vec<InstanceReport> {
    let view = task.view();
    let held = task.instance.status.state;
    let mut reports = Vec::new();
    if held != view.state && !held.may_become(view.state) {
        let between = View { state: InstanceState::Pending, fault: None, ..view.clone() };
        reports.push(report(&task.instance, task, between, since));
    }
    reports.push(report(&task.instance, task, view, since));
    reports
}

fn report(instance: &Instance, task: &Task, view: View, at: WallMs) -> InstanceReport {
    InstanceReport {
        id: instance.id.clone(),
        state: view.state,
        fault: view.fault,
        container_id: view.container_id,
        addresses: view.addresses,
        restarts: view.restarts,
        exit_code: view.exit_code,
        in_place_done: view.in_place_done,
        at,
        started_at: task.started_at,
        last_health_at: task.last_health_at,
    }
}
