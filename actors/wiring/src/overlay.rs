//! The network of containers: who tells the mesh, the packet filter and the names what.

use crate::member::{Member, deliver};
use crate::propose::Origin;
use crate::step::{Delivery, Io, Step};
use jaco_firewall_core::{Isolation, Reason, Report};
use jaco_kit_core::Now;
use jaco_model::command::{Command, Sight};
use jaco_model::event::Event;
use jaco_model::{ErrorCode, Fault, InstanceId};
use jaco_netmesh_core::MeshView;
use jaco_state::State;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What this member knows of its own network.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    /// The state that the cores of the network saw last.
    shown: Option<Arc<State>>,
    /// Whether the packet filter is known to work, once its core has said so.
    filter: Option<Result<(), Fault>>,
    /// Whether this node has a mesh of its own, be it alone.
    expects_mesh: bool,
    /// How the mesh is, once it was looked at.
    mesh: Option<Arc<MeshView>>,
    /// What the runtime was told last.
    told: Option<Result<(), Fault>>,
    /// The addresses of this node's containers by network key.
    seats: BTreeMap<InstanceId, BTreeMap<String, String>>,
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

    /// Why the packet filter is not known to work; `Ok` once its self-test has passed, `None`
    /// before its core has said anything.
    pub fn filter(&self) -> Option<&Result<(), Fault>> {
        self.overlay.filter.as_ref()
    }

    /// An effect of the mesh's core.
    pub fn from_netmesh(&mut self, effect: jaco_netmesh_core::Effect) -> Vec<Step> {
        let mut steps = Vec::new();
        if let jaco_netmesh_core::Effect::Show(view) = &effect {
            self.overlay.mesh = Some(view.clone());
            steps.extend(self.show_mesh());
            steps.extend(self.tell_isolation());
        }
        steps.push(Step::Io(Io::Netmesh(effect)));
        steps
    }

    /// From now on containers wait for the mesh: it says how large packets of their networks may be.
    pub fn expect_mesh(&mut self) {
        self.overlay.expects_mesh = true;
    }

    /// There is nothing that could carry a mesh, and why.
    pub fn mesh_failed(&mut self, why: String) -> Vec<Step> {
        self.overlay.mesh = Some(Arc::new(MeshView { fault: Some(why), ..MeshView::default() }));
        self.tell_isolation().into_iter().collect()
    }

    /// An effect of the names' core.
    pub fn from_dns(&mut self, effect: jaco_dns_core::Effect) -> Vec<Step> {
        vec![Step::Io(Io::Dns(effect))]
    }

    /// An effect of the front door's core.
    pub fn from_ingress(&mut self, effect: jaco_ingress_core::Effect) -> Vec<Step> {
        let mut steps = Vec::new();
        if let jaco_ingress_core::Effect::ShowClosed(closed) = &effect {
            let is_taken = closed.values().any(|fault| fault.is_taken);
            let input = jaco_runtime_core::Input::PortInUse(is_taken);
            steps.push(deliver(Delivery::Runtime(input)));
        }
        steps.push(Step::Io(Io::Ingress(effect)));
        steps
    }

    /// The runtime core gave addresses out or took them back.
    pub(crate) fn seated(
        &mut self,
        seats: BTreeMap<InstanceId, BTreeMap<String, String>>,
    ) -> Vec<Step> {
        self.overlay.seats = seats;
        self.show_seats().into()
    }

    /// What cores of names and of the front door that were just built must know.
    pub(crate) fn show_seats(&self) -> [Step; 2] {
        let seats = &self.overlay.seats;
        [
            Delivery::Dns(jaco_dns_core::Input::Seated(seats.clone())),
            Delivery::Ingress(jaco_ingress_core::Input::Seated(seats.clone())),
        ]
        .map(deliver)
    }

    /// Shows the state to the cores of the network if anything in it concerns them. They compute their whole
    /// wish from it, so they are left alone otherwise.
    pub(crate) fn show_network(&mut self, state: &Arc<State>, events: &[Event]) -> Vec<Step> {
        let is_new = |event: &Event| matches!(event, Event::ClusterChanged);
        let shown = self.overlay.shown.as_ref();
        let anew = events.iter().any(is_new);
        let is_same = shown.is_some_and(|shown| shown.has_same_network(state)) && !anew;
        let certificates = self.show_certificates(state, anew);
        if is_same && certificates.is_none() {
            return Vec::new();
        }
        self.overlay.shown = Some(state.clone());
        let mut steps: Vec<Step> = certificates.into_iter().collect();
        let door = Delivery::Ingress(jaco_ingress_core::Input::StateChanged(state.clone()));
        steps.push(deliver(door));
        if is_same {
            return steps;
        }
        let network = [
            Delivery::Netmesh(jaco_netmesh_core::Input::StateChanged(state.clone())),
            Delivery::Firewall(jaco_firewall_core::Input::StateChanged(state.clone())),
            Delivery::Dns(jaco_dns_core::Input::StateChanged(state.clone())),
        ]
        .map(deliver);
        steps.extend(network);
        // Whether a mesh is needed may have changed.
        steps.extend(self.tell_isolation());
        steps
    }

    /// Tells the runtime whether containers may start, when that has changed. Before the filter and
    /// the mesh were looked at for the first time it has nothing to tell.
    fn tell_isolation(&mut self) -> Option<Step> {
        let filter = self.overlay.filter.clone()?;
        let is_known = |view: &Arc<MeshView>| view.fault.is_some() || view.mtu.is_some();
        if self.awaits_mesh() && !self.overlay.mesh.as_ref().is_some_and(is_known) {
            return None;
        }
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

    /// Whether there will be a mesh: a member without an address in it gets none.
    fn awaits_mesh(&self) -> bool {
        let me = self.state.nodes.get(&self.me.node);
        self.overlay.expects_mesh && me.is_some_and(|me| me.mesh_address.is_some())
    }

    /// What the runtime must know of the mesh, also one that was just built.
    pub(crate) fn show_mesh(&self) -> Vec<Step> {
        let Some(view) = &self.overlay.mesh else { return Vec::new() };
        let mtu = view.mtu.map(jaco_runtime_core::Input::Mtu);
        let conflict = jaco_runtime_core::Input::PoolConflict(view.conflict.is_some());
        mtu.into_iter().chain([conflict]).map(|input| deliver(Delivery::Runtime(input))).collect()
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
    use jaco_model::entity::{Node, NodeFacts, NodeStatus};
    use jaco_model::{NodeId, NodeName, WallMs};
    use jaco_netmesh_core::InUse;
    use jaco_raft_core::Members;
    use std::net::Ipv4Addr;
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

    fn is_mtu(step: &Step) -> bool {
        let Step::Deliver(delivery) = step else { return false };
        matches!(delivery.as_ref(), Delivery::Runtime(jaco_runtime_core::Input::Mtu(_)))
    }

    /// A member with an address in the mesh.
    fn node(id: &str) -> Node {
        Node {
            id: NodeId::from(id),
            name: NodeName::from(id),
            raft_id: 1,
            status: NodeStatus::Ready,
            schedulable: true,
            voter: true,
            labels: BTreeMap::new(),
            facts: NodeFacts::default(),
            joined_at: WallMs(0),
            serials: Vec::new(),
            liveness_epoch: 0,
            leaving: None,
            mesh_address: Some(Ipv4Addr::new(10, 80, 0, 1)),
        }
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
    fn containers_wait_for_the_size_of_packets() {
        let mut member = member();
        member.expect_mesh();
        member.state.nodes.insert(NodeId::from("n1"), Arc::new(node("n1")));
        let show = |view| jaco_netmesh_core::Effect::Show(Arc::new(view));
        let well = report(Report::Isolation(Isolation::Available));
        assert_eq!(isolation(&member.from_firewall(Now::default(), well)), None);
        assert_eq!(isolation(&member.from_netmesh(show(MeshView::default()))), None);
        let steps = member.from_netmesh(show(MeshView { mtu: Some(1380), ..MeshView::default() }));
        let first = steps.iter().position(is_mtu).expect("the size");
        assert_eq!(isolation(&steps[..first]), None, "the size comes first");
        assert_eq!(isolation(&steps), Some(&Ok(())));
    }

    #[test]
    fn a_mesh_that_can_never_be_stops_the_containers_of_members_with_others() {
        let mut member = member();
        member.expect_mesh();
        for id in ["n1", "n2"] {
            member.state.nodes.insert(NodeId::from(id), Arc::new(node(id)));
        }
        let well = report(Report::Isolation(Isolation::Available));
        assert_eq!(isolation(&member.from_firewall(Now::default(), well)), None);
        let steps = member.mesh_failed("no /dev/net/tun".to_owned());
        let Some(Err(fault)) = isolation(&steps) else { panic!("{steps:?}") };
        assert_eq!(fault.code, ErrorCode::IsolationUnavailable);
    }

    #[test]
    fn a_runtime_that_is_built_anew_hears_of_the_mesh() {
        let mut member = member();
        let other = InUse { net: "10.83.0.0/16".parse().unwrap(), interface: "eth1".to_owned() };
        let view = MeshView { mtu: Some(1380), conflict: Some(other), ..MeshView::default() };
        let is_conflict = |step: &Step| {
            let Step::Deliver(delivery) = step else { return false };
            matches!(
                delivery.as_ref(),
                Delivery::Runtime(jaco_runtime_core::Input::PoolConflict(true))
            )
        };
        let first = member.from_netmesh(jaco_netmesh_core::Effect::Show(Arc::new(view)));
        for steps in [first, member.show()] {
            assert!(steps.iter().any(is_mtu), "{steps:?}");
            assert!(steps.iter().any(is_conflict), "{steps:?}");
        }
    }

    #[test]
    fn seats_are_handed_on_and_shown_to_a_core_that_is_built_anew() {
        let mut member = member();
        let seats: BTreeMap<_, _> = [(
            "shop-web-0.g1".parse().unwrap(),
            [("_default".to_owned(), "10.80.32.2".to_owned())].into(),
        )]
        .into();
        let seated = |steps: &[Step]| {
            let is_it = |step: &Step| {
                let Step::Deliver(delivery) = step else { return false };
                let Delivery::Dns(jaco_dns_core::Input::Seated(told)) = delivery.as_ref() else {
                    return false;
                };
                *told == seats
            };
            steps.iter().any(is_it)
        };
        let effect = jaco_runtime_core::Effect::Seated(seats.clone());
        assert!(seated(&member.from_runtime(Now::default(), effect)));
        assert!(seated(&member.show()));
    }

    #[test]
    fn a_state_without_news_for_the_network_is_not_shown_to_it() {
        let mut member = member();
        let state = Arc::new(State::default());
        assert_eq!(
            member.show_network(&state, &[]).len(),
            5,
            "mesh, filter, names, door, certificates"
        );
        let mut next = State::default();
        next.applied_index = 7;
        let next = Arc::new(next);
        let mut later = state.as_ref().clone();
        later.applied_index = 5;
        assert!(member.show_network(&Arc::new(later), &[]).is_empty());
        assert_eq!(member.show_network(&next, &[Event::ClusterChanged]).len(), 5);
        let mut issued = next.as_ref().clone();
        issued.certificates.insert("shop.test".to_owned(), Arc::default());
        let steps = member.show_network(&Arc::new(issued), &[]);
        assert_eq!(steps.len(), 2, "the door and the core of certificates alone");
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
