//! Where the policy comes from: the state, or whoever gives one, and what this node fences.

use crate::desired;
use crate::policy::Policy;
use crate::settings::Options;
use jaco_model::NodeId;
use jaco_state::State;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// The latest facts that a policy is made of.
#[derive(Debug)]
pub(crate) struct Source {
    me: NodeId,
    options: Options,
    latest: Option<Latest>,
    fence: BTreeSet<Ipv4Addr>,
}

#[derive(Debug)]
enum Latest {
    State(Arc<State>),
    Policy(Arc<Policy>),
}

impl Source {
    pub(crate) fn new(me: NodeId, options: Options) -> Source {
        Source { me, options, latest: None, fence: BTreeSet::new() }
    }

    pub(crate) fn state(&mut self, state: Arc<State>) {
        self.latest = Some(Latest::State(state));
    }

    pub(crate) fn policy(&mut self, policy: Arc<Policy>) {
        self.latest = Some(Latest::Policy(policy));
    }

    pub(crate) fn fence(&mut self, addresses: BTreeSet<Ipv4Addr>) {
        self.fence = addresses;
    }

    /// The policy that follows; `None` as long as the cluster has no pool.
    pub(crate) fn current(&self) -> Option<Arc<Policy>> {
        let mut policy = match self.latest.as_ref()? {
            Latest::State(state) => desired::policy(state, &self.me, &self.options)?,
            Latest::Policy(policy) => policy.as_ref().clone(),
        };
        policy.fence.extend(self.fence.iter().copied());
        Some(Arc::new(policy))
    }
}
