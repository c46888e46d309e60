//! The `/etc/resolv.conf` of a container: it asks the gateway of its first network.

use jaco_model::NodeId;
use jaco_model::spec::{ContainerSpec, DeploymentSpec, NetworkMode, ServiceSpec};
use jaco_state::State;

/// Where the file is in a container.
const PATH: &str = "/etc/resolv.conf";

/// No search list is tried for names without a dot, and a lost packet costs two seconds.
const OPTIONS: [&str; 3] = ["ndots:0", "timeout:2", "attempts:3"];

/// Namespaces that are followed from guest to host.
const HOPS: usize = 8;

/// The text of the file; `None` when the engine is to write its own: without a network of the
/// address plan, or with a file that the user mounts. Servers that the user chose are asked by the
/// responder on the gateway, for names that are not its own.
pub(crate) fn resolv_conf(
    state: &State,
    node: &NodeId,
    spec: &DeploymentSpec,
    service: &ServiceSpec,
) -> Option<String> {
    let container = &host_of(spec, service)?.container;
    let mounts = service.container.mounts.iter();
    if mounts.map(|mount| &mount.target).any(|path| path == PATH) {
        return None;
    }
    let first = container.networks.first()?;
    let gateway = state.block(&spec.scope_of(&first.network), node)?.gateway();
    Some(text(&gateway.to_string(), container))
}

/// The service whose network namespace a service uses: often its own.
fn host_of<'a>(spec: &'a DeploymentSpec, service: &'a ServiceSpec) -> Option<&'a ServiceSpec> {
    let mut host = service;
    for _ in 0..HOPS {
        match &host.container.network_mode {
            NetworkMode::Networks => return Some(host),
            NetworkMode::Service(next) => host = spec.services.get(next)?,
            NetworkMode::None | NetworkMode::Host => return None,
        }
    }
    None
}

fn text(server: &str, container: &ContainerSpec) -> String {
    let own = OPTIONS.into_iter().map(str::to_owned);
    // Of two values of one option the later one counts.
    let options: Vec<String> = own.chain(container.dns_opt.iter().cloned()).collect();
    let mut text = format!("nameserver {server}\noptions {}\n", options.join(" "));
    if !container.dns_search.is_empty() {
        text.push_str(&format!("search {}\n", container.dns_search.join(" ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_options_come_last() {
        let mut container = ContainerSpec::default();
        let usual = "nameserver 10.80.32.1\noptions ndots:0 timeout:2 attempts:3\n";
        assert_eq!(text("10.80.32.1", &container), usual);
        container.dns_opt = vec!["ndots:2".to_owned()];
        container.dns_search = vec!["a.test".to_owned(), "b.test".to_owned()];
        assert_eq!(
            text("10.80.32.1", &container),
            "nameserver 10.80.32.1\noptions ndots:0 timeout:2 attempts:3 ndots:2\n\
             search a.test b.test\n"
        );
    }
}
