//! Why a replica, a node, a name, a path, a route or a certificate is as it is.
//!
//! The answer is a chain of links in the order of cause and effect. The state says what should be,
//! and the nodes that have to do with it say what they see at that moment: [`Case::looks`] tells
//! whom to ask what, [`Case::explain`] makes the chain of the answers. A node that does not answer
//! is a link itself. Who asks the nodes, and how a node looks, is the daemon's.

#![forbid(unsafe_code)]

mod facts;
mod subject;

mod chain;
mod links;
mod seat;

mod address;
mod cert;
mod door;
mod meaning;
mod name;
mod node;
mod path;
mod replica;
mod route;

pub use facts::{
    Ask, Bridge, Container, Door, Facts, Filter, Flow, Known, Look, Mesh, Names, Peer, Resolved,
    Table, Told, Upstream,
};

use jaco_model::view::{WhyQuestion, WhyView};
use jaco_model::{Fault, NodeId};
use jaco_state::State;
use std::collections::BTreeMap;
use std::sync::Arc;
use subject::Subject;

/// A question about one state.
#[derive(Clone, Debug)]
pub struct Case {
    state: Arc<State>,
    subject: Subject,
}

impl Case {
    /// Opens the case of a question.
    ///
    /// # Errors
    /// `not_found`, with a suggestion, for what is not in the state; `usage` for what is no
    /// question.
    pub fn open(state: Arc<State>, question: &WhyQuestion) -> Result<Case, Fault> {
        let subject = Subject::read(&state, question)?;
        Ok(Case { state, subject })
    }

    /// What each node should look at; a node that is not in it has nothing to say.
    pub fn looks(&self) -> BTreeMap<NodeId, Look> {
        let state = &self.state;
        let mut looks = match &self.subject {
            Subject::Replica(slot) => replica::looks(state, slot),
            Subject::Node(node) => node::looks(node),
            Subject::Name { name, from } => name::looks(state, name, from),
            Subject::Path { from, to, .. } => path::looks(state, from, to),
            Subject::Route { host, .. } | Subject::Cert { host } => door::looks(state, host),
        };
        // A node that the state gave up, or never had, is not waited for.
        looks.retain(|node, _| state.nodes.get(node).is_some_and(|node| !seat::is_down(node)));
        looks
    }

    /// The host that a question about the front door is about: whoever explains resolves it.
    pub fn host(&self) -> Option<&str> {
        match &self.subject {
            Subject::Route { host, .. } | Subject::Cert { host } => Some(host),
            _ => None,
        }
    }

    /// The chain.
    pub fn explain(&self, known: &Known) -> WhyView {
        let view = links::View { state: &self.state, known };
        match &self.subject {
            Subject::Replica(slot) => replica::explain(view, slot),
            Subject::Node(node) => node::explain(view, node),
            Subject::Name { name, from } => name::explain(view, name, from),
            Subject::Path { from, to, port } => path::explain(view, from, to, port.as_ref()),
            Subject::Route { host, path } => route::explain(view, host, path),
            Subject::Cert { host } => cert::explain(view, host),
        }
    }
}
