//! What follows when a process ends or an attempt fails: again, when, or never.

use crate::Settings;
use jaco_kit_core::{Backoff, Mono};
use jaco_model::entity::InstanceStatus;
use jaco_model::spec::{RestartCondition, RestartPolicy};
use jaco_model::{ErrorCode, Fault, InstanceId};
use std::time::Duration;

/// Least time between the end of a process and its next start, whatever the policy says.
const DELAY_MIN: Duration = Duration::from_millis(100);

/// The failures of one instance so far.
#[derive(Clone, Debug)]
pub(crate) struct Tries {
    /// Between starts.
    starts: Backoff,
    /// Between attempts to get a container.
    pub(crate) makes: Backoff,
    /// Restarts since it was last ready for the policy's window.
    attempts: u32,
    /// Refused starts of the present container.
    pub(crate) refusals: u32,
}

/// What follows the end of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sequel {
    /// Start it again after this long.
    Again(Duration),
    /// It did what it should.
    Completed,
    /// It is not started again.
    Failed,
    /// It was started as often as the policy allows.
    Exhausted(u32),
}

impl Tries {
    /// No failure yet, or as many as the replicated state tells of a replica in back-off.
    pub(crate) fn new(
        id: &InstanceId,
        policy: &RestartPolicy,
        status: &InstanceStatus,
        settings: &Settings,
        seed: u64,
    ) -> Tries {
        let seed = spread(seed, id);
        let (first, limit) = settings.retry;
        let delay = policy.delay.std().max(DELAY_MIN);
        let mut tries = Tries {
            starts: Backoff::new(delay, limit.max(delay), seed),
            makes: Backoff::new(first, limit, seed.rotate_left(32)),
            attempts: 0,
            refusals: 0,
        };
        let looping = status.fault.as_ref().is_some_and(|f| f.code == ErrorCode::ContainerExited);
        if looping {
            tries.attempts = status.restarts;
            // Nine doublings reach the limit from the usual first delay.
            for _ in 0..status.restarts.min(9) {
                tries.starts.next_delay();
            }
        }
        tries
    }

    /// Decides what follows an end with `code` of a process that was ready for `ready`.
    pub(crate) fn after_exit(
        &mut self,
        policy: &RestartPolicy,
        code: i64,
        ready: Duration,
        settings: &Settings,
    ) -> Sequel {
        if ready >= policy.window.std() && !ready.is_zero() {
            self.attempts = 0;
        }
        if ready >= settings.forgive {
            self.starts.reset();
        }
        let again = match policy.condition {
            RestartCondition::Any => true,
            RestartCondition::OnFailure => code != 0,
            RestartCondition::None => false,
        };
        if !again {
            return if code == 0 { Sequel::Completed } else { Sequel::Failed };
        }
        if let Some(most) = policy.max_attempts.filter(|most| self.attempts >= *most) {
            return Sequel::Exhausted(most);
        }
        self.attempts += 1;
        Sequel::Again(self.starts.next_delay())
    }

    /// When a failed attempt to get a container is repeated.
    pub(crate) fn retry_at(&mut self, now: Mono, at_least: Option<u64>) -> Mono {
        let asked = Duration::from_millis(at_least.unwrap_or(0));
        now.plus(self.makes.next_delay().max(asked))
    }

    /// An operator's restart starts a new count.
    pub(crate) fn forgive(&mut self) {
        self.starts.reset();
        self.makes.reset();
        self.attempts = 0;
        self.refusals = 0;
    }
}

/// Why a process is not running.
pub(crate) fn exit_fault(code: i64, oom_killed: bool, restarts: u32) -> Fault {
    let fault = Fault::new(ErrorCode::ContainerExited, format!("process ended with code {code}"))
        .with("exit_code", code)
        .with("oom_killed", oom_killed)
        .with("restart_count", restarts);
    match code {
        129..=192 => fault.with("signal", code - 128),
        _ => fault,
    }
}

/// A seed of its own for each instance, so that replicas do not retry in step (FNV-1a).
fn spread(seed: u64, id: &InstanceId) -> u64 {
    let start = seed ^ 0xcbf2_9ce4_8422_2325;
    let text = id.to_string();
    text.bytes().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}
