//! Who publishes a port.

use crate::{ServiceKey, State};
use jaco_model::spec::Protocol;

impl State {
    /// The services of current revisions that publish a host port, by deployment and service.
    pub fn port_owners(&self, protocol: Protocol, port: u16) -> Vec<ServiceKey> {
        let mut owners = Vec::new();
        for deployment in self.deployments.keys() {
            let services = self.current(deployment).into_iter().flat_map(|r| &r.spec.services);
            for (service, spec) in services {
                let publishes = spec
                    .ports
                    .iter()
                    .any(|spec| spec.published == Some(port) && spec.protocol == protocol);
                if publishes {
                    owners.push((deployment.clone(), service.clone()));
                }
            }
        }
        owners
    }
}
