//! Golden scripts: `tests/testdata/*.txt` holds commands, `----`, and what the core ordered.
//! `UPDATE_GOLDEN=1` rewrites the outputs. Every order takes 10 ms.

use crate::fixture;
use crate::world::World;
use jaco_kit_core::Core;
use jaco_model::command::{Command, RestartTarget, Step};
use jaco_model::spec::ServiceSpec;
use jaco_model::{DeploymentName, ErrorCode, Fault, InstanceId, NodeId, ReplicaId, Revision, name};
use jaco_runtime_core::{EngineEvent, Health, Input, PullReason};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

#[test]
fn scripts_give_the_expected_orders() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testdata");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    assert!(files.len() >= 8, "scripts are missing");
    for file in files {
        let expected = std::fs::read_to_string(&file).unwrap();
        let actual = Script::play(&expected);
        if update {
            std::fs::write(&file, actual).unwrap();
        } else {
            assert_eq!(actual, expected, "{}", file.display());
        }
    }
}

struct Script {
    world: World,
    services: Vec<ServiceSpec>,
}

impl Script {
    /// The script with the output of each block made anew.
    fn play(script: &str) -> String {
        let world = World::new(Box::new(|| 10));
        let mut script_state = Script { world, services: Vec::new() };
        script_state.world.may_stop = true;
        let mut text = String::new();
        for block in script.split("\n\n").map(str::trim_end).filter(|block| !block.is_empty()) {
            let (input, _) = block.split_once("\n----").unwrap_or((block, ""));
            if !text.is_empty() {
                text.push('\n');
            }
            writeln!(text, "{input}").expect("a string takes text");
            if input.lines().all(|line| line.starts_with('#')) {
                continue;
            }
            text.push_str("----\n");
            for line in input.lines().filter(|line| !line.starts_with('#')) {
                script_state.obey(line);
            }
            for line in script_state.world.lines.drain(..) {
                writeln!(text, "{line}").expect("a string takes text");
            }
        }
        text
    }

    fn obey(&mut self, line: &str) {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let words: Vec<&str> = rest.split_whitespace().collect();
        let world = &mut self.world;
        match (verb, words.as_slice()) {
            ("service", _) => {
                let spec = fixture::service(rest);
                self.services.retain(|service| service.name != spec.name);
                self.services.push(spec);
            }
            ("apply", []) => world.write(fixture::apply(&self.services)),
            ("place", ids) => self.place(ids),
            ("retire", ids) => {
                let steps = ids.iter().map(|id| Step::Retire { instance: instance(id) });
                world.write(fixture::schedule(steps.collect()));
            }
            ("delete", options) => {
                let deployment = DeploymentName::from(fixture::DEPLOYMENT);
                let volumes = options.contains(&"volumes");
                world.write(Command::Delete { deployment, volumes });
            }
            ("restart", [replica]) => world.write(Command::Restart {
                target: RestartTarget::Replica { replica: ReplicaId::from(*replica) },
                in_place: true,
            }),
            ("run", [seconds]) => {
                let seconds: f64 = seconds.parse().expect("seconds");
                world.run((seconds * 1_000.0).round() as u64);
            }
            ("engine", what) => self.engine(what),
            ("daemon", ["restart"]) => world.restart_core(),
            ("doubt", [word]) => world.tell(Input::Doubted(*word == "on")),
            ("settings", words) => {
                world.settings.needs_isolation = words.contains(&"isolation");
                world.settings.has_dns = words.contains(&"dns");
                world.restart_core();
            }
            ("isolation", [word]) => {
                let fault = Fault::new(ErrorCode::IsolationUnavailable, "no nf_tables");
                world.tell(Input::Isolation((*word == "ok").then_some(()).ok_or(fault)));
            }
            ("release", []) => self.release(),
            ("pool", [word]) => world.tell(Input::PoolConflict(*word == "conflict")),
            ("port", [word]) => world.tell(Input::PortInUse(*word == "taken")),
            ("mtu", [mtu]) => world.tell(Input::Mtu(mtu.parse().expect("bytes"))),
            ("squat", [address]) => world.engine.squat(address),
            ("network", [name, words @ ..]) => world.engine.put_network(name, words),
            ("networks", []) => self.print_networks(),
            ("probes", [word]) => world.probes_pass = *word == "pass",
            ("fail", [op, times]) => {
                world.failing.insert((*op).to_owned(), times.parse().expect("a number"));
            }
            ("fail", ["pull", times, reason]) => {
                world.failing.insert("pull".to_owned(), times.parse().expect("a number"));
                world.pull_reason = match *reason {
                    "not_found" => PullReason::NotFound,
                    _ => PullReason::Network,
                };
            }
            ("deadline", []) => {
                let at = world.core.deadline().map(|at| at.0 - world.now);
                world.lines.push(format!("wakes in {at:?} ms"));
            }
            ("state", []) => self.print_state(),
            (verb, [id, rest @ ..]) => self.strike(verb, id, rest),
            (verb, []) => panic!("unknown command {verb}"),
        }
    }

    /// The address plan takes a block back.
    fn release(&mut self) {
        let node = NodeId::from(fixture::NODE);
        let (scope, block) = self.world.state.blocks_on(&node).next().expect("a block");
        let (scope, node) = (scope.clone(), block.node.clone());
        self.world.write(fixture::schedule(vec![Step::ReleaseBlock { scope, node }]));
    }

    /// Something happens to a container from outside.
    fn strike(&mut self, verb: &str, id: &str, rest: &[&str]) {
        let world = &mut self.world;
        let container = world.engine.by_instance(&instance(id));
        match (verb, rest, container) {
            ("exit", [code], _) => world.exit(&instance(id), code.parse().expect("a code")),
            ("oom", [], Some(container)) => {
                world.announce(&container, EngineEvent::OutOfMemory);
                world.exit(&instance(id), 137);
            }
            ("destroy", [], Some(container)) => {
                world.exit(&instance(id), 137);
                world.engine.containers.remove(&container);
                world.announce(&container, EngineEvent::Destroyed);
            }
            ("vanish", [], Some(container)) => _ = world.engine.containers.remove(&container),
            ("health", [word], Some(container)) => {
                let health = if *word == "healthy" { Health::Healthy } else { Health::Unhealthy };
                if let Some(event) = world.engine.set_health(&container, health) {
                    world.announce(&container, event);
                }
            }
            ("ours", [hash], _) => {
                let id = world.engine.add(&instance(id), hash, true);
                world.engine.start(&id, world.now).expect("just made");
            }
            ("foreign", [], _) => _ = world.engine.add(&instance(id), "", false),
            (verb, ..) => panic!("unknown command {verb} {id}: {:?}", world.engine.containers),
        }
    }

    fn engine(&mut self, what: &[&str]) {
        match what {
            ["up"] => self.world.connect(),
            ["down"] => self.world.engine_down(false),
            ["dies"] => {
                self.world.engine_down(true);
                self.world.engine.end_all();
            }
            ["is", version] => (*version).clone_into(&mut self.world.engine_version),
            other => panic!("unknown engine command {other:?}"),
        }
    }

    /// Places instances of the current revision, with slots as needed.
    fn place(&mut self, ids: &[&str]) {
        let deployment = DeploymentName::from(fixture::DEPLOYMENT);
        let revision = self.world.state.deployments[&deployment].revision;
        let mut steps = Vec::new();
        for id in ids {
            let id = instance(id);
            let slot = self.slot_of(&id, revision);
            if !self.world.state.replicas.contains_key(&id.replica) {
                steps.push(slot);
            }
            steps.push(fixture::place(&id.replica, id.generation, revision));
        }
        self.world.write(fixture::schedule(steps));
    }

    fn slot_of(&self, id: &InstanceId, revision: Revision) -> Step {
        let deployment = DeploymentName::from(fixture::DEPLOYMENT);
        let spec = &self.world.state.revision(&deployment, revision).expect("kept").spec;
        let (service, index) = spec
            .services
            .keys()
            .flat_map(|service| (0..9).map(move |index| (service, index)))
            .find(|(service, index)| name::replica_id(&deployment, service, *index) == id.replica)
            .expect("a replica of a service");
        fixture::add(service.as_str(), index)
    }

    fn print_networks(&mut self) {
        for network in self.world.engine.networks.values() {
            let options = self.world.engine.options.get(&network.name);
            let options = options.into_iter().flatten().map(|(key, value)| {
                format!(" {}={value}", key.trim_start_matches("com.docker.network."))
            });
            let line =
                format!("{} {}{}", network.name, network.subnet, options.collect::<String>());
            self.world.lines.push(line);
        }
    }

    fn print_state(&mut self) {
        for instance in self.world.state.instances.values() {
            let status = &instance.status;
            let line = format!(
                "{} {} {:?} in_place {}",
                instance.id,
                status.state.as_str(),
                status.addresses,
                status.in_place_done
            );
            self.world.lines.push(line);
        }
        let containers: Vec<&String> = self.world.engine.containers.keys().collect();
        self.world.lines.push(format!(
            "containers {containers:?} networks {:?} volumes {:?}",
            self.world.engine.networks.keys().collect::<BTreeSet<_>>(),
            self.world.engine.volumes.keys().collect::<Vec<_>>()
        ));
    }
}

fn instance(text: &str) -> InstanceId {
    text.parse().expect("<replica>.g<generation>")
}
