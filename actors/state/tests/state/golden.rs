//! Golden scripts: `testdata/*.txt` holds commands, `----`, and what they answered and changed.
//! `UPDATE_GOLDEN=1` rewrites the outputs.

use crate::fixture::Bench;
use crate::script::{Line, command, dependency, named, pairs};
use jaco_model::command::Reply;
use jaco_model::event::Event;
use jaco_model::{DeploymentName, Fault, Revision};
use jaco_state::State;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

#[test]
fn scripts_give_the_expected_answers() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut files: Vec<PathBuf> = std::fs::read_dir(testdata())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    assert!(files.len() >= 5, "scripts are missing");
    for file in files {
        let expected = std::fs::read_to_string(&file).unwrap();
        let actual = play(&expected);
        if update {
            std::fs::write(&file, actual).unwrap();
        } else {
            assert_eq!(actual, expected, "{}", file.display());
        }
    }
}

pub(crate) fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

/// The script with the output of each block computed anew. Blocks are separated by empty lines;
/// comments begin with `#`.
fn play(script: &str) -> String {
    let mut bench = Bench::default();
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
            text.push_str(&run(&mut bench, &Line::new(line)));
        }
    }
    text
}

fn run(bench: &mut Bench, line: &Line<'_>) -> String {
    match line.word(0) {
        "state" => summary(&bench.state),
        "members" => crate::members::summary(&bench.state),
        "certificates" => crate::acme::summary(&bench.state),
        "voters" => {
            let raft_ids: Vec<u64> =
                line.word(1).split(',').map(|id| id.parse().expect("a number")).collect();
            let index = bench.state.applied_index + 1;
            let events = jaco_state::apply_members(&mut bench.state, index, &raft_ids);
            events.iter().map(described).collect()
        }
        "audit" => bench.state.audit().fold(String::new(), |text, event| {
            let payload = pairs(&event.payload);
            format!("{text}{} {} {}{payload}\n", event.raft_index, event.identity, event.kind)
        }),
        "wait" => {
            let seconds: u64 = line.word(1).parse().expect("seconds");
            bench.clock += seconds * 1_000;
            String::new()
        }
        "status" => status(&bench.state, line.word(1)),
        "converged" => {
            let revision = Revision(line.word(2).parse().expect("a number"));
            let name = DeploymentName::from(line.word(1));
            format!("{}\n", jaco_state::is_converged(&bench.state, &name, revision))
        }
        "depends" => {
            let mut wanted = dependency(line.word(2), named(line.word(3)));
            wanted.required = line.option("required") != Some("false");
            let name = DeploymentName::from(line.word(1));
            match jaco_state::dependency_met(&bench.state, &name, &wanted) {
                Ok(()) => "met\n".to_owned(),
                Err(fault) => refused(&fault),
            }
        }
        _ => {
            let command = command(bench, line);
            let applied = match line.option("id") {
                Some(id) => bench.run_as(1_000 + id.parse::<u64>().expect("a number"), command),
                None => bench.run_numbered(command),
            };
            let mut text = match &applied.result {
                Ok(Reply::Done) => String::new(),
                Ok(reply) => format!("{}\n", serde_json::to_string(reply).expect("plain data")),
                Err(fault) => refused(fault),
            };
            applied.events.iter().for_each(|event| text.push_str(&described(event)));
            if text.is_empty() { "nothing\n".to_owned() } else { text }
        }
    }
}

fn refused(fault: &Fault) -> String {
    format!("refused: {fault}{}\n", pairs(&fault.details))
}

fn described(event: &Event) -> String {
    match event {
        Event::ClusterChanged => "  cluster\n".to_owned(),
        Event::NodeChanged(id) => format!("  node {id}\n"),
        Event::DeploymentChanged(name) => format!("  deployment {name}\n"),
        Event::InstanceChanged { id, from, to } => {
            let from = from.map_or("nothing", |state| state.as_str());
            format!("  instance {id} {from} -> {}\n", to.as_str())
        }
        Event::CertificateChanged { domain } => format!("  certificate {domain}\n"),
        Event::Audited(event) => format!("  audit {}\n", event.kind),
        Event::Dropped { fault } => format!("  dropped: {fault}\n"),
    }
}

fn status(state: &State, name: &str) -> String {
    let deployment = state.deployments.get(&DeploymentName::from(name)).expect("a deployment");
    let status = jaco_state::deployment_status(state, deployment);
    let counts = format!("{}/{}", status.running, status.wanted);
    let mut text = format!("{} {counts}{}\n", status.status.as_str(), pairs(&status.details));
    for service in status.services {
        let (running, wanted) = (service.running, service.wanted);
        let rest = format!("updated {} failed {}", service.updated, service.failed);
        writeln!(text, "  {} {running}/{wanted} {rest}", service.name).expect("a string");
    }
    text
}

/// What the state holds, a line for each entity.
fn summary(state: &State) -> String {
    let mut text = String::new();
    for deployment in state.deployments.values() {
        let scale: String = deployment
            .scale
            .iter()
            .map(|(service, scale)| format!(" {service}:{}->{}", scale.file, scale.replicas))
            .collect();
        let previous = deployment.previous.map_or("-".to_owned(), |number| number.to_string());
        let deleting = deployment.deleting.map_or("", |volumes| match volumes {
            true => " deleting with volumes",
            false => " deleting",
        });
        let (name, revision) = (&deployment.name, deployment.revision);
        writeln!(text, "{name} r{revision} before {previous}{scale}{deleting}").expect("a string");
    }
    for ((name, number), record) in &state.revisions {
        let (status, summary) = (record.status.as_str(), &record.summary);
        writeln!(text, "{name} r{number} {status}: {summary}").expect("a string");
    }
    for replica in state.replicas.values() {
        let waiting = replica.waiting.as_ref().map_or(String::new(), |w| format!(" waits: {w}"));
        let (id, generation, nonce) = (&replica.id, replica.generation.0, replica.restart_nonce);
        let past = replica.past.len();
        writeln!(text, "{id} g{generation} restart {nonce} past {past}{waiting}").expect("text");
        for instance in state.instances_of(id) {
            let (id, state) = (&instance.id, instance.status.state.as_str());
            let desired = named_desired(instance.desired);
            let (node, revision) = (&instance.node, instance.revision);
            let nonce = (instance.restart_nonce, instance.in_place);
            writeln!(text, "  {id} {state} {desired} on {node} r{revision} {nonce:?}")
                .expect("text");
        }
    }
    for ((deployment, service), rollout) in &state.rollouts {
        let (to, state) = (rollout.to, rollout.state.as_str());
        writeln!(text, "rollout {deployment}/{service} r{to} {state}").expect("a string");
    }
    for volume in state.volumes.values() {
        let removing = if volume.removing { " removing" } else { "" };
        let (name, node, owner) = (&volume.name, &volume.node, &volume.deployment);
        writeln!(text, "volume {name} on {node} of {owner}{removing}").expect("a string");
    }
    for ((deployment, service), next) in &state.counters {
        writeln!(text, "next {deployment}/{service} {next}").expect("a string");
    }
    for ((deployment, service), floor) in &state.floors {
        writeln!(text, "floor {deployment}/{service} g{}", floor.0).expect("a string");
    }
    if text.is_empty() { "empty\n".to_owned() } else { text }
}

fn named_desired(desired: jaco_model::entity::Desired) -> &'static str {
    match desired {
        jaco_model::entity::Desired::Run => "run",
        jaco_model::entity::Desired::Stop => "stop",
    }
}
