//! What a member may ask the leader to write.
//!
//! The transport has bound the sender to its certificate. A member speaks for its users and for
//! itself, never for another node: what only a leader decides is never taken from a peer.

use jaco_model::command::{Command, Envelope};
use jaco_model::{ErrorCode, Fault, NodeId};

/// The identity of a daemon's own commands.
pub(crate) const SYSTEM: &str = "system";

/// The identity of users behind a node's unix socket; there are no others yet.
const LOCAL: &str = "local";

/// Checks a command that `from` hands over.
pub(crate) fn check(from: &NodeId, envelope: &Envelope) -> Result<(), Fault> {
    let is_system = envelope.identity.as_str() == SYSTEM;
    let allowed = match &envelope.command {
        Command::Report { node, .. }
        | Command::ReportNode { node, .. }
        | Command::Witness { node, .. } => is_system && node == from,
        Command::Apply(_)
        | Command::Rollback(_)
        | Command::Delete { .. }
        | Command::Scale { .. }
        | Command::Restart { .. }
        | Command::IssueJoinToken { .. }
        | Command::RemoveNode { .. } => envelope.identity.as_str() == LOCAL,
        Command::InitCluster(_)
        | Command::JoinNode(_)
        | Command::RejoinNode { .. }
        | Command::RecordCertificate { .. }
        | Command::EstablishTrust(_)
        | Command::EstablishAddresses(_)
        | Command::ForgetNode { .. }
        | Command::SetLiveness { .. }
        | Command::Schedule { .. }
        | Command::Acme(_) => false,
    };
    if allowed {
        return Ok(());
    }
    let name = envelope.command.name();
    let message = format!("node {from} may not ask for {name} as {}", envelope.identity);
    Err(Fault::new(ErrorCode::Forbidden, message).with("identity", from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jaco_model::entity::{Leaving, NodeFacts, NodeStatus};
    use jaco_model::{Identity, RequestId, WallMs};

    fn envelope(identity: &str, command: Command) -> Envelope {
        let (request_id, at) = (RequestId(1), WallMs(1));
        Envelope { request_id, at, identity: Identity::from(identity), os_user: None, command }
    }

    fn report(node: &str) -> Command {
        Command::ReportNode {
            node: NodeId::from(node),
            status: NodeStatus::Ready,
            facts: Box::new(NodeFacts::default()),
        }
    }

    #[test]
    fn a_member_speaks_for_its_users_and_itself_alone() {
        let from = NodeId::from("n1");
        let remove = Command::RemoveNode { node: NodeId::from("n2"), leaving: Leaving::Force };
        let decide = Command::Schedule { based_on: 0, steps: Vec::new() };
        for (allowed, identity, command) in [
            (true, "system", report("n1")),
            (false, "system", report("n2")),
            (false, "local", report("n1")),
            (true, "local", remove.clone()),
            (false, "bootstrap", remove.clone()),
            (false, "system", remove),
            (false, "system", decide.clone()),
            (false, "local", decide),
            (false, "local", Command::ForgetNode { node: NodeId::from("n1") }),
        ] {
            let name = command.name();
            let checked = check(&from, &envelope(identity, command));
            assert_eq!(checked.is_ok(), allowed, "{name} as {identity}");
        }
    }
}
