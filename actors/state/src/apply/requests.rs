//! Answers kept for retries, so that a request id takes effect at most once.
//!
//! Only users' commands are kept. What the scheduler and the nodes propose is idempotent by its
//! content, and keeping it would fill the table with answers nobody asks for.

use super::Tx;
use crate::RequestRecord;
use jaco_model::command::{Command, Envelope, Reply};
use jaco_model::{ErrorCode, Fault, Millis, RequestId};

/// How long an answer is kept, in cluster time.
const WINDOW: Millis = Millis::secs(600);
/// Most answers kept.
const RECORDS_KEPT: usize = 65_536;

/// What the table says about a command.
pub(super) enum Recall {
    /// Commands of this kind are not kept.
    Untracked,
    /// Do not apply it: this is the answer.
    Answered(Result<Reply, Fault>),
    /// Apply it, then remember the answer under this digest.
    New { digest: String },
}

pub(super) fn recall(tx: &mut Tx<'_>, envelope: &Envelope) -> Recall {
    if !is_tracked(&envelope.command) {
        return Recall::Untracked;
    }
    expire(tx);
    let digest = blake3::hash(&crate::digest::canonical(&envelope.command)).to_hex().to_string();
    #[cfg(feature = "seeded-bugs")]
    if crate::seeded::is_seeded(crate::SeededBug::ForgetfulApply) {
        return Recall::New { digest };
    }
    let Some(record) = tx.state.requests.get(&envelope.request_id) else {
        return Recall::New { digest };
    };
    if record.digest == digest {
        return Recall::Answered(record.result.clone());
    }
    let message = "this request id was used for another command; send a new one";
    Recall::Answered(Err(Fault::new(ErrorCode::RequestIdConflict, message)))
}

pub(super) fn remember(
    tx: &mut Tx<'_>,
    id: RequestId,
    digest: String,
    result: &Result<Reply, Fault>,
) {
    let (index, at) = (tx.index, tx.now);
    tx.state.put(RequestRecord { id, digest, result: result.clone(), index, at });
    while tx.state.requests.len() > RECORDS_KEPT && forget_oldest(tx) {}
}

fn is_tracked(command: &Command) -> bool {
    match command {
        Command::InitCluster(_)
        | Command::Apply(_)
        | Command::Rollback(_)
        | Command::Delete { .. }
        | Command::Scale { .. }
        | Command::Restart { .. }
        | Command::IssueJoinToken { .. }
        | Command::RemoveNode { .. } => true,
        // The token itself remembers who used it.
        Command::JoinNode(_)
        | Command::RejoinNode { .. }
        | Command::RecordCertificate { .. }
        | Command::EstablishTrust(_)
        | Command::EstablishAddresses(_)
        | Command::ForgetNode { .. }
        | Command::SetLiveness { .. }
        | Command::Schedule { .. }
        | Command::Acme(_)
        | Command::Witness { .. }
        | Command::ReportNode { .. }
        | Command::Report { .. } => false,
    }
}

fn expire(tx: &mut Tx<'_>) {
    let kept_since = tx.now.0.saturating_sub(WINDOW.0);
    while tx.state.requests_by_age.get_min().is_some_and(|(at, _)| at.0 < kept_since) {
        if !forget_oldest(tx) {
            return;
        }
    }
}

fn forget_oldest(tx: &mut Tx<'_>) -> bool {
    let oldest = tx.state.requests_by_age.get_min().map(|(_, id)| *id);
    oldest.is_some_and(|id| tx.state.take::<RequestRecord>(&id).is_some())
}
