//! One line for each order, for people.

use jaco_model::command::{Command, InstanceReport};
use jaco_runtime_core::{ContainerPlan, Effect};

/// Lines that say what was ordered and when; none for looks at the engine.
pub(crate) fn effect(now: u64, effect: &Effect) -> Vec<String> {
    let text = match effect {
        Effect::Observe { .. } => "observe".to_owned(),
        Effect::Seated(seats) => {
            let seat = |(id, seats): (_, &std::collections::BTreeMap<String, String>)| {
                format!(" {id} {}", seats.values().cloned().collect::<Vec<_>>().join(","))
            };
            format!("seated{}", seats.iter().map(seat).collect::<String>())
        }
        Effect::Propose { command, .. } => return command_lines(now, command),
        Effect::Pull { instance, image, .. } => format!("pull {instance} {}", image.reference),
        Effect::EnsureNetwork { plan, .. } => format!("ensure network {}", plan.name),
        Effect::EnsureVolume { plan, .. } => format!("ensure volume {}", plan.name),
        Effect::Create { plan, .. } => match &plan.network_of {
            Some(host) => {
                format!("create {} in network of {host}{}", plan.instance, placed(plan))
            }
            None => format!("create {}{}", plan.instance, placed(plan)),
        },
        Effect::Start { container, .. } => format!("start {container}"),
        Effect::Stop { container, grace, .. } => format!("stop {container} grace {grace}"),
        Effect::Remove { container, .. } => format!("remove {container}"),
        Effect::Inspect { container, .. } => format!("inspect {container}"),
        Effect::Exec { container, hook, timeout, .. } => {
            format!("exec {container} {} within {timeout}", hook.command.join(" "))
        }
        Effect::Probe { address, .. } => format!("probe {address}"),
        Effect::CountConnections { container, ports, from, .. } => {
            format!("count connections of {container} at {ports:?} from {from:?}")
        }
        Effect::RemoveNetwork { name, .. } => format!("remove network {name}"),
        Effect::RemoveVolume { name, .. } => format!("remove volume {name}"),
    };
    vec![stamped(now, &text)]
}

/// Where a container is to be, as far as the core decides that.
fn placed(plan: &ContainerPlan) -> String {
    let addresses = plan.endpoints.iter().filter_map(|endpoint| endpoint.address);
    let mut text: String = addresses.map(|address| format!(" at {address}")).collect();
    if let Some(file) = &plan.resolv_conf {
        text.push_str(&format!(" resolv.conf {file:?}"));
    }
    text
}

fn command_lines(now: u64, command: &Command) -> Vec<String> {
    match command {
        Command::Report { instances, volumes, .. } => {
            let instances = instances.iter().map(|report| stamped(now, &instance(report)));
            let volumes = volumes.iter().map(|volume| {
                let word = if volume.present { "made" } else { "gone" };
                stamped(now, &format!("report volume {} {word}", volume.name))
            });
            instances.chain(volumes).collect()
        }
        Command::ReportNode { status, facts, .. } => {
            let text = format!(
                "report node {} engine \"{}\" conditions {:?}",
                status.as_str(),
                facts.engine_version,
                facts.conditions
            );
            vec![stamped(now, &text)]
        }
        other => vec![stamped(now, other.name())],
    }
}

fn instance(report: &InstanceReport) -> String {
    let mut text = format!("report {} {}", report.id, report.state.as_str());
    if let Some(fault) = &report.fault {
        let details: Vec<String> =
            fault.details.iter().map(|(key, value)| format!(" {key}={value}")).collect();
        text.push_str(&format!(" [{}{}]", fault.code, details.concat()));
    }
    if report.restarts > 0 {
        text.push_str(&format!(" restarts {}", report.restarts));
    }
    text
}

fn stamped(now: u64, text: &str) -> String {
    format!("{:>8.3}  {text}", (now - 1_000) as f64 / 1_000.0)
}
