//! The thread that talks to authorities.

use super::call;
use super::http::{Conversation, Seen, chain, connections};
use instant_acme::Error;
use jaco_ingress_core::acme::{Answer, Call, CallFailure};
use jaco_kit_core::OpId;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// The longest conversation.
const CALL_LIMIT: Duration = Duration::from_secs(60);
/// Conversations that are begun anew because of a nonce.
const NONCE_TRIES: u32 = 5;

/// What the driver is told at its start.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Root certificates (PEM) of a private authority; `None` takes those of the host.
    pub roots: Option<PathBuf>,
}

/// A handle of the thread; it ends when the handle is dropped.
#[derive(Debug)]
pub struct AcmeDriver {
    calls: UnboundedSender<(OpId, Call)>,
}

impl AcmeDriver {
    /// Starts the thread. `deliver` gets the outcome of each call, once, in any order.
    ///
    /// # Errors
    /// When the host has no thread or no sockets left.
    pub fn spawn(
        config: Config,
        deliver: impl Fn(OpId, Result<Answer, CallFailure>) + Send + Sync + 'static,
    ) -> std::io::Result<AcmeDriver> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (calls, mut orders) = unbounded_channel::<(OpId, Call)>();
        let deliver = Arc::new(deliver);
        let serve = async move {
            while let Some((op, call)) = orders.recv().await {
                let (deliver, roots) = (deliver.clone(), config.roots.clone());
                tokio::spawn(async move {
                    let result = answer(roots, call).await;
                    deliver(op, result);
                });
            }
        };
        std::thread::Builder::new().name("acme".to_owned()).spawn(move || {
            runtime.block_on(serve);
        })?;
        Ok(AcmeDriver { calls })
    }

    /// Begins a call. Its outcome is delivered.
    pub fn ask(&self, op: OpId, call: Call) {
        if self.calls.send((op, call)).is_err() {
            tracing::error!(op = op.0, "certificate thread has ended");
        }
    }
}

async fn answer(roots: Option<PathBuf>, call: Call) -> Result<Answer, CallFailure> {
    let lost = |detail: String| CallFailure::Transport { detail, retry_after: None };
    let connections = connections(roots.as_deref()).map_err(lost)?;
    let mut tries = 0;
    loop {
        tries += 1;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let conversation = Conversation { connections: connections.clone(), seen: seen.clone() };
        let run = tokio::time::timeout(CALL_LIMIT, call::run(conversation, &call)).await;
        let error = match run {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error,
            Err(_) => return Err(lost("the authority takes too long".to_owned())),
        };
        let is_nonce = matches!(&error, Error::Api(problem) if call::kind(problem) == "badNonce");
        if !is_nonce || tries > NONCE_TRIES {
            let seen = seen.lock().map_or(Seen::default(), |seen| *seen);
            return Err(failure(&error, seen));
        }
    }
}

fn failure(error: &Error, seen: Seen) -> CallFailure {
    match error {
        Error::Api(problem) => CallFailure::Problem {
            kind: call::kind(problem),
            detail: problem.to_string(),
            status: problem.status.unwrap_or(seen.status),
            retry_after: seen.retry_after,
        },
        other => {
            let detail = chain(other);
            CallFailure::Transport { detail, retry_after: seen.retry_after }
        }
    }
}
