//! What is no longer wanted: deployments that are deleted and services that a revision left out.
//!
//! Both go in reverse order of dependency: a service is stopped once nothing that depends on it
//! is left.

use crate::depends;
use crate::pass::Pass;
use crate::service::shared;
use crate::slots::{SlotView, Wanted};
use jaco_model::command::Step;
use jaco_model::entity::{Deployment, RevisionRecord};
use jaco_model::spec::DeploymentSpec;
use jaco_model::{DeploymentName, ServiceName};

impl<'a> Pass<'a> {
    /// Empties a deployment and forgets it.
    pub(crate) fn delete(&mut self, deployment: &'a Deployment) {
        let name = &deployment.name;
        let services = self.state.services_with_replicas(name);
        self.unsettled = true;
        let current = self.state.current(name).map(|record| &*record.spec);
        let mut is_empty = true;
        for service in &services {
            let others = services.iter().filter(|other| *other != service);
            let held = current.is_some_and(|spec| {
                others.clone().any(|other| {
                    depends::needs(spec, other, service) && self.has_instances(name, other)
                })
            });
            is_empty &= !held && self.remove_all(name, service);
        }
        if is_empty {
            self.push(Step::Purge { deployment: name.clone() });
        }
    }

    /// Empties the services that the current revision does not have.
    pub(crate) fn remove_services(&mut self, deployment: &Deployment, record: &RevisionRecord) {
        let name = &deployment.name;
        let mut gone = self.state.services_with_replicas(name);
        gone.retain(|service| !record.spec.services.contains_key(service));
        for service in &gone {
            let held = gone.iter().any(|other| {
                other != service
                    && self.last_spec(name, other).is_some_and(|spec| {
                        depends::needs(spec, other, service) && self.has_instances(name, other)
                    })
            });
            if held {
                self.unsettled = true;
            } else {
                self.remove_all(name, service);
            }
        }
    }

    /// Drains a service's slots and removes those that are empty. Returns whether all are.
    fn remove_all(&mut self, deployment: &DeploymentName, service: &ServiceName) -> bool {
        let key = (deployment.clone(), service.clone());
        for replica in self.state.replicas_of(&key).map(shared) {
            let slot = SlotView::look(self.state, replica, &Wanted::default());
            self.remove_slot(&slot);
        }
        !self.has_instances(deployment, service)
    }

    fn has_instances(&self, deployment: &DeploymentName, service: &ServiceName) -> bool {
        let key = (deployment.clone(), service.clone());
        let mut replicas = self.state.replicas_of(&key);
        replicas.any(|replica| self.state.instances_of(&replica.id).next().is_some())
    }

    /// The deployment as the instances of a service that is left know it.
    fn last_spec(
        &self,
        deployment: &DeploymentName,
        service: &ServiceName,
    ) -> Option<&'a DeploymentSpec> {
        let key = (deployment.clone(), service.clone());
        let state = self.state;
        let replicas = state.replicas_of(&key);
        let instance = replicas.flat_map(|replica| state.instances_of(&replica.id)).last()?;
        state.revision(deployment, instance.revision).map(|record| &*record.spec)
    }
}
