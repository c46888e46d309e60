//! From an image that is there to a process that is being started: networks, volumes, addresses,
//! the container.

use crate::advance::Cx;
use crate::halt::{Halt, Why};
use crate::orders::Subject;
use crate::peers::Lodging;
use crate::plan::Fittings;
use crate::resources::Availability;
use crate::task::{Phase, Task};
use crate::{Effect, plan, resolver};
use jaco_model::{ErrorCode, Fault};
use jaco_state::State;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

impl Task {
    pub(crate) fn while_preparing(&mut self, cx: &mut Cx<'_>) -> Option<Phase> {
        let found = self.resources_found(cx);
        let failed = found.iter().find_map(|availability| match availability {
            Availability::Failed(fault) => Some(fault.clone()),
            Availability::Ready | Availability::Pending => None,
        });
        if let Some(fault) = failed {
            return Some(self.make_failed(&fault, cx.now));
        }
        let ready = found.iter().all(|availability| *availability == Availability::Ready);
        if !ready || self.is_kept_back(cx) || cx.orders.launches() >= cx.settings.starts {
            return None;
        }
        let Ok((shared, runs)) = cx.peers.hosts(self) else { return Some(Phase::Idle) };
        let addresses = match self.addresses(cx) {
            Ok(addresses) => addresses,
            Err(phase) => return Some(phase),
        };
        self.joined = runs;
        self.holds = addresses.values().copied().collect();
        self.holds.iter().for_each(|address| cx.addresses.hold(*address));
        let spec = &self.record.spec;
        let resolv_conf = cx
            .settings
            .has_dns
            .then(|| resolver::resolv_conf(cx.state, &cx.host.node, spec, &self.service))
            .flatten();
        let plan = plan::container(
            &cx.host.cluster,
            cx.state,
            &self.instance,
            &self.record,
            &self.service,
            Fittings { shared, addresses, resolv_conf },
        );
        let op = cx.orders.issue(Subject::Launch(self.id().clone()), |op| Effect::Create {
            op,
            plan: Box::new(plan),
        });
        Some(Phase::Creating { op })
    }

    /// Sees to its networks and volumes.
    fn resources_found(&self, cx: &mut Cx<'_>) -> Vec<Availability> {
        let (spec, container) = (&self.record.spec, &self.service.container);
        let cluster = &cx.host.cluster;
        let networks = plan::networks(cluster, cx.state, &self.instance, spec, container, cx.terms);
        let mut found = Vec::new();
        for plan in networks {
            let strict = cx.terms.filtered;
            found.push(cx.resources.network(&plan, cx.attached, strict, cx.orders));
        }
        for (_, plan) in plan::volumes(cluster, &self.instance, spec, container) {
            found.push(cx.resources.volume(&plan, cx.orders));
        }
        found
    }

    /// An address in each network of the address plan, by the engine's name, or the wait for one.
    fn addresses(&mut self, cx: &Cx<'_>) -> Result<BTreeMap<String, Ipv4Addr>, Phase> {
        let mut chosen = BTreeMap::new();
        for key in plan::attached(&self.service.container) {
            let scope = self.record.spec.scope_of(key);
            let name = scope.engine_name();
            let Some(block) = cx.state.block(&scope, &cx.host.node) else { continue };
            // One that waits for its replacement has other addresses; there the engine chooses.
            if cx.resources.subnet(&name) != Some(block.net) {
                continue;
            }
            // What an attempt that failed had is still there for the next one.
            let held = self.holds.iter().find(|address| block.net.contains(*address));
            let free = held.copied().or_else(|| cx.addresses.lowest(block.net));
            let Some(address) = free else {
                let message = format!("all addresses of {scope} on this node are taken");
                self.fault = Some(
                    Fault::new(ErrorCode::NetworkBlockFull, message)
                        .with("network", &scope)
                        .with("block", block.net),
                );
                let retry = self.tries.retry_at(cx.now.mono, None);
                let free = cx.addresses.next_free(block.net);
                return Err(Phase::Waiting { until: free.map_or(retry, |at| at.max(retry)) });
            };
            chosen.insert(name, address);
        }
        Ok(chosen)
    }

    /// Its addresses by network key, as far as they are of the address plan.
    pub(crate) fn seats(&self, state: &State) -> BTreeMap<String, String> {
        let seat = |key: &String| {
            let scope = self.record.spec.scope_of(key);
            let block = state.block(&scope, &self.instance.node)?;
            let address = self.holds.iter().find(|address| block.net.contains(*address))?;
            Some((key.clone(), address.to_string()))
        };
        plan::attached(&self.service.container).filter_map(seat).collect()
    }

    /// Whether it has to wait until deployments are kept apart on this node.
    fn is_kept_back(&mut self, cx: &Cx<'_>) -> bool {
        match cx.closed {
            Some(fault) => self.fault = Some(fault.clone()),
            None => self.absolve(&[ErrorCode::IsolationUnavailable]),
        }
        cx.closed.is_some()
    }

    pub(crate) fn while_created(&mut self, cx: &mut Cx<'_>) -> Option<Phase> {
        if cx.peers.lodging(self) == Lodging::HostReplaced {
            return Some(Phase::Halting(Halt::new(Why::Recreate, cx.now.mono)));
        }
        if self.is_kept_back(cx) || cx.orders.launches() >= cx.settings.starts {
            return None;
        }
        if self.network_goes(cx) {
            return Some(Phase::Halting(Halt::new(Why::Recreate, cx.now.mono)));
        }
        // A guest starts in whatever run of its host there is now.
        match cx.peers.hosts(self) {
            Ok((_, runs)) => self.joined = runs,
            Err(_) => return None,
        }
        let container = self.container.as_mut()?;
        container.ended = None;
        let id = container.id.clone();
        let op = cx
            .orders
            .issue(Subject::Launch(self.id().clone()), |op| Effect::Start { op, container: id });
        Some(Phase::Starting { op })
    }

    /// Whether a network of its stopped container is replaced, or can be now that nobody runs in
    /// it. The container could not be started in the new one: it is bound to the old one's id.
    fn network_goes(&self, cx: &Cx<'_>) -> bool {
        let container = &self.service.container;
        let plans = |terms| {
            let (cluster, spec) = (&cx.host.cluster, &self.record.spec);
            plan::networks(cluster, cx.state, &self.instance, spec, container, terms)
        };
        self.stranded || plans(cx.terms).iter().any(|plan| cx.resources.goes(plan, cx.attached))
    }

    /// Whether its networks may not be replaced for its sake: a process is in them, or may be.
    pub(crate) fn is_attached(&self) -> bool {
        let may_run = matches!(
            self.phase,
            Phase::Creating { .. } | Phase::Starting { .. } | Phase::Unseen { .. }
        );
        may_run || self.running().is_some()
    }
}
