//! A state, one leader after another, and an authority.

use jaco_ingress_core::acme::{
    AcmeCore, Answer, Call, CallFailure, Effect, Input, PeerProgress, Settings,
};
use jaco_kit_core::{Core, Mono, Now, Wall};
use jaco_model::command::{ApplyDeployment, Command, Envelope, InitCluster};
use jaco_model::entity::{
    Certificate, Documents, IssuedCertificate, Node, NodeFacts, NodeStatus, Origin,
};
use jaco_model::spec::{
    Challenge, DeploymentSpec, DnsMethod, DnsProvider, RouteOptions, RouteSpec, SecretText, TlsMode,
};
use jaco_model::{
    ClusterId, DeploymentName, ErrorCode, Fault, Identity, NodeId, NodeName, RequestId, WallMs,
};
use jaco_state::State;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

pub(crate) const DOMAIN: &str = "a.example";
pub(crate) const WILDCARD: &str = "*.a.example";
pub(crate) const PROVIDER: &str = "zone";
pub(crate) const HOUR: u64 = 3_600_000;
pub(crate) const DAY: u64 = 24 * HOUR;
pub(crate) const START: u64 = 1_767_225_600_000;
/// What a request takes, in milliseconds.
const ROUND_TRIP: u64 = 100;

pub(crate) type Outcome = Result<Answer, CallFailure>;

pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) settings: Settings,
    core: AcmeCore,
    term: u64,
    progress: BTreeMap<NodeId, PeerProgress>,
    pub(crate) now: u64,
    /// Requests with the time of each.
    pub(crate) calls: Vec<(u64, Call)>,
    /// Numbers of steps after which the leader ends.
    pub(crate) deaths: BTreeSet<usize>,
    /// Numbers of steps whose outcome is lost.
    pub(crate) lost: BTreeSet<usize>,
    /// Numbers of calls whose answer the leader does not live to hear.
    pub(crate) unheard: BTreeSet<usize>,
    n_steps: usize,
    /// Other answers than the usual ones, by the number of orders before.
    pub(crate) answer: fn(&Call, usize) -> Option<Outcome>,
    /// What the authority has of orders: domain and whether it was finalized.
    pub(crate) orders: Vec<(String, bool)>,
    /// What stands in the zone.
    pub(crate) records: BTreeSet<(String, String)>,
    /// The window of every certificate, in time since it was issued.
    pub(crate) window: Option<(i64, i64)>,
    /// How long certificates live.
    pub(crate) life: u64,
}

impl World {
    pub(crate) fn new(directory: &str, nodes: &[&str]) -> World {
        World::with(directory, nodes, &[(DOMAIN, Challenge::Http)])
    }

    /// One domain that is proven by a record.
    pub(crate) fn by_dns() -> World {
        let challenge = Challenge::Dns(PROVIDER.to_owned());
        World::with("https://ca.example/dir", &["n1"], &[(WILDCARD, challenge)])
    }

    /// The same, with a provider that the deployment brings.
    pub(crate) fn by_own_provider() -> World {
        let mut world = World::by_dns();
        let challenge = Challenge::Dns(PROVIDER.to_owned());
        let Command::Apply(mut wish) = deployment(&[(WILDCARD, challenge)]) else { return world };
        let url = "https://dns.example/hook".to_owned();
        let headers_secret = Some("credentials".to_owned());
        let provider = DnsProvider::new(DnsMethod::Webhook { url, headers_secret });
        wish.spec.acme_dns.insert(PROVIDER.to_owned(), provider);
        wish.spec.secrets.insert("credentials".to_owned(), SecretText::new("hush"));
        world.command(Command::Apply(wish)).unwrap();
        world
    }

    pub(crate) fn with(directory: &str, nodes: &[&str], routes: &[(&str, Challenge)]) -> World {
        let settings = Settings {
            me: NodeId::from("n1"),
            enabled: true,
            directory: directory.to_owned(),
            contact: "ops@example".to_owned(),
            skip_staging: false,
            providers: BTreeMap::from([(PROVIDER.to_owned(), Duration::from_secs(120))]),
            seed: 7,
            epoch: 0,
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
            unheard: BTreeSet::new(),
            n_steps: 0,
            answer: |_, _| None,
            orders: Vec::new(),
            records: BTreeSet::new(),
            window: None,
            life: 90 * DAY,
        };
        world.command(init()).unwrap();
        world.command(deployment(routes)).unwrap();
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
                Some(Effect::Ask { op, call, .. }) => {
                    let n = self.calls.len();
                    let result = self.authority(&call);
                    self.now += ROUND_TRIP;
                    if self.unheard.contains(&n) {
                        effects = self.reborn().into();
                        continue;
                    }
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
        let n_orders = self.orders.len();
        self.calls.push((self.now, call.clone()));
        self.check(call);
        if let Some(answer) = (self.answer)(call, n_orders) {
            if matches!(call, Call::NewOrder { .. }) {
                self.orders.push((String::new(), true));
            }
            return answer;
        }
        Ok(match call {
            Call::NewAccount { directory, .. } => Answer::Account {
                url: "account".to_owned(),
                credentials: SecretText::new(directory.clone()),
            },
            Call::NewOrder { domain, look, .. } => {
                let is_open = |(of, is_done): &(String, bool)| of == domain && !is_done;
                let known = self.orders.iter().position(is_open).filter(|_| *look);
                let n = known.unwrap_or(n_orders);
                if known.is_none() {
                    self.orders.push((domain.clone(), false));
                }
                Answer::Order { url: format!("order-{n}") }
            }
            Call::Challenge { order, dns, .. } => Answer::Challenge {
                url: "challenge".to_owned(),
                token: format!("token-of-{order}"),
                key_authorisation: "token.thumb".to_owned(),
                record: dns.then(|| format!("digest-of-{order}")),
            },
            Call::Publish(record) => {
                self.records.insert((record.name.clone(), record.value.clone()));
                Answer::Told
            }
            Call::Unpublish(record) => {
                self.records.remove(&(record.name.clone(), record.value.clone()));
                Answer::Told
            }
            Call::Propagated(record) => {
                let key = (record.name.clone(), record.value.clone());
                match self.records.contains(&key) {
                    true => Answer::Proven,
                    false => Answer::Waiting { retry_after: None, detail: "nothing".to_owned() },
                }
            }
            Call::Tell { .. } | Call::Clock { .. } => Answer::Told,
            Call::Poll { .. } | Call::Preflight { .. } => Answer::Proven,
            Call::NewKey => Answer::Key(SecretText::new(self.now.to_string())),
            Call::Finalize { order, .. } => {
                let n: usize = order.trim_start_matches("order-").parse().unwrap();
                self.orders[n].1 = true;
                let not_before = WallMs(START + self.now);
                let not_after = WallMs(not_before.0 + self.life);
                Answer::Certificate { chain: START.to_string(), not_before, not_after }
            }
            Call::RenewalInfo { .. } => self.renewal_info(),
        })
    }

    fn renewal_info(&self) -> Answer {
        let issued = self.state.certificates.values().filter_map(|known| known.issued.as_ref());
        let from = issued.map(|issued| issued.not_before.0).max().unwrap();
        let at = |offset: i64| WallMs(from.saturating_add_signed(offset));
        Answer::Advice {
            id: self.window.map(|_| format!("id-{from}")),
            window: self.window.map(|(start, end)| (at(start), at(end))),
            explanation: None,
            retry_after: None,
        }
    }

    /// What no request may break.
    fn check(&self, call: &Call) {
        let Call::NewOrder { account, .. } = call else { return };
        let now = START + self.now;
        for known in self.state.acme_accounts.values() {
            let is_held = known.held_until.is_some_and(|until| until.0 > now);
            assert!(known.directory != account.directory || !is_held, "an account on hold");
        }
        for known in self.state.acme_standings.values() {
            assert!(known.directory != account.directory || known.clock.is_none(), "a wrong clock");
        }
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
        assert!(self.state.acme_orders.len() <= 10);
        // Nodes that were put there without a command are not in the hash.
        if self.state.nodes.len() <= 1 {
            self.state.check().unwrap();
        }
        applied.result.map(|_| ())
    }

    pub(crate) fn issued(&self) -> Option<&IssuedCertificate> {
        self.known()?.issued.as_ref()
    }

    /// What is known of the first domain.
    pub(crate) fn known(&self) -> Option<&Certificate> {
        self.state.certificates.values().next().map(AsRef::as_ref)
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

fn deployment(routes: &[(&str, Challenge)]) -> Command {
    let route = |(domain, challenge): &(&str, Challenge)| RouteSpec {
        domain: (*domain).to_owned(),
        path: String::new(),
        target: None,
        tls: TlsMode::Auto,
        challenge: challenge.clone(),
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
            routes: routes.iter().map(route).collect(),
            acme_email: None,
            acme_dns: BTreeMap::new(),
            secrets: BTreeMap::new(),
        },
        documents: Documents::default(),
        images: BTreeMap::new(),
        expected_revision: None,
        origin: Origin::default(),
        privileged: BTreeMap::new(),
    }))
}
