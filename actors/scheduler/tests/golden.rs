//! Stories: what a user does, what the nodes report, and every decision that follows.
//!
//! Each `testdata/*.txt` holds commands, `----`, and the output; `UPDATE_GOLDEN=1` rewrites the
//! outputs. Commands of one block run in order, and only `pass`, `settle`, `show` and refusals
//! print.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod world;

use jaco_model::command::{Command, RestartTarget};
use jaco_model::entity::{InstanceState, Ipam, Leaving, NodeStatus};
use jaco_model::spec::DeploymentSpec;
use jaco_model::{InstanceId, NodeName, ReplicaId, Revision, ServiceName};
use jaco_scheduler::Preview;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;
use world::{World, specs};

#[test]
fn stories_go_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testdata");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let before = std::fs::read_to_string(&file).unwrap();
        let after = tell(&before);
        if update {
            std::fs::write(&file, after).unwrap();
        } else {
            assert_eq!(before, after, "{}; UPDATE_GOLDEN=1 rewrites it", file.display());
        }
    }
}

/// Runs a story and returns it with its outputs.
fn tell(text: &str) -> String {
    let mut story = Story { world: World::new(1), spec: specs::deployment("shop") };
    let mut told = String::new();
    for block in text.split("\n\n").map(str::trim).filter(|block| !block.is_empty()) {
        let commands = block.split("\n----").next().unwrap_or_default();
        let mut output = String::new();
        for line in commands.lines() {
            output += &story.run(line);
        }
        let separator = if told.is_empty() { "" } else { "\n" };
        let is_comment = commands.lines().all(|line| line.starts_with('#'));
        match is_comment {
            true => writeln!(told, "{separator}{commands}").unwrap(),
            false => write!(told, "{separator}{commands}\n----\n{output}").unwrap(),
        }
    }
    told
}

struct Story {
    world: World,
    spec: DeploymentSpec,
}

impl Story {
    fn run(&mut self, line: &str) -> String {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let words: Vec<&str> = rest.split_whitespace().collect();
        match word {
            "#" => String::new(),
            "nodes" => {
                let plan = match words.get(1..) {
                    Some([pool, prefix]) => {
                        Ipam { pool: pool.parse().unwrap(), block_prefix: prefix.parse().unwrap() }
                    }
                    _ => Ipam::default(),
                };
                self.world = World::with_plan(words[0].parse().unwrap(), Some(plan));
                String::new()
            }
            "node" => self.change_node(&words),
            "deployment" => {
                self.spec = specs::deployment(rest);
                String::new()
            }
            "service" => {
                specs::add(&mut self.spec, rest);
                String::new()
            }
            "without" => {
                self.spec.services.remove(&ServiceName::new(rest));
                String::new()
            }
            "apply" => self.send(|story| Command::Apply(Box::new(world::wish(story.spec.clone())))),
            "delete" => self.send(|story| Command::Delete {
                deployment: story.spec.name.clone(),
                volumes: false,
            }),
            "scale" => self.send(|story| Command::Scale {
                deployment: story.spec.name.clone(),
                services: [(ServiceName::new(words[0]), words[1].parse().unwrap())].into(),
            }),
            "restart" => self.send(|story| {
                let target = match words.first() {
                    Some(replica) => RestartTarget::Replica { replica: ReplicaId::new(*replica) },
                    None => RestartTarget::Deployment { deployment: story.spec.name.clone() },
                };
                Command::Restart { target, in_place: false }
            }),
            "report" => self.report(&words),
            "obey" => {
                self.world.obey();
                String::new()
            }
            "wait" => {
                self.world.advance(Duration::from_secs(rest.parse().unwrap()));
                String::new()
            }
            "pass" => {
                let commands = self.world.pass();
                world::describe(&self.world, &commands)
            }
            "settle" => {
                let from = self.world.commands.len();
                self.world.converge();
                world::describe(&self.world, &self.world.commands[from..])
            }
            "plan" => self.plan(&words),
            "show" => self.show(),
            other => panic!("no such command: {other}"),
        }
    }

    fn send(&mut self, make: impl FnOnce(&Story) -> Command) -> String {
        let command = make(self);
        match self.world.send(command) {
            Ok(_) => String::new(),
            Err(fault) => format!("refused: {fault}\n"),
        }
    }

    fn change_node(&mut self, words: &[&str]) -> String {
        for word in &words[1..] {
            match *word {
                "drain" => {
                    let node = self.world.node_id(words[0]);
                    let command = Command::RemoveNode { node, leaving: Leaving::Drain };
                    return self.send(|_| command);
                }
                "removed" => {
                    self.world.remove_node(words[0]);
                    continue;
                }
                _ => {}
            }
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            self.world.change_node(words[0], |node| match key {
                "down" => node.status = NodeStatus::Down,
                "up" => node.status = NodeStatus::Ready,
                "cordon" => node.schedulable = false,
                "uncordon" => node.schedulable = true,
                "cpu" => node.facts.capacity.cpu_milli = value.parse().unwrap(),
                "memory" => node.facts.capacity.memory = value.parse::<u64>().unwrap() << 20,
                "condition" => node.facts.conditions.push(value.to_owned()),
                label => {
                    node.labels.insert(label.to_owned(), value.to_owned());
                }
            });
        }
        String::new()
    }

    /// `report shop-web-0.g1 running [code[/reason]] [restarted]`
    fn report(&mut self, words: &[&str]) -> String {
        let id: InstanceId = words[0].parse().unwrap();
        let states = [
            InstanceState::Pending,
            InstanceState::Pulling,
            InstanceState::Starting,
            InstanceState::Running,
            InstanceState::Degraded,
            InstanceState::Completed,
            InstanceState::Failed,
            InstanceState::Stopped,
        ];
        let state = states.into_iter().find(|state| state.as_str() == words[1]).unwrap();
        let restarts = u32::from(words.contains(&"restarted"));
        let code = words.iter().skip(2).find(|word| **word != "restarted");
        let fault = code.map(|code| match code.split_once('/') {
            Some((code, reason)) => world::fault(code, Some(reason)),
            None => world::fault(code, None),
        });
        self.world.report(&id, state, fault, restarts);
        String::new()
    }

    /// What applying the spec would do; the words are nodes to leave out.
    fn plan(&self, without: &[&str]) -> String {
        let without_nodes = without.iter().map(|name| NodeName::new(*name)).collect();
        let preview = Preview { wish: world::wish(self.spec.clone()), without_nodes };
        let view = match jaco_scheduler::preview(&self.world.state, &preview) {
            Ok(view) => view,
            Err(fault) => return format!("refused: {fault}\n"),
        };
        let mut text = format!("revision {} -> {}\n", view.from_revision, view.to_revision);
        for change in &view.changes {
            let to = change.to_host.as_ref().map(|to| format!(" to {to}")).unwrap_or_default();
            let host = change.host.as_deref().unwrap_or("-");
            let order = change.order.as_deref().unwrap_or("-");
            let why = change.reasons.join(", ");
            let downtime = change.expected_downtime_seconds.map_or("unknown", |_| "0s");
            let (step, action, replica) = (change.step, &change.action, &change.replica);
            let line =
                format!("{step} {action} {replica} on {host}{to} {order} [{why}] {downtime}");
            writeln!(text, "{line}").unwrap();
        }
        for volume in &view.volumes {
            writeln!(text, "volume {volume}").unwrap();
        }
        for slot in &view.unplaced {
            writeln!(text, "unplaced {}: {:?}", slot.replica, slot.nodes).unwrap();
        }
        text
    }

    fn show(&self) -> String {
        let mut text = String::new();
        let revision = |r: Revision| r.0;
        for instance in self.world.state.instances.values() {
            let node = self.world.node_name(&instance.node);
            let state = instance.status.state.as_str();
            let number = revision(instance.revision);
            writeln!(text, "{} on {node}, revision {number}, {state}", instance.id).unwrap();
        }
        text
    }
}
