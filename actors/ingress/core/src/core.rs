//! The core: from the state and the suspects to a table and sockets.

use crate::effect::Effect;
use crate::endpoints::Extra;
use crate::input::Input;
use crate::listeners::{Listeners, Settings};
use crate::table::Table;
use imbl::ordmap::DiffItem;
use jaco_kit_core::{Core, Mono, Now, OpIds};
use jaco_model::entity::Trust;
use jaco_model::{DeploymentName, InstanceId};
use jaco_state::State;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Decides what this node serves, and where.
#[derive(Debug)]
pub struct IngressCore {
    settings: Settings,
    state: Arc<State>,
    extra: Extra,
    /// What is served from now.
    table: Arc<Table>,
    listeners: Listeners,
    has_begun: bool,
    ops: OpIds,
    now: Mono,
}

impl IngressCore {
    /// The core of a node that has seen no state yet. It opens no socket before it has.
    pub fn new(settings: Settings) -> IngressCore {
        let me = settings.me.clone();
        IngressCore {
            settings,
            state: Arc::new(State::default()),
            extra: Extra { me, suspects: BTreeSet::new(), seated: BTreeMap::new() },
            table: Arc::new(Table::default()),
            listeners: Listeners::default(),
            has_begun: false,
            ops: OpIds::default(),
            now: Mono::default(),
        }
    }

    /// What is served from now.
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    fn take(&mut self, input: Input) -> Vec<Effect> {
        match input {
            Input::StateChanged(state) => {
                let before = std::mem::replace(&mut self.state, state);
                let touched = touched_deployments(&before, &self.state);
                let mut effects = match touched.filter(|_| self.has_begun) {
                    Some(touched) => self.refresh(&touched),
                    None => self.rebuild(),
                };
                self.has_begun = true;
                effects.extend(self.want());
                effects
            }
            Input::Suspects(suspects) => {
                self.extra.suspects = suspects;
                self.rebuild()
            }
            Input::Seated(seated) => {
                let touched = self.deployments_seated(&seated);
                self.extra.seated = seated;
                self.refresh(&touched)
            }
            Input::Listening { op, result } => {
                self.listeners.heard(self.now, op, result, self.settings.retry);
                Vec::new()
            }
        }
    }

    /// Whose containers are seated elsewhere than before.
    fn deployments_seated(
        &self,
        seated: &BTreeMap<InstanceId, BTreeMap<String, String>>,
    ) -> BTreeSet<DeploymentName> {
        let ids = seated.keys().chain(self.extra.seated.keys());
        let moved = ids.filter(|id| seated.get(id) != self.extra.seated.get(id));
        let owner = |id| self.state.instances.get(id).map(|instance| instance.deployment.clone());
        moved.filter_map(owner).collect()
    }

    fn rebuild(&mut self) -> Vec<Effect> {
        let table = Table::build(&self.state, &self.extra, &self.table);
        self.serve(table)
    }

    fn refresh(&mut self, touched: &BTreeSet<DeploymentName>) -> Vec<Effect> {
        if touched.is_empty() {
            return Vec::new();
        }
        let table = self.table.refreshed(&self.state, &self.extra, touched);
        self.serve(table)
    }

    /// A new table, if it would differ.
    fn serve(&mut self, table: Table) -> Vec<Effect> {
        if table.is_same(&self.table) {
            return Vec::new();
        }
        self.table = Arc::new(table);
        vec![Effect::Serve(Arc::clone(&self.table))]
    }

    fn want(&mut self) -> Vec<Effect> {
        let wanted = self.settings.fixed().chain(self.table.ports.keys().copied()).collect();
        self.listeners.want(self.now, &wanted)
    }
}

/// The deployments whose replicas differ; `None` when more than replicas does.
fn touched_deployments(before: &State, now: &State) -> Option<BTreeSet<DeploymentName>> {
    let is_same = before.deployments.ptr_eq(&now.deployments)
        && before.revisions.ptr_eq(&now.revisions)
        && before.certificates.ptr_eq(&now.certificates)
        && before.challenge_tokens.ptr_eq(&now.challenge_tokens)
        && are_alive_alike(before, now)
        && trust_of(before) == trust_of(now);
    if !is_same {
        return None;
    }
    let mut touched = BTreeSet::new();
    for change in before.instances.diff(&now.instances) {
        let one = match change {
            DiffItem::Add(_, one) | DiffItem::Remove(_, one) => one,
            DiffItem::Update { new: (_, one), .. } => one,
        };
        touched.insert(one.deployment.clone());
    }
    Some(touched)
}

fn trust_of(state: &State) -> Option<&Trust> {
    state.cluster.as_ref()?.trust.as_ref()
}

/// Whether the same nodes are members and up. They report often, and little of it matters here.
fn are_alive_alike(before: &State, now: &State) -> bool {
    let mut pairs = before.nodes.iter().zip(now.nodes.iter());
    before.nodes.ptr_eq(&now.nodes)
        || (before.nodes.len() == now.nodes.len()
            && pairs.all(|(a, b)| a.0 == b.0 && a.1.status == b.1.status))
}

impl Core for IngressCore {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, now: Now, input: Input) -> Vec<Effect> {
        self.now = now.mono;
        let mut effects = self.take(input);
        effects.extend(self.listeners.order_due(self.now, &mut self.ops));
        effects.extend(self.listeners.news());
        effects
    }

    fn wake(&mut self, now: Now) -> Vec<Effect> {
        self.now = now.mono;
        self.listeners.order_due(self.now, &mut self.ops)
    }

    fn deadline(&self) -> Option<Mono> {
        self.listeners.deadline()
    }

    fn check_invariants(&self) {
        debug_assert!(self.deadline().is_none_or(|at| at > self.now), "a timer in the past");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::TicketSecret;
    use jaco_model::entity::ClusterMeta;
    use jaco_model::{ClusterId, NodeId, WallMs};

    fn state(time: u64, key: Option<&str>) -> Input {
        let trust = key.map(|key| Trust { certificate: String::new(), key: key.to_owned() });
        let cluster = ClusterMeta {
            cluster_id: ClusterId::new("c"),
            name: "home".to_owned(),
            epoch: 0,
            created_at: WallMs(0),
            feature_level: 1,
            hash_key: String::new(),
            cluster_time: WallMs(time),
            history_limit: 10,
            trust,
            ipam: None,
        };
        let mut state = State::default();
        state.cluster = Some(Arc::new(cluster));
        Input::StateChanged(Arc::new(state))
    }

    #[test]
    fn all_who_have_the_roots_key_have_one_secret_for_tickets() {
        let secrets = |inputs: Vec<Input>| -> Vec<Option<TicketSecret>> {
            let me = NodeId::new("n1");
            let retry = std::time::Duration::from_secs(5);
            let settings = Settings { me, http: Vec::new(), https: Vec::new(), retry };
            let mut core = IngressCore::new(settings);
            let effects = inputs.into_iter().flat_map(|input| core.step(Now::default(), input));
            let served = effects.filter_map(|effect| match effect {
                Effect::Serve(table) => Some(table.ticket_secret.clone()),
                _ => None,
            });
            served.collect()
        };
        let one = secrets(vec![state(1, None), state(2, Some("k")), state(3, Some("k"))]);
        assert_eq!(one.len(), 1, "served once: {one:?}");
        assert!(one[0].is_some());
        assert_eq!(secrets(vec![state(9, Some("k"))]), one, "at another node too");
        let other = secrets(vec![state(1, Some("k")), state(2, Some("other"))]);
        assert!(other.len() == 2 && other[0] == one[0] && other[1] != one[0], "{other:?}");
        assert_eq!(format!("{:?}", one[0]), "Some((secret of tickets))");
    }
}
