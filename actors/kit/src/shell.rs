//! One actor type for every core.
//!
//! Inputs that are in the mailbox together are handed over together: under load that is what makes
//! few large batches out of many small ones.

use crate::{Clock, Recorder, Supervisor};
use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message, SpawnHandle};
use jaco_kit_core::{Core, Mono};
use std::fmt;
use std::time::Duration;

/// An input on its way to a core.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Deliver<I>(pub I);

/// The driver behind a shell: carries out one effect, now or in the background.
pub trait Perform<E>: 'static {
    /// Carries out an effect. A slow one is only begun here; its outcome comes back as an input.
    ///
    /// # Errors
    /// [`Broken`] when the driver cannot go on at all; the shell then stops and the supervisor
    /// builds a new one from durable state.
    fn perform(&mut self, effect: E) -> Result<(), Broken>;
}

/// A driver that cannot go on.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Broken(pub String);

/// Steps a core with the inputs of its mailbox and performs what it returns.
#[derive(Debug)]
pub struct Shell<C: Core, P> {
    name: &'static str,
    core: C,
    driver: P,
    clock: Clock,
    recorder: Recorder,
    supervisor: Supervisor,
    timer: Option<(Mono, SpawnHandle)>,
    /// What the mailbox held when it was last looked at.
    inbox: Vec<C::Input>,
}

/// The whole mailbox has been read into the inbox.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Emptied;

/// Inputs that may wait in the mailbox of one shell.
const MAILBOX: usize = 4_096;

impl<C, P> Shell<C, P>
where
    C: Core + Unpin + 'static,
    C::Input: fmt::Debug + Send + Unpin,
    P: Perform<C::Effect> + Unpin,
{
    /// A shell that reports its end to `supervisor` under `name`.
    pub fn new(name: &'static str, core: C, driver: P, supervisor: &Supervisor) -> Self {
        let clock = supervisor.clock();
        let recorder = supervisor.recorder().clone();
        let supervisor = supervisor.clone();
        Shell { name, core, driver, clock, recorder, supervisor, timer: None, inbox: Vec::new() }
    }

    fn perform(&mut self, effects: Vec<C::Effect>, ctx: &mut Context<Self>) {
        if cfg!(debug_assertions) {
            self.core.check_invariants();
        }
        for effect in effects {
            if let Err(error) = self.driver.perform(effect) {
                tracing::error!(actor = self.name, %error, "driver broke");
                ctx.stop();
                return;
            }
        }
        self.arm(ctx);
    }

    /// Keeps exactly one timer, for the core's deadline.
    fn arm(&mut self, ctx: &mut Context<Self>) {
        let deadline = self.core.deadline();
        if self.timer.as_ref().map(|(at, _)| *at) == deadline {
            return;
        }
        if let Some((_, handle)) = self.timer.take() {
            ctx.cancel_future(handle);
        }
        if let Some(at) = deadline {
            let wait = at.since(self.clock.mono()).max(Duration::from_millis(1));
            let handle = ctx.run_later(wait, |shell, ctx| {
                shell.timer = None;
                let effects = shell.core.wake(shell.clock.now());
                shell.perform(effects, ctx);
            });
            self.timer = Some((at, handle));
        }
    }
}

impl<C, P> Actor for Shell<C, P>
where
    C: Core + Unpin + 'static,
    C::Input: fmt::Debug + Send + Unpin,
    P: Perform<C::Effect> + Unpin,
{
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        // A core may want something from the start, such as to campaign or to observe.
        let effects = self.core.wake(self.clock.now());
        self.perform(effects, ctx);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.supervisor.stopped(self.name);
    }
}

impl<C, P> Handler<Deliver<C::Input>> for Shell<C, P>
where
    C: Core + Unpin + 'static,
    C::Input: fmt::Debug + Send + Unpin,
    P: Perform<C::Effect> + Unpin,
{
    type Result = ();

    fn handle(&mut self, Deliver(input): Deliver<C::Input>, ctx: &mut Self::Context) {
        self.recorder.note(self.clock.mono(), self.name, &input);
        self.inbox.push(input);
        if self.inbox.len() == 1 {
            // actix comes to it once the mailbox is empty.
            ctx.notify(Emptied);
        }
    }
}

impl<C, P> Handler<Emptied> for Shell<C, P>
where
    C: Core + Unpin + 'static,
    C::Input: fmt::Debug + Send + Unpin,
    P: Perform<C::Effect> + Unpin,
{
    type Result = ();

    fn handle(&mut self, _: Emptied, ctx: &mut Self::Context) {
        let inputs = std::mem::take(&mut self.inbox);
        let effects = self.core.step_all(self.clock.now(), inputs);
        self.perform(effects, ctx);
    }
}
