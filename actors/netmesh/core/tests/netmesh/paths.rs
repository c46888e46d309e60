//! Cores that talk through a network which can be cut, in virtual time.

use crate::model::{Kernel, endpoint, mesh, peer};
use jaco_kit_core::{Core, Mono, Now, Wall};
use jaco_model::NodeId;
use jaco_netmesh_core::{
    Change, Effect, Input, MeshFault, MeshView, NetmeshCore, Notice, PathCondition, PeerChange,
    Probe, Settings,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// One node and its kernel.
struct Node {
    core: NetmeshCore,
    kernel: Kernel,
    view: Arc<MeshView>,
    log: Vec<String>,
    refuses: bool,
}

/// Nodes by number, from 1, and what does not pass between them.
pub(crate) struct Net {
    nodes: BTreeMap<u8, Node>,
    now: u64,
    /// From, to.
    cut: BTreeSet<(u8, u8)>,
    /// Larger packets are lost.
    largest: u16,
    handshakes: bool,
}

fn address(node: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 80, 0, node)
}

impl Net {
    pub(crate) fn new(count: u8) -> Net {
        let node = |number: u8| {
            let me = NodeId::new(format!("n{number}"));
            let settings = Settings { me, port: 51820, mtu: None, seed: u64::from(number) };
            let mut kernel = Kernel::default();
            kernel.has.underlay_mtu = Some(1500);
            let core = NetmeshCore::new(settings);
            let view = Arc::default();
            (number, Node { core, kernel, view, log: Vec::new(), refuses: false })
        };
        let nodes = (1..=count).map(node).collect();
        let mut net = Net { nodes, now: 0, cut: BTreeSet::new(), largest: 1500, handshakes: true };
        for number in 1..=count {
            let mut wanted = mesh((1..=count).filter(|at| *at != number).map(|at| peer(at, &[])));
            wanted.address = address(number);
            for peer in wanted.peers.values_mut() {
                peer.endpoints.push(endpoint(200));
            }
            let now = net.clock();
            let effects = net.nodes.get_mut(&number).unwrap().core.want(now, Some(wanted));
            net.perform(number, effects);
        }
        net
    }

    fn clock(&self) -> Now {
        Now { mono: Mono(self.now), wall: Wall(1_767_225_600_000 + self.now) }
    }

    pub(crate) fn give(&mut self, number: u8, input: Input) {
        let now = self.clock();
        let node = self.nodes.get_mut(&number).unwrap();
        let effects = node.core.step(now, input);
        node.core.check_invariants();
        self.perform(number, effects);
    }

    fn perform(&mut self, number: u8, effects: Vec<Effect>) {
        let mut queue: VecDeque<(u8, Effect)> = effects.into_iter().map(|e| (number, e)).collect();
        while let Some((number, effect)) = queue.pop_front() {
            let Some((to, input)) = self.outcome(number, effect) else { continue };
            let now = self.clock();
            let Some(node) = self.nodes.get_mut(&to) else { continue };
            let effects = node.core.step(now, input);
            node.core.check_invariants();
            queue.extend(effects.into_iter().map(|effect| (to, effect)));
        }
    }

    fn outcome(&mut self, number: u8, effect: Effect) -> Option<(u8, Input)> {
        let at = self.now / 100;
        let passes = |to: u8, size: u16| !self.cut.contains(&(number, to)) && size <= self.largest;
        let node = self.nodes.get_mut(&number)?;
        let refused = || MeshFault { op: "test", reason: "refused".to_owned() };
        match effect {
            Effect::Observe { op, .. } => {
                for peer in node.kernel.has.peers.values_mut() {
                    peer.handshake_age = self.handshakes.then_some(std::time::Duration::ZERO);
                }
                let has = node.kernel.has.clone();
                let result = if node.refuses { Err(refused()) } else { Ok(has) };
                Some((number, Input::Observed { op, result }))
            }
            Effect::Apply { op, changes } => {
                for change in &changes {
                    node.log.push(format!("{:>4}.{} {}", at / 10, at % 10, told(change)));
                }
                node.kernel.apply(&changes);
                Some((number, Input::Applied { op, result: Ok(()) }))
            }
            Effect::Listen { op, .. } => Some((number, Input::Listening { op, result: Ok(()) })),
            Effect::SendProbe { to, probe, size } => {
                let to = to.octets()[3];
                // As a packet, so that the format is in the way too.
                let probe = Probe::from_bytes(&probe.to_bytes(size))?;
                let input = Input::Probed { from: address(number), probe };
                passes(to, size.unwrap_or(100) + 80).then_some((to, input))
            }
            Effect::Notify(notice) => {
                node.log.push(format!("{:>4}.{} {}", at / 10, at % 10, noticed(&notice)));
                None
            }
            Effect::Show(view) => {
                node.view = view;
                None
            }
        }
    }

    /// Lets time pass, step by step.
    pub(crate) fn run(&mut self, millis: u64) {
        let end = self.now + millis;
        while self.now < end {
            self.now += 50;
            for number in self.nodes.keys().copied().collect::<Vec<u8>>() {
                let now = self.clock();
                let node = self.nodes.get_mut(&number).unwrap();
                if node.core.deadline().is_some_and(|at| at <= now.mono) {
                    let effects = node.core.wake(now);
                    self.perform(number, effects);
                }
            }
        }
    }

    pub(crate) fn cut(&mut self, from: u8, to: u8) {
        self.cut.insert((from, to));
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }

    pub(crate) fn condition(&self, of: u8, to: u8) -> PathCondition {
        let node = NodeId::new(format!("n{to}"));
        let view = &self.nodes[&of].view;
        view.paths.iter().find(|path| path.node == node).unwrap().condition
    }

    /// What a node did since the last call.
    pub(crate) fn log(&mut self, number: u8) -> Vec<String> {
        std::mem::take(&mut self.nodes.get_mut(&number).unwrap().log)
    }

    pub(crate) fn set_largest(&mut self, bytes: u16) {
        self.largest = bytes;
    }

    pub(crate) fn kernel(&mut self, number: u8) -> &mut Kernel {
        &mut self.nodes.get_mut(&number).unwrap().kernel
    }

    pub(crate) fn view(&self, number: u8) -> &MeshView {
        &self.nodes[&number].view
    }
}

/// A change in few words; keys by their first byte.
fn told(change: &Change) -> String {
    match change {
        Change::Peer(PeerChange::Add { key, endpoint, .. }) => {
            format!("add peer {} at {}", key.0[0], endpoint.unwrap())
        }
        Change::Peer(PeerChange::Aim { key, endpoint }) => {
            format!("aim peer {} at {endpoint}", key.0[0])
        }
        Change::Peer(PeerChange::Remove { key }) => format!("remove peer {}", key.0[0]),
        other => format!("{other:?}"),
    }
}

fn noticed(notice: &Notice) -> String {
    match notice {
        Notice::PathDegraded { node, condition } => {
            format!("{}: {node} {condition}", notice.kind())
        }
        Notice::PoolConflict(other) => format!("{}: {other}", notice.kind()),
        Notice::MtuLowered { node, mtu } => format!("{}: {node} {mtu}", notice.kind()),
        Notice::DataplaneImpaired { broken, of } => {
            format!("{}: {broken} of {of}", notice.kind())
        }
    }
}

#[test]
fn both_ends_know_of_both_directions() {
    let mut net = Net::new(3);
    net.run(3_000);
    assert_eq!(net.condition(1, 2), PathCondition::Ok);
    net.cut(1, 2);
    net.run(4_500);
    // 2 hears nothing; 1 hears 2 say that it hears nothing.
    assert_eq!(net.condition(1, 2), PathCondition::OneWay);
    assert_eq!(net.condition(2, 1), PathCondition::Dead);
    assert_eq!(net.condition(1, 3), PathCondition::Ok);
    net.heal();
    net.run(2_000);
    assert_eq!(net.condition(1, 2), PathCondition::Ok);
    assert_eq!(net.condition(2, 1), PathCondition::Ok);
}

#[test]
fn nothing_is_repaired_where_the_whole_node_is_down() {
    let mut net = Net::new(3);
    net.run(3_000);
    net.log(1);
    for other in [1, 2] {
        net.cut(other, 3);
        net.cut(3, other);
        net.give(other, Input::Suspected([NodeId::new("n3")].into()));
    }
    net.run(120_000);
    assert_eq!(net.condition(1, 3), PathCondition::Dead);
    assert_eq!(net.log(1), Vec::<String>::new());
    assert!(!net.view(1).is_impaired);
}

#[test]
fn damage_is_repaired_and_what_cannot_be_looked_at_is_tried_again() {
    let mut net = Net::new(2);
    net.run(2_000);
    net.log(1);
    net.kernel(1).has.routes.clear();
    net.give(1, Input::KernelChanged);
    assert_eq!(net.log(1).len(), 2);
    assert_eq!(net.kernel(1).has.routes.len(), 2);
    net.nodes.get_mut(&1).unwrap().refuses = true;
    net.kernel(1).has.routes.clear();
    net.give(1, Input::KernelChanged);
    assert_eq!(net.view(1).fault.as_deref(), Some("test: refused"));
    net.run(20_000);
    assert!(net.kernel(1).has.routes.is_empty());
    net.nodes.get_mut(&1).unwrap().refuses = false;
    net.run(40_000);
    assert_eq!(net.kernel(1).has.routes.len(), 2);
    assert_eq!(net.view(1).fault, None);
}

#[test]
fn a_setting_that_does_not_hold_is_not_fought_for_without_pause() {
    let mut net = Net::new(2);
    net.run(2_000);
    net.log(1);
    // Somebody resets the MTU at once, each time.
    for _ in 0..400 {
        if let Some(device) = &mut net.kernel(1).has.device {
            device.mtu = 1500;
        }
        net.give(1, Input::KernelChanged);
        net.run(50);
    }
    let log = net.log(1);
    assert!(log.len() < 60, "{}", log.len());
    assert!(net.view(1).fault.as_ref().is_some_and(|fault| fault.contains("do not hold")));
    // Once that is over, so is the fault.
    net.run(60_000);
    assert_eq!(net.view(1).fault, None);
    assert!(is_as_it_should_be(net.kernel(1)));
}

fn is_as_it_should_be(kernel: &Kernel) -> bool {
    kernel.has.device.is_some_and(|device| device.mtu == 1420 && device.is_up)
}

#[test]
fn an_old_state_takes_nothing_from_a_tunnel_that_is_there() {
    let mut net = Net::new(3);
    net.run(2_000);
    net.log(1);
    net.give(1, Input::Doubted(true));
    let mut old = mesh([peer(2, &["10.81.0.0/26"])]);
    old.pool = "10.80.0.0/13".parse().unwrap();
    let now = net.clock();
    let effects = net.nodes.get_mut(&1).unwrap().core.want(now, Some(old));
    net.perform(1, effects);
    net.run(2_000);
    assert_eq!(net.kernel(1).has.peers.len(), 2);
    assert_eq!(net.kernel(1).has.routes.len(), 4);
    net.give(1, Input::Doubted(false));
    assert_eq!(net.kernel(1).has.peers.len(), 1);
    assert_eq!(net.kernel(1).has.routes.len(), 2);
}

#[test]
fn strange_probes_are_harmless() {
    let mut net = Net::new(2);
    net.run(3_000);
    let old = Probe { sequence: 7, heard: 3, full: 9, heard_full: u64::MAX };
    let future = Probe { sequence: u64::MAX, heard: u64::MAX, full: 0, heard_full: 0 };
    for probe in [old, future, Probe::default()] {
        for from in [address(2), address(77), Ipv4Addr::new(203, 0, 113, 1)] {
            net.give(1, Input::Probed { from, probe });
        }
    }
    net.run(3_000);
    assert_eq!(net.condition(1, 2), PathCondition::Ok);
    assert_eq!(net.view(1).paths.len(), 1);
}
