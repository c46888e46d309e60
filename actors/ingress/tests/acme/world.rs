//! One node: a state, the core, the driver, and the answers to challenges.

use crate::authority::Authority;
use crate::node::{Providers, deployment, init, serve};
use crate::pebble::Pebble;
use jaco_ingress::acme::{AcmeDriver, Config, Resolvers};
use jaco_ingress_core::acme::{AcmeCore, Answer, Call, CallFailure, Effect, Input, Settings};
use jaco_kit::Clock;
use jaco_kit_core::{Core, Mono, Now, OpId, Wall};
use jaco_model::command::{AcmeChange, Command, Envelope};
use jaco_model::spec::Challenge;
use jaco_model::{Identity, NodeId, RequestId, WallMs};
use jaco_state::State;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The longest run on a busy machine, with nine of ten requests refused for their nonce.
const LIMIT: Duration = Duration::from_secs(600);

type Outcome = (u64, OpId, Result<Answer, CallFailure>);

pub(crate) struct World {
    clock: Clock,
    state: State,
    shown: Arc<Mutex<State>>,
    settings: Settings,
    config: Config,
    core: AcmeCore,
    driver: AcmeDriver,
    /// Counts leaders; answers for an earlier one are lost with it.
    leader: u64,
    sender: Sender<Outcome>,
    outcomes: Receiver<Outcome>,
    /// URLs of all orders that the authority has told of.
    orders: BTreeSet<String>,
    /// Kinds of calls whose next answer the leader does not live to hear.
    deaf_to: BTreeSet<&'static str>,
    most_live: usize,
    mute: Arc<Mutex<bool>>,
    /// Milliseconds that waits have been cut by, where they are.
    ahead: Option<Arc<AtomicU64>>,
    /// Whether waits of a live order are not cut: its authority lives in real time.
    is_patient: bool,
    /// Calls whose outcome is not there yet.
    under_way: BTreeMap<OpId, &'static str>,
    /// Steps that were proposed.
    changes: Vec<AcmeChange>,
    /// What the outside was asked, and when.
    calls: Vec<(WallMs, &'static str)>,
}

impl World {
    pub(crate) fn new(pebble: &Pebble, domains: &[&str]) -> World {
        let routes: Vec<_> = domains.iter().map(|domain| (*domain, Challenge::Http)).collect();
        World::with(pebble, &routes, BTreeMap::new())
    }

    /// With ways to prove domains, and providers for those that need one.
    pub(crate) fn with(
        pebble: &Pebble,
        routes: &[(&str, Challenge)],
        providers: Providers,
    ) -> World {
        let resolvers = Resolvers::Listed(vec![pebble.names().server()]);
        let config = Config { resolvers, providers, ..Config::new(Clock::new()) };
        World::configured(pebble, config, routes)
    }

    /// With all that a driver is told, but for whom to trust.
    pub(crate) fn configured(
        pebble: &Pebble,
        config: Config,
        routes: &[(&str, Challenge)],
    ) -> World {
        let config = Config { roots: Some(pebble.roots()), ..config };
        let world = World::at(pebble.directory(), config, routes, &Providers::new());
        serve(pebble.http(), world.shown.clone(), world.mute.clone());
        world
    }

    /// With providers that the deployment brings.
    pub(crate) fn owning(pebble: &Pebble, routes: &[(&str, Challenge)], own: &Providers) -> World {
        let resolvers = Resolvers::Listed(vec![pebble.names().server()]);
        let config = Config { roots: Some(pebble.roots()), resolvers, ..Config::new(Clock::new()) };
        World::at(pebble.directory(), config, routes, own)
    }

    /// Waits take no time from now on, but for those of a live order. The authority's clock is left
    /// behind and nobody is to notice.
    pub(crate) fn skip_time(&mut self) {
        self.ahead = Some(Arc::default());
        self.is_patient = true;
    }

    /// With an authority that looks at nothing, and with waits that take no time.
    pub(crate) fn hurried(authority: &Authority, domains: &[&str]) -> World {
        let routes: Vec<_> = domains.iter().map(|domain| (*domain, Challenge::Http)).collect();
        let config = Config {
            roots: Some(authority.roots()),
            resolvers: Resolvers::Listed(vec![authority.names().server()]),
            ..Config::new(Clock::new())
        };
        let mut world = World::at(authority.directory(), config, &routes, &Providers::new());
        world.ahead = Some(authority.ahead());
        world
    }

    fn at(
        directory: String,
        config: Config,
        routes: &[(&str, Challenge)],
        own: &Providers,
    ) -> World {
        let settings = Settings {
            me: NodeId::from("n1"),
            enabled: true,
            directory,
            contact: "ops@example.test".to_owned(),
            skip_staging: false,
            providers: waits(&config),
            seed: 1,
            epoch: 0,
        };
        let (sender, outcomes) = channel();
        let shown = Arc::new(Mutex::new(State::default()));
        let mute = Arc::new(Mutex::new(false));
        let mut world = World {
            clock: Clock::new(),
            state: State::default(),
            shown,
            core: AcmeCore::new(settings.clone()),
            driver: driver(&config, 0, &sender),
            settings,
            config,
            leader: 0,
            sender,
            outcomes,
            orders: BTreeSet::new(),
            deaf_to: BTreeSet::new(),
            most_live: 0,
            mute,
            ahead: None,
            is_patient: false,
            under_way: BTreeMap::new(),
            changes: Vec::new(),
            calls: Vec::new(),
        };
        world.command(init()).unwrap();
        world.command(deployment(routes, own)).unwrap();
        world
    }

    pub(crate) fn run(&mut self, leaders_die: bool) {
        let is_done = |state: &State| {
            let domains = jaco_state::acme_domains(state);
            let is_issued = |domain: &String| {
                state.certificates.get(domain).is_some_and(|known| known.issued.is_some())
            };
            domains.keys().all(is_issued)
        };
        self.run_until(leaders_die, is_done);
    }

    /// Lets everything that is due be done once more.
    pub(crate) fn run_idle(&mut self) {
        let mut effects = self.reborn();
        let is_question =
            |effect: &Effect| matches!(effect, Effect::Ask { call: Call::RenewalInfo { .. }, .. });
        effects.retain(|effect| !is_question(effect));
        assert_eq!(effects, Vec::new(), "nothing is left to do");
    }

    pub(crate) fn run_until(&mut self, leaders_die: bool, is_done: impl Fn(&State) -> bool) {
        let end = self.clock.mono().plus(LIMIT);
        let mut effects: VecDeque<Effect> = self.reborn().into();
        while !is_done(&self.state) {
            assert!(self.clock.mono() < end, "still {:#?}", jaco_state::certificates(&self.state));
            match effects.pop_front() {
                Some(Effect::Ask { op, at, call }) => {
                    self.calls.push((WallMs(self.now().wall.0), name(&call)));
                    self.under_way.insert(op, name(&call));
                    let behind = if self.is_patient { self.ahead() } else { 0 };
                    self.driver.ask(op, WallMs(at.0 - behind), call);
                }
                Some(Effect::Propose { op, step }) => {
                    self.changes.push(step.change.clone());
                    let result = self.command(Command::Acme(Box::new(step)));
                    self.most_live = self.most_live.max(self.state.acme_orders.len());
                    if leaders_die {
                        effects = self.reborn().into();
                        continue;
                    }
                    effects.extend(self.step(Input::Proposed { op, result }));
                    let state = Arc::new(self.state.clone());
                    effects.extend(self.step(Input::StateChanged(state)));
                }
                None => effects.extend(self.wait()),
            }
        }
    }

    fn wait(&mut self) -> Vec<Effect> {
        let now = self.now();
        let wait = self.core.deadline().map_or(LIMIT, |at| at.since(now.mono));
        let is_waited_for = self.is_patient && !self.state.acme_orders.is_empty();
        let is_cut = self.under_way.is_empty() && !is_waited_for;
        if let Some(ahead) = self.ahead.as_ref().filter(|_| is_cut) {
            ahead.fetch_add(u64::try_from(wait.as_millis()).unwrap(), Ordering::SeqCst);
            return self.core.wake(self.now());
        }
        match self.outcomes.recv_timeout(wait.min(Duration::from_secs(1))) {
            Ok((leader, op, result)) if leader == self.leader => {
                if let Ok(Answer::Order { url }) = &result {
                    self.orders.insert(url.clone());
                }
                let call = self.under_way.remove(&op);
                if call.is_some_and(|call| self.deaf_to.remove(call)) {
                    return self.reborn();
                }
                self.step(Input::Answered { op, result })
            }
            Ok(_) | Err(RecvTimeoutError::Disconnected) => Vec::new(),
            Err(RecvTimeoutError::Timeout) => {
                let now = self.now();
                let is_due = self.core.deadline().is_some_and(|at| at <= now.mono);
                if is_due { self.core.wake(now) } else { Vec::new() }
            }
        }
    }

    /// Both clocks, with the waits that were cut.
    pub(crate) fn now(&self) -> Now {
        let ahead = self.ahead();
        let now = self.clock.now();
        Now { mono: Mono(now.mono.0 + ahead), wall: Wall(now.wall.0 + ahead) }
    }

    fn ahead(&self) -> u64 {
        self.ahead.as_ref().map_or(0, |ahead| ahead.load(Ordering::SeqCst))
    }

    fn step(&mut self, input: Input) -> Vec<Effect> {
        self.core.step(self.now(), input)
    }

    /// A new leader that knows nothing but the state.
    fn reborn(&mut self) -> Vec<Effect> {
        self.leader += 1;
        self.under_way.clear();
        self.core = AcmeCore::new(self.settings.clone());
        self.driver = driver(&self.config, self.leader, &self.sender);
        let state = Arc::new(self.state.clone());
        let mut effects = self.step(Input::StateChanged(state));
        effects.extend(self.step(Input::Leadership(Some(self.leader))));
        effects
    }

    fn command(&mut self, command: Command) -> Result<(), jaco_model::Fault> {
        let index = self.state.applied_index + 1;
        let envelope = Envelope {
            request_id: RequestId(u128::from(index)),
            at: WallMs(self.now().wall.0),
            identity: Identity::from("system"),
            os_user: None,
            command,
        };
        let applied = jaco_state::apply(&mut self.state, index, &envelope);
        self.state.check().unwrap();
        let read_back = State::from_sections(&self.state.to_sections()).unwrap();
        assert_eq!(read_back, self.state, "a snapshot holds everything");
        *self.shown.lock().unwrap() = self.state.clone();
        applied.result.map(|_| ())
    }

    pub(crate) fn chain(&self, domain: &str) -> String {
        self.state.certificates[domain].issued.as_ref().unwrap().chain.clone()
    }

    pub(crate) fn audited(&self) -> Vec<String> {
        let lines = self.state.audit().map(|event| event.kind.clone());
        lines.filter(|kind| kind.starts_with("certificate")).collect()
    }

    pub(crate) fn answers_nothing(&self) {
        *self.mute.lock().unwrap() = true;
    }

    pub(crate) fn state(&self) -> State {
        self.state.clone()
    }

    /// What was written since is lost.
    pub(crate) fn restore(&mut self, state: State) {
        self.state = state;
    }

    pub(crate) fn n_orders(&self) -> usize {
        self.orders.len()
    }

    /// Leaders die just before they hear the next answers of these kinds, each once.
    pub(crate) fn is_deaf_to(&mut self, calls: &[&'static str]) {
        self.deaf_to.extend(calls);
    }

    /// Kinds of answers that a leader is still to die of.
    pub(crate) fn deaf_to(&self) -> &BTreeSet<&'static str> {
        &self.deaf_to
    }

    /// Steps that were proposed, from the first on.
    pub(crate) fn changes(&self) -> &[AcmeChange] {
        &self.changes
    }

    /// The outcome of a call that nobody has thought of.
    pub(crate) fn ask(&self, call: Call) -> Result<Answer, CallFailure> {
        let (sender, outcomes) = channel();
        let driver = driver(&self.config, 0, &sender);
        driver.ask(OpId(1), WallMs(self.clock.wall().0), call);
        outcomes.recv_timeout(LIMIT).unwrap().2
    }

    pub(crate) fn most_live(&self) -> usize {
        self.most_live
    }

    /// What the outside was asked, and when.
    pub(crate) fn calls(&self) -> &[(WallMs, &'static str)] {
        &self.calls
    }

    /// When something was asked.
    pub(crate) fn times(&self, call: &str) -> Vec<u64> {
        let found = self.calls.iter().filter(|(_, name)| *name == call);
        found.map(|(at, _)| at.0).collect()
    }

    pub(crate) fn n_leaders(&self) -> u64 {
        self.leader
    }
}

fn name(call: &Call) -> &'static str {
    match call {
        Call::NewAccount { .. } => "account",
        Call::Clock { .. } => "clock",
        Call::Preflight { .. } => "preflight",
        Call::NewOrder { .. } => "new-order",
        Call::Challenge { .. } => "challenge",
        Call::Publish(_) => "publish",
        Call::Propagated(_) => "propagated",
        Call::Unpublish(_) => "unpublish",
        Call::Tell { .. } => "tell",
        Call::Poll { .. } => "poll",
        Call::NewKey => "key",
        Call::Finalize { .. } => "finalize",
        Call::RenewalInfo { .. } => "advice",
    }
}

/// How long records of each provider are waited for.
fn waits(config: &Config) -> BTreeMap<String, Duration> {
    let providers = config.providers.iter();
    providers.map(|(name, (provider, _))| (name.clone(), provider.propagation.std())).collect()
}

fn driver(config: &Config, leader: u64, sender: &Sender<Outcome>) -> AcmeDriver {
    let sender = sender.clone();
    let deliver = move |op, result| drop(sender.send((leader, op, result)));
    AcmeDriver::spawn(config.clone(), deliver).unwrap()
}
