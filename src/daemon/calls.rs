//! What other members and newcomers ask of this one, answered on the main thread.

use crate::daemon::cluster;
use crate::daemon::hub::{ForwardReply, Hub};
use crate::daemon::network::PeerRequest;
use jaco_liveness_core::Word;
use jaco_model::{ErrorCode, Fault, NodeId};
use jaco_wire::peer::Method;
use serde::Serialize;
use tokio::sync::oneshot;

/// What a request asks of the daemon as a whole.
pub(crate) enum Outcome {
    /// Nothing more.
    Handled,
    /// A leader says that this node is no member any more.
    Removed,
}

/// Takes a request; its answer comes when it is ready.
pub(crate) fn take(hub: &Hub, request: PeerRequest) -> Outcome {
    match request {
        PeerRequest::Snapshot { message, installed } => hub.install(message, installed),
        PeerRequest::Admit { payload, answer } => {
            let hub = hub.clone();
            reply(answer, async move { cluster::admit(&hub, payload).await });
        }
        PeerRequest::Standing { payload, answer } => {
            let _ = answer.send(hub.standing_of(&payload));
        }
        PeerRequest::Call { from, method, payload, answer } => {
            return call(hub, from, method, payload, answer);
        }
    }
    Outcome::Handled
}

type Answer = oneshot::Sender<Result<Vec<u8>, Fault>>;

/// Answers once `work` is done.
fn reply(answer: Answer, work: impl Future<Output = Result<Vec<u8>, Fault>> + 'static) {
    actix::spawn(async move {
        // A caller that went away does not want the answer any more.
        let _ = answer.send(work.await);
    });
}

fn call(hub: &Hub, from: NodeId, method: Method, payload: Vec<u8>, answer: Answer) -> Outcome {
    let hub = hub.clone();
    match method {
        Method::Ping => {
            let word = Word::decode(&payload).map_err(|error| not_understood(&error));
            let _ = answer.send(word.map(|word| hub.heard(from, word).encode()));
        }
        Method::Forward => {
            let (sender, outcome) = oneshot::channel();
            hub.forwarded(&from, &payload, sender);
            reply(answer, async move {
                let outcome = outcome.await.map_err(|_| crate::daemon::backend::stopping())?;
                let (index, result) = outcome;
                encode(&ForwardReply { index, result })
            });
        }
        Method::ReadIndex => {
            let (sender, outcome) = oneshot::channel();
            hub.read(true, sender);
            reply(answer, async move {
                let index = outcome.await.map_err(|_| crate::daemon::backend::stopping())??;
                encode(&index)
            });
        }
        Method::Join => reply(answer, async move { cluster::admit(&hub, payload).await }),
        Method::Rejoin => reply(answer, async move { cluster::rejoin(&hub, from, payload).await }),
        Method::RenewCertificate => reply(answer, async move {
            let signed = cluster::renew(&hub, &from, payload).await?;
            Ok(signed.into_bytes())
        }),
        Method::Status => {
            let asked = serde_json::from_slice(&payload).map_err(|error| not_understood(&error));
            reply(answer, async move { encode(&hub.tell_members(&from, asked?)) });
        }
        Method::Look => {
            let look = serde_json::from_slice(&payload).map_err(|error| not_understood(&error));
            reply(answer, async move { encode(&hub.look(look?).await) });
        }
        Method::Removed if !hub.believes_removal(&from) => {
            tracing::warn!(by = %from, "a member says that this node was removed");
            let message = "this node is not leaving, and does not hear it from its leader";
            let _ = answer.send(Err(Fault::new(ErrorCode::Forbidden, message)));
        }
        Method::Removed => {
            tracing::info!(by = %from, "a leader says that this node was removed");
            let _ = answer.send(Ok(Vec::new()));
            return Outcome::Removed;
        }
        other => {
            let message = format!("this version does not answer {other:?}");
            let _ = answer.send(Err(Fault::new(ErrorCode::VersionSkew, message)));
        }
    }
    Outcome::Handled
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Fault> {
    serde_json::to_vec(value).map_err(cluster::internal)
}

fn not_understood(error: &dyn std::fmt::Display) -> Fault {
    Fault::new(ErrorCode::VersionSkew, format!("the request is not understood: {error}"))
}
