//! Rebuilds actors that stopped, from durable state, through a factory.
//!
//! actix restarts an actor with the same struct and survives panics of others silently; neither
//! is wanted here. An error makes a shell stop, and this supervisor then builds a new core. A
//! panic ends the process (the panic hook prints what happened before), and the service manager
//! starts it again.

use crate::{Clock, Recorder};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::watch;

/// What the end of an actor means.
pub enum Critical {
    /// The process ends with this exit code: the actor's durable state is in doubt.
    Exit(u8),
    /// The factory builds and links a new one.
    Rebuild(Box<dyn FnMut()>),
}

impl fmt::Debug for Critical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Critical::Exit(code) => write!(f, "Exit({code})"),
            Critical::Rebuild(_) => f.write_str("Rebuild"),
        }
    }
}

/// Knows every supervised actor; copies share the list. Lives on the daemon's main thread.
#[derive(Clone, Debug)]
pub struct Supervisor {
    shared: Rc<RefCell<Shared>>,
    clock: Clock,
    recorder: Recorder,
}

#[derive(Debug, Default)]
struct Shared {
    actors: BTreeMap<&'static str, Critical>,
    stopping: bool,
    exit: watch::Sender<Option<u8>>,
}

/// Wait before a rebuild, so that an actor that fails at once does not spin.
const REBUILD_DELAY: Duration = Duration::from_secs(1);

impl Supervisor {
    /// A supervisor without actors.
    pub fn new(clock: Clock) -> Supervisor {
        Supervisor { shared: Rc::default(), clock, recorder: Recorder::default() }
    }

    /// The clock that all shells share.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// The recorder that all shells share.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Says what the end of the actor `name` means.
    pub fn supervise(&self, name: &'static str, critical: Critical) {
        self.shared.borrow_mut().actors.insert(name, critical);
    }

    /// From now on actors stop because the daemon does.
    pub fn shutting_down(&self) {
        self.shared.borrow_mut().stopping = true;
    }

    /// Resolves with the exit code once an actor stops whose durable state is in doubt.
    pub fn ended(&self) -> impl Future<Output = u8> + Unpin + use<> {
        let mut exit = self.shared.borrow().exit.subscribe();
        Box::pin(async move {
            let code = exit.wait_for(Option::is_some).await.ok().and_then(|code| *code);
            match code {
                Some(code) => code,
                // The supervisor is gone, and with it everyone who could end the process.
                None => std::future::pending().await,
            }
        })
    }

    /// Called by a shell that has stopped.
    pub fn stopped(&self, name: &'static str) {
        let shared = self.shared.borrow();
        if shared.stopping {
            return;
        }
        match shared.actors.get(name) {
            Some(&Critical::Exit(code)) => {
                tracing::error!(actor = name, "actor stopped, ending the daemon");
                shared.exit.send_replace(Some(code));
            }
            Some(Critical::Rebuild(_)) => {
                tracing::warn!(actor = name, "actor stopped, building a new one");
                drop(shared);
                let supervisor = self.clone();
                actix::spawn(async move {
                    tokio::time::sleep(REBUILD_DELAY).await;
                    supervisor.rebuild(name);
                });
            }
            None => tracing::debug!(actor = name, "unsupervised actor stopped"),
        }
    }

    fn rebuild(&self, name: &'static str) {
        // Taken out while it runs: the factory itself may register actors.
        let taken = self.shared.borrow_mut().actors.remove(name);
        let Some(Critical::Rebuild(mut factory)) = taken else { return };
        factory();
        self.shared.borrow_mut().actors.entry(name).or_insert(Critical::Rebuild(factory));
    }
}
