//! The network of containers: who tells the mesh, the packet filter and the names what.

use crate::member::{Member, deliver};
use crate::propose::Origin;
use crate::step::{Delivery, Io, Step};
use jaco_firewall_core::{Isolation, Reason, Report};
use jaco_kit_core::Now;
use jaco_model::command::{Command, Sight};
use jaco_model::event::Event;
use jaco_model::{ErrorCode, Fault};
use jaco_netmesh_core::MeshView;
use jaco_state::State;
use std::sync::Arc;

/// What this member knows of its own network.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    /// The state that the three cores saw last.
    shown: Option<Arc<State>>,
    /// Whether the packet filter is known to work, once its core has said so.
    filter: Option<Result<(), Fault>>,
    /// How the mesh is, once it was looked at.
    mesh: Option<Arc<MeshView>>,
    /// What the runtime was told last.
    told: Option<Result<(), Fault>>,
}

impl Member {
    /// An effect of the packet filter's core.
    pub fn from_firewall(&mut self, now: Now, effect: jaco_firewall_core::Effect) -> Vec<Step> {
        let mut steps = Vec::new();
        if let jaco_firewall_core::Effect::Report(report) = &effect {
            if let Report::Isolation(isolation) = report {
                self.overlay.filter = Some(match isolation {
                    Isolation::Available => Ok(()),
                    Isolation::Unavailable { reason, .. } => {
                        Err(unavailable("nftables", reason.to_string()))
                    }
                });
                steps.extend(self.tell_isolation());
            }
            steps.extend(self.witness(now, report));
        }
        steps.push(Step::Io(Io::Firewall(effect)));
        steps
    }

    /// Puts what the filter's core found into the audit log.
    fn witness(&mut self, now: Now, report: &Report) -> Vec<Step> {
        let (sight, facts) = match report {
            // A start and a repair that is under way are no failures.
            Report::Isolation(
                Isolation::Available
                | Isolation::Unavailable { reason: Reason::Starting | Reason::Changed, .. },
            ) => return Vec::new(),
            Report::Isolation(Isolation::Unavailable { reason, .. }) => {
                (Sight::IsolationUnavailable, vec![("reason", reason.to_string())])
            }
            Report::SelfTestFailed { difference } => {
                (Sight::IsolationSelfTestFailed, vec![("difference", difference.clone())])
            }
            Report::Reconciled { difference, by, took, count } => {
                let by = by.clone().unwrap_or_else(|| "unknown".to_owned());
                let facts = vec![
                    ("kind", "nftables".to_owned()),
                    ("difference", difference.clone()),
                    ("by", by),
                    ("ms", took.as_millis().to_string()),
                    ("count", count.to_string()),
                ];
                (Sight::IsolationRulesetReconciled, facts)
            }
        };
        let facts = facts.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let command = Command::Witness { node: self.me.node.clone(), sight, facts };
        self.propose_own(now, Origin::Witness, command)
    }

    /// An effect of the mesh's core.
    pub fn from_netmesh(&mut self, effect: jaco_netmesh_core::Effect) -> Vec<Step> {
        let mut steps = Vec::new();
        if let jaco_netmesh_core::Effect::Show(view) = &effect {
            if let Some(mtu) = view.mtu {
                steps.push(deliver(Delivery::Runtime(jaco_runtime_core::Input::Mtu(mtu))));
            }
            self.overlay.mesh = Some(view.clone());
            steps.extend(self.tell_isolation());
        }
        steps.push(Step::Io(Io::Netmesh(effect)));
        steps
    }

    /// An effect of the names' core.
    pub fn from_dns(&mut self, effect: jaco_dns_core::Effect) -> Vec<Step> {
        vec![Step::Io(Io::Dns(effect))]
    }

    /// Shows the state to the three cores if anything in it concerns them. They compute their whole
    /// wish from it, so they are left alone otherwise.
    pub(crate) fn show_network(&mut self, state: &Arc<State>, events: &[Event]) -> Vec<Step> {
        let is_new = |event: &Event| matches!(event, Event::ClusterChanged);
        let shown = self.overlay.shown.as_ref();
        let is_same = shown.is_some_and(|shown| shown.has_same_network(state));
        if is_same && !events.iter().any(is_new) {
            return Vec::new();
        }
        self.overlay.shown = Some(state.clone());
        let mut steps: Vec<Step> = [
            Delivery::Netmesh(jaco_netmesh_core::Input::StateChanged(state.clone())),
            Delivery::Firewall(jaco_firewall_core::Input::StateChanged(state.clone())),
            Delivery::Dns(jaco_dns_core::Input::StateChanged(state.clone())),
        ]
        .map(deliver)
        .into();
        // Whether a mesh is needed may have changed.
        steps.extend(self.tell_isolation());
        steps
    }

    /// Tells the runtime whether containers may start, when that has changed. Before the filter was
    /// looked at for the first time it has nothing to tell.
    fn tell_isolation(&mut self) -> Option<Step> {
        let filter = self.overlay.filter.clone()?;
        let alone = self.state.nodes.len() < 2;
        let broken = self.overlay.mesh.as_ref().and_then(|view| view.fault.clone());
        let mesh = broken.filter(|_| !alone).map(|why| unavailable("mesh", why));
        let told = filter.and(mesh.map_or(Ok(()), Err));
        if self.overlay.told.as_ref() == Some(&told) {
            return None;
        }
        self.overlay.told = Some(told.clone());
        Some(deliver(Delivery::Runtime(jaco_runtime_core::Input::Isolation(told))))
    }

    /// What a runtime core that was just built must know.
    pub(crate) fn show_isolation(&self) -> Option<Step> {
        let told = self.overlay.told.clone()?;
        Some(deliver(Delivery::Runtime(jaco_runtime_core::Input::Isolation(told))))
    }
}

fn unavailable(reason: &str, why: String) -> Fault {
    Fault::new(ErrorCode::IsolationUnavailable, why).with("reason", reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member::{Me, Start};
    use jaco_model::NodeId;
    use jaco_raft_core::Members;
    use std::time::Duration;

    fn member() -> Member {
        let start = Start {
            state: State::default(),
            members: Members::default(),
            last_index: 0,
            is_only_voter: true,
            session: 1,
        };
        Member::new(Now::default(), Me { node: NodeId::from("n1"), raft_id: 1 }, start)
    }

    fn isolation(steps: &[Step]) -> Option<&Result<(), Fault>> {
        steps.iter().find_map(|step| match step {
            Step::Deliver(delivery) => match delivery.as_ref() {
                Delivery::Runtime(jaco_runtime_core::Input::Isolation(told)) => Some(told),
                _ => None,
            },
            Step::Io(_) => None,
        })
    }

    fn report(report: Report) -> jaco_firewall_core::Effect {
        jaco_firewall_core::Effect::Report(report)
    }

    #[test]
    fn the_runtime_hears_of_isolation_once() {
        let mut member = member();
        let now = Now::default();
        assert!(member.show_isolation().is_none(), "nothing is known yet");
        let well = || report(Report::Isolation(Isolation::Available));
        assert_eq!(isolation(&member.from_firewall(now, well())), Some(&Ok(())));
        assert_eq!(isolation(&member.from_firewall(now, well())), None);
        let reason = Reason::Refused("no".to_owned());
        let ill = report(Report::Isolation(Isolation::Unavailable { reason, exposed: false }));
        let steps = member.from_firewall(now, ill);
        let Some(Err(fault)) = isolation(&steps) else { panic!("{steps:?}") };
        assert_eq!(fault.code, ErrorCode::IsolationUnavailable);
        assert!(member.show_isolation().is_some(), "a runtime that is built anew hears it too");
    }

    #[test]
    fn a_node_alone_needs_no_mesh() {
        let mut member = member();
        let view = MeshView { fault: Some("no tunnel".to_owned()), ..MeshView::default() };
        member.from_netmesh(jaco_netmesh_core::Effect::Show(Arc::new(view)));
        let well = report(Report::Isolation(Isolation::Available));
        assert_eq!(isolation(&member.from_firewall(Now::default(), well)), Some(&Ok(())));
    }

    #[test]
    fn a_state_without_news_for_the_network_is_not_shown_to_it() {
        let mut member = member();
        let state = Arc::new(State::default());
        assert_eq!(member.show_network(&state, &[]).len(), 3);
        let mut next = State::default();
        next.applied_index = 7;
        let next = Arc::new(next);
        let mut later = state.as_ref().clone();
        later.applied_index = 5;
        assert!(member.show_network(&Arc::new(later), &[]).is_empty());
        assert_eq!(member.show_network(&next, &[Event::ClusterChanged]).len(), 3);
    }

    #[test]
    fn repairs_are_witnessed_and_starts_are_not() {
        let mut member = member();
        member.leads = true;
        let repaired = Report::Reconciled {
            difference: "no table".to_owned(),
            by: Some("nft".to_owned()),
            took: Duration::from_millis(40),
            count: 1,
        };
        let proposes = |steps: &[Step]| {
            let raft = |step: &&Step| matches!(step, Step::Deliver(to) if matches!(**to, Delivery::Raft(_)));
            steps.iter().filter(raft).count()
        };
        assert_eq!(proposes(&member.from_firewall(Now::default(), report(repaired))), 1);
        let starting = Isolation::Unavailable { reason: Reason::Starting, exposed: false };
        let steps = member.from_firewall(Now::default(), report(Report::Isolation(starting)));
        assert_eq!(proposes(&steps), 0);
    }
}
