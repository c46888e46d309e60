//! Whether a new instance has proved itself, failed, or needs more time.
//!
//! | it | verdict |
//! |---|---|
//! | stayed ready for `monitor`, or ended with code 0 for good | proven |
//! | cannot get its image, or not within 10 minutes | failed |
//! | ended, was restarted, or turned unhealthy before that | failed |
//! | was not ready within `start_limit` | failed |
//! | anything else | waits until the next of these times |

use crate::memory::Watch;
use jaco_kit_core::Mono;
use jaco_model::entity::{Instance, InstanceState, InstanceStatus};
use jaco_model::{ErrorCode, Fault, Millis};
use std::time::Duration;

/// Longest time until an image is there.
const PULL_DEADLINE: Duration = Duration::from_secs(600);

/// Reasons of failed pulls that another try does not heal.
const FINAL_PULL_REASONS: [&str; 3] = ["auth", "not_found", "no_platform"];

/// What a new instance has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing yet; look again at that time.
    Waiting {
        /// When the next limit is reached; `None` for one that nobody can hear.
        until: Option<Mono>,
    },
    /// It works.
    Proven,
    /// It does not, and why.
    Failed(Fault),
}

/// The part of its start an instance is in; each has a limit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Until its image and everything else it needs is there.
    Preparing,
    /// Until it is ready.
    Starting,
    /// Serving.
    Ready,
    /// Ended or failing.
    Down,
}

impl Phase {
    pub(crate) fn of(status: &InstanceStatus) -> Phase {
        let pulling = |fault: &Fault| fault.code == ErrorCode::ImagePullFailed;
        match status.state {
            InstanceState::Pending if status.fault.as_ref().is_none_or(pulling) => Phase::Preparing,
            InstanceState::Pulling => Phase::Preparing,
            InstanceState::Pending | InstanceState::Starting => Phase::Starting,
            InstanceState::Running => Phase::Ready,
            InstanceState::Degraded
            | InstanceState::Updating
            | InstanceState::Draining
            | InstanceState::Completed
            | InstanceState::Failed
            | InstanceState::Lost
            | InstanceState::Stopped => Phase::Down,
        }
    }
}

/// How long each part of a start may last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) monitor: Millis,
    pub(crate) start_limit: Millis,
    /// Whether another instance serves until this one takes over.
    pub(crate) takes_over: bool,
    /// Whether an instance that serves again is judged by that alone. A paused rollout has nothing
    /// to decide any more and completes once its replicas have recovered.
    pub(crate) forgiving: bool,
}

/// Judges an instance that was placed by the rollout at hand.
pub(crate) fn judge(instance: &Instance, watch: Watch, limits: Limits, now: Mono) -> Verdict {
    let Limits { monitor, start_limit, takes_over, forgiving } = limits;
    let status = &instance.status;
    let may_rest = status.state.is_ready() || !takes_over;
    if status.state == InstanceState::Completed || (may_rest && stood_before(status, monitor)) {
        return Verdict::Proven;
    }
    let recovered = forgiving && status.state.is_ready();
    if let Some(fault) = failed_at_once(status).filter(|_| !recovered) {
        return Verdict::Failed(fault);
    }
    let (limit, on_limit) = match Phase::of(status) {
        Phase::Preparing => (PULL_DEADLINE, Verdict::Failed(not_pulled(instance))),
        Phase::Starting => (start_limit.std(), Verdict::Failed(not_ready(status, start_limit))),
        Phase::Ready => (monitor.std(), Verdict::Proven),
        Phase::Down => return Verdict::Waiting { until: None },
    };
    let until = watch.since.plus(limit);
    if now >= until { on_limit } else { Verdict::Waiting { until: Some(until) } }
}

/// Whether its history shows a time of readiness that was long enough, by one clock.
fn stood_before(status: &InstanceStatus, monitor: Millis) -> bool {
    let mut ready_since = None;
    for step in &status.history {
        if let Some(since) = ready_since.take()
            && step.ts.0 >= monitor.0.saturating_add(since)
        {
            return true;
        }
        if step.to.is_ready() {
            ready_since = Some(step.ts.0);
        }
    }
    false
}

fn failed_at_once(status: &InstanceStatus) -> Option<Fault> {
    let fault = status.fault.as_ref();
    let code = fault.map(|fault| fault.code);
    let or = |code, text: &str| fault.cloned().unwrap_or_else(|| Fault::new(code, text));
    if code == Some(ErrorCode::ImagePullFailed) {
        let reason = fault.and_then(|fault| fault.detail("reason")).unwrap_or_default();
        return FINAL_PULL_REASONS.contains(&reason).then(|| fault.cloned()).flatten();
    }
    match status.state {
        InstanceState::Failed => Some(or(ErrorCode::ContainerExited, "it ended for good")),
        InstanceState::Degraded => Some(or(ErrorCode::Unhealthy, "its health check fails")),
        _ if code == Some(ErrorCode::StartTimeout) => fault.cloned(),
        _ if status.restarts > 0 => {
            Some(or(ErrorCode::ContainerExited, "its process ended while it was watched"))
        }
        _ => None,
    }
}

fn not_pulled(instance: &Instance) -> Fault {
    let known = instance.status.fault.clone();
    known.unwrap_or_else(|| {
        Fault::new(ErrorCode::ImagePullFailed, "the image was not there within 10 minutes")
            .with("image", &instance.image.reference)
    })
}

fn not_ready(status: &InstanceStatus, start_limit: Millis) -> Fault {
    let known = status.fault.clone();
    known.unwrap_or_else(|| {
        Fault::new(ErrorCode::StartTimeout, format!("it was not ready within {start_limit}"))
    })
}
