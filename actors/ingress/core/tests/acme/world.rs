//! A state, one leader after another, and an authority.

use jaco_ingress_core::acme::{
    AcmeCore, Answer, Call, CallFailure, Effect, Input, PeerProgress, Settings,
};
use jaco_kit_core::{Core, Mono, Now, Wall};
use jaco_model::command::{ApplyDeployment, Command, Envelope, InitCluster};
use jaco_model::entity::{Documents, IssuedCertificate, Node, NodeFacts, NodeStatus, Origin};
use jaco_model::spec::{Challenge, DeploymentSpec, RouteOptions, RouteSpec, SecretText, TlsMode};
use jaco_model::{
    ClusterId, DeploymentName, ErrorCode, Fault, Identity, NodeId, NodeName, RequestId, WallMs,
};
use jaco_state::State;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

pub(crate) const DOMAIN: &str = "a.example";
pub(crate) const HOUR: u64 = 3_600_000;
pub(crate) const DAY: u64 = 24 * HOUR;
const START: u64 = 1_767_225_600_000;
/// What a request takes, in milliseconds.
const ROUND_TRIP: u64 = 100;

type Outcome = Result<Answer, CallFailure>;

pub(crate) struct World {
    state: State,
    settings: Settings,
    core: AcmeCore,
    term: u64,
    progress: BTreeMap<NodeId, PeerProgress>,
    now: u64,
    /// Requests with the time of each.
    pub(crate) calls: Vec<(u64, Call)>,
    /// Numbers of steps after which the leader ends.
    pub(crate) deaths: BTreeSet<usize>,
    /// Numbers of steps whose outcome is lost.
    pub(crate) lost: BTreeSet<usize>,
    n_steps: usize,
    /// Other answers than the usual ones, by the number of orders before.
    pub(crate) answer: fn(&Call, usize) -> Option<Outcome>,
}

impl World {
    pub(crate) fn new(directory: &str, nodes: &[&str]) -> World {
        let settings = Settings {
            me: NodeId::from("n1"),
            enabled: true,
            directory: directory.to_owned(),
            contact: "ops@example".to_owned(),
            skip_staging: false,
            seed: 7,
        };
        let mut world = World {
            state: State::default(),
            core: AcmeCore::new(settings.clone()),
            settings,
            term: 0,
            progress: BTreeMap::new(),
            now: 0,
            calls: Vec::new(),
            deaths: BTreeSet::new(),
            lost: BTreeSet::new(),
            n_steps: 0,
            answer: |_, _| None,
        };
        world.command(init()).unwrap();
        world.command(deployment()).unwrap();
        for id in &nodes[1..] {
            world.state.nodes.insert(NodeId::from(*id), Arc::new(node(id)));
        }
        world
    }

    pub(crate) fn progress(&mut self, progress: BTreeMap<NodeId, PeerProgress>) {
        self.progress = progress;
    }

    /// Lets the leader work for a time; each run has a new one.
    pub(crate) fn run_for(&mut self, millis: u64) {
        let end = self.now + millis;
        let mut effects: VecDeque<Effect> = self.reborn().into();
        loop {
            match effects.pop_front() {
                Some(Effect::Propose { op, step }) => {
                    let n = self.n_steps;
                    self.n_steps += 1;
                    let mut result = self.command(Command::Acme(Box::new(step)));
                    if self.deaths.contains(&n) {
                        effects = self.reborn().into();
                        continue;
                    }
                    if self.lost.contains(&n) {
                        result = Err(Fault::new(ErrorCode::NoLeader, "nobody knows"));
                    }
                    effects.extend(self.step(Input::Proposed { op, result }));
                    let state = Arc::new(self.state.clone());
                    effects.extend(self.step(Input::StateChanged(state)));
                }
                Some(Effect::Ca { op, call }) => {
                    let result = self.authority(&call);
                    self.now += ROUND_TRIP;
                    effects.extend(self.step(Input::Answered { op, result }));
                }
                None => {
                    let Some(at) = self.core.deadline().filter(|at| at.0 <= end) else { break };
                    self.now = self.now.max(at.0);
                    let now = self.clock();
                    effects.extend(self.core.wake(now));
                }
            }
        }
        self.now = self.now.max(end);
    }

    fn authority(&mut self, call: &Call) -> Outcome {
        let n_orders = self.order_times().len();
        self.calls.push((self.now, call.clone()));
        if let Some(answer) = (self.answer)(call, n_orders) {
            return answer;
        }
        let order = |n: usize| format!("order-{n}");
        Ok(match call {
            Call::NewAccount { directory, .. } => Answer::Account {
                url: "account".to_owned(),
                credentials: SecretText::new(directory.clone()),
            },
            Call::NewOrder { .. } => Answer::Order { url: order(n_orders) },
            Call::Challenge { order, .. } => Answer::Challenge {
                url: "challenge".to_owned(),
                token: format!("token-of-{order}"),
                key_authorisation: "token.thumb".to_owned(),
            },
            Call::Tell { .. } => Answer::Told,
            Call::Poll { .. } => Answer::Proven,
            Call::NewKey => Answer::Key(SecretText::new(self.now.to_string())),
            Call::Finalize { .. } => {
                let not_before = WallMs(START + self.now);
                let not_after = WallMs(not_before.0 + 90 * DAY);
                Answer::Certificate { chain: "chain".to_owned(), not_before, not_after }
            }
        })
    }

    fn clock(&self) -> Now {
        Now { mono: Mono(self.now), wall: Wall(START + self.now) }
    }

    fn step(&mut self, input: Input) -> Vec<Effect> {
        let now = self.clock();
        self.core.step(now, input)
    }

    fn reborn(&mut self) -> Vec<Effect> {
        self.term += 1;
        self.core = AcmeCore::new(self.settings.clone());
        let state = Arc::new(self.state.clone());
        let mut effects = self.step(Input::StateChanged(state));
        effects.extend(self.step(Input::Progress(self.progress.clone())));
        effects.extend(self.step(Input::Leadership(Some(self.term))));
        effects
    }

    fn command(&mut self, command: Command) -> Result<(), Fault> {
        let index = self.state.applied_index + 1;
        let envelope = Envelope {
            request_id: RequestId(u128::from(index)),
            at: WallMs(START + self.now),
            identity: Identity::from("system"),
            os_user: None,
            command,
        };
        let applied = jaco_state::apply(&mut self.state, index, &envelope);
        assert!(self.state.acme_orders.len() <= 1);
        applied.result.map(|_| ())
    }

    pub(crate) fn issued(&self) -> Option<&IssuedCertificate> {
        self.state.certificates.get(DOMAIN)?.issued.as_ref()
    }

    pub(crate) fn audited(&self, kind: &str) -> usize {
        self.state.audit().filter(|event| event.kind == kind).count()
    }

    pub(crate) fn order_times(&self) -> Vec<u64> {
        let is_order = |call: &Call| matches!(call, Call::NewOrder { .. });
        self.calls.iter().filter(|(_, call)| is_order(call)).map(|(at, _)| *at).collect()
    }

    pub(crate) fn ordered_at(&self) -> Vec<String> {
        let directory = |(_, call): &(u64, Call)| match call {
            Call::NewOrder { account, .. } => Some(account.directory.clone()),
            _ => None,
        };
        self.calls.iter().filter_map(directory).collect()
    }
}

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
        joined_at: WallMs(1),
        serials: Vec::new(),
        liveness_epoch: 0,
        leaving: None,
        mesh_address: None,
    }
}

fn init() -> Command {
    Command::InitCluster(Box::new(InitCluster {
        cluster_id: ClusterId::from("c0ffee"),
        name: "test".to_owned(),
        hash_key: "5a".repeat(32),
        history_limit: 10,
        node: node("n1"),
        trust: None,
        ipam: None,
    }))
}

fn deployment() -> Command {
    let route = RouteSpec {
        domain: DOMAIN.to_owned(),
        path: String::new(),
        target: None,
        tls: TlsMode::Auto,
        challenge: Challenge::Http,
        shared_with: BTreeSet::new(),
        options: RouteOptions::default(),
    };
    Command::Apply(Box::new(ApplyDeployment {
        spec: DeploymentSpec {
            name: DeploymentName::from("shop"),
            services: BTreeMap::new(),
            networks: BTreeMap::new(),
            volumes: BTreeMap::new(),
            history: None,
            routes: vec![route],
            acme_email: None,
            secrets: BTreeMap::new(),
        },
        documents: Documents::default(),
        images: BTreeMap::new(),
        expected_revision: None,
        origin: Origin::default(),
        privileged: BTreeMap::new(),
    }))
}
